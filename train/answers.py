"""Phase 2: the text model learns to answer; first with the tower frozen, then all together.

While the tower is frozen, the projector's output of every training picture is computed once and
kept in float16, so a step costs the text model only. From `--joint-from` minutes on the pictures
go through the tower at every step, because captions of small shapes need a sharper eye. Questions
are made afresh at every visit. State is saved every few minutes; the same command resumes.

    python -m train.answers --out runs/demo --minutes 80
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import MllamaForConditionalGeneration

from train.data import (
    AnswerBatch,
    Tokens,
    Turn,
    Writer,
    batches,
    collate,
    render_batch,
    scene_at,
)
from train.model import build_model, demo_config, is_matrix, is_tower
from train.muon import Muon
from train.questions import KINDS, draw_task
from train.tokenizer import train_tokenizer
from train.tower import Heads, see

PICTURE_SEED, HELD_OUT_SEED = 21, 22
RATES = (0.003, 0.002)
SEEING_RATE = 0.5  # of the rates above, for the tower that already sees
PRACTICE, PRACTICE_WEIGHT = 32, 0.3  # pictures of phase 1 in every joint step
FRESH_STEPS = 120
Optimisers = tuple[torch.optim.Optimizer, ...]
# Reasoning about many things is where errors remain, so its kinds come more often.
KIND_WEIGHTS = {"count": 3, "exists": 2, "more": 3, "left": 3, "attribute": 2, "choice": 4}


def draw_turn(rng: random.Random, index: int, *, seed: int, formed: bool = True) -> Turn:
    kind = rng.choices(KINDS, weights=[KIND_WEIGHTS[kind] for kind in KINDS])[0]
    task = draw_task(rng, scene_at(seed, index), kind=kind)
    luck = rng.random()
    if formed and luck < 0.10:
        return Turn(task, "direct", announced=rng.random() < 0.5)
    if formed and luck < 0.14:
        return Turn(task, "untagged")
    return Turn(task)


def stream(
    writer: Writer, *, n_pictures: int, seed: int, picture: bool
) -> Iterator[tuple[int, Tokens]]:
    """Endless (picture index, sequence); one in eight is a conversation of two or three turns."""
    rng = random.Random(seed)
    while True:
        index = rng.randrange(n_pictures)
        turns = [draw_turn(rng, index, seed=PICTURE_SEED)]
        luck = rng.random()
        if luck < 0.12:
            turns += [draw_turn(rng, index, seed=PICTURE_SEED) for _ in range(1 + (luck < 0.03))]
        if not picture:
            # Without a picture only an answer that has the caption to go by makes sense.
            turns = [replace(turn, form="staged") for turn in turns[:1]]
        yield index, writer.conversation(turns, picture=picture)


class Eyes(Protocol):
    """Gives the cross-attention states (n, tokens, hidden) of pictures by their indices."""

    n_tiles: Tensor

    def __getitem__(self, rows: Tensor) -> Tensor: ...


class States:
    """Pictures encoded once by a frozen tower."""

    def __init__(self, model: MllamaForConditionalGeneration, seed: int, n: int) -> None:
        chunks: list[NDArray[np.float16]] = []
        tiles: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, n, 4096):
                pictures = render_batch(seed, range(start, min(n, start + 4096)))
                tiles.append(pictures.n_tiles)
                for rows in torch.arange(len(pictures)).split(128):
                    chunks.append(see(model, pictures.take(rows)).half().numpy())
        self._states = np.concatenate(chunks)
        self.n_tiles = torch.cat(tiles)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(self._states[rows.numpy()]).float().flatten(1, 2)


class LiveTower:
    """Pictures that go through the tower every time, with gradients."""

    def __init__(self, model: MllamaForConditionalGeneration, seed: int, n: int) -> None:
        self._model = model
        self._pictures = render_batch(seed, range(n))
        self.n_tiles = self._pictures.n_tiles
        self.heads = Heads()

    def __getitem__(self, rows: Tensor) -> Tensor:
        return see(self._model, self._pictures.take(rows)).flatten(1, 2)

    def practice(self, n: int, *, heads_only: bool) -> Tensor:
        """Phase 1's loss on `n` more pictures: captions alone sharpen the eye slowly.

        heads_only: fresh heads must not disturb a tower that already sees.
        """
        batch = self._pictures.take(torch.randint(len(self._pictures), (n,)))
        states = see(self._model, batch)
        return self.heads.loss(states.detach() if heads_only else states, batch)[0]


def forward(
    model: MllamaForConditionalGeneration, batch: AnswerBatch, states: Eyes | None
) -> Tensor:
    """Logits (n, length, vocabulary)."""
    if states is None:
        return logits_of(model, batch)
    return logits_of(model, batch, states[batch.pictures], states.n_tiles[batch.pictures])


def logits_of(
    model: MllamaForConditionalGeneration,
    batch: AnswerBatch,
    states: Tensor | None = None,
    n_tiles: Tensor | None = None,
) -> Tensor:
    """Logits (n, length, vocabulary). states: (n, tokens, hidden) of the batch's pictures and
    n_tiles (n,) of them, None for answers without a picture."""
    if states is None or n_tiles is None:
        return model(input_ids=batch.ids, use_cache=False).logits  # type: ignore[no-any-return]
    output = model(
        input_ids=batch.ids,
        cross_attention_states=states,
        cross_attention_mask=batch.cross_mask(n_tiles),
        use_cache=False,
    )
    return output.logits  # type: ignore[no-any-return]


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


@torch.no_grad()
def teacher_forced(
    model: MllamaForConditionalGeneration, writer: Writer, states: Eyes | None, n: int
) -> dict[str, float]:
    """Share of held-out answers whose stages are right token by token after the true prefix."""
    right: Counter[str] = Counter()
    rng = random.Random(5)
    for start in range(0, n, 64):
        turns = [
            draw_turn(rng, i, seed=HELD_OUT_SEED, formed=False) for i in range(start, start + 64)
        ]
        items = [
            (start + k, writer.conversation([turn], picture=states is not None))
            for k, turn in enumerate(turns)
        ]
        batch = collate(items, pad=0)
        logits = forward(model, batch, states)
        guess = logits[:, :-1].argmax(-1)
        wrong = (guess != batch.targets[:, 1:]) & (batch.targets[:, 1:] != -100)
        for row, (turn, (_, item)) in enumerate(zip(turns, items, strict=True)):
            spans = stage_spans(writer, item)
            for name, (low, high) in spans.items():
                right[name] += not bool(wrong[row, low - 1 : high - 1].any())
            whole = not bool(wrong[row].any())
            right["all"] += whole
            right[turn.task.kind] += whole
            right[f"n_{turn.task.kind}"] += 1
    scores = {name: right[name] / n for name in ("summary", "caption", "reasoning", "all")}
    return scores | {kind: right[kind] / max(1, right[f"n_{kind}"]) for kind in KINDS}


def stage_spans(writer: Writer, item: Tokens) -> dict[str, tuple[int, int]]:
    """Token range of each stage of a single-turn staged answer, tags included."""
    opening = [position for position, token in enumerate(item.ids) if token == writer.plain("<")[0]]
    bounds = [*opening[:4], len(item.ids)]
    names = ("summary", "caption", "reasoning", "conclusion")
    return {name: (bounds[i], bounds[i + 1]) for i, name in enumerate(names)}


def residual_scale(model: MllamaForConditionalGeneration, batch: AnswerBatch, states: Eyes) -> str:
    """Root mean square of the residual stream entering each layer (should stay below about 10)."""
    with torch.no_grad():
        hidden = model(
            input_ids=batch.ids,
            cross_attention_states=states[batch.pictures],
            cross_attention_mask=batch.cross_mask(states.n_tiles[batch.pictures]),
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
    return " ".join(f"{h.pow(2).mean().sqrt().item():.2f}" for h in hidden)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--joint-from", type=float, default=18)
    parser.add_argument("--pictures", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    tokenizer = train_tokenizer()
    writer = Writer(tokenizer)
    model = build_model(demo_config(writer.special["<|image|>"], writer.special), seed=options.seed)
    tower = torch.load(options.out / "tower.pt")
    kept = {k: v for k, v in tower.items() if is_tower(k)}
    model.load_state_dict(kept, strict=False)
    parts: dict[bool, list[tuple[str, nn.Parameter]]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parts[is_tower(name)].append((name, parameter))
    optimisers = (*optimise(parts[False], 1.0), *optimise(parts[True], SEEING_RATE))
    spent_before, step = resume(options.out, model, optimisers)
    joint = spent_before >= options.joint_from
    for _, parameter in parts[True]:
        parameter.requires_grad_(joint)
    held_out: Eyes = LiveTower(model, HELD_OUT_SEED, 512)
    states: Eyes = (LiveTower if joint else States)(model, PICTURE_SEED, options.pictures)
    if isinstance(states, LiveTower):
        optimisers = (*optimisers, torch.optim.AdamW(states.heads.parameters(), lr=RATES[1]))
    print(f"{'joint' if joint else 'frozen tower'}, {options.pictures} pictures", flush=True)
    pad = writer.special["<|finetune_right_pad_id|>"]
    make = {"n_pictures": options.pictures, "seed": options.seed + step}
    with_picture = batches(
        stream(writer, **make, picture=True), size=options.batch, pool=10, pad=pad
    )
    text_only = batches(stream(writer, **make, picture=False), size=options.batch, pool=10, pad=pad)
    started = time.monotonic()
    saved = spent = spent_before
    first_joint = step
    while (spent := spent_before + (time.monotonic() - started) / 60) < options.minutes:
        if not joint and spent >= options.joint_from:
            joint, first_joint = True, step
            for _, parameter in parts[True]:
                parameter.requires_grad_(True)
            states = LiveTower(model, PICTURE_SEED, options.pictures)
            optimisers = (*optimisers, torch.optim.AdamW(states.heads.parameters(), lr=RATES[1]))
            print(f"{spent:6.2f} min  joint from here on", flush=True)
        schedule(optimisers, progress=spent / options.minutes, step=step)
        without = step % 8 == 7
        batch = next(text_only if without else with_picture)
        loss = loss_of(forward(model, batch, None if without else states), batch.targets)
        if isinstance(states, LiveTower):
            fresh = step - first_joint < FRESH_STEPS
            loss = loss + PRACTICE_WEIGHT * states.practice(PRACTICE, heads_only=fresh)
        descend(model, loss, optimisers)
        step += 1
        if step == 100:
            print("residual rms per layer:", residual_scale(model, next(with_picture), states))
        if step % 250 == 0:
            scores = teacher_forced(model, writer, held_out, 256)
            text = " ".join(f"{name} {score:.3f}" for name, score in scores.items())
            print(f"{spent:6.2f} min  step {step:5d}  loss {loss.item():.4f}  {text}", flush=True)
        if spent - saved > 4:
            save(options.out, model, optimisers, spent, step)
            saved = spent
    save(options.out, model, optimisers, spent, step)
    export(options.out, model, tokenizer)


def descend(model: nn.Module, loss: Tensor, optimisers: Optimisers) -> None:
    """One step of all optimisers."""
    model.zero_grad(set_to_none=True)  # also what no optimiser moves now: it counts in the norm
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()


def optimise(
    named: list[tuple[str, nn.Parameter]],
    share: float = 1.0,
    *,
    decay: float = 0.1,
    more: Iterable[nn.Parameter] = (),
) -> Optimisers:
    """Muon for the matrices, with `decay`; AdamW for the rest and for `more`. At `share` of the
    usual rates."""
    return (
        Muon((p for n, p in named if is_matrix(n, p)), lr=RATES[0] * share, weight_decay=decay),
        torch.optim.AdamW(
            [*(p for n, p in named if not is_matrix(n, p)), *more],
            lr=RATES[1] * share,
            betas=(0.9, 0.98),
            weight_decay=0.0,
        ),
    )


def schedule(optimisers: Optimisers, *, progress: float, step: int) -> None:
    """Short warm-up, constant, then linear to zero over the last 40 % of the time."""
    factor = min(1.0, (step + 1) / 100) * min(1.0, max(0.01, (1 - progress) / 0.4))
    shares = (1.0, 1.0, SEEING_RATE, SEEING_RATE)
    for optimiser, rate, share in zip(optimisers, RATES * 2, shares, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = rate * share * factor


def save(
    folder: Path,
    model: MllamaForConditionalGeneration,
    optimisers: Optimisers,
    spent: float,
    step: int,
) -> None:
    state = {
        "model": model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "spent": spent,
        "step": step,
    }
    torch.save(state, folder / "answers.tmp")
    (folder / "answers.tmp").replace(folder / "answers.pt")


def resume(
    folder: Path,
    model: MllamaForConditionalGeneration,
    optimisers: Optimisers,
) -> tuple[float, int]:
    path = folder / "answers.pt"
    if not path.exists():
        return 0.0, 0
    state = torch.load(path)
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=False):
        optimiser.load_state_dict(saved)
    print(f"resumed at step {state['step']}, {state['spent']:.1f} min", flush=True)
    return state["spent"], state["step"]


def export(folder: Path, model: MllamaForConditionalGeneration, tokenizer: object) -> None:
    """The Hugging Face checkpoint folder that the converter reads."""
    from train.export import export_checkpoint

    export_checkpoint(model, tokenizer, folder / "checkpoint")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
