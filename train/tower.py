"""Phase 1: the vision tower and the projector learn to see, from dense labels.

Each patch of the projector's output predicts colour, shape, size and place of the thing it shows,
each tile's class token predicts which of the nine cells are occupied. The heads are thrown away.
A few minutes of this replace the long plateau of learning to see through the text model.

    python -m train.tower --out runs/demo --minutes 10
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import MllamaForConditionalGeneration

from train.data import LABELS, N_CLASSES, PictureBatch, Writer, render_batch, tile_mask
from train.model import HIDDEN, MAX_TILES, build_model, demo_config, is_matrix
from train.muon import Muon
from train.tokenizer import train_tokenizer


class Heads(nn.Module):
    """Linear read-outs of the projector's output, used in this phase only."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(HIDDEN, sum(N_CLASSES))
        self.tile = nn.Linear(HIDDEN, 9)

    def loss(self, states: Tensor, batch: PictureBatch) -> tuple[Tensor, Tensor]:
        """(loss, share of object patches with all five labels right)."""
        logits = self.patch(states[:, :, 1:]).split(N_CLASSES, dim=-1)
        labels = batch.labels.long()
        total = torch.zeros(())
        right = labels[..., 0] > 0
        for part, scores in enumerate(logits):
            wanted = labels[..., part]
            total = total + cross_entropy(scores.flatten(0, 2), wanted.flatten(), ignore_index=-1)
            right = right & (scores.argmax(-1) == wanted)
        valid = tile_mask(batch.n_tiles).bool()
        cells = self.tile(states[:, :, 0])[valid]
        wanted_cells = batch.occupied[:, None].expand(-1, MAX_TILES, -1)[valid]
        total = total + binary_cross_entropy_with_logits(cells, wanted_cells) * 2
        share = right.sum() / (labels[..., 0] > 0).sum()
        return total, share


class Seen(Protocol):
    """pixels (n, tiles, 3, T, T); ids, n_tiles (n,)."""

    @property
    def pixels(self) -> Tensor: ...

    @property
    def ids(self) -> Tensor: ...

    @property
    def n_tiles(self) -> Tensor: ...


def see(model: MllamaForConditionalGeneration, batch: Seen) -> Tensor:
    """Projector output (n, tiles, tokens, hidden)."""
    vision = model.model.vision_model(
        pixel_values=batch.pixels.float()[:, None],
        aspect_ratio_ids=batch.ids[:, None],
        aspect_ratio_mask=tile_mask(batch.n_tiles)[:, None],
    )[0]
    projected: Tensor = model.model.multi_modal_projector(vision)
    return projected[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)

    tokenizer = train_tokenizer()
    specials = Writer(tokenizer).special
    model = build_model(demo_config(specials["<|image|>"], specials), seed=options.seed)
    heads = Heads()
    pictures = render_batch(options.seed, range(options.pictures))
    held_out = render_batch(options.seed + 1, range(512))
    print(f"rendered {len(pictures)} pictures", flush=True)

    named = [
        *((n, p) for n, p in model.model.vision_model.named_parameters()),
        *((f"projector.{n}", p) for n, p in model.model.multi_modal_projector.named_parameters()),
    ]
    matrices = [p for n, p in named if is_matrix(n, p)]
    others = [p for n, p in named if not is_matrix(n, p)] + list(heads.parameters())
    rates = (0.003, 0.002)
    optimisers: tuple[torch.optim.Optimizer, ...] = (
        Muon(matrices, lr=rates[0], weight_decay=0.05),
        torch.optim.AdamW(others, lr=rates[1], betas=(0.9, 0.98), weight_decay=0.0),
    )
    generator = torch.Generator().manual_seed(options.seed)
    started = time.monotonic()
    step = 0
    while (spent := (time.monotonic() - started) / 60) < options.minutes:
        progress = spent / options.minutes
        factor = min(1.0, (step + 1) / 50) * min(1.0, (1 - progress) / 0.4)
        for optimiser, rate in zip(optimisers, rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        rows = torch.randint(len(pictures), (options.batch,), generator=generator)
        loss, _ = heads.loss(see(model, batch := pictures.take(rows)), batch)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        if step % 100 == 0:
            with torch.no_grad():
                held_loss, right = heads.loss(see(model, held_out), held_out)
            print(
                f"{spent:6.2f} min  step {step:5d}  loss {loss.item():.4f}  "
                f"held-out {held_loss.item():.4f}  patches all right {right.item():.4f}",
                flush=True,
            )
    torch.save(model.state_dict(), options.out / "tower.pt")
    print(f"{', '.join(LABELS)}: saved after {step} steps", flush=True)


if __name__ == "__main__":
    main()
