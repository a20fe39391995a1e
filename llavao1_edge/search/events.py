"""What happens while a question is answered, in order, out of one generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llavao1_edge.search.seam import Candidate
from llavao1_edge.stages import Stage

if TYPE_CHECKING:
    from llavao1_edge.search.answer import Answer


@dataclass(frozen=True)
class PictureReady:
    """The picture is encoded. `reused`: it was already, nothing was computed."""

    rows: int
    columns: int
    width: int
    height: int
    reused: bool
    milliseconds: float


@dataclass(frozen=True)
class StageStarted:
    stage: Stage | None
    candidates: int


@dataclass(frozen=True)
class Token:
    """Text that a candidate grew by. Tags are not part of it."""

    stage: Stage | None
    candidate: int
    text: str


@dataclass(frozen=True)
class CandidateFinished:
    number: int
    candidate: Candidate


@dataclass(frozen=True)
class StageKept:
    stage: Stage | None
    number: int
    candidate: Candidate


@dataclass(frozen=True)
class Answered:
    answer: Answer


Event = PictureReady | StageStarted | Token | CandidateFinished | StageKept | Answered
