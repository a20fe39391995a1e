"""One candidate per stage, the four stages in order: how the model was trained to answer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.scoring.decision import Reason
from llavao1_edge.search.events import SearchEvent, StageKept
from llavao1_edge.search.rounds import draft, finish
from llavao1_edge.search.seam import Branch, Drafter
from llavao1_edge.stages import STAGES, Stage


@dataclass(frozen=True)
class Staged:
    """The `staged` strategy."""

    name: str = "staged"
    width: int = 1
    forces_tags: bool = True
    weighs_stages: bool = False

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        return (yield from follow(root, drafter, STAGES))


def follow(
    root: Branch, drafter: Drafter, stages: tuple[Stage, ...]
) -> Generator[SearchEvent, None, Branch]:
    """One candidate for each of `stages`; a branch is dropped once it was extended."""
    branch = root
    for stage in stages:
        drafted = yield from draft([branch], drafter, stage, n=1)
        if drafter.ended:
            return (yield from finish(drafted, [branch], drafter, plan=stages))
        yield StageKept(stage, tuple(drafted), Reason.ONLY)
        drafter.drop(branch)
        branch = drafted[0].branch
    return branch
