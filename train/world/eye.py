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
from train.world.pool import ALL_WORDS, CLASSES, Pictures
from train.world.words import MOST, WORDS

BACKGROUND = 0.1  # weight of a patch that shows nothing
LETTERS = " abcdefghijklmnopqrstuvwxyz"
# Of what a number and a word are made; class 0 is nothing.
READ = {"hundreds": 4, "tens": 11, "units": 11} | dict.fromkeys(
    ("first", "second", "third", "last"), len(LETTERS)
)
SORTS = CLASSES | READ


def parts() -> tuple[Tensor, Tensor]:
    """(numbers, 3) and (words, 4): for each class of a whole number or word, those of its parts.
    Digits are shared by all numbers, so that one which is rarely shown is read as well."""
    digits = [[0, 0, 0]]
    for number in range(MOST + 1):
        shown = f"{number:>3}"
        digits.append([0 if digit == " " else int(digit) + 1 for digit in shown])
    letters = [[0, 0, 0, 0]]
    for word in ALL_WORDS:
        shown = f"{word.lower():<3}" if word in WORDS else "   "  # icons are not written
        letters.append([LETTERS.index(letter) for letter in (*shown[:3], shown[-1])])
    return torch.tensor(digits), torch.tensor(letters)


class Heads(nn.Module):
    """Linear read-outs of the projector's output."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(HIDDEN, sum(SORTS.values()))
        self.digits, self.letters = parts()
        self.tile = nn.Linear(HIDDEN, len(FAMILIES))

    def loss(self, states: Tensor, pictures: Pictures) -> tuple[Tensor, dict[str, float]]:
        """The loss and, for every sort of label, the share of marks that have it right."""
        held = tile_mask(pictures.n_tiles).bool()
        logits = self.patch(states[:, :, 1:][held]).split(list(SORTS.values()), dim=-1)
        labels = pictures.labels[held].long()
        shown = labels[..., 0] > 0
        weight = torch.where(shown, 1.0, BACKGROUND)
        total = torch.zeros(())
        shares = {}
        names = list(CLASSES)
        digits = self.digits[labels[..., names.index("number")]]
        letters = self.letters[labels[..., names.index("word")]]
        wanted_of = torch.cat([labels, digits, letters], -1).unbind(-1)
        for name, scores, wanted in zip(SORTS, logits, wanted_of, strict=True):
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
