"""A small draft model for the texts of `benchmarks.speculation`, in the true size of vocabulary.

    python -m benchmarks.drafting FOLDER
    llavao1-edge convert FOLDER/source --out FOLDER --quant Q8_0
    python -m benchmarks.speculation TEXT.gguf --draft FOLDER/source-Q8_0.gguf

It learns how the answers of both demo models are written, from other questions than those that are
asked, and sees no pictures: it stands for a small model that knows the large one's way of writing.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speculation import FIRST_WORD, WORDS, Text, shapes, spelled, world
from benchmarks.synthetic import VOCAB, OneB, write_checkpoint
from llavao1_edge.stages import GAP, STAGES
from tests.tiny import config

SEED, LEARNT = 5, 4000  # texts of each kind
AT_ONCE, RATE, WARM_UP = 8, 1.5e-3, 50


@dataclass(frozen=True)
class Draft(OneB):
    """70 million weights, most of them the vocabulary's; the vision half is there for the converter
    only."""

    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 768
    cross: tuple[int, ...] = (3,)
    vision_hidden: int = 64
    vision_heads: int = 4
    vision_ffn: int = 128
    vision_layers: int = 2
    global_layers: int = 1
    intermediate: tuple[int, ...] = (0,)
    image_size: int = 112


def written(text: Text, ids: dict[str, int]) -> tuple[list[int], list[bool]]:
    """The tokens of a turn as they come, and which of them are drawn."""
    tokens = list(text.question.encode())
    drawn = [False] * len(tokens)
    for stage in STAGES:
        opening, own = list(f"{GAP}{stage.opening}".encode()), spelled(text, stage, ids)
        tokens += [*opening, *own]
        drawn += [False] * len(opening) + [True] * len(own)
    return tokens, drawn


def batches(
    rows: Sequence[tuple[list[int], list[bool]]], *, n: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens (batch, length), and what comes behind each; -100 where that is not learnt."""
    rng = random.Random(SEED)
    while True:
        chosen = rng.sample(range(len(rows)), n)
        longest = max(len(rows[i][0]) for i in chosen)
        tokens, labels = torch.zeros(n, longest, dtype=torch.long), torch.full((n, longest), -100)
        for at, i in enumerate(chosen):
            row, drawn = rows[i]
            tokens[at, : len(row)] = torch.tensor(row)
            told = [t if d else -100 for t, d in zip(row, drawn, strict=True)]
            labels[at, : len(row) - 1] = torch.tensor(told[1:])
        yield tokens, labels


def learn(
    rows: Sequence[tuple[list[int], list[bool]]], n_known: int, *, steps: int
) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = Draft()
    text = config(shape)["text_config"]
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            **{key: text[key] for key in ("rope_theta", "rope_scaling", "rms_norm_eps")},
            vocab_size=n_known,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers - len(shape.cross),
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            intermediate_size=shape.ffn,
            max_position_embeddings=1024,
            tie_word_embeddings=False,
        )
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    began = time.monotonic()
    # Tokens that never come have rows of zeros in the file: together they have this much weight.
    others = math.log(VOCAB - n_known)
    for step, (tokens, labels) in zip(range(steps), batches(rows, n=AT_ONCE), strict=False):
        share = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = RATE * share
        wanted = labels >= 0
        logits = model(input_ids=tokens).logits[wanted]
        logits = torch.cat([logits, torch.full((len(logits), 1), others)], dim=1)
        loss = torch.nn.functional.cross_entropy(logits, labels[wanted])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if not (step + 1) % 100:
            right = (logits.argmax(1) == labels[wanted]).float().mean()
            minutes = (time.monotonic() - began) / 60
            print(
                f"step {step + 1}: loss {loss:.3f}, likeliest right {right:.3f}, {minutes:.1f} min",
                flush=True,
            )
    return model


def put_in(folder: Path, model: torch.nn.Module, known: Sequence[int]) -> None:
    """Writes the learnt weights over the random ones of a checkpoint."""
    from safetensors.torch import load_file, save_file

    shape, path = Draft(), folder / "model.safetensors"
    tensors = load_file(path)
    selves = [layer for layer in range(shape.layers) if layer not in shape.cross]
    for name, value in model.state_dict().items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = str(selves[int(parts[2])])
        target = tensors[f"language_model.{'.'.join(parts)}"]
        if target.shape != value.shape:  # of the vocabulary
            target.zero_()
            target[torch.tensor(known)] = value.to(target.dtype)
        else:
            target.copy_(value.to(target.dtype))
    save_file(tensors, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    # Other pictures than those of `speculation`, which begin at 0.
    texts = [*shapes(LEARNT, first=1000), *world(LEARNT, first=1000)]
    ids: dict[str, int] = {}
    rows = [written(text, ids) for text in texts]
    known = [*range(FIRST_WORD), *ids.values()]
    place = {token: i for i, token in enumerate(known)}
    print(f"{len(rows)} texts, {len(ids)} words", flush=True)
    rows = [([place[token] for token in tokens], drawn) for tokens, drawn in rows]
    model = learn(rows, len(known), steps=options.steps)
    source = write_checkpoint(options.folder / "source", Draft())
    put_in(source, model, known)
    (options.folder / WORDS).write_text(json.dumps(ids), encoding="utf-8")
    n = sum(p.numel() for p in model.parameters())
    print(f"{n / 1e6:.1f} million weights were learnt")


if __name__ == "__main__":
    main()
