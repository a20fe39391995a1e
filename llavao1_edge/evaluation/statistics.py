"""Intervals: Wilson's for a share, a paired bootstrap for a difference on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054
ROUNDS = 4000


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927."""
    if not n:
        return 0.0, 1.0
    share, square = hits / n, Z95**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    # Rounding must not leave the share itself outside.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """Mean of first − second on the same questions, and its 95 % bootstrap interval (seed 0)."""
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} answers are no pairs")
    gains = np.array(first, dtype=float) - np.array(second, dtype=float)
    rng = np.random.default_rng(0)
    # Counts of the three possible gains are all that a resample depends on.
    values, counts = np.unique(gains, return_counts=True)
    draws = rng.multinomial(len(gains), counts / len(gains), size=ROUNDS) @ values / len(gains)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(gains.mean()), float(low), float(high)
