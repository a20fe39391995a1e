"""Nothing forced: the model writes until it ends its turn, and the text is parsed afterwards."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.search.events import Event
from llavao1_edge.search.seam import Branch, Drafter
from llavao1_edge.search.staged import follow


@dataclass(frozen=True)
class Free:
    """The `free` strategy."""

    name: str = "free"

    def run(self, root: Branch, drafter: Drafter) -> Generator[Event, None, Branch]:
        return (yield from follow(root, drafter, (None,)))
