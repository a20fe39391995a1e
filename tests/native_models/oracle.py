"""What transformers computes for the two pairs that come from its classes.

Pictures need no resizing (Qwen2-VL) or have one colour (Idefics3): libmtmd resizes with its own
code, and what is compared here is everything else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.native.library import ImageChunk, TextChunk
from llavao1_edge.native.model import NativeModel

QUESTION = "What is this? A red circle."
IMAGE_TOKENS = {"qwen2vl": "<|image_pad|>", "idefics3": "<image>"}


def picture_for(name: str) -> NDArray[np.uint8]:
    """(height, width, 3)."""
    if name == "qwen2vl":
        return np.random.default_rng(3).integers(0, 255, (84, 140, 3), dtype=np.uint8)
    return np.full((168, 168, 3), (200, 40, 90), dtype=np.uint8)


def prompt(runtime: Runtime, name: str) -> tuple[list[int], int, list[tuple[int, int]]]:
    """(all ids as transformers takes them, how many come after the picture, (columns, rows) of the
    picture's parts)."""
    vision, chat = runtime.vision, runtime.words.chat
    assert isinstance(vision, NativeModel)
    height, width, _ = picture_for(name).shape
    image = runtime.model.special(IMAGE_TOKENS[name])
    ids, parts = runtime.encode(chat.opening()), []
    for chunk in vision._reader.measure(width, height):
        if isinstance(chunk, TextChunk):
            ids += chunk.tokens
        elif isinstance(chunk, ImageChunk):
            ids += [image] * chunk.n_tokens
            parts.append((chunk.columns, chunk.rows))
    after = runtime.encode(chat.question(QUESTION))
    return [*ids, *after], len(after), parts


def logits(
    model: Any, name: str, ids: list[int], parts: list[tuple[int, int]]
) -> NDArray[np.float32]:
    """(n, vocabulary) of transformers."""
    import torch

    pixels = (picture_for(name).astype(np.float32) / 255 - 0.5) / 0.5
    given: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    if name == "qwen2vl":
        columns, rows = parts[0]
        cut = pixels.transpose(2, 0, 1).reshape(3, rows, 2, 14, columns, 2, 14)
        cut = cut.transpose(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, 1, 196).repeat(2, axis=2)
        given["pixel_values"] = torch.from_numpy(cut.reshape(len(cut), -1))
        given["image_grid_thw"] = torch.tensor([[1, 2 * rows, 2 * columns]])
    else:
        tile = torch.from_numpy(pixels[:56, :56].transpose(2, 0, 1).copy())
        given["pixel_values"] = tile.expand(1, len(parts), 3, 56, 56)
    with torch.no_grad():
        found: NDArray[np.float32] = model(**given).logits[0].float().numpy()
    return found
