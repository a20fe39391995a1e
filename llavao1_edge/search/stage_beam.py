"""The paper's search: several candidates at every stage, only the best go on."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.search.events import SearchEvent
from llavao1_edge.search.options import Searching
from llavao1_edge.search.rounds import draft, drop_all, finish, keep_best
from llavao1_edge.search.seam import Branch, Drafter
from llavao1_edge.stages import STAGES


@dataclass(frozen=True)
class StageBeam(Searching):
    """`candidates` from each kept branch, `keep` of them go on. The paper keeps one."""

    keep: int = 1
    name: str = "stage-beam"

    @property
    def width(self) -> int:
        return self.candidates * self.keep

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        branches = [root]
        for stage in STAGES:
            drafted = yield from draft(branches, drafter, stage, n=self.candidates)
            if drafter.ended:
                return (yield from finish(drafted, branches, drafter))
            keep = 1 if stage is STAGES[-1] else self.keep
            kept = yield from keep_best(drafted, drafter, stage, keep=keep, scorer=self.scorer)
            drop_all(drafter, branches)
            branches = [candidate.branch for candidate in kept]
        return branches[0]
