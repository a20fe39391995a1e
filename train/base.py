"""A base model for trying fine-tuning on: it sees, reads, describes and answers, without stages.

As Llama-3.2-Vision stands to LLaVA-CoT, so does this to a model that `train.finetune` makes of it.
The tower is that of the model of shapes, frozen; the text model starts from nothing.

    python -m train.base --out runs/base --minutes 30
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import MllamaForConditionalGeneration

from train.answers import States, descend, forward, loss_of, optimise, resume, save, schedule
from train.data import Tokens, Turn, Writer, batches, scene_at
from train.export import export_checkpoint
from train.model import build_model, demo_config
from train.questions import Task, caption_of, draw_task
from train.scene import COLOURS, SHAPES, SIZES, Scene
from train.tokenizer import train_tokenizer

TOWER = Path(__file__).parent / "checkpoint"
PICTURE_SEED = 21
READ_SEED = 23
DESCRIBE = "Describe the objects."
N_READ = 4
NAMES = ("size", "colour", "shape")


def draw_turns(rng: random.Random, index: int) -> list[Turn]:
    """Descriptions most of all: answers alone teach seeing slowly. And reading: a real base knows
    from its texts which words are the same."""
    luck = rng.random()
    if luck < 0.3:
        return reading(rng)
    scene = scene_at(PICTURE_SEED, index)
    if luck < 0.7:
        return [asked(DESCRIBE, caption_of(scene))]
    return [Turn(draw_task(rng, scene), "direct", announced=False)]


def reading(rng: random.Random) -> list[Turn]:
    """Questions about a text; the picture beside it is of other things."""
    scene = scene_at(READ_SEED, rng.randrange(1 << 20))
    asking = [fact_of(rng, scene) for _ in range(N_READ)]
    first, answer = asking[0]
    return [
        asked(f"Text: {caption_of(scene)} {first}", answer),
        *(asked(*one) for one in asking[1:]),
    ]


def fact_of(rng: random.Random, scene: Scene) -> tuple[str, str]:
    """A question that one look answers, and its answer."""
    number = rng.randrange(len(scene.things))
    at = rng.randrange(len(NAMES))
    value = scene.things[number].attributes[at]
    if rng.random() < 0.3:
        return f"What {NAMES[at]} is {number + 1}?", value
    other = rng.choice((SIZES, COLOURS, SHAPES)[at])
    word = value if rng.random() < 0.4 else other
    return f"Is {number + 1} {word}?", "yes" if word == value else "no"


def asked(question: str, answer: str) -> Turn:
    return Turn(Task("direct", question, "", "", "", answer), "direct", announced=False)


class Plain(Writer):
    """Answers without any tag: stages are what fine-tuning is to teach."""

    def answer(self, turn: Turn, *, caption_trained: bool) -> tuple[list[int], list[bool]]:  # noqa: ARG002
        ids = [*self.plain(turn.task.conclusion), self.special[self.end_text]]
        return ids, [True] * len(ids)


def stream(writer: Plain, *, n_pictures: int, seed: int) -> Iterator[tuple[int, Tokens]]:
    rng = random.Random(seed)
    while True:
        index = rng.randrange(n_pictures)
        yield index, writer.conversation(draw_turns(rng, index), picture=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    writer = Plain(tokenizer)
    model = build_model(demo_config(writer.special["<|image|>"], writer.special), seed=options.seed)
    teach_seeing(model)
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimisers = optimise(trained, 1.0)
    spent_before, step = resume(options.out, model, optimisers)
    states = States(model, PICTURE_SEED, options.pictures)
    pad = writer.special["<|finetune_right_pad_id|>"]
    made = batches(
        stream(writer, n_pictures=options.pictures, seed=options.seed + step),
        size=options.batch,
        pool=10,
        pad=pad,
    )
    started = time.monotonic()
    spent = saved = spent_before
    while (spent := spent_before + (time.monotonic() - started) / 60) < options.minutes:
        schedule(optimisers, progress=spent / options.minutes, step=step)
        batch = next(made)
        loss = loss_of(forward(model, batch, states), batch.targets)
        descend(model, loss, optimisers)
        step += 1
        if step % 100 == 0:
            print(f"{spent:6.2f} min  step {step:5d}  loss {loss.item():.4f}", flush=True)
        if spent - saved > 4:
            save(options.out, model, optimisers, spent, step)
            saved = spent
    save(options.out, model, optimisers, spent, step)
    export_checkpoint(model, tokenizer, options.out / "checkpoint")


def teach_seeing(model: MllamaForConditionalGeneration) -> None:
    """The tower and projector of the model of shapes, which are not trained any further."""
    shipped = MllamaForConditionalGeneration.from_pretrained(TOWER).float().state_dict()
    seeing = {k: v for k, v in shipped.items() if "vision_model" in k or "projector" in k}
    model.load_state_dict(seeing, strict=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in seeing)


if __name__ == "__main__":
    main()
