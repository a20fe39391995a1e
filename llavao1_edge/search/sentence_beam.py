"""Several candidates for every sentence; the best one goes on, stage after stage."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.search.events import SearchEvent
from llavao1_edge.search.options import Searching
from llavao1_edge.search.rounds import draft, finish, keep_best
from llavao1_edge.search.seam import Branch, Drafter, Ending, Unit
from llavao1_edge.stages import STAGES


@dataclass(frozen=True)
class SentenceBeam(Searching):
    """`candidates` for every sentence."""

    name: str = "sentence-beam"

    @property
    def weighs_stages(self) -> bool:
        return True

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        branch = root
        for stage in STAGES:
            ending = Ending.SENTENCE
            while ending is Ending.SENTENCE:
                drafted = yield from draft(
                    [branch], drafter, stage, n=self.candidates, unit=Unit.SENTENCE
                )
                if drafter.ended:
                    return (yield from finish(drafted, [branch], drafter))
                (kept,) = yield from keep_best(drafted, drafter, stage, keep=1, scorer=self.scorer)
                drafter.drop(branch)
                branch, ending = kept.branch, kept.ending
        return branch
