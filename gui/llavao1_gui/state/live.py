"""An answer while it is written: fed with messages, asked by the window what to show."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from llavao1_edge.search import Work
from llavao1_edge.stages import STAGES
from llavao1_gui.state.messages import (
    Answered,
    CandidateDone,
    Compared,
    Failed,
    Kept,
    Loaded,
    Loading,
    Message,
    Returned,
    Seen,
    StageBegan,
    Text,
    Working,
)

STUCK_S = 2.0  # a stop takes a token; after this an engine is suspected to be stuck
TYPICAL_TOKENS = 60  # of a candidate in a stage
WINDOW_S = 2.0  # tokens per second are those of the last two seconds
NAMES = tuple(stage.name for stage in STAGES)


@dataclass
class LiveAnswer:
    """phase: queued, waiting, loading, seeing, prompt, writing, judging, then answered, stopped or
    failed. share: of the picture or the prompt that is read. expected: seconds that such answers
    took on this machine, or None."""

    number: int
    clock: Callable[[], float] = time.monotonic
    phase: str = "queued"
    share: float = 0.0
    expected: float | None = None
    stage: str = ""
    candidates: int = 0
    finished: int = 0
    tokens: int = 0
    stage_tokens: int = 0
    comparisons: int = 0
    returns: int = 0
    reused: bool | None = None
    stages: dict[str, str] = field(default_factory=dict)
    """What is kept so far, by stage; the present one is what its first candidate has written."""
    result: Answered | Failed | None = None
    started: float = 0.0
    ended: float | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()
        self._stopped_at: float | None = None
        self._work, self._work_began = "", self.started
        self._recent: deque[tuple[float, int]] = deque()
        self._texts: dict[int, str] = {}
        self._before = ""  # of the stage, what was kept

    def begin(self, phase: str) -> None:
        """It is its turn; until then it waited for other answers."""
        self.phase, self.started = phase, self.clock()

    @property
    def done(self) -> bool:
        return self.result is not None

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped_at is not None

    @property
    def is_stuck(self) -> bool:
        """Told to stop for a while, and still there."""
        return self._stopped_at is not None and self.clock() - self._stopped_at > STUCK_S

    def stop(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the question."""
        return (self.clock() if self.ended is None else self.ended) - self.started

    @property
    def tokens_per_second(self) -> float:
        now = self.clock()
        while self._recent and now - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        if not self._recent:
            return 0.0
        return sum(n for _, n in self._recent) / max(0.2, now - self._recent[0][0])

    @property
    def stage_share(self) -> float:
        """How far the stage is: candidates that are done, and between them an honest guess that
        grows with every token and never arrives."""
        if not self.candidates:
            return 0.0
        guess = 0.9 * (1 - math.exp(-self.stage_tokens / (TYPICAL_TOKENS * self.candidates)))
        return max(self.finished / self.candidates, guess)

    @property
    def seconds_left(self) -> float | None:
        """An estimate, from what such answers took; None where nothing is known or it is late."""
        left = None if self.expected is None else self.expected - self.elapsed
        return left if left is not None and left > 0 else None

    @property
    def seconds_of_work_left(self) -> float | None:
        """Until the picture or the prompt is read, once some of it is."""
        if self.phase not in ("seeing", "prompt") or self.share < 0.05:
            return None
        spent = self.clock() - self._work_began
        return spent / self.share * (1 - self.share)

    def feed(self, message: Message) -> None:
        """Messages of other answers are left alone."""
        if getattr(message, "number", self.number) != self.number or self.done:
            return
        match message:
            case Loading():
                self.phase = "loading"
            case Loaded():
                self.phase = "seeing"
            case Working():
                self._time_work(message)
                self.phase = "seeing" if message.work == Work.PICTURE.value else "prompt"
                self.share = message.share
            case Seen():
                self.phase, self.reused = "writing", message.reused
            case StageBegan():
                self._begin(message)
            case Text():
                self._grow(message)
            case CandidateDone():
                self.finished += 1
            case Compared():
                self.phase = "judging"
                self.comparisons += 1
            case Kept():
                self._keep(message)
            case Returned():
                self.returns += 1
            case Answered() | Failed():
                self._end(message)

    def _time_work(self, message: Working) -> None:
        """Work of another sort, or of another picture, begins anew."""
        if message.work != self._work or message.share < self.share:
            self._work, self._work_began = message.work, self.clock()

    def _begin(self, message: StageBegan) -> None:
        self._texts.clear()
        if message.stage != self.stage:
            self._before = ""
        self.phase, self.stage = "writing", message.stage
        self.candidates, self.finished, self.comparisons = message.candidates, 0, 0
        self.stage_tokens = 0

    def _grow(self, message: Text) -> None:
        self.phase = "writing"
        self.tokens += message.tokens
        self.stage_tokens += message.tokens
        self._recent.append((self.clock(), message.tokens))
        for candidate, text in message.grown:
            self._texts[candidate] = self._texts.get(candidate, "") + text
        if self._texts:
            self.stages[message.stage] = self._before + self._texts[min(self._texts)]

    def _keep(self, message: Kept) -> None:
        self.stages[message.stage] = self._before = message.text
        self._texts.clear()

    def _end(self, message: Answered | Failed) -> None:
        self.result, self.ended = message, self.clock()
        if isinstance(message, Failed):
            self.phase = "stopped" if message.stopped else "failed"
            return
        self.phase = "stopped" if message.cancelled else "answered"
        self.stages = dict(message.stages)
