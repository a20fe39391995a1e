"""Shape of the next demo model and its tokenizer."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import Tokenizer

from train.model import Shape
from train.questions import DIRECT_SUFFIX, STAGES, UNTAGGED_SUFFIX
from train.tokenizer import HEADER_GAP, byte_bpe
from train.world.words import MOST

TILE_SIZE = 112
WORLD = Shape(TILE_SIZE, 5, 2, 12, 512, (1, 3, 5, 7))


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
