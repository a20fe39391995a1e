"""A small model that llama.cpp runs itself, trained on shapes: Qwen2-VL, very small.

It exists so that the same search can be measured on a model without injection. Two phases in one
run: the tower learns to see from dense labels, then everything learns to answer.
State is saved every few minutes; the same command resumes.

    python -m train.native --out runs/native --see-minutes 10 --minutes 90
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from train.answers import draw_turn
from train.data import LABELS, N_CLASSES, Tokens, Writer, grid_labels, scene_at
from train.model import IMAGE_MEAN, IMAGE_STD
from train.muon import Muon
from train.scene import render
from train.tokenizer import train_tokenizer

PATCH, MERGE = 8, 2
CELL = PATCH * MERGE  # pixels that one token of the text model shows
MAX_TOKENS = 64  # of a picture
HIDDEN = 128
CONTEXT = 4096
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
            "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")  # fmt: skip
PICTURE_SEED, HELD_OUT_SEED = 41, 42
RATES = (0.003, 0.002)
PRACTICE, PRACTICE_WEIGHT, SEEING_RATE = 16, 0.3, 0.5


def config(vocab: int, special: dict[str, int]) -> Qwen2VLConfig:
    return Qwen2VLConfig(
        vision_config={
            "depth": 4,
            "embed_dim": HIDDEN,
            "num_heads": 4,
            "mlp_ratio": 2,
            "hidden_size": HIDDEN,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "in_channels": 3,
        },
        text_config={
            "vocab_size": vocab,
            "hidden_size": HIDDEN,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 320,
            "max_position_embeddings": CONTEXT,
            "rope_theta": 10_000.0,
            "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": False,
            "rms_norm_eps": 1e-6,
            "eos_token_id": special["<|im_end|>"],
            "bos_token_id": special["<|endoftext|>"],
        },
        image_token_id=special["<|image_pad|>"],
        video_token_id=special["<|video_pad|>"],
        vision_start_token_id=special["<|vision_start|>"],
        vision_end_token_id=special["<|vision_end|>"],
        tie_word_embeddings=False,
    )


def build(tokenizer: Tokenizer, *, seed: int) -> Qwen2VLForConditionalGeneration:
    """Embeddings of standard deviation 1 and a small residual stream, as `train.model` found."""
    torch.manual_seed(seed)
    special = ChatmlWriter(tokenizer).special
    model = Qwen2VLForConditionalGeneration(config(tokenizer.get_vocab_size(), special)).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_tokens" in name:
                parameter.normal_(std=1.0)
            elif "lm_head" in name:
                parameter.normal_(std=0.02)
            elif parameter.dim() >= 2:
                small = any(part in name for part in ("o_proj", "down_proj", "fc2", "attn.proj"))
                fan_in = parameter[0].numel()
                parameter.normal_(std=(0.4 if small else 1.0) * fan_in**-0.5)
            elif name.endswith("bias"):
                parameter.zero_()
    return model


class ChatmlWriter(Writer):
    """The ChatML form; a picture stands before the first question, as so many tokens."""

    end_text, image_text = "<|im_end|>", "<|image_pad|>"

    def prompt(self, question: str, *, picture: int, first: bool) -> list[int]:
        special = self.special
        ids = [] if first else [*self.plain("\n")]
        ids += [special["<|im_start|>"], *self.plain("user\n")]
        if picture and first:
            ids += [special["<|vision_start|>"], *[special["<|image_pad|>"]] * picture]
            ids += [special["<|vision_end|>"]]
        ids += [*self.plain(question), special["<|im_end|>"], *self.plain("\n")]
        return [*ids, special["<|im_start|>"], *self.plain("assistant\n")]


# --- pictures ------------------------------------------------------------------------------------


def fitted(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the picture that is looked at, as llama.cpp rounds and bounds it."""
    w, h = (max(CELL, round(side / CELL) * CELL) for side in (width, height))
    most = MAX_TOKENS * CELL * CELL
    if w * h > most:
        shrink = (width * height / most) ** 0.5
        w, h = (max(CELL, int(side / shrink / CELL) * CELL) for side in (width, height))
    return w, h


