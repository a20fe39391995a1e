"""The conclusion alone: fast, without the reasoning that makes the model good."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.search.events import SearchEvent
from llavao1_edge.search.seam import Branch, Drafter
from llavao1_edge.search.staged import follow
from llavao1_edge.stages import CONCLUSION


@dataclass(frozen=True)
class Direct:
    """The `direct` strategy."""

    name: str = "direct"
    width: int = 1
    forces_tags: bool = True
    weighs_stages: bool = False

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        return (yield from follow(root, drafter, (CONCLUSION,)))
