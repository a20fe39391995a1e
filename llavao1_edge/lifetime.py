"""Things that must be closed, as context managers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar


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


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Kept(Generic[T]):
    """Things that may be wanted again, by what they are for; at most so many, the longest unused
    one is closed first. Whoever takes one owns it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def take(self, key: Hashable) -> T | None:
        return self._kept.pop(key, None)

    def keep(self, key: Hashable, thing: T) -> None:
        before = self._kept.pop(key, None)
        if before is not None and before is not thing:
            before.close()
        self._kept[key] = thing
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)[1].close()

    def clear(self) -> None:
        """Gives them up without closing: who owns what they are part of is closing that."""
        self._kept.clear()
