"""The paper's search: several candidates at every stage, only the best go on."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from llavao1_edge.search.events import SearchEvent
from llavao1_edge.search.options import Searching
from llavao1_edge.search.rounds import Steps, draft, drop_all, finish, keep_best
from llavao1_edge.search.seam import Branch, Candidate, Drafter
from llavao1_edge.stages import STAGES, Stage


@dataclass(frozen=True)
class StageBeam(Searching):
    """`candidates` from each kept branch, `keep` of them go on. The paper keeps one.

    enough: above 0, one candidate of each branch is drawn first, and the others only where its
    probability is smaller. With 0.5 no other text can be likelier than one that is enough.
    """

    keep: int = 1
    enough: float = 0.0
    name: str = "stage-beam"

    @property
    def width(self) -> int:
        return self.candidates * self.keep

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        branches = [root]
        for stage in STAGES:
            drafted = yield from self._draft(branches, drafter, stage)
            if drafter.ended:
                return (yield from finish(drafted, branches, drafter))
            keep = 1 if stage is STAGES[-1] else self.keep
            kept = yield from keep_best(drafted, drafter, stage, keep=keep, scorer=self.scorer)
            drop_all(drafter, branches)
            branches = [candidate.branch for candidate in kept]
        return branches[0]

    def _draft(self, branches: Sequence[Branch], drafter: Drafter, stage: Stage) -> Steps:
        """All candidates at once, or the first ones, and the others where they are needed."""
        n = 1 if self.enough > 0 else self.candidates
        drafted = yield from draft(branches, drafter, stage, n=n)
        if n == self.candidates or drafter.ended or all(map(self._is_enough, drafted)):
            return drafted
        others = yield from draft(branches, drafter, stage, n=self.candidates - n, first=n)
        parents = [branch.key for branch in branches]
        return sorted([*drafted, *others], key=lambda c: (parents.index(c.parent), c.number))

    def _is_enough(self, candidate: Candidate) -> bool:
        return not candidate.truncated and candidate.logprob >= math.log(self.enough)
