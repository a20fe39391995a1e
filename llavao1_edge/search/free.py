"""Nothing forced: the model writes until it ends its turn, and the text is parsed afterwards."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.scoring.decision import Reason
from llavao1_edge.search.events import SearchEvent, StageKept
from llavao1_edge.search.rounds import draft
from llavao1_edge.search.seam import Branch, Drafter


@dataclass(frozen=True)
class Free:
    """The `free` strategy."""

    name: str = "free"
    width: int = 1
    forces_tags: bool = False
    weighs_stages: bool = False

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        drafted = yield from draft([root], drafter, None, n=1)
        if not drafted:  # stopped before the first token
            return root
        yield StageKept(None, tuple(drafted), Reason.ONLY)
        drafter.drop(root)
        return drafted[0].branch
