"""Finds the two files of a model by what people call it. Opens nothing."""

from __future__ import annotations

import os
from pathlib import Path


def model_paths(model: str, mmproj: str | None = None) -> tuple[Path, Path]:
    """Text and mmproj file of `demo`, of a path, or of a name in the model store.

    Raises UsageError, ModelFileError.
    """
    from llavao1_edge.engine import resolve_pair

    path = Path(os.path.expanduser(model))  # noqa: PTH111 (leaves an unknown ~user as it is)
    named = path.suffix != ".gguf" and not path.exists() and path.name == model
    if model == "demo" or mmproj is not None or not named:
        return resolve_pair("demo" if model == "demo" else path, text=None, mmproj=mmproj)
    from llavao1_edge.store.catalogue import Store

    store = Store()
    return store.files(store.find(model))
