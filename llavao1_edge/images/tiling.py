"""From an RGB picture to the tiles the vision tower reads, exactly as the oracle does it.

Source: `MllamaImageProcessor` of transformers 4.45-4.54.1. Every step is integer or float64
arithmetic in the same order, so that the result is equal bit by bit, not just close.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class TilingRules:
    """What the checkpoint's preprocessor configuration says about pictures."""

    tile_size: int
    max_tiles: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rescale: float = 1 / 255


@dataclass(frozen=True)
class Canvas:
    """A grid of `rows` x `columns` tiles and the picture's size on it, in pixels."""

    rows: int
    columns: int
    height: int
    width: int

    @property
    def n_tiles(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True)
class TiledPicture:
    """What the vision tower reads.

    pixels: float32 (max_tiles, 3, tile_size, tile_size); slots from `n_tiles` on are zero.
    aspect_ratio_id: 1-based index of (rows, columns) among the supported arrangements.
    """

    pixels: NDArray[np.float32]
    aspect_ratio_id: int
    canvas: Canvas

    @property
    def n_tiles(self) -> int:
        return self.canvas.n_tiles


@cache
def arrangements(max_tiles: int) -> tuple[tuple[int, int], ...]:
    """All (rows, columns) with at most `max_tiles` tiles, in the order of their ids."""
    counts = range(1, max_tiles + 1)
    return tuple((r, c) for r in counts for c in counts if r * c <= max_tiles)


def choose_canvas(height: int, width: int, *, rules: TilingRules) -> Canvas:
    """The canvas that enlarges the picture least, or if it must shrink, shrinks it least."""
    tile = rules.tile_size
    grids = arrangements(rules.max_tiles)
    scales = [min(rows * tile / height, columns * tile / width) for rows, columns in grids]
    enlarging = [scale for scale in scales if scale >= 1]
    best = min(enlarging) if enlarging else max(scales)
    rows, columns = min(
        (grid for grid, scale in zip(grids, scales, strict=True) if scale == best),
        key=lambda grid: grid[0] * grid[1],
    )
    fitted_height, fitted_width = _fit(height, width, rows * tile, columns * tile, tile)
    return Canvas(rows=rows, columns=columns, height=fitted_height, width=fitted_width)


def _fit(
    height: int, width: int, canvas_height: int, canvas_width: int, tile: int
) -> tuple[int, int]:
    target_width = min(max(width, tile), canvas_width)
    target_height = min(max(height, tile), canvas_height)
    scale_height, scale_width = target_height / height, target_width / width
    # `or 1`: an extreme strip would otherwise vanish (added upstream after 4.45).
    if scale_width < scale_height:
        return min(math.floor(height * scale_width) or 1, target_height), target_width
    return target_height, min(math.floor(width * scale_height) or 1, target_width)


def tile_picture(picture: Image.Image, *, rules: TilingRules) -> TiledPicture:
    """Resize, pad, normalise and cut an RGB picture (any size) into tiles."""
    canvas = choose_canvas(picture.height, picture.width, rules=rules)
    tile = rules.tile_size
    resized = picture.resize((canvas.width, canvas.height), resample=Image.Resampling.BILINEAR)
    padded = np.zeros((canvas.rows * tile, canvas.columns * tile, 3), dtype=np.uint8)
    padded[: canvas.height, : canvas.width] = np.asarray(resized)
    cut = padded.reshape(canvas.rows, tile, canvas.columns, tile, 3).transpose(0, 2, 4, 1, 3)
    pixels = np.zeros((rules.max_tiles, 3, tile, tile), dtype=np.float32)
    pixels[: canvas.n_tiles] = _normalise(cut, rules).reshape(canvas.n_tiles, 3, tile, tile)
    aspect_ratio_id = arrangements(rules.max_tiles).index((canvas.rows, canvas.columns)) + 1
    return TiledPicture(pixels=pixels, aspect_ratio_id=aspect_ratio_id, canvas=canvas)


def _normalise(values: NDArray[np.uint8], rules: TilingRules) -> NDArray[np.float32]:
    """Rescale in float64, round once, then normalise in float32: the oracle's order.

    values: (..., 3, height, width). There are only 256 inputs a channel, so a table is exact.
    """
    levels = (np.arange(256, dtype=np.float64) * rules.rescale).astype(np.float32)
    mean, std = np.array(rules.mean, np.float32), np.array(rules.std, np.float32)
    tables = (levels[None, :] - mean[:, None]) / std[:, None]
    channels = np.arange(3)[:, None, None]
    return np.asarray(tables[channels, values], dtype=np.float32)
