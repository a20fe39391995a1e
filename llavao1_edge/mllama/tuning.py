"""How this machine computes pictures fastest: measured once, then kept in the cache folder.

Kept, because the same seed must give the same answer tomorrow: a race that is close could end
otherwise each time. The file may be deleted at any moment; it is measured again then.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llavao1_edge.files import write_whole
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
    known = _read(path)
    if key in known:
        with contextlib.suppress(TypeError):
            return Arithmetic(**known[key])
    found = measure(backend, shape, quantised)
    _write(path, {**known, key: asdict(found)})
    return found


def _path() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("llavao1-edge", appauthor=False)) / "tuning.json"


def _key(backend: Backend, shape: MllamaShape, quantised: StorageType | None) -> str:
    versions = [importlib.metadata.version(name) for name in ("llama-cpp-python", "numpy")]
    parts = [VERSION, platform.machine(), backend.device.description, backend.n_threads, *versions]
    parts += [shape.width, shape.vision_heads, quantised.name if quantised else "plain"]
    return " | ".join(map(str, parts))


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, dict[str, Any]]) -> None:
    """A cache: where it cannot be written, it is measured again next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(known, indent=1))
