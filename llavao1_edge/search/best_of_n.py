"""Whole answers side by side; the best one is taken at the end."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.scoring.decision import Reason
from llavao1_edge.search.events import SearchEvent, StageKept
from llavao1_edge.search.options import Searching
from llavao1_edge.search.rounds import draft, drop_all, finish, keep_best
from llavao1_edge.search.seam import Branch, Candidate, Drafter
from llavao1_edge.stages import STAGES


@dataclass(frozen=True)
class BestOfN(Searching):
    """`candidates` whole answers."""

    name: str = "best-of-n"

    @property
    def weighs_stages(self) -> bool:
        return False  # of whole answers only

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        branches = [root]
        drafted: list[Candidate] = []
        for stage in STAGES:
            n = self.candidates if stage is STAGES[0] else 1
            drafted = yield from draft(branches, drafter, stage, n=n)
            if drafter.ended:
                return (yield from finish(drafted, branches, drafter))
            if stage is not STAGES[-1]:
                yield StageKept(stage, tuple(drafted), Reason.ALL)
            drop_all(drafter, branches)
            branches = [candidate.branch for candidate in drafted]
        kept = yield from keep_best(drafted, drafter, STAGES[-1], keep=1, scorer=self.scorer)
        return kept[0].branch
