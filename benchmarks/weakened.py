"""The model of shapes with noise in its weights: one that errs often enough for a search to matter.

As it is (`train/checkpoint`, noise 0) it is right so often, and so sure of itself, that there is
next to nothing to repair. Noise of a share of each text matrix's own spread makes it unsure and
wrong, as a young or a coarsely quantised model is; its eyes stay as they are. The same share and
seed give the same files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from train.pairs import convert

CHECKPOINT = Path(__file__).parent.parent / "train" / "checkpoint"


def weakened_checkpoint(folder: Path, *, noise: float, seed: int = 1) -> Path:
    """Its checkpoint with `noise` (share of a matrix's own deviation) in its text half."""
    shutil.copytree(CHECKPOINT, folder, dirs_exist_ok=True)
    rng = np.random.default_rng(seed)
    weights = load_file(CHECKPOINT / "model.safetensors")
    for key in sorted(weights):
        values = weights[key].astype(np.float32)
        if values.ndim == 2 and "language_model" in key and "embed" not in key:
            values += rng.normal(0, noise * values.std(), values.shape).astype(np.float32)
            weights[key] = values.astype(np.float16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def weakened(folder: Path, *, noise: float, seed: int = 1) -> tuple[Path, Path]:
    """Text and mmproj file of such a checkpoint."""
    name = f"Weakened-{noise:g}-{seed}"
    text, mmproj = folder / f"{name}-F16.gguf", folder / f"mmproj-{name}-F16.gguf"
    if text.exists() and mmproj.exists():
        return text, mmproj
    source = weakened_checkpoint(folder / "source", noise=noise, seed=seed)
    text, mmproj = convert(source, folder, name=name)
    shutil.rmtree(source)
    return text, mmproj
