"""Vision tokens, cross keys and values, and prompt logits equal the oracle's golden files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llavao1_edge import Engine
from llavao1_edge.images import open_picture, tile_picture
from tests.configurations import (
    CONFIGURATIONS,
    QUESTION,
    grids,
    ids,
    picture_for,
    two_turns,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "models.npz"

# Largest difference over the largest value. F32 is the promise; what it costs to round weights is
# measured on these random models, which are harsher than trained ones: F16 rounds weights *and*
# activations to 11 bits (2**-11 = 5e-4 each, over about 20 layers), Q8_0 weights to 1/254 of a
# block's largest, and activations likewise.
TOLERANCE = {"F32": 1e-4, "F16": 1e-2, "BF16": 5e-2, "Q8_0": 6e-2}


@cache
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


def difference(ours: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    assert ours.shape == wanted.shape
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


def picture_grids(name: str) -> list[tuple[int, int]]:
    tiny = CONFIGURATIONS[name]
    return [grid for grid in grids(tiny) if f"{name}/{grid[0]}x{grid[1]}/logits" in golden()]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_picture_logits(name: str, open_tiny: Callable[..., Engine]) -> None:
    tiny, engine = CONFIGURATIONS[name], open_tiny(name)
    for rows, columns in picture_grids(name):
        picture = open_picture(picture_for(tiny, rows, columns))
        ours = engine.prompt_logits(picture, QUESTION)
        assert ours.tokens == ids(tiny, QUESTION, picture=True)
        wanted = golden()[f"{name}/{rows}x{columns}/logits"]
        assert difference(ours.logits, wanted) < TOLERANCE["F32"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_conversation_logits(name: str, open_tiny: Callable[..., Engine]) -> None:
    tiny, engine = CONFIGURATIONS[name], open_tiny(name)
    picture = open_picture(picture_for(tiny, *grids(tiny)[-1]))
    seen = engine.prompt_logits(picture, two_turns(tiny, picture=True))
    assert difference(seen.logits, golden()[f"{name}/turns/logits"]) < TOLERANCE["F32"]
    blind = engine.prompt_logits(None, two_turns(tiny, picture=False))
    assert difference(blind.logits, golden()[f"{name}/text/logits"]) < TOLERANCE["F32"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_vision_and_cross_states(name: str, open_tiny: Callable[..., Engine]) -> None:
    tiny, engine = CONFIGURATIONS[name], open_tiny(name)
    runtime = engine.runtime
    for rows, columns in picture_grids(name):
        key = f"{name}/{rows}x{columns}"
        tiled = tile_picture(picture_for(tiny, rows, columns), rules=runtime.shape.tiling)
        vision = runtime.tower.encode(tiled)
        states = runtime.layers.states(vision, n_tiles=tiled.n_tiles, f32=True)
        seen = vision.tokens.read_f32()[0, 0]
        keys = states.keys[-1].read_f32()[0]
        values = states.values[-1].read_f32()[0].swapaxes(1, 2)
        vision.close()
        states.close()
        assert difference(seen, golden()[f"{key}/vision"]) < TOLERANCE["F32"]
        assert difference(keys, golden()[f"{key}/keys"]) < TOLERANCE["F32"]
        assert difference(values, golden()[f"{key}/values"]) < TOLERANCE["F32"]


@pytest.mark.parametrize("quantisation", ["F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("name", ["base", "tile-84", "groups-of-three"])
def test_rounded_weights(name: str, quantisation: str, open_tiny: Callable[..., Engine]) -> None:
    tiny, engine = CONFIGURATIONS[name], open_tiny(name, quantisation)
    rows, columns = picture_grids(name)[-1]
    ours = engine.prompt_logits(open_picture(picture_for(tiny, rows, columns)), QUESTION)
    error = difference(ours.logits, golden()[f"{name}/{rows}x{columns}/logits"])
    assert error < TOLERANCE[quantisation]


@pytest.mark.parametrize("batch", [8, 13, 64])
def test_small_batches_change_nothing(batch: int, open_tiny: Callable[..., Engine]) -> None:
    tiny = CONFIGURATIONS["base"]
    engine = open_tiny(batch=batch)
    ours = engine.prompt_logits(
        open_picture(picture_for(tiny, 2, 2)), two_turns(tiny, picture=True)
    )
    wanted = open_tiny().prompt_logits(open_picture(picture_for(tiny, 2, 2)), ours.tokens)
    assert difference(ours.logits, wanted.logits) < 1e-5


def test_fused_attention_equals_the_blocks(open_tiny: Callable[..., Engine]) -> None:
    from llavao1_edge.mllama.vision import Attention, VisionTower

    runtime = open_tiny().runtime
    tiled = tile_picture(picture_for(CONFIGURATIONS["base"], 1, 2), rules=runtime.shape.tiling)
    wanted = golden()["base/1x2/vision"]
    for attention, tolerance in ((Attention(True, False), 1e-4), (Attention(True, True), 1e-2)):
        tower = VisionTower(runtime.shape, runtime.weights, runtime.backend, attention=attention)
        vision = tower.encode(tiled)
        seen = vision.tokens.read_f32()[0, 0]
        vision.close()
        assert difference(seen, wanted) < tolerance


def test_blocks_of_rows_change_nothing(
    open_tiny: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.mllama import vision as module

    monkeypatch.setattr(module, "SCORE_BYTES", 1)
    runtime = open_tiny().runtime
    tiled = tile_picture(picture_for(CONFIGURATIONS["base"], 2, 1), rules=runtime.shape.tiling)
    vision = runtime.tower.encode(tiled)
    seen = vision.tokens.read_f32()[0, 0]
    vision.close()
    assert difference(seen, golden()["base/2x1/vision"]) < TOLERANCE["F32"]
