"""What strategies see: branches, candidates, and the drafter that makes and reports them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llavao1_edge.scoring import JudgeRunner, Part
from llavao1_edge.stages import Stage


class Unit(StrEnum):
    """How far a candidate goes."""

    STAGE = "stage"
    SENTENCE = "sentence"


class Ending(StrEnum):
    """Why a candidate stopped."""

    CLOSED = "closed"  # its closing tag, or the end of the turn where no tag was asked for
    SENTENCE = "sentence"  # the end of a sentence, where that was the unit
    LENGTH = "length"  # a token limit
    CONTEXT = "context"  # the context is full
    BUDGET = "budget"  # the token or time budget of the whole search
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Branch:
    """A point an answer has reached. `key` is the drafter's own.

    path: the number of the candidate at every step from the prompt to here. open: the last part's
    stage is not closed yet and can be gone on with.
    """

    key: int
    parts: tuple[Part, ...] = ()
    path: tuple[int, ...] = ()
    open: bool = False

    @property
    def stages(self) -> tuple[tuple[Stage, str], ...]:
        return tuple((part.stage, part.text) for part in self.parts)


@dataclass(frozen=True)
class TokenLogprob:
    """A token that was drawn: its bytes, its log-probability under the model (nats, without
    temperature), and the likeliest tokens there with theirs, where they were asked for."""

    piece: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One way to go on from the branch with key `parent`: `branch` is the new point.

    number: of the draw, counted for each parent. text: what it wrote, without tags. n_tokens,
    logprob (sum, nats), min_logprob: of its own tokens, forced ones excluded. milliseconds: from
    the start of the draft until it stopped. tokens: those it wrote, its closing tag included, where
    the drafter tells them.
    """

    branch: Branch
    parent: int
    number: int
    stage: Stage | None
    text: str
    n_tokens: int
    logprob: float
    min_logprob: float
    ending: Ending
    milliseconds: float = 0.0
    tokens: tuple[TokenLogprob, ...] = ()

    @property
    def mean_logprob(self) -> float:
        return self.logprob / max(1, self.n_tokens)

    @property
    def truncated(self) -> bool:
        """Whether a limit cut it off."""
        return self.ending not in (Ending.CLOSED, Ending.SENTENCE)


@dataclass(frozen=True)
class Token:
    """Text that a candidate grew by. Tags are not part of it.

    candidate: counted over all branches of the draft.
    """

    stage: Stage | None
    candidate: int
    text: str


@dataclass(frozen=True)
class CandidateFinished:
    """`number` counts over all branches of the draft, as `Token.candidate` does."""

    number: int
    candidate: Candidate


class Drafter(Protocol):
    """Makes candidates. The fake one is `llavao1_edge.testing.ScriptedDrafter`."""

    @property
    def judge(self) -> JudgeRunner:
        """For scorers that ask the model."""
        ...

    @property
    def ended(self) -> Ending | None:
        """BUDGET or CANCELLED once the search must stop."""
        ...

    def draft(
        self,
        branches: Sequence[Branch],
        stage: Stage | None,
        *,
        n: int,
        first: int = 0,
        unit: Unit = Unit.STAGE,
        greedy: bool = False,
    ) -> Iterator[Token | CandidateFinished]:
        """n candidates of each branch for `stage` (None: free text to the end of the turn), side by
        side; numbered from `first` on, and a number always gives the same draw. An open branch goes
        on in its stage. greedy: the likeliest tokens, beyond every budget.

        Once the search has ended there may be fewer candidates, or none. The same branch may be
        drafted from again.
        """
        ...

    def drop(self, branch: Branch) -> None:
        """Frees what `branch` holds. Branches made from it stay valid."""
        ...
