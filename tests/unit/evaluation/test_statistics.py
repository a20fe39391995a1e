"""Intervals against known values and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.evaluation.statistics import paired, wilson


def test_wilson_of_the_literature() -> None:
    """Newcombe 1998, table I: 81 of 263, and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_share(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1


def test_a_paired_difference_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        base = rng.random(300) < 0.6
        better = base ^ (rng.random(300) < np.where(base, 0.05, 0.20))
        _, low, high = paired(list(better), list(base))
        covered += low <= 0.4 * 0.20 - 0.6 * 0.05 <= high
    assert 180 <= covered <= 199


def test_it_is_the_same_every_time_and_refuses_what_is_no_pair() -> None:
    assert paired([True, False, True], [False, False, True]) == paired(
        [True, False, True], [False, False, True]
    )
    assert paired([True] * 9, [True] * 9) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError):
        paired([True], [])
