"""What a step of 1 to 16 rows costs on this machine, measured once for a pair and kept on disk.

It decides how many tokens are worth guessing. It is kept because a seed shall give the same tokens
tomorrow: the number of rows that are computed together can move the last bits of logits.
"""

from __future__ import annotations

import itertools
import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llavao1_edge import measured
from llavao1_edge.engine.branches import BranchCache
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.sizes import MOST_ROWS
from llavao1_edge.errors import BackendError, Cancelled, ContextFullError
from llavao1_edge.llama.context import Row
from llavao1_edge.search import Work

SIZES = (1, 2, 3, 4, 6, 8, 12, MOST_ROWS)
REPEATS, LONG_S = 3, 0.25  # steps longer than this are measured once
LEAST_MS = 5.0  # of a step; on shorter ones looking up takes longer than it saves


class StepCosts:
    """Milliseconds of a step by its rows, up to `MOST_ROWS`; on straight lines between what was
    measured. More rows never cost less: what says so was disturbed."""

    def __init__(self, milliseconds: Sequence[float]) -> None:
        """Those of `SIZES`."""
        self._known = list(itertools.accumulate(milliseconds, max))

    @property
    def are_high(self) -> bool:
        """Whether a step is long enough to be worth saving."""
        return self._known[0] >= LEAST_MS

    def __call__(self, n_rows: int) -> float:
        if n_rows >= MOST_ROWS:
            return self._known[-1]
        right = max(bisect_left(SIZES, n_rows), 1)
        (x0, x1), (y0, y1) = SIZES[right - 1 : right + 1], self._known[right - 1 : right + 1]
        return y0 + (y1 - y0) * (n_rows - x0) / (x1 - x0)


def step_costs(cache: BranchCache, sequence: int, start: int) -> StepCosts | None:
    """Those that were kept, or measures and keeps them: with the runtime where there is no file to
    keep them in. None where that cannot be now.

    sequence: rows go on from there, at position `start`; it is left as it was. Raises Cancelled.
    """
    runtime = cache.runtime
    has_picture = cache.sight is not None
    if has_picture not in runtime.step_costs:
        path, key = _path(), _key(runtime, has_picture=has_picture)
        found: Any = measured.read(path).get(key)
        if not _is_usable(found):
            found = _measured(cache, sequence, start)
            if found is None:
                return None
            found = [round(value, 4) for value in found]
            measured.keep(path, key, found)
        runtime.step_costs[has_picture] = found
    return StepCosts(runtime.step_costs[has_picture])


def _measured(cache: BranchCache, source: int, start: int) -> list[float] | None:
    runtime = cache.runtime
    roomy = runtime.n_free_sequences and runtime.context.n_batch >= MOST_ROWS
    if not roomy or not runtime.turns.alone:
        return None
    sequence = runtime.take_sequence()
    token = runtime.model.begins_with or 0
    try:
        runtime.context.fork(source, sequence)
        best = []
        for position, n in enumerate(SIZES):
            cache.told(Work.PROMPT, position / len(SIZES))
            rows = [Row(token, start + i, sequence, output=True) for i in range(n)]
            taken = math.inf
            for repeat in range(1 + REPEATS):  # the first one makes what is needed for this size
                if cache.stop():
                    raise Cancelled("stopped")
                began = time.perf_counter()
                runtime.step(rows, cache.sight, stop=cache.stop)
                seconds = time.perf_counter() - began
                # Another answer that has come meanwhile is computed in the same step.
                if not runtime.rewind(sequence, start) or not runtime.turns.alone:
                    return None
                taken = min(taken, seconds)
                if repeat and seconds > LONG_S:
                    break
            best.append(taken * 1000)
            if best[0] < LEAST_MS:
                return best * len(SIZES)  # nothing will be guessed
        return best
    except (ContextFullError, BackendError):
        return None
    finally:
        runtime.release(sequence)


def _path() -> Path:
    return measured.file_of("step-costs.json")


def _key(runtime: Runtime, *, has_picture: bool) -> str:
    devices = [device.name for device in runtime.chosen.devices] if runtime.gpu_layers else []
    pair = (runtime.text_header.n_bytes, runtime.mmproj_header.n_bytes, runtime.f32_cache)
    machine = (runtime.chosen.cpu.description, runtime.n_threads, runtime.vision.device.name)
    offload = (runtime.gpu_layers, devices, runtime.settings.rpc)
    return measured.key_of(runtime.identity, *pair, *machine, *offload, has_picture, SIZES)


def _is_usable(values: object) -> bool:
    """Whether they are as they were written."""
    return (
        isinstance(values, list)
        and len(values) == len(SIZES)
        and all(isinstance(value, float | int) and 0 < value < 1e9 for value in values)
    )
