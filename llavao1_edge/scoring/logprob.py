"""How likely the model finds its own text. Costs nothing: the numbers come with the tokens."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.scoring.scorer import Field, Numeric


@dataclass(frozen=True)
class LogProb(Numeric):
    """Mean log-probability per token: a long text is not punished for its length."""

    name: str = "logprob"

    def scores(self, field: Field) -> list[float]:
        return [field.likelihood(i) for i in range(len(field))]


@dataclass(frozen=True)
class MinLogProb(Numeric):
    """Log-probability of the least likely token: one bad step spoils a text."""

    name: str = "min-logprob"

    def scores(self, field: Field) -> list[float]:
        return [min(part.min_logprob for part in own) for own in field.own]