@dataclass(frozen=True)
class Seen:
    """pixels: uint8 (height, width, 3); labels: int8 (rows, columns, 5) of the tokens."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int8]

    @property
    def grid(self) -> tuple[int, int]:
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def n_tokens(self) -> int:
        return self.labels.shape[0] * self.labels.shape[1]


def picture_at(job: tuple[int, int]) -> Seen:
    scene = scene_at(*job)
    width, height = fitted(scene.width, scene.height)
    drawn = render(scene).resize((width, height), resample=3)
    labels = grid_labels(
        scene, width, height, rows=height // CELL, columns=width // CELL, cell=CELL
    )
    return Seen(np.asarray(drawn), labels)


def render_all(seed: int, n: int) -> list[Seen]:
    with multiprocessing.Pool(2) as pool:
        return pool.map(picture_at, [(seed, index) for index in range(n)], chunksize=64)


def patches(seen: Sequence[Seen]) -> tuple[Tensor, Tensor]:
    """(all patches, 3 × 2 × P × P) in the order of the merger, and (n, 3) grids of patches."""
    mean, std = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)
    rows: list[NDArray[np.float32]] = []
    grids = []
    for one in seen:
        values = ((one.pixels.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
        h, w = one.grid
        cut = values.reshape(3, h, MERGE, PATCH, w, MERGE, PATCH).transpose(1, 4, 2, 5, 0, 3, 6)
        flat = cut.reshape(-1, 3, 1, PATCH * PATCH).repeat(2, axis=2)  # one frame, shown twice
        rows.append(flat.reshape(len(flat), -1))
        grids.append((1, h * MERGE, w * MERGE))
    return torch.from_numpy(np.concatenate(rows)), torch.tensor(grids)


class Heads(nn.Module):
    """Linear read-outs of the tower's tokens, used in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Linear(HIDDEN, sum(N_CLASSES))

    def loss(self, states: Tensor, seen: Sequence[Seen]) -> tuple[Tensor, Tensor]:
        """(loss, share of object tokens with all five labels right)."""
        labels = torch.from_numpy(
            np.concatenate([one.labels.reshape(-1, len(LABELS)) for one in seen])
        ).long()
        total, right = torch.zeros(()), labels[:, 0] > 0
        for part, scores in enumerate(self.token(states).split(N_CLASSES, dim=-1)):
            total = total + cross_entropy(scores, labels[:, part])
            right = right & (scores.argmax(-1) == labels[:, part])
        return total, right.sum() / (labels[:, 0] > 0).sum()


# --- answers -------------------------------------------------------------------------------------


def stream(writer: ChatmlWriter, pictures: list[Seen], seed: int) -> Iterator[tuple[int, Tokens]]:
    """Endless (picture, sequence); one in eight is a conversation of two or three turns."""
    rng = random.Random(seed)
    while True:
        index = rng.randrange(len(pictures))
        luck = rng.random()
        n = 1 + (luck < 0.12) + (luck < 0.03)
        turns = [draw_turn(rng, index, seed=PICTURE_SEED) for _ in range(n)]
        yield index, writer.conversation(turns, picture=pictures[index].n_tokens)


def batches(items: Iterator[tuple[int, Tokens]], size: int) -> Iterator[list[tuple[int, Tokens]]]:
    while True:
        drawn = sorted((next(items) for _ in range(size * 10)), key=lambda item: len(item[1].ids))
        chunks = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        yield from chunks[::2] + chunks[1::2]


