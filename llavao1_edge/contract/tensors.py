"""Names of the tensors in the mmproj file. `docs/file-format.md` is printed from this table.

The text file is a plain `llama` model; its names are llama.cpp's.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASS = "v.class_embd"
PATCH = "v.patch_embd.weight"
POSITION = "v.position_embd.weight"
POSITION_GATE = "v.position_embd.gate"
TILE_POSITION = "v.tile_position_embd.weight"
PRE_TILE = "v.pre_tile_position_embd.weight"
PRE_TILE_GATE = "v.pre_tile_position_embd.gate"
POST_TILE = "v.post_tile_position_embd.weight"
POST_TILE_GATE = "v.post_tile_position_embd.gate"
TABLES = (POSITION, TILE_POSITION, PRE_TILE, POST_TILE)
PRE_NORM = "v.pre_ln"
POST_NORM = "v.post_ln"
PROJECT_GLOBAL = "mm.global.weight"
PROJECT_BIAS = "mm.bias"

LOCAL = "v.blk"
GLOBAL = "v.global.blk"
VISION_PARTS = (
    "ln1.weight",
    "ln1.bias",
    "attn_q.weight",
    "attn_k.weight",
    "attn_v.weight",
    "attn_out.weight",
    "ln2.weight",
    "ln2.bias",
    "ffn_up.weight",
    "ffn_up.bias",
    "ffn_down.weight",
    "ffn_down.bias",
)
GLOBAL_GATES = ("attn_gate", "ffn_gate")
CROSS = "cross.blk"


def local(layer: int, part: str) -> str:
    return f"{LOCAL}.{layer}.{part}"


def global_(layer: int, part: str) -> str:
    return f"{GLOBAL}.{layer}.{part}"


def cross(layer: int, part: str) -> str:
    """`layer` counts the cross layers themselves, from 0."""
    return f"{CROSS}.{layer}.{part}"


def project_intermediate(position: int) -> str:
    """Columns of the projector that read intermediate state `position` of the list."""
    return f"mm.intermediate.{position}.weight"


@dataclass(frozen=True)
class MmprojShape:
    """The sizes that decide which tensors an mmproj file must have, and their shapes."""

    width: int
    ffn: int
    local_layers: int
    global_layers: int
    n_intermediate: int
    patch_size: int
    tokens_per_tile: int
    max_tiles: int
    n_arrangements: int
    text_width: int
    text_ffn: int
    cross_layers: int
    cross_heads: int
    cross_kv_heads: int
    head_width: int

    def expected(self) -> dict[str, tuple[int, ...]]:
        """Tensor name → shape in ggml order (fastest first)."""
        width, text = self.width, self.text_width
        ids = self.n_arrangements + 1
        table: dict[str, tuple[int, ...]] = {
            CLASS: (width,),
            PATCH: (3 * self.patch_size**2, width),
            POSITION: (width, self.tokens_per_tile),
            POSITION_GATE: (1,),
            TILE_POSITION: (self.max_tiles * self.tokens_per_tile * width, ids),
            PRE_TILE: (self.max_tiles * width, ids),
            PRE_TILE_GATE: (1,),
            POST_TILE: (self.max_tiles * width, ids),
            POST_TILE_GATE: (1,),
            f"{PRE_NORM}.weight": (width,),
            f"{PRE_NORM}.bias": (width,),
            f"{POST_NORM}.weight": (width,),
            f"{POST_NORM}.bias": (width,),
            PROJECT_GLOBAL: (width, text),
            PROJECT_BIAS: (text,),
        }
        for position in range(self.n_intermediate):
            table[project_intermediate(position)] = (width, text)
        for layer in range(self.local_layers):
            table |= {local(layer, part): shape for part, shape in self._vision().items()}
        for layer in range(self.global_layers):
            table |= {global_(layer, part): shape for part, shape in self._vision().items()}
            table |= {global_(layer, gate): (1,) for gate in GLOBAL_GATES}
        for layer in range(self.cross_layers):
            table |= {cross(layer, part): shape for part, shape in self._cross().items()}
        return table

    def _vision(self) -> dict[str, tuple[int, ...]]:
        square, wide = (self.width, self.width), (self.width, self.ffn)
        shapes: dict[str, tuple[int, ...]] = {
            part: (self.width,) for part in VISION_PARTS if "ln" in part
        }
        shapes |= {f"attn_{part}.weight": square for part in ("q", "k", "v", "out")}
        return shapes | {
            "ffn_up.weight": wide,
            "ffn_up.bias": (self.ffn,),
            "ffn_down.weight": wide[::-1],
            "ffn_down.bias": (self.width,),
        }

    def _cross(self) -> dict[str, tuple[int, ...]]:
        text, head = self.text_width, self.head_width
        return {
            "attn_norm.weight": (text,),
            "attn_q.weight": (text, self.cross_heads * head),
            "attn_k.weight": (text, self.cross_kv_heads * head),
            "attn_v.weight": (text, self.cross_kv_heads * head),
            "attn_output.weight": (self.cross_heads * head, text),
            "attn_q_norm.weight": (head,),
            "attn_k_norm.weight": (head,),
            "attn_gate": (1,),
            "ffn_norm.weight": (text,),
            "ffn_gate.weight": (text, self.text_ffn),
            "ffn_up.weight": (text, self.text_ffn),
            "ffn_down.weight": (self.text_ffn, text),
            "mlp_gate": (1,),
        }
