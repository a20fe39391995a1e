"""What a strategy is. Each one is a file of this room and a line in `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from llavao1_edge.search.events import SearchEvent
from llavao1_edge.search.seam import Branch, Drafter


class Strategy(Protocol):
    """A frozen record of options with one method."""

    @property
    def name(self) -> str:
        """As in `STRATEGIES`."""
        ...

    @property
    def width(self) -> int:
        """Most candidates that are written side by side."""
        ...

    @property
    def forces_tags(self) -> bool:
        """Whether stages are opened and closed for the model, so that a form can be asked for."""
        ...

    @property
    def weighs_stages(self) -> bool:
        """Whether it chooses among several ways to go on in an answer that has begun."""
        ...

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        """Yields events, returns the chosen branch. Drops every other branch it made.

        When the drafter has ended, the best branch so far is returned (`rounds.finish`).
        """
        ...
