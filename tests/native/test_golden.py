"""Vision tokens, cross keys and values, and prompt logits equal the oracle's golden files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from llavao1_edge import Engine
from llavao1_edge.images import (
    TilingRules,
    arrangements,
    choose_canvas,
    open_picture,
    tile_picture,
)
from tests.configurations import (
    CONFIGURATIONS,
    QUESTION,
    grids,
    ids,
    padded_picture,
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


def pictures(name: str) -> dict[str, Image.Image]:
    """The pictures of a configuration that have golden values, by their label."""
    tiny = CONFIGURATIONS[name]
    made = {f"{r}x{c}": picture_for(tiny, r, c) for r, c in grids(tiny)}
    made["padded"] = padded_picture(tiny)
    return {label: image for label, image in made.items() if f"{name}/{label}/logits" in golden()}


def test_every_grid_of_tiles_has_golden_values() -> None:
    assert set(pictures("base")) == {*(f"{r}x{c}" for r, c in arrangements(4)), "padded"}
    for (rows, columns), label in ((grid, f"{grid[0]}x{grid[1]}") for grid in arrangements(4)):
        image = pictures("base")[label]
        rules = TilingRules(56, 4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        canvas = choose_canvas(image.height, image.width, rules=rules)
        assert (canvas.rows, canvas.columns) == (rows, columns)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_picture_logits(name: str, open_tiny: Callable[..., Engine]) -> None:
    tiny, engine = CONFIGURATIONS[name], open_tiny(name)
    for label, image in pictures(name).items():
        ours = engine.prompt_logits(open_picture(image), QUESTION)
        assert ours.tokens == ids(tiny, QUESTION, picture=True)
        wanted = golden()[f"{name}/{label}/logits"]
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
    runtime = open_tiny(name).runtime
    for label, image in pictures(name).items():
        key = f"{name}/{label}"
        tiled = tile_picture(image, rules=runtime.vision.shape.tiling)
        vision = runtime.vision.encoder.tower.encode(tiled)
        states = runtime.vision.encoder.layers.states(vision, n_tiles=tiled.n_tiles, f32=True)
        seen = vision.tokens.read_f32()[0, 0]
        n = states.n_tokens
        keys = states.keys[-1].read_f32()[0][:, :n]
        values = states.values[-1].read_f32()[0][..., :n].swapaxes(1, 2)
        vision.close()
        states.close()
        assert difference(seen, golden()[f"{key}/vision"]) < TOLERANCE["F32"]
        assert difference(keys, golden()[f"{key}/keys"]) < TOLERANCE["F32"]
        assert difference(values, golden()[f"{key}/values"]) < TOLERANCE["F32"]


@pytest.mark.parametrize("quantisation", ["F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("name", ["base", "tile-84", "groups-of-three"])
def test_rounded_weights(name: str, quantisation: str, open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny(name, quantisation)
    for label, image in pictures(name).items():
        ours = engine.prompt_logits(open_picture(image), QUESTION)
        error = difference(ours.logits, golden()[f"{name}/{label}/logits"])
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
    from llavao1_edge.mllama.arithmetic import BLAS, FUSED, Arithmetic
    from llavao1_edge.mllama.vision import VisionTower

    runtime = open_tiny().runtime
    tiled = tile_picture(
        picture_for(CONFIGURATIONS["base"], 1, 2), rules=runtime.vision.shape.tiling
    )
    wanted = golden()["base/1x2/vision"]
    forms = [(Arithmetic(FUSED), 1e-4), (Arithmetic(FUSED, f16_keys=True), 1e-2)]
    if not runtime.vision.encoder.on_gpu:  # numpy cannot reach a device's memory
        forms.append((Arithmetic(BLAS), 1e-4))
    for arithmetic, tolerance in forms:
        tower = VisionTower(
            runtime.vision.shape,
            runtime.vision.encoder.weights,
            runtime.vision.encoder.backend,
            arithmetic=arithmetic,
        )
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
    tiled = tile_picture(
        picture_for(CONFIGURATIONS["base"], 2, 1), rules=runtime.vision.shape.tiling
    )
    vision = runtime.vision.encoder.tower.encode(tiled)
    seen = vision.tokens.read_f32()[0, 0]
    vision.close()
    assert difference(seen, golden()["base/2x1/vision"]) < TOLERANCE["F32"]
