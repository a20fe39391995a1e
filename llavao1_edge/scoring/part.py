"""What a scorer sees of a branch: the stages it wrote, with what each one cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llavao1_edge.stages import Stage


@dataclass(frozen=True)
class Part:
    """One stage as a branch wrote it.

    n_tokens, logprob: number and summed log-probability (nats) of its own tokens; forced ones are
    excluded. min_logprob: of the least likely token. finished: it ended by itself, no limit cut it.
    """

    stage: Stage
    text: str
    n_tokens: int = 0
    logprob: float = 0.0
    min_logprob: float = 0.0
    finished: bool = True


Contender = tuple[Part, ...]
"""All parts of a branch, in order."""


def own_parts(contenders: Sequence[Contender]) -> list[Contender]:
    """What each contender does not share with all the others: at least its last part."""
    n = 0
    shortest = min(len(contender) for contender in contenders)
    while n < shortest - 1 and len({contender[n] for contender in contenders}) == 1:
        n += 1
    return [contender[n:] for contender in contenders]


def mean_logprob(parts: Contender) -> float:
    """Mean log-probability per token over `parts`, in nats."""
    n_tokens = sum(part.n_tokens for part in parts)
    return sum(part.logprob for part in parts) / max(1, n_tokens)


def finished(parts: Contender) -> bool:
    return all(part.finished for part in parts)
