"""What the model sees of a picture: its canvas, its tiles, and how much is lost."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.images import Canvas, TilingRules, choose_canvas


@dataclass(frozen=True)
class Sight:
    """canvas: of rows x columns tiles of `tile` pixels. scale: model pixels per original pixel."""

    canvas: Canvas
    tile: int
    scale: float


def sight(width: int, height: int, *, tile: int, max_tiles: int) -> Sight:
    """Of a picture (or of a part of it) in original pixels."""
    rules = TilingRules(tile_size=tile, max_tiles=max_tiles, mean=(0, 0, 0), std=(1, 1, 1))
    canvas = choose_canvas(height, width, rules=rules)
    return Sight(canvas, tile, canvas.width / width)
