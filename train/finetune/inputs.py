"""Examples as tensors: the tokens that the runtime would give the model, the picture as
transformers' own processor cuts it, and targets on the assistant's tokens alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch.utils.data import Dataset

from llavao1_edge.errors import CheckpointError, PictureError, UsageError
from llavao1_edge.images import open_picture
from llavao1_edge.prompt import BEGIN, LLAMA3_VISION, Piece, joined
from train.finetune.archive import Pictures
from train.finetune.examples import Example

LOGGER = logging.getLogger(__name__)
MOST_DAMAGED = 20
IGNORED = -100  # a target that is not learnt
IMAGE_TOKEN = "<|image|>"


@dataclass(frozen=True)
class Encoded:
    """learnt: for each token, whether the model learns to write it."""

    ids: list[int]
    learnt: list[bool]


class Encoder:
    """A checkpoint's tokenizer, used as the runtime does: a text is never a special token."""

    def __init__(self, checkpoint: Path) -> None:
        """Raises CheckpointError."""
        path = checkpoint / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # whatever the library raises
            raise CheckpointError(f"cannot read {path}: {error}", hint="") from None
        self._tokenizer.encode_special_tokens = True
        self.special = {
            token.content: number
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
        }
        needed = {piece.text for piece in LLAMA3_VISION.close if not isinstance(piece, str)}
        absent = ({IMAGE_TOKEN, "<|begin_of_text|>"} | needed) - self.special.keys()
        if absent:
            raise CheckpointError(
                f"{path} has no {', '.join(sorted(absent))}",
                hint="The base must be a Llama-3.2-Vision, or made from one.",
            )

    @property
    def image_token(self) -> int:
        return int(self.special[IMAGE_TOKEN])

    @property
    def end(self) -> int:
        """Of an answer."""
        return int(self.special["<|eot_id|>"])

    def ids(self, pieces: Sequence[Piece]) -> list[int]:
        """Neighbouring texts are tokenised together, as in one string."""
        found: list[int] = []
        for piece in joined(pieces):
            if isinstance(piece, str):
                found += self._tokenizer.encode(piece, add_special_tokens=False).ids
            else:
                name = "<|begin_of_text|>" if piece == BEGIN else piece.text
                found.append(self.special[name])
        return found

    def text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def prompt(self, question: str, *, picture: bool) -> list[int]:
        """Of a first question, to where the assistant begins to write."""
        chat = LLAMA3_VISION
        if picture:
            return [*self.ids(chat.opening()), *self.ids(chat.question(question))]
        return self.ids(chat.turn(question))

    def encode(self, example: Example) -> Encoded:
        ids: list[int] = []
        learnt: list[bool] = []
        for number, (question, answer) in enumerate(example.turns):
            if number:
                asked = self.ids(LLAMA3_VISION.turn(question, first=False))
            else:
                asked = self.prompt(question, picture=bool(example.picture))
            said = [*self.ids([answer]), self.end]
            ids += asked + said
            learnt += [False] * len(asked) + [True] * len(said)
        return Encoded(ids, learnt)


class Encodings(Dataset[dict[str, Any]]):
    """Examples by number. Pictures are opened by our own opener, when they are needed."""

    def __init__(
        self, examples: Sequence[Example], encoder: Encoder, images: Path, processor: Any
    ) -> None:
        self.examples, self._encoder, self._images = examples, encoder, images
        self._processor = processor
        self._pictures: tuple[int, Pictures] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pictures": None}

    def picture(self, number: int) -> Image.Image:
        """RGB, upright, over white. Raises PictureError."""
        # Each process that loads data opens the files itself: a place in a file is shared by all
        # that come from one `fork`.
        if self._pictures is None or self._pictures[0] != os.getpid():
            self._pictures = os.getpid(), Pictures(self._images)
        name = self.examples[number].picture
        return open_picture(self._pictures[1].read(name), name=name).image

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Where its picture is damaged, the next example: one in a hundred thousand must not end a
        run of days."""
        for tried in range(MOST_DAMAGED):
            try:
                return self.exactly((number + tried) % len(self))
            except PictureError as error:
                LOGGER.warning("%s: the next example is taken", error.message)
        raise PictureError(f"{MOST_DAMAGED} pictures in a row are damaged", hint="Check --images.")

    def exactly(self, number: int) -> dict[str, Any]:
        """This example and no other. Raises PictureError."""
        example = self.examples[number]
        encoded = self._encoder.encode(example)
        item: dict[str, Any] = {"ids": encoded.ids, "learnt": encoded.learnt}
        if example.picture:
            item["picture"] = pictured(self._processor, self.picture(number))
        return item


def pictured(processor: Any, image: Image.Image) -> dict[str, Any]:
    """pixel_values (1, tiles, 3, side, side), aspect_ratio_ids (1,), aspect_ratio_mask (1, tiles),
    and the number of tiles."""
    found = processor(images=image, return_tensors="np")
    names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
    return {name: found[name][0] for name in names} | {"num_tiles": found["num_tiles"][0]}


@dataclass
class Collator:
    """A batch of items. What is padded is neither seen nor learnt."""

    pad: int
    image_token: int
    max_length: int

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        length = min(self.max_length, max(len(item["ids"]) for item in items))
        shape = (len(items), length)
        ids, mask = torch.full(shape, self.pad), torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED)
        for row, item in enumerate(items):
            kept = torch.tensor(item["ids"][:length])
            n = len(kept)
            ids[row, :n], mask[row, :n] = kept, 1
            labels[row, :n] = torch.where(torch.tensor(item["learnt"][:length]), kept, IGNORED)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        pictures = [item["picture"] for item in items if "picture" in item]
        if not pictures:
            return batch
        if len(pictures) < len(items):
            raise UsageError(
                "examples with and without a picture are in one batch",
                hint="Use --batch 1 and a larger --accumulate, or leave one kind out.",
            )
        return batch | self._pictured(ids, pictures)

    def _pictured(
        self, ids: torch.Tensor, pictures: Sequence[dict[str, Any]]
    ) -> dict[str, torch.Tensor]:
        from transformers.models.mllama.processing_mllama import (
            convert_sparse_cross_attention_mask_to_dense,
            get_cross_attention_token_mask,
        )

        n_tiles = [picture["num_tiles"] for picture in pictures]
        seen = [get_cross_attention_token_mask(row, self.image_token) for row in ids.tolist()]
        most = pictures[0]["pixel_values"].shape[1]
        dense = convert_sparse_cross_attention_mask_to_dense(seen, n_tiles, most, ids.shape[1])
        names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
        stacked = {n: torch.from_numpy(np.stack([p[n] for p in pictures])) for n in names}
        return stacked | {"cross_attention_mask": torch.from_numpy(dense)}