def logits_of(
    model: Qwen2VLForConditionalGeneration, items: Sequence[Tokens], seen: Sequence[Seen], pad: int
) -> tuple[Tensor, Tensor]:
    """Logits (n, length, vocabulary) and targets (n, length)."""
    length = max(len(item.ids) for item in items)
    ids = torch.full((len(items), length), pad)
    targets = torch.full((len(items), length), -100)
    mask = torch.zeros((len(items), length), dtype=torch.long)
    for row, item in enumerate(items):
        n = len(item.ids)
        ids[row, :n] = torch.tensor(item.ids)
        mask[row, :n] = 1
        targets[row, :n] = torch.tensor(
            [t if use else -100 for t, use in zip(item.ids, item.trained, strict=True)]
        )
    pixels, grids = patches(seen)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=pixels,
        image_grid_thw=grids,
        use_cache=False,
    )
    return output.logits, targets


@torch.no_grad()
def teacher_forced(
    model: Qwen2VLForConditionalGeneration, writer: ChatmlWriter, held: list[Seen], pad: int
) -> float:
    """Share of held-out answers that are right token by token after the true prefix."""
    rng, right = random.Random(5), 0
    for start in range(0, len(held), 32):
        seen = held[start : start + 32]
        turns = [
            draw_turn(rng, start + k, seed=HELD_OUT_SEED, formed=False) for k in range(len(seen))
        ]
        items = [
            writer.conversation([turn], picture=one.n_tokens)
            for turn, one in zip(turns, seen, strict=True)
        ]
        logits, targets = logits_of(model, items, seen, pad)
        wrong = (logits[:, :-1].argmax(-1) != targets[:, 1:]) & (targets[:, 1:] != -100)
        right += int((~wrong.any(dim=1)).sum())
    return right / len(held)


def optimise(named: list[tuple[str, nn.Parameter]]) -> list[torch.optim.Optimizer]:
    tables = ("embed_tokens", "lm_head")

    def is_matrix(name: str, parameter: nn.Parameter) -> bool:
        return parameter.dim() == 2 and not any(table in name for table in tables)

    return [
        Muon((p for n, p in named if is_matrix(n, p)), lr=RATES[0], weight_decay=0.1),
        torch.optim.AdamW(
            (p for n, p in named if not is_matrix(n, p)),
            lr=RATES[1],
            betas=(0.9, 0.98),
            weight_decay=0.0,
        ),
    ]


def step(loss: Tensor, optimisers: Sequence[torch.optim.Optimizer], rates: Sequence[float]) -> None:
    for optimiser, rate in zip(optimisers, rates, strict=True):
        optimiser.zero_grad(set_to_none=True)
        for group in optimiser.param_groups:
            group["lr"] = rate
    loss.backward()  # type: ignore[no-untyped-call]
    for optimiser in optimisers:
        torch.nn.utils.clip_grad_norm_(
            [p for group in optimiser.param_groups for p in group["params"]], 1.0
        )
        optimiser.step()


