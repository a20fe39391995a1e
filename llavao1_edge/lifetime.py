"""Things that must be closed, as context managers."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """`with` calls `close` at the end, whatever happened."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
