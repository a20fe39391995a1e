"""Reading a picture at the true 11B size: ours against transformers, and what each step buys.

    python -m benchmarks.vision PAIR_TEXT.gguf --checkpoint FOLDER/source

Same machine, same threads, same weights (the checkpoint's, ours as stored in the pair). Whole
passes are timed for the final form and for transformers (float32 and bfloat16, its default
attention); the steps are timed over a few layers, which all cost the same, and multiplied.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import header
from llavao1_edge import RuntimeSettings
from llavao1_edge.contract.pair import read_pair
from llavao1_edge.engine.engine import resolve_pair
from llavao1_edge.ggml.backend import cpu_device
from llavao1_edge.images import TiledPicture, open_picture, tile_picture
from llavao1_edge.llama.log import route_logs
from llavao1_edge.mllama.arithmetic import BLAS, BLOCKS, FUSED, Arithmetic
from llavao1_edge.mllama.encoder import PictureEncoder
from llavao1_edge.mllama.shape import MllamaShape, read_shape
from llavao1_edge.mllama.vision import VisionTower

LAYERS = 4
SIZES = {1: (500, 500), 2: (1000, 500), 4: (1100, 1100)}


class _Enough(Exception):  # noqa: N818
    """A few layers were timed."""


def picture(shape: MllamaShape, tiles: int) -> TiledPicture:
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZES[tiles], 3), dtype=np.uint8)
    made = tile_picture(open_picture(Image.fromarray(pixels)).image, rules=shape.tiling)
    assert made.n_tiles == tiles
    return made


def layers_of(shape: MllamaShape) -> int:
    return shape.tensors.local_layers + shape.tensors.global_layers


def estimate(tower: VisionTower, tiled: TiledPicture, shape: MllamaShape) -> float:
    """Seconds of a pass, by its first layers."""
    marks: list[float] = []

    def mark(_: float) -> None:
        marks.append(time.perf_counter())
        if len(marks) > LAYERS:
            raise _Enough

    with contextlib.suppress(_Enough):
        tower.encode(tiled, checkpoint=mark)
    return float(np.median(np.diff(marks))) * layers_of(shape)


def whole(tower: VisionTower, tiled: TiledPicture) -> float:
    started = time.perf_counter()
    tower.encode(tiled).close()
    return time.perf_counter() - started


def references(checkpoint: Path, n_threads: int) -> dict[str, Callable[[TiledPicture], float]]:
    """Name → seconds of transformers' tower and projector for a picture."""
    import torch
    from safetensors import safe_open
    from transformers import MllamaConfig
    from transformers.models.mllama.modeling_mllama import MllamaVisionModel

    torch.set_num_threads(n_threads)
    config = MllamaConfig.from_pretrained(checkpoint)
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text(encoding="utf-8"))
    weights: dict[str, Any] = {}
    for name, shard in index["weight_map"].items():
        if name.startswith(("vision_model.", "multi_modal_projector.")):
            with safe_open(checkpoint / shard, "pt") as file:
                weights[name.removeprefix("vision_model.")] = file.get_tensor(name)
    projector = [weights.pop(f"multi_modal_projector.{leaf}") for leaf in ("weight", "bias")]

    def made(dtype: Any) -> Callable[[TiledPicture], float]:
        with torch.device("meta"):
            model = MllamaVisionModel(config.vision_config)
        model.load_state_dict({n: w.to(dtype) for n, w in weights.items()}, assign=True)
        last = [part.to(dtype) for part in projector]
        model.eval()

        def run(tiled: TiledPicture) -> float:
            mask = torch.zeros(1, 1, 4, dtype=torch.long)
            mask[..., : tiled.n_tiles] = 1
            pixels = torch.from_numpy(tiled.pixels)[None, None].to(dtype)
            started = time.perf_counter()
            with torch.no_grad():
                states = model(pixels, torch.tensor([[tiled.aspect_ratio_id]]), mask)[0]
                torch.nn.functional.linear(states.reshape(-1, states.shape[-1]), *last)
            return time.perf_counter() - started

        return run

    return {
        "transformers float32": made(torch.float32),
        "transformers bfloat16": made(torch.bfloat16),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    options = parser.parse_args()
    route_logs()
    n_threads = RuntimeSettings().n_threads
    _, mmproj = read_pair(*resolve_pair(None, text=options.text, mmproj=None))
    shape = read_shape(mmproj)
    tiled = {tiles: picture(shape, tiles) for tiles in SIZES}
    print(header("vision"), flush=True)
    with PictureEncoder(mmproj, shape, cpu_device(), n_threads=n_threads) as eyes:
        chosen = eyes.tower.arithmetic
        print(f"chosen on this machine: {chosen}\n\n| step | 1 tile | 4 tiles |\n|---|---|---|")
        steps = [
            ("blocks in ggml, weights as stored", Arithmetic(attention=BLOCKS), False),
            ("fused attention of ggml", Arithmetic(attention=FUSED), False),
            ("products in F32", Arithmetic(attention=BLOCKS, quantised="F32"), False),
            ("attention in BLAS", Arithmetic(attention=BLAS, quantised="F32"), False),
            ("products in BLAS", Arithmetic(attention=BLAS, linear=BLAS, quantised="F32"), False),
            ("empty tiles once", Arithmetic(attention=BLAS, linear=BLAS, quantised="F32"), True),
        ]
        for name, arithmetic, merge in steps:
            tower = VisionTower(
                shape, eyes.weights, eyes.backend, arithmetic=arithmetic, merge=merge
            )
            seconds = [estimate(tower, tiled[tiles], shape) for tiles in (1, 4)]
            print(f"| {name} | {seconds[0]:.0f} s | {seconds[1]:.0f} s |", flush=True)
        passes: dict[str, Callable[[TiledPicture], float]] = {
            "ours": lambda made: whole(eyes.tower, made)
        }
        if options.checkpoint:
            passes |= references(options.checkpoint, n_threads)
        print(f"\nWhole passes, in turns:\n\n| tiles | {' | '.join(passes)} |")
        print("|---|" + "---|" * len(passes), flush=True)
        for tiles, made in tiled.items():
            seconds = [one(made) for one in passes.values()]
            print(f"| {tiles} | {' | '.join(f'{s:.1f} s' for s in seconds)} |", flush=True)


if __name__ == "__main__":
    main()
