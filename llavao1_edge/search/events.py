"""What happens while a question is answered, in order, out of one generator.

The whole of it is `answer.Event`, which ends with the answer; a strategy yields `SearchEvent`s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from llavao1_edge.scoring import Verdict
from llavao1_edge.search.seam import Candidate, CandidateFinished, Token
from llavao1_edge.stages import Stage


class Work(Enum):
    """What takes its time before the first token."""

    PICTURE = "picture"
    PROMPT = "prompt"


Told = Callable[[Work, float], None]
"""Called while it is done, from the thread that does it, with the share that is done (0 to 1)."""


def tell_nobody(work: Work, share: float) -> None:
    """Nobody asked."""


@dataclass(frozen=True)
class PictureReady:
    """The picture is encoded. `reused`: it was already, nothing was computed.

    rows, columns: of its grid of tiles; width, height: pixels that are looked at; n_cells: tokens
    it takes of the context; looks: (width, height) of each part read by itself, without a grid.
    With several pictures (`n_pictures`) these are sums and parts of all.
    """

    rows: int
    columns: int
    width: int
    height: int
    reused: bool
    milliseconds: float
    n_cells: int = 0
    looks: tuple[tuple[int, int], ...] = ()
    n_pictures: int = 1


@dataclass(frozen=True)
class StageStarted:
    """`candidates` will be written side by side (as room allows)."""

    stage: Stage | None
    candidates: int


@dataclass(frozen=True)
class Judged:
    """Two candidates were compared; the verdict names them by their branches' keys."""

    stage: Stage | None
    verdict: Verdict


@dataclass(frozen=True)
class StageKept:
    """The candidates that are gone on with, best first.

    scores: by branch key, where candidates were scored. by: the scorer's name, or why none was
    needed (a `Reason`, or the `Ending` of the search).
    """

    stage: Stage | None
    kept: tuple[Candidate, ...]
    by: str
    scores: Mapping[int, float] = field(default_factory=dict)

    @property
    def candidate(self) -> Candidate:
        """The best one."""
        return self.kept[0]

    @property
    def text(self) -> str:
        """The stage as it is now: `candidate.text` may be a sentence of it, or its end."""
        parts = self.candidate.branch.parts
        return self.candidate.text if self.stage is None or not parts else parts[-1].text


@dataclass(frozen=True)
class Retraced:
    """The search went back to `stage`: `score` did not exceed `threshold`."""

    stage: Stage
    score: float
    threshold: float


SearchEvent = StageStarted | Token | CandidateFinished | Judged | StageKept | Retraced
"""What a strategy yields."""
