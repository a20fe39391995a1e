"""Writes the golden files from the oracle. Needs torch 2.13.0 and transformers 4.54.1.

    python -m tests.golden.make_golden

preprocessing.json: hashes of the pixel arrays of 240 pictures of many sizes and modes.
models.npz: vision tokens, cross keys and values, and prompt logits of the tiny configurations.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from tests.configurations import (
    CONFIGURATIONS,
    QUESTION,
    grids,
    ids,
    padded_picture,
    picture_for,
    two_turns,
)
from tests.golden.pictures import preprocessing_cases
from tests.oracle import Oracle, available
from tests.tiny import save

FOLDER = Path(__file__).parent


def main() -> None:
    problem = available()
    if problem:
        raise SystemExit(problem)
    write_preprocessing()
    write_models()


def write_preprocessing() -> None:
    import transformers
    from transformers import MllamaImageProcessor

    rows = []
    for case in preprocessing_cases():
        processor = MllamaImageProcessor(
            size={"height": case.tile_size, "width": case.tile_size},
            max_image_tiles=case.max_tiles,
            image_mean=list(case.rules.mean),
            image_std=list(case.rules.std),
        )
        features = processor(images=case.image(), return_tensors="np")
        pixels = np.ascontiguousarray(features["pixel_values"][0, 0])
        rows.append(
            {
                "case": case.name,
                "aspect_ratio_id": int(features["aspect_ratio_ids"][0, 0]),
                "n_tiles": int(features["num_tiles"][0][0]),
                "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
            }
        )
    import PIL

    content = {
        "oracle": f"transformers {transformers.__version__}, Pillow {PIL.__version__}",
        "cases": rows,
    }
    (FOLDER / "preprocessing.json").write_text(json.dumps(content, indent=1) + "\n")


def write_models() -> None:
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, tiny in CONFIGURATIONS.items():
            oracle = Oracle.load(save(tiny, Path(folder) / name))
            chosen = grids(tiny) if name == "base" else [grids(tiny)[0], grids(tiny)[-1]]
            pictures = {f"{r}x{c}": picture_for(tiny, r, c) for r, c in chosen}
            pictures["padded"] = padded_picture(tiny)
            for label, image in pictures.items():
                key = f"{name}/{label}"
                vision = oracle.vision_tokens(image)
                arrays[f"{key}/vision"] = vision
                keys, values = oracle.cross_keys_values(vision, tiny.cross[-1])
                arrays[f"{key}/keys"], arrays[f"{key}/values"] = keys, values
                tokens = ids(tiny, QUESTION, picture=True)
                arrays[f"{key}/logits"] = oracle.logits(tokens, image)
            arrays[f"{name}/text/logits"] = oracle.logits(two_turns(tiny, picture=False), None)
            image = picture_for(tiny, *grids(tiny)[-1])
            tokens = two_turns(tiny, picture=True)
            arrays[f"{name}/turns/logits"] = oracle.logits(tokens, image)
    np.savez_compressed(FOLDER / "models.npz", **arrays)


if __name__ == "__main__":
    main()
