"""What strategies see: branches, candidates, and the drafter that makes them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from llavao1_edge.stages import Stage

if TYPE_CHECKING:
    from llavao1_edge.search.events import CandidateFinished, Event, Token


class Ending(StrEnum):
    """Why a candidate stopped."""

    CLOSED = "closed"  # its closing tag, or the end of the turn where no tag was asked for
    LENGTH = "length"  # the token limit
    CONTEXT = "context"  # the context is full


@dataclass(frozen=True)
class Branch:
    """A point an answer has reached: its stages so far. `key` is the drafter's own."""

    key: int
    stages: tuple[tuple[Stage, str], ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One way to go on: `branch` is the new point; text without tags.

    mean_logprob: of the candidate's own tokens, forced ones excluded.
    """

    branch: Branch
    stage: Stage | None
    text: str
    n_tokens: int
    mean_logprob: float
    ending: Ending


class Drafter(Protocol):
    """Makes candidates. The fake one is `llavao1_edge.testing.ScriptedDrafter`."""

    def draft(
        self, branch: Branch, stage: Stage | None, *, n: int
    ) -> Iterator[Token | CandidateFinished]:
        """n candidates for `stage` (None: free text to the end of the turn) from `branch`.

        The same branch may be drafted from again.
        """
        ...

    def drop(self, branch: Branch) -> None:
        """Frees what `branch` holds. Branches made from it stay valid."""
        ...


class Strategy(Protocol):
    """A frozen record of options with one method."""

    @property
    def name(self) -> str:
        """As in `STRATEGIES`."""
        ...

    def run(self, root: Branch, drafter: Drafter) -> Generator[Event, None, Branch]:
        """Yields events, returns the chosen branch. Drops every other branch it made."""
        ...
