"""Seeing from dense labels: each patch says what it shows, each tile which family it belongs to.

The heads are used in training only. A few minutes of this replace the long plateau of learning to
see through the text model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from train.data import tile_mask
from train.model import HIDDEN, MAX_TILES
from train.world.families import FAMILIES
from train.world.pool import CLASSES, Pictures

BACKGROUND = 0.1  # weight of a patch that shows nothing


class Heads(nn.Module):
    """Linear read-outs of the projector's output."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(HIDDEN, sum(CLASSES.values()))
        self.tile = nn.Linear(HIDDEN, len(FAMILIES))

    def loss(self, states: Tensor, pictures: Pictures) -> tuple[Tensor, dict[str, float]]:
        """The loss and, for every sort of label, the share of marks that have it right."""
        held = tile_mask(pictures.n_tiles).bool()
        logits = self.patch(states[:, :, 1:][held]).split(list(CLASSES.values()), dim=-1)
        labels = pictures.labels[held].long()
        shown = labels[..., 0] > 0
        weight = torch.where(shown, 1.0, BACKGROUND)
        total = torch.zeros(())
        shares = {}
        for at, (name, scores) in enumerate(zip(CLASSES, logits, strict=True)):
            wanted = labels[..., at]
            each = cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="none")
            total = total + (each * weight.flatten()).sum() / weight.sum()
            has = wanted > 0
            if has.any():
                shares[name] = (scores.argmax(-1) == wanted)[has].float().mean().item()
        families = self.tile(states[:, :, 0])[held]
        wanted = pictures.family[:, None].expand(-1, MAX_TILES)[held]
        total = total + 0.5 * cross_entropy(families, wanted)
        shares["family"] = (families.argmax(-1) == wanted).float().mean().item()
        return total, shares
