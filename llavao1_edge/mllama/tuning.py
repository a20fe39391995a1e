"""How this machine computes pictures fastest: measured once, then kept in the cache folder."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import asdict
from pathlib import Path

from llavao1_edge import measured
from llavao1_edge.ggml.backend import Backend
from llavao1_edge.ggml.types import F32, PLAIN, StorageType
from llavao1_edge.mllama.arithmetic import Arithmetic, measure, simple, worth_measuring
from llavao1_edge.mllama.shape import MllamaShape

VERSION = 2


def tuned(backend: Backend, shape: MllamaShape, kind: StorageType) -> Arithmetic:
    """The arithmetic for this processor and this model. kind: the vision weights' type."""
    if not worth_measuring(backend, shape):
        return simple(backend, shape, exact=kind is F32)
    quantised = None if kind in PLAIN else kind
    path, key = _path(), _key(backend, shape, quantised)
    known = measured.read(path)
    if key in known:
        with contextlib.suppress(TypeError):
            return Arithmetic(**known[key])
    found = measure(backend, shape, quantised)
    measured.keep(path, key, asdict(found))
    return found


def _path() -> Path:
    return measured.file_of("tuning.json")


def _key(backend: Backend, shape: MllamaShape, quantised: StorageType | None) -> str:
    machine = (VERSION, platform.machine(), backend.device.description, backend.n_threads)
    model = (shape.width, shape.vision_heads, quantised.name if quantised else "plain")
    return measured.key_of(*machine, *model)