class Run:
    """Model, optimisers, minutes spent; saved whole."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self.folder, self.writer = folder, ChatmlWriter(tokenizer)
        self.pad = self.writer.special["<|endoftext|>"]
        self.model, self.heads = build(tokenizer, seed=1), Heads()
        named = list(self.model.named_parameters())
        seeing = [(n, p) for n, p in named if "visual" in n]
        self.seeing = [*optimise(seeing), torch.optim.AdamW(self.heads.parameters(), lr=RATES[1])]
        self.writing = optimise([(n, p) for n, p in named if "visual" not in n])
        self.spent, self.steps, self.sees = 0.0, 0, False
        path = folder / "native.pt"
        if path.exists():
            state = torch.load(path)
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
            for optimiser, kept in zip(self._optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(kept)
            self.spent, self.steps, self.sees = state["spent"], state["steps"], state["sees"]
            print(f"resumed at {self.spent:.1f} min, step {self.steps}", flush=True)

    @property
    def _optimisers(self) -> list[torch.optim.Optimizer]:
        return [*self.seeing, *self.writing]

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self._optimisers],
            "spent": self.spent,
            "steps": self.steps,
            "sees": self.sees,
        }
        torch.save(state, self.folder / "native.tmp")
        (self.folder / "native.tmp").replace(self.folder / "native.pt")

    def see(self, seen: Sequence[Seen]) -> tuple[Tensor, Tensor]:
        pixels, grids = patches(seen)
        return self.heads.loss(self.model.model.visual(pixels, grid_thw=grids), seen)

    def learn(
        self,
        pictures: list[Seen],
        held: list[Seen],
        *,
        see_minutes: float,
        minutes: float,
        size: int,
    ) -> None:
        generator = random.Random(self.steps)
        items = batches(stream(self.writer, pictures, seed=31 + self.steps), size)
        began, before, saved = time.monotonic(), self.spent, self.spent
        while self.spent < see_minutes + minutes:
            if not self.sees and self.spent >= see_minutes:
                self.sees = True
                print(f"{self.spent:6.2f} min  answers from here on", flush=True)
            if not self.sees:
                fade = schedule(self.spent / see_minutes, self.steps)
                loss, _ = self.see(generator.sample(pictures, 48))
                step(loss, self.seeing, [RATES[0] * fade, RATES[1] * fade, RATES[1] * fade])
            else:
                fade = schedule((self.spent - see_minutes) / minutes, self.steps)
                chosen = next(items)
                seen = [pictures[index] for index, _ in chosen]
                logits, targets = logits_of(self.model, [t for _, t in chosen], seen, self.pad)
                loss = cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())
                practice, _ = self.see(generator.sample(pictures, PRACTICE))
                eye = fade * SEEING_RATE
                rates = [RATES[0] * eye, RATES[1] * eye, RATES[1] * eye, *(r * fade for r in RATES)]
                step(loss + PRACTICE_WEIGHT * practice, self._optimisers, rates)
            self.steps += 1
            self.spent = before + (time.monotonic() - began) / 60
            if self.steps % 200 == 0:
                with torch.no_grad():
                    right = self.see(held[:256])[1].item()
                exact = teacher_forced(self.model, self.writer, held[:128], self.pad)
                print(
                    f"{self.spent:6.2f} min  step {self.steps}  loss {loss.item():.4f}  "
                    f"tokens all right {right:.3f}  answers all right {exact:.3f}",
                    flush=True,
                )
            if self.spent - saved > 4:
                self.save()
                saved = self.spent
        self.save()


def schedule(progress: float, steps: int) -> float:
    """Short warm-up, constant, then linear to zero over the last 40 % of the time."""
    return min(1.0, (steps + 1) / 100) * min(1.0, max(0.01, (1 - progress) / 0.4))


def export(run: Run, tokenizer: Tokenizer, folder: Path) -> None:
    """The Hugging Face checkpoint folder that llama.cpp's converter reads."""
    folder.mkdir(parents=True, exist_ok=True)
    run.model.half().save_pretrained(folder, safe_serialization=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>", "model_max_length": CONTEXT}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(told, indent=1) + "\n")
    picture = {"image_processor_type": "Qwen2VLImageProcessor", "image_mean": IMAGE_MEAN,
               "image_std": IMAGE_STD, "patch_size": PATCH, "merge_size": MERGE,
               "temporal_patch_size": 2, "min_pixels": 8 * CELL * CELL,
               "max_pixels": MAX_TOKENS * CELL * CELL}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(picture, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--see-minutes", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--pictures", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export", type=Path, help="write the checkpoint there, and end")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(SPECIALS)
    run = Run(options.out, tokenizer)
    if options.export is None:
        pictures, held = render_all(PICTURE_SEED, options.pictures), render_all(HELD_OUT_SEED, 512)
        run.learn(
            pictures,
            held,
            see_minutes=options.see_minutes,
            minutes=options.minutes,
            size=options.batch,
        )
    export(run, tokenizer, options.export or options.out / "checkpoint")


if __name__ == "__main__":
    main()
