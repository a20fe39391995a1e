"""Measuring in turns, medians and spread, and the floor that the machine's limits imply."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Limits:
    """What this machine can do: bytes per second that all threads read, operations per second of
    ggml's products in F32 and with Q8_0 weights."""

    bandwidth: float
    f32_rate: float
    q8_rate: float

    def floor_ms(self, n_bytes: float, n_operations: float, *, integer: bool) -> float | None:
        """The larger of reading the bytes and doing the operations; None for neither."""
        rate = max(self.q8_rate, self.f32_rate) if integer else self.f32_rate
        seconds = max(n_bytes / self.bandwidth, n_operations / rate)
        return 1000 * seconds if seconds else None


@dataclass(frozen=True)
class Phase:
    """Milliseconds: median, 10th and 90th percentile; bytes and operations that it must handle."""

    name: str
    median_ms: float
    low_ms: float
    high_ms: float
    n_bytes: float = 0.0
    n_operations: float = 0.0
    floor_ms: float | None = None

    @property
    def distance(self) -> float | None:
        """How many times the floor."""
        return self.median_ms / self.floor_ms if self.floor_ms else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def timed(
    name: str,
    seconds: Sequence[float],
    *,
    limits: Limits | None = None,
    n_bytes: float = 0.0,
    n_operations: float = 0.0,
    integer: bool = False,
) -> Phase:
    """integer: whether the operations are products with quantised weights."""
    low, middle, high = np.percentile(np.array(seconds) * 1000, [10, 50, 90])
    floor = None
    if limits is not None:
        floor = limits.floor_ms(n_bytes, n_operations, integer=integer)
    return Phase(name, float(middle), float(low), float(high), n_bytes, n_operations, floor)


def clock(action: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_turn(actions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """A B C A B C …: a list of seconds per action, the first round thrown away."""
    times: list[list[float]] = [[] for _ in actions]
    for number in range(rounds + 1):
        for action, kept in zip(actions, times, strict=True):
            seconds = clock(action)
            if number:
                kept.append(seconds)
    return times
