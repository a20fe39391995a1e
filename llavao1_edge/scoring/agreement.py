"""What most candidates say. Needs no judge; a lone mistake is outvoted.

For the conclusion: the share of candidates with the same answer after normalisation. For other
stages, whose wording varies: how close a candidate is to the others on average (minimum Bayes risk
with `text.closeness`), so that the one in the middle wins and an outlier loses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llavao1_edge.scoring.scorer import Field, Numeric
from llavao1_edge.scoring.text import closeness, normalise_answer
from llavao1_edge.stages import CONCLUSION


@dataclass(frozen=True)
class Agreement(Numeric):
    """See the module."""

    name: str = "agreement"

    def scores(self, field: Field) -> list[float]:
        return agreement(field)


def agreement(field: Field) -> list[float]:
    """For each candidate how far the others agree with it, 0 to 1."""
    if all(own[-1].stage == CONCLUSION for own in field.own):
        answers = [normalise_answer(own[-1].text) for own in field.own]
        votes: Counter[str] = Counter()
        for answer, weight in zip(answers, field.weights, strict=True):
            votes[answer] += weight
        return [votes[answer] / votes.total() for answer in answers]
    texts = [" ".join(part.text for part in own) for own in field.own]
    others = sum(field.weights) - 1
    scores = []
    for i, text in enumerate(texts):
        near = sum(
            weight * closeness(text, other)
            for j, (other, weight) in enumerate(zip(texts, field.weights, strict=True))
            if j != i
        )
        scores.append((near + field.weights[i] - 1) / others if others else 1.0)
    return scores
