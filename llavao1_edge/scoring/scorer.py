"""What all scorers share: the field they rank, the verdicts they give, the judge they may ask."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llavao1_edge.scoring.asks import Ask
from llavao1_edge.scoring.part import Contender, mean_logprob


class Choice(StrEnum):
    FIRST = "first"
    SECOND = "second"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """A comparison of two candidates, named by their branches' keys.

    choice: what the judge said; winner: who goes on (log-probability decides what is undecided).
    preferences: the judge's log-odds for the first candidate, once for each order it was asked in.
    reasons: what it wrote, where it was asked to.
    """

    first: int
    second: int
    choice: Choice
    winner: int
    preferences: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """Candidates that differ. `keys` name them; own[i] is what i does not share with all others;
    weights[i] counts the candidates that said the same as i."""

    keys: tuple[int, ...]
    contenders: tuple[Contender, ...]
    own: tuple[Contender, ...]
    weights: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def likelihood(self, i: int) -> float:
        return mean_logprob(self.own[i])


@dataclass(frozen=True)
class Ranking:
    """Positions in the field, best first, and a score for each position (higher is better)."""

    order: tuple[int, ...]
    scores: tuple[float, ...]


class JudgeRunner(Protocol):
    """Gives questions to the model; the engine has the real one. All asks run side by side."""

    @property
    def question(self) -> str:
        """The user's question."""
        ...

    @property
    def seed(self) -> int: ...

    def weigh(
        self, asks: Sequence[Ask], options: tuple[str, ...]
    ) -> list[tuple[float, ...] | None]:
        """For each ask the logit of every option as the next text after its opening.

        None where it could not be asked (no room, no budget).
        """
        ...

    def reply(self, asks: Sequence[Ask]) -> list[str]:
        """For each ask a sampled reply; empty where it could not be asked."""
        ...


class Scorer(Protocol):
    """A frozen record of options with one method."""

    @property
    def name(self) -> str:
        """As in `SCORERS`."""
        ...

    def rank(
        self, field: Field, *, keep: int, judge: JudgeRunner
    ) -> Generator[Verdict, None, Ranking]:
        """Orders at least the `keep` best; yields the comparisons it makes on the way."""
        ...


class Numeric:
    """A scorer that gives every candidate a number and asks nobody."""

    def scores(self, field: Field) -> list[float]:
        raise NotImplementedError

    def rank(
        self,
        field: Field,
        *,
        keep: int,  # noqa: ARG002 (all are ranked)
        judge: JudgeRunner,  # noqa: ARG002
    ) -> Generator[Verdict, None, Ranking]:
        yield from ()
        return by_score(self.scores(field), field)


def by_score(scores: Sequence[float], field: Field) -> Ranking:
    """Highest first; equal scores by log-probability, then by the order they came in."""
    order = sorted(range(len(field)), key=lambda i: (-scores[i], -field.likelihood(i), i))
    return Ranking(tuple(order), tuple(scores))
