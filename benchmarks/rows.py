"""Rows of a long benchmark: questions asked in several ways, by a few workers, compared in pairs.

Rows are appended to a file of JSON lines as they come, so the same command goes on where it was
stopped.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llavao1_edge.files import append_line, read_lines

Row = dict[str, Any]
Job = TypeVar("Job")


def read(path: Path) -> list[Row]:
    """Without half a line that a killed run may have left."""
    return [line.value for line in read_lines(path) if line.value is not None]


def work(
    answer: Callable[[Job], list[Row]], jobs: Sequence[Job], path: Path, *, workers: int
) -> None:
    """Every job in one of the workers, which are new processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        for rows in pool.imap(answer, jobs):
            for row in rows:
                append_line(path, f"{json.dumps(row)}\n".encode())


def gain(rows: Sequence[Row], base: dict[int, bool]) -> tuple[float, float, float]:
    """Right answers more than the base on the same questions, with a 95 % paired bootstrap."""
    gains = np.array([row["right"] - base[row["index"]] for row in rows], dtype=float)
    rng = np.random.default_rng(0)
    means = rng.choice(gains, (2000, len(gains))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(gains.mean()), float(low), float(high)


def difference(rows: Sequence[Row], base: dict[int, bool]) -> str:
    """The gain in print."""
    mean, low, high = gain(rows, base)
    return f"{mean:+.1%} ({low:+.1%} to {high:+.1%})"
