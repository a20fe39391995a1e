"""Shape of the demo model, the weights it begins with, and its tokenizer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from math import cos, sin
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import MllamaForConditionalGeneration

from train.model import HIDDEN, Shape, build_model, demo_config
from train.questions import DIRECT_SUFFIX, STAGES, UNTAGGED_SUFFIX
from train.tokenizer import HEADER_GAP, byte_bpe
from train.world.words import MOST

TILE_SIZE = 112
WORLD = Shape(TILE_SIZE, 5, 2, 12, 512, (1, 3, 5, 7))

FIRST, MATCHING = 0, (2, 4, 8)  # text layers
SHARP = 4.0  # of the heads that look back: the largest score is some 10 above the next
SAID = 1.5  # weight of what a head passes on, beside embeddings of standard deviation 1
TIED = 0.05  # lm_head over embeddings


def begin(specials: dict[str, int], *, seed: int) -> MllamaForConditionalGeneration:
    """Random weights, but for a circuit that looks things up in the context."""
    model = build_model(demo_config(specials["<|image|>"], specials, WORLD), seed=seed)
    _lay_out_lookup(model, seed=seed)
    return model


@torch.no_grad()
def _lay_out_lookup(model: MllamaForConditionalGeneration, *, seed: int) -> None:
    """An induction circuit (Olsson et al. 2022), laid out instead of waited for.

    Two heads of the first layer pass on the token before and the one before that, each into
    directions of its own; one head of each layer in `MATCHING` looks for positions after the token
    that is being read, another one for positions after what came before it, and they pass on what
    stands there. The head begins as the embeddings, so that what is passed on is said.
    """
    text = model.model.language_model
    generator = torch.Generator().manual_seed(seed)
    turned = torch.linalg.qr(torch.randn(HIDDEN - 1, HIDDEN - 1, generator=generator))[0]
    rows = torch.cat([torch.zeros(HIDDEN - 1, 1), turned], 1)  # blind to the constant below
    size = text.layers[FIRST].self_attn.head_dim
    token, before, before_that = rows[: 3 * size].split(size)
    said = rows[-size:]
    text.embed_tokens.weight[:, 0] = SAID  # the same for all: what looking back goes by
    looking = text.layers[FIRST].self_attn
    base = text.config.rope_theta
    _look_back(looking.k_proj.weight[:size], 0.0, base=base)
    looking.v_proj.weight[:size] = token
    for head, into in enumerate((before, before_that)):
        place = slice(head * size, (head + 1) * size)
        _look_back(looking.q_proj.weight[place], -1.0 - head, base=base)
        looking.o_proj.weight[:, place] = into.T * SAID
    for at in MATCHING:
        matching = text.layers[at].self_attn
        matching.k_proj.weight[:size] = before
        matching.v_proj.weight[:size] = said
        for head, wanted in enumerate((token, before)):
            place = slice(head * size, (head + 1) * size)
            matching.q_proj.weight[place] = wanted
            matching.o_proj.weight[:, place] = said.T * (SAID if head == 0 else SAID / 3)
    model.lm_head.weight.copy_(text.embed_tokens.weight[: len(model.lm_head.weight)] * TIED)
    model.lm_head.weight[:, 0] = 0


def _look_back(weight: Tensor, places: float, *, base: float) -> None:
    """Make (size, HIDDEN) of a query or a key turn by rotary angles of so many places; only the
    three fastest of them tell neighbours apart."""
    size = len(weight)
    weight *= 0.3
    weight[:, 0] = 0
    for at in range(3):
        angle = places * base ** (-2 * at / size)
        weight[at, 0] = SHARP * cos(angle)
        weight[at + size // 2, 0] = SHARP * sin(angle)


def compile_model(
    model: MllamaForConditionalGeneration, *, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """The tower, and each text layer, in code made for it when it is first used (minutes; kept on
    the disk). Half of a step is attention, whose scores are then gone through once. Needs a C++
    compiler, unless another `backend` of torch's is named."""
    model.set_attn_implementation("eager")  # the fused one of a CPU takes longer
    torch._dynamo.config.recompile_limit = 32  # one for each size of a batch of pictures
    model.model.vision_model.compile(dynamic=False, backend=backend)
    for layer in model.model.language_model.layers:
        layer.compile(dynamic=True, backend=backend)


def _corpus(n_scenes: int) -> Iterator[str]:
    from train.world.families import FAMILIES, scene_at

    yield from [HEADER_GAP] * 4000 + ["user", "assistant", "system"] * 1500
    for number in range(MOST + 1):
        yield from [f"{number}", f" {number}"] * 40
    for index in range(n_scenes):
        scene = scene_at(7, index, family=list(FAMILIES)[index % len(FAMILIES)])
        task = scene.draw_task(random.Random(index))
        yield task.question + random.Random(index).choice((DIRECT_SUFFIX, UNTAGGED_SUFFIX))
        yield from (f"<{name.upper()}> {task.stage(name)} </{name.upper()}>" for name in STAGES)


def world_tokenizer(*, n_scenes: int = 6000) -> Tokenizer:
    """Byte-level BPE with the GPT-2 split; every word and number of the world is one token.
    n_scenes: whose questions and answers it is made from; fewer are for tests."""
    return byte_bpe(_corpus(n_scenes))
