"""Live comparison with the oracle, wherever torch is installed (CI installs it)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llavao1_edge import Engine, Free, RuntimeSettings, SamplingSettings, demo
from llavao1_edge.images import open_picture, tile_picture
from tests.configurations import (
    CONFIGURATIONS,
    QUESTION,
    grids,
    ids,
    noise,
    picture_for,
    two_turns,
)
from tests.native.test_golden import TOLERANCE, difference
from tests.oracle import Oracle, available

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(bool(available()), reason=available()),
    # transformers' own warnings are not ours to fix
    pytest.mark.filterwarnings("ignore"),
]
CHECKPOINT = Path(__file__).parents[2] / "train/world/checkpoint"


@pytest.fixture(scope="module")
def oracle_of(checkpoint_of: Callable[[str], Path]) -> Callable[[str], Oracle]:
    return lambda name: Oracle.load(checkpoint_of(name))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_all_grids_with_and_without_picture(
    name: str, open_tiny: Callable[..., Engine], oracle_of: Callable[[str], Oracle]
) -> None:
    tiny, engine, oracle = CONFIGURATIONS[name], open_tiny(name), oracle_of(name)
    tokens = two_turns(tiny, picture=True)
    for rows, columns in grids(tiny):
        image = picture_for(tiny, rows, columns, seed=1)
        tiled = tile_picture(image, rules=engine.runtime.vision.shape.tiling)
        features = oracle.processor(images=image, return_tensors="np")
        assert np.array_equal(tiled.pixels, features["pixel_values"][0, 0])
        assert tiled.aspect_ratio_id == features["aspect_ratio_ids"][0, 0]
        ours = engine.prompt_logits(open_picture(image), tokens)
        assert difference(ours.logits, oracle.logits(tokens, image)) < TOLERANCE["F32"]
    blind = engine.prompt_logits(None, ids(tiny, QUESTION, picture=False))
    wanted = oracle.logits(blind.tokens, None)
    assert difference(blind.logits, wanted) < TOLERANCE["F32"]


def test_random_sizes(open_tiny: Callable[..., Engine], oracle_of: Callable[[str], Oracle]) -> None:
    engine, oracle = open_tiny("base"), oracle_of("base")
    rng = np.random.default_rng(3)
    for seed in range(12):
        height, width = (int(n) for n in rng.integers(1, 400, 2))
        image = noise(height, width, seed=seed)
        ours = engine.prompt_logits(open_picture(image), QUESTION)
        assert difference(ours.logits, oracle.logits(ours.tokens, image)) < TOLERANCE["F32"]


def test_the_prompt_is_what_the_processor_writes() -> None:
    """Token by token, with a tokenizer that merges (the demo's), one and two turns."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0)) as engine:
        picture = demo.samples()[0].picture
        for question in ("How many red circles are there?", " 5\n\nx<|eot_id|>é", "日本"):
            for seen in (True, False):
                parts = [{"type": "image"}] * seen + [{"type": "text", "text": question}]
                messages = [{"role": "user", "content": parts}]
                text = tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
                wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
                ours = engine.prompt_logits(picture if seen else None, question).tokens
                if "<|" not in question:  # the oracle lets a user inject special tokens, we do not
                    assert ours == wanted


@pytest.mark.parametrize("seen", [True, False])
def test_greedy_text_is_the_oracles_for_64_tokens(seen: bool) -> None:
    oracle = Oracle.load(CHECKPOINT)
    sampling = SamplingSettings(temperature=0, max_tokens=64)
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0)) as engine:
        for sample in demo.samples():
            picture = open_picture(sample.picture) if seen else None
            tokens = engine.prompt_logits(picture, sample.question).tokens
            wanted = oracle.greedy(tokens, picture.image if picture else None, 64)
            session = engine.session(picture)
            session.ask(sample.question, search=Free(), sampling=sampling)
            ours = session.conversation.history[len(tokens) :]
            stops = engine.runtime.stop_tokens
            assert ours == [token for token in wanted if token not in stops]
            assert len(ours) == 64 or wanted[-1] in stops


def test_demo_logits() -> None:
    oracle = Oracle.load(CHECKPOINT)
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0, cache="f32")) as engine:
        sample = demo.samples()[0]
        picture = open_picture(sample.picture)
        ours = engine.prompt_logits(picture, sample.question)
        wanted = oracle.logits(ours.tokens, picture.image)
        assert difference(ours.logits, wanted) < TOLERANCE["F16"]
        assert np.array_equal(ours.logits.argmax(-1), wanted.argmax(-1))
