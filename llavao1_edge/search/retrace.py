"""Stage-wise retracing: go back and look again when no reasoning is convincing.

After the ICCV version of the paper: several captions, two reasonings from each kept one; where the
second-best reasoning is not good enough the captions are drawn again. Reasonings of earlier rounds
stay in the running, so that going back never makes the best one worse.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.search.events import Retraced, SearchEvent
from llavao1_edge.search.options import Searching
from llavao1_edge.search.rounds import draft, drop_all, finish, keep_best
from llavao1_edge.search.seam import Branch, Candidate, Drafter
from llavao1_edge.stages import CAPTION, CONCLUSION, REASONING, SUMMARY


@dataclass(frozen=True)
class Retrace(Searching):
    """`candidates` captions, half of them kept, two reasonings from each.

    Goes back, at most `returns` times, while the second-best reasoning's mean log-probability per
    token is not above `threshold`.
    """

    returns: int = 3
    threshold: float = -0.03
    name: str = "retrace"

    @property
    def weighs_stages(self) -> bool:
        return True

    @property
    def captions_kept(self) -> int:
        return max(1, self.candidates // 2)

    @property
    def reasonings(self) -> int:
        return 2 if self.candidates > 1 else 1

    @property
    def reasonings_kept(self) -> int:
        return max(1, 2 * self.captions_kept - 1)

    @property
    def width(self) -> int:
        return max(self.candidates, self.captions_kept * self.reasonings)

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        drafted = yield from draft([root], drafter, SUMMARY, n=1)
        if drafter.ended:
            return (yield from finish(drafted, [root], drafter))
        (summary,) = yield from keep_best(drafted, drafter, SUMMARY, keep=1, scorer=self.scorer)
        drafter.drop(root)
        pool: list[Candidate] = []
        for turn in range(self.returns + 1):
            drafted, before = yield from self._look(summary.branch, drafter, turn)
            if drafter.ended:
                # Earlier reasonings are further than what this turn has.
                others = [candidate.branch for candidate in drafted]
                return (yield from finish(pool or drafted, [*before, *others], drafter))
            pool = yield from keep_best(
                [*pool, *drafted],
                drafter,
                REASONING,
                keep=self.reasonings_kept,
                scorer=self.scorer,
            )
            drop_all(drafter, before, but=[summary.branch])
            score = pool[min(1, len(pool) - 1)].mean_logprob
            if score > self.threshold or turn == self.returns:
                break
            yield Retraced(CAPTION, score, self.threshold)
        drafter.drop(summary.branch)
        return (yield from self._conclude(pool, drafter))

    def _look(
        self, summary: Branch, drafter: Drafter, turn: int
    ) -> Generator[SearchEvent, None, tuple[list[Candidate], list[Branch]]]:
        """(reasonings, the branches they come from); fewer where the search has ended."""
        captions = yield from draft(
            [summary], drafter, CAPTION, n=self.candidates, first=turn * self.candidates
        )
        if drafter.ended:
            return captions, [summary]
        kept = yield from keep_best(
            captions, drafter, CAPTION, keep=self.captions_kept, scorer=self.scorer
        )
        branches = [candidate.branch for candidate in kept]
        drafted = yield from draft(branches, drafter, REASONING, n=self.reasonings)
        return drafted, [*branches, summary]

    def _conclude(
        self, pool: list[Candidate], drafter: Drafter
    ) -> Generator[SearchEvent, None, Branch]:
        branches = [candidate.branch for candidate in pool]
        drafted = yield from draft(branches, drafter, CONCLUSION, n=1)
        if drafter.ended:
            return (yield from finish(drafted, branches, drafter))
        kept = yield from keep_best(drafted, drafter, CONCLUSION, keep=1, scorer=self.scorer)
        drop_all(drafter, branches)
        return kept[0].branch
