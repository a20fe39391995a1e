"""The default scorer, chosen by measurement (docs/search.md says which and how)."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.scoring.agreement import agreement
from llavao1_edge.scoring.scorer import Field, Numeric

LIKELIHOOD_WEIGHT = 10.0


@dataclass(frozen=True)
class Combined(Numeric):
    """Agreement plus mean log-probability (in nats per token)."""

    name: str = "combined"

    def scores(self, field: Field) -> list[float]:
        return [
            share + LIKELIHOOD_WEIGHT * field.likelihood(i)
            for i, share in enumerate(agreement(field))
        ]
