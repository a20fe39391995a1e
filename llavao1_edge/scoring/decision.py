"""From candidates to the ones that are kept: the rules that hold whatever the scorer.

A candidate that a limit cut off is worse than any finished one. Candidates that say the same count
as one; where all say the same there is nothing to score.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llavao1_edge.scoring.part import Contender, finished, own_parts
from llavao1_edge.scoring.scorer import Field, JudgeRunner, Scorer, Verdict
from llavao1_edge.scoring.text import normalise


class Reason(StrEnum):
    """Why candidates went on without a scorer; stored in records and histories."""

    ONLY = "only one"
    EQUAL = "all equal"
    ALL = "all go on"
    GREEDY = "greedy"  # the budget was used up


@dataclass(frozen=True)
class Decision:
    """kept: positions among the candidates, best first; scores: by position, None if not scored;
    by: the scorer's name, or a `Reason` where none was needed."""

    kept: tuple[int, ...]
    scores: tuple[float | None, ...]
    by: str


def decide(
    contenders: Sequence[tuple[int, Contender]], *, keep: int, scorer: Scorer, judge: JudgeRunner
) -> Generator[Verdict, None, Decision]:
    """The best `keep` of (key, parts). Fewer where fewer differ. Raises ValueError for none."""
    if not contenders:
        raise ValueError("nothing to decide between")
    n = len(contenders)
    nothing: tuple[float | None, ...] = (None,) * n
    if n == 1:
        return Decision((0,), nothing, Reason.ONLY)
    own = own_parts([parts for _, parts in contenders])
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, parts in enumerate(own):
        said = tuple((part.stage, normalise(part.text)) for part in parts)
        groups.setdefault((finished(parts), *said), []).append(i)
    whole = [members for said, members in groups.items() if said[0]]
    cut = [members for said, members in groups.items() if not said[0]]
    if len(groups) == 1:
        return Decision((0,), nothing, Reason.EQUAL)
    scores: list[float | None] = [None] * n
    kept: list[int] = []
    by: str = Reason.ONLY
    for pool in (whole, cut):
        if not pool or len(kept) >= keep:
            continue
        field = Field(
            keys=tuple(contenders[members[0]][0] for members in pool),
            contenders=tuple(contenders[members[0]][1] for members in pool),
            own=tuple(own[members[0]] for members in pool),
            weights=tuple(len(members) for members in pool),
        )
        if len(pool) == 1:
            kept.append(pool[0][0])
            continue
        ranking = yield from scorer.rank(field, keep=keep - len(kept), judge=judge)
        by = scorer.name
        for members, score in zip(pool, ranking.scores, strict=True):
            for i in members:
                scores[i] = score
        kept += [pool[position][0] for position in ranking.order]
    return Decision(tuple(kept[:keep]), tuple(scores), by)
