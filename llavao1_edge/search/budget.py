"""What a search may spend in all: sampled tokens and seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from llavao1_edge.phrases import Phrase


class Limit(StrEnum):
    """What a search may use up."""

    TOKENS = "token budget"
    TIME = "time budget"


@dataclass
class Budget:
    """Counts tokens one by one, so that not one is sampled beyond the limit. None: no limit."""

    tokens: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.monotonic
    spent: int = 0
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def take(self, n: int) -> int:
        """How many of `n` tokens may still be sampled; they count as spent."""
        if self.ended:
            return 0
        if self.tokens is not None:
            n = min(n, self.tokens - self.spent)
        self.spent += n
        return n

    @property
    def ended(self) -> Limit | None:
        """What has run out; None while there is something left."""
        if self.tokens is not None and self.spent >= self.tokens:
            return Limit.TOKENS
        if self.seconds is not None and self.clock() - self.started >= self.seconds:
            return Limit.TIME
        return None

    @property
    def told(self) -> str:
        """What has run out, for people; empty while there is something left."""
        ended = self.ended
        if ended is Limit.TOKENS:
            return Phrase("token budget of {n_tokens}", n_tokens=self.tokens)
        return Phrase("time budget of {s:g} s", s=self.seconds) if ended is Limit.TIME else ""
