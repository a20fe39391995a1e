"""What a step learns from: a function of the seed, the phase and the number of the step; verdicts
also of the pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from train.data import AnswerBatch, Tokens, Turn, Writer, collate
from train.world.judge import Pair, written
from train.world.pool import Pool

BLOCK = 10  # batches of similar lengths are cut from one drawing
Draw = Callable[[random.Random], tuple[int, Tokens]]
"""One sequence with its picture's number."""


def draw_turns(rng: random.Random, pool: Pool, index: int, *, alone: bool) -> list[Turn]:
    tasks = pool.tasks(index)
    luck = rng.random()
    n = 1 if alone or luck > 0.12 else 2 + (luck < 0.03)
    turns = []
    for task in rng.sample(tasks, n):
        form = rng.random()
        if alone or form >= 0.14:
            turns.append(Turn(task))
        elif form < 0.10:
            turns.append(Turn(task, "direct", announced=rng.random() < 0.5))
        else:
            turns.append(Turn(task, "untagged"))
    return turns


def block_of(draw: Draw, *, seed: str, size: int, n: int, pad: int) -> list[AnswerBatch]:
    """`n` batches of similar lengths, the same ones for the same seed."""
    rng = random.Random(seed)
    items = [draw(rng) for _ in range(size * n)]
    items.sort(key=lambda item: len(item[1].ids))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    rng.shuffle(chunks)
    return [collate(chunk, pad=pad) for chunk in chunks]


class Batches:
    """Batches of a run with `seed`, by phase and number of the step."""

    def __init__(self, writer: Writer, pool: Pool, *, seed: int) -> None:
        self._writer, self._pool, self._seed = writer, pool, seed
        self._held: dict[tuple[str, int, bool | str], list[AnswerBatch]] = {}

    def answers(self, phase: str, step: int, *, picture: bool, size: int) -> AnswerBatch:
        """About pictures, or with nothing but the true caption to go by."""

        def draw(rng: random.Random) -> tuple[int, Tokens]:
            index = rng.randrange(len(self._pool))
            turns = draw_turns(rng, self._pool, index, alone=not picture)
            return index, self._writer.conversation(turns, picture=picture)

        return self._at(phase, step, picture, draw, size)

    def verdicts(self, phase: str, step: int, pairs: Sequence[Pair], *, size: int) -> AnswerBatch:
        """Comparisons of `pairs`, in either order."""

        def draw(rng: random.Random) -> tuple[int, Tokens]:
            pair = rng.choice(pairs)
            return pair.index, written(self._writer, pair, swapped=rng.random() < 0.5)

        return self._at(phase, step, "verdicts", draw, size)

    def _at(self, phase: str, step: int, what: bool | str, draw: Draw, size: int) -> AnswerBatch:
        block, at = divmod(step // 2, BLOCK)  # steps with and without pictures take turns
        key = (phase, block, what)
        if key not in self._held:
            self._held = {k: v for k, v in self._held.items() if k[1] == block}
            pad = self._writer.special["<|finetune_right_pad_id|>"]
            seed = f"{self._seed}-{key}"
            self._held[key] = block_of(draw, seed=seed, size=size, n=BLOCK, pad=pad)
        return self._held[key][at]
