"""Steps that strategies are made of: draft a round, keep the best, finish what is left."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace

from llavao1_edge.scoring import SCORERS, Contender, Decision, decide, mean_logprob
from llavao1_edge.scoring.decision import Reason
from llavao1_edge.search.events import Judged, SearchEvent, StageKept, StageStarted
from llavao1_edge.search.seam import Branch, Candidate, CandidateFinished, Drafter, Ending, Unit
from llavao1_edge.stages import STAGES, Stage

Steps = Generator[SearchEvent, None, list[Candidate]]


def draft(
    branches: Sequence[Branch],
    drafter: Drafter,
    stage: Stage | None,
    *,
    n: int,
    first: int = 0,
    unit: Unit = Unit.STAGE,
    greedy: bool = False,
) -> Steps:
    """One round of candidates, ordered by branch and number."""
    yield StageStarted(stage, candidates=n * len(branches))
    made: list[tuple[int, Candidate]] = []
    for event in drafter.draft(branches, stage, n=n, first=first, unit=unit, greedy=greedy):
        yield event
        if isinstance(event, CandidateFinished):
            made.append((event.number, event.candidate))
    return [candidate for _, candidate in sorted(made, key=lambda pair: pair[0])]


def keep_best(
    candidates: Sequence[Candidate],
    drafter: Drafter,
    stage: Stage | None,
    *,
    keep: int,
    scorer: str,
) -> Steps:
    """The best `keep`, best first; every other candidate's branch is dropped."""
    contenders = [(candidate.branch.key, _as_contender(candidate)) for candidate in candidates]
    chosen = SCORERS[scorer]()
    deciding = decide(contenders, keep=keep, scorer=chosen, judge=drafter.judge)
    while True:
        try:
            verdict = next(deciding)
        except StopIteration as finished:
            decision: Decision = finished.value
            break
        yield Judged(stage, verdict)
    kept = [candidates[position] for position in decision.kept]
    scores = {
        candidate.branch.key: score
        for candidate, score in zip(candidates, decision.scores, strict=True)
        if score is not None
    }
    yield StageKept(stage, tuple(kept), decision.by, scores)
    drop_all(drafter, (c.branch for c in candidates), but=[c.branch for c in kept])
    return kept


def _as_contender(candidate: Candidate) -> Contender:
    """The branch's parts; of the last one only what this candidate wrote of it has a cost."""
    *before, last = candidate.branch.parts
    own = replace(
        last,
        n_tokens=candidate.n_tokens,
        logprob=candidate.logprob,
        min_logprob=candidate.min_logprob,
        finished=not candidate.truncated,
    )
    return (*before, own)


def drop_all(drafter: Drafter, branches: Iterable[Branch], *, but: Sequence[Branch] = ()) -> None:
    kept = {branch.key for branch in but}
    for branch in branches:
        if branch.key not in kept:
            drafter.drop(branch)


def finish(
    candidates: Sequence[Candidate],
    before: Sequence[Branch],
    drafter: Drafter,
    *,
    plan: Sequence[Stage] = STAGES,
) -> Generator[SearchEvent, None, Branch]:
    """The search has ended: the likeliest of `candidates` (finished ones first, then those that can
    go on), else of `before`, is completed greedily, or after a cancel returned as it is. Drops all
    others."""
    branch = max(before, key=lambda b: mean_logprob(b.parts))
    if candidates:
        best = max(candidates, key=_prospects)
        branch = best.branch
        yield StageKept(best.stage, (best,), str(drafter.ended))
    drop_all(drafter, (*before, *(c.branch for c in candidates)), but=[branch])
    while drafter.ended is not Ending.CANCELLED and (left := stages_left(branch, plan)):
        drafted = yield from draft([branch], drafter, left[0], n=1, greedy=True)
        if not drafted:
            break
        yield StageKept(left[0], tuple(drafted), Reason.GREEDY)
        drafter.drop(branch)
        branch = drafted[0].branch
    return branch


def _prospects(candidate: Candidate) -> tuple[int, float]:
    """How much of it can become an answer, then its log-probability from the first stage on."""
    hope = 2 if not candidate.truncated else int(candidate.branch.open)
    return hope, mean_logprob(candidate.branch.parts)


def stages_left(branch: Branch, plan: Sequence[Stage]) -> Sequence[Stage]:
    """The stages of `plan` that the branch has not closed yet, its open one included."""
    if not branch.parts:
        return plan
    at = list(plan).index(branch.parts[-1].stage)
    return plan[at:] if branch.open else plan[at + 1 :]
