"""The numbers of an mmproj file, checked."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.tensors import TABLES, MmprojShape
from llavao1_edge.errors import ModelFileError
from llavao1_edge.ggml.types import F16, F32
from llavao1_edge.images import TilingRules, arrangements
from llavao1_edge.phrases import Phrase

NORM_EPS = 1e-5  # of the norms before and after the local layers, not configurable upstream
PAD_MULTIPLE = 8  # the tower pads every tile to a multiple of this many tokens


def in_sixteens(n: int) -> int:
    """The next multiple of sixteen."""
    return -(-n // 16) * 16


@dataclass(frozen=True)
class MllamaShape:
    """Sizes of the vision tower and the cross-attention layers."""

    tensors: MmprojShape
    vision_heads: int
    vision_eps: float
    intermediate: tuple[int, ...]
    cross_after: tuple[int, ...]
    cross_eps: float
    tiling: TilingRules

    @property
    def width(self) -> int:
        return self.tensors.width

    @property
    def text_width(self) -> int:
        return self.tensors.text_width

    @property
    def tokens_per_tile(self) -> int:
        """Class token and patches."""
        return self.tensors.tokens_per_tile

    @property
    def n_tokens(self) -> int:
        """Tokens of all tile slots that the text model may attend to."""
        return self.tensors.max_tiles * self.tokens_per_tile

    @property
    def n_cells(self) -> int:
        """Places for their keys and values: products of a multiple of sixteen are much faster."""
        return in_sixteens(self.n_tokens)

    @property
    def n_padding(self) -> int:
        """Padding tokens of all tile slots, which only the tower sees."""
        return self.tensors.max_tiles * (-self.tokens_per_tile % PAD_MULTIPLE)


def read_shape(header: GgufHeader) -> MllamaShape:
    """Raises ModelFileError for values that are missing, contradictory or absurd."""
    size, patch = header.integer(keys.IMAGE_SIZE), header.integer(keys.PATCH_SIZE)
    max_tiles = header.integer(keys.MAX_TILES)
    intermediate = header.integers(keys.INTERMEDIATE)
    cross_after = header.integers(keys.CROSS_AFTER)
    mean, std = header.numbers(keys.MEAN), header.numbers(keys.STD)
    if not (0 < patch <= size <= 4096 and 0 < max_tiles <= 64 and len(mean) == len(std) == 3):
        raise ModelFileError(
            Phrase(
                "{name}: impossible vision sizes {size}, {patch}, {max_tiles}",
                name=header.path.name,
                size=size,
                patch=patch,
                max_tiles=max_tiles,
            ),
            hint="Convert the checkpoint again with this version.",
        )
    _check_sizes(header)
    tensors = MmprojShape(
        width=header.integer(keys.VISION_WIDTH),
        ffn=header.integer(keys.VISION_FFN),
        local_layers=header.integer(keys.VISION_LAYERS),
        global_layers=header.integer(keys.GLOBAL_LAYERS),
        n_intermediate=len(intermediate),
        patch_size=patch,
        tokens_per_tile=(size // patch) ** 2 + 1,
        max_tiles=max_tiles,
        n_arrangements=len(arrangements(max_tiles)),
        text_width=header.integer(keys.TEXT_WIDTH),
        text_ffn=header.integer(keys.TEXT_FFN),
        cross_layers=len(cross_after),
        cross_heads=header.integer(keys.CROSS_HEADS),
        cross_kv_heads=header.integer(keys.CROSS_KV_HEADS),
        head_width=header.integer(keys.CROSS_HEAD_WIDTH),
    )
    shape = MllamaShape(
        tensors=tensors,
        vision_heads=header.integer(keys.VISION_HEADS),
        vision_eps=header.number(keys.VISION_EPS),
        intermediate=intermediate,
        cross_after=cross_after,
        cross_eps=header.number(keys.CROSS_EPS),
        tiling=TilingRules(
            tile_size=size,
            max_tiles=max_tiles,
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
            rescale=header.number(keys.RESCALE),
        ),
    )
    _check(header, shape)
    return shape


SIZES = (
    *(keys.VISION_WIDTH, keys.VISION_FFN, keys.VISION_LAYERS, keys.GLOBAL_LAYERS),
    *(keys.VISION_HEADS, keys.TEXT_WIDTH, keys.TEXT_FFN, keys.TEXT_LAYERS),
    *(keys.CROSS_HEADS, keys.CROSS_KV_HEADS, keys.CROSS_HEAD_WIDTH),
)


def _check_sizes(header: GgufHeader) -> None:
    """Before anything is computed from them: native code aborts on impossible sizes."""
    for key in SIZES:
        if not 0 < header.integer(key) <= 1 << 16:
            raise ModelFileError(
                Phrase(
                    "{name}: {key} is {value}",
                    name=header.path.name,
                    key=key,
                    value=header.integer(key),
                ),
                hint="The file is damaged: convert the checkpoint again.",
            )
    layers = header.integer(keys.VISION_LAYERS) + header.integer(keys.GLOBAL_LAYERS)
    if layers > len(header.tensors):
        raise ModelFileError(
            Phrase(
                "{name}: {layers} vision layers are not in the file",
                name=header.path.name,
                layers=layers,
            )
        )


def _check_types(header: GgufHeader, tensors: MmprojShape) -> None:
    """Vectors are F32; tables are read on the host and must not be quantised."""
    for name, size in tensors.expected().items():
        kind = header.tensors[name].kind
        if (len(size) == 1 and kind is not F32) or (name in TABLES and kind not in (F32, F16)):
            raise ModelFileError(
                Phrase(
                    "{name}: tensor {tensor} must not be {kind}",
                    name=header.path.name,
                    tensor=name,
                    kind=kind.name,
                ),
                hint="Convert the checkpoint again with this version.",
            )


def _check(header: GgufHeader, shape: MllamaShape) -> None:
    last = header.integer(keys.TEXT_LAYERS) - 1
    if not shape.cross_after or any(not 0 <= layer < last for layer in shape.cross_after):
        # The last text layer computes only the rows that are output; a hook there would see few.
        raise ModelFileError(
            Phrase(
                "{name}: cross layers after {cross_after} of {last} text layers",
                name=header.path.name,
                cross_after=shape.cross_after,
                last=last + 1,
            ),
            hint="Convert the checkpoint again with this version.",
        )
    chosen = shape.intermediate
    if list(chosen) != sorted(set(chosen)) or not all(
        0 <= index < shape.tensors.local_layers for index in chosen
    ):
        raise ModelFileError(
            Phrase(
                "{name}: intermediate layers {intermediate}",
                name=header.path.name,
                intermediate=shape.intermediate,
            )
        )
    heads = shape.tensors.cross_heads, shape.tensors.cross_kv_heads
    if shape.width % max(1, shape.vision_heads) or heads[0] % max(1, heads[1]):
        raise ModelFileError(
            Phrase("{name}: head counts do not divide evenly", name=header.path.name)
        )
    wanted = shape.tensors.expected()
    missing = [name for name in wanted if name not in header.tensors]
    if missing:
        raise ModelFileError(
            Phrase(
                "{name} lacks {n_missing} tensors: {missing}",
                name=header.path.name,
                n_missing=len(missing),
                missing=", ".join(missing[:5]),
            ),
            hint="The file is incomplete: convert the checkpoint again.",
        )
    for name, size in wanted.items():
        if header.tensors[name].shape != size:
            raise ModelFileError(
                Phrase(
                    "{name}: tensor {tensor} has shape {shape}, expected {size}",
                    name=header.path.name,
                    tensor=name,
                    shape=header.tensors[name].shape,
                    size=size,
                ),
                hint="Convert the checkpoint again with this version.",
            )
    _check_types(header, shape.tensors)
