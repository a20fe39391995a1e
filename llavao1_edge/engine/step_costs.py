"""What a step of 1 to 16 rows costs on this machine, measured once for a pair and kept on disk.

It decides how many tokens are worth guessing. It is kept because a seed shall give the same tokens
tomorrow: the number of rows that are computed together can move the last bits of logits.
"""

from __future__ import annotations

import itertools
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llavao1_edge import measured
from llavao1_edge.engine.branches import BranchCache
from llavao1_edge.engine.draft_model import DraftModel
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.sizes import MOST_ROWS
from llavao1_edge.errors import BackendError, Cancelled, ContextFullError
from llavao1_edge.llama.context import Row
from llavao1_edge.search import Told, Work, tell_nobody
from llavao1_edge.vision import Stop

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
        key = _key(runtime, has_picture)
        found = _kept(key, lambda: _of_model(cache, sequence, start))
        if found is None:
            return None
        runtime.step_costs[has_picture] = found
    return StepCosts(runtime.step_costs[has_picture])


def draft_costs(runtime: Runtime, draft: DraftModel, *, stop: Stop) -> StepCosts | None:
    """The same of the draft model, in an empty context. Raises Cancelled."""
    if draft.costs is None:
        key = _key(runtime, draft.header.n_bytes, draft.n_gpu_layers)
        draft.costs = _kept(key, lambda: _of_draft(draft, stop))
    return None if draft.costs is None else StepCosts(draft.costs)


def _kept(key: str, measure: Callable[[], list[float] | None]) -> list[float] | None:
    path = _path()
    found: Any = measured.read(path).get(key)
    if _is_usable(found):
        return list(found)
    taken = measure()
    if taken is not None:
        taken = [round(value, 4) for value in taken]
        measured.keep(path, key, taken)
    return taken


def _of_model(cache: BranchCache, source: int, start: int) -> list[float] | None:
    runtime = cache.runtime
    roomy = runtime.n_free_sequences and runtime.context.n_batch >= MOST_ROWS
    if not roomy or not runtime.turns.alone:
        return None
    sequence = runtime.take_sequence()
    token = runtime.model.begins_with or 0

    def step(n: int) -> float | None:
        rows = [Row(token, start + i, sequence, output=True) for i in range(n)]
        began = time.perf_counter()
        runtime.step(rows, cache.sight, stop=cache.stop)
        seconds = time.perf_counter() - began
        # Another answer that has come meanwhile is computed in the same step.
        undone = runtime.rewind(sequence, start) and runtime.turns.alone
        return seconds if undone else None

    try:
        runtime.context.fork(source, sequence)
        return _timed(step, least=LEAST_MS, stop=cache.stop, told=cache.told)
    except (ContextFullError, BackendError):
        return None
    finally:
        runtime.release(sequence)


def _of_draft(draft: DraftModel, stop: Stop) -> list[float] | None:
    sequence = draft.take() if draft.n_batch >= MOST_ROWS else None
    if sequence is None:
        return None
    token = draft.model.begins_with or 0

    def step(n: int) -> float:
        rows = [Row(token, i, sequence, output=True) for i in range(n)]
        began = time.perf_counter()
        draft.decode(rows, stop=stop)
        seconds = time.perf_counter() - began
        draft.rewind(sequence, 0)
        return seconds

    try:
        return _timed(step, least=0.0, stop=stop)
    except (ContextFullError, BackendError):
        return None
    finally:
        draft.release(sequence)


def _timed(
    step: Callable[[int], float | None], *, least: float, stop: Stop, told: Told = tell_nobody
) -> list[float] | None:
    """Milliseconds of `SIZES`. step: the seconds that so many rows take, None where that cannot be
    told now. Where one row takes less than `least`, the others are not asked for."""
    best = []
    for position, n in enumerate(SIZES):
        told(Work.PROMPT, position / len(SIZES))
        taken = math.inf
        for repeat in range(1 + REPEATS):  # the first one makes what is needed for this size
            if stop():
                raise Cancelled("stopped")
            seconds = step(n)
            if seconds is None:
                return None
            taken = min(taken, seconds)
            if repeat and seconds > LONG_S:
                break
        best.append(taken * 1000)
        if best[0] < least:
            return best * len(SIZES)  # nothing will be guessed
    return best


def _path() -> Path:
    return measured.file_of("step-costs.json")


def _key(runtime: Runtime, *of: object) -> str:
    devices = [device.name for device in runtime.chosen.devices] if runtime.gpu_layers else []
    pair = (runtime.text_header.n_bytes, runtime.mmproj_header.n_bytes, runtime.f32_cache)
    machine = (runtime.chosen.cpu.description, runtime.n_threads, runtime.vision.device.name)
    offload = (runtime.gpu_layers, devices, runtime.settings.rpc)
    return measured.key_of(runtime.identity, *pair, *machine, *offload, *of, SIZES)


def _is_usable(values: object) -> bool:
    """Whether they are as they were written."""
    return (
        isinstance(values, list)
        and len(values) == len(SIZES)
        and all(isinstance(value, float | int) and 0 < value < 1e9 for value in values)
    )
