"""Pictures: opened safely, turned upright and RGB, cut into tiles. Knows no model weights."""

from llavao1_edge.images.opening import (
    FORMATS,
    Picture,
    endings,
    open_and_read,
    open_picture,
    read_picture,
)
from llavao1_edge.images.pixels import to_rgb
from llavao1_edge.images.tiling import (
    Canvas,
    TiledPicture,
    TilingRules,
    arrangements,
    choose_canvas,
    tile_picture,
)

__all__ = [
    "FORMATS",
    "Canvas",
    "Picture",
    "TiledPicture",
    "TilingRules",
    "arrangements",
    "choose_canvas",
    "endings",
    "open_and_read",
    "open_picture",
    "read_picture",
    "tile_picture",
    "to_rgb",
]
