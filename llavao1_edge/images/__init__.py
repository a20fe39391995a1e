"""Pictures: opened safely, turned upright and RGB, cut into tiles. Knows no model weights."""

from llavao1_edge.images.tiling import (
    Canvas,
    TiledPicture,
    TilingRules,
    arrangements,
    choose_canvas,
    tile_picture,
)

__all__ = [
    "Canvas",
    "TiledPicture",
    "TilingRules",
    "arrangements",
    "choose_canvas",
    "tile_picture",
]
