"""Old GGUF files of Llama-3.2-Vision (`mllama`) → tensors under their checkpoint names.

Three layouts exist: A, a text file, with B, its projector file (Ollama 0.4 to 0.6); and C, both in
one file (Ollama 0.7 to 0.24 and later `ollama create`). Their names, what was folded into their
values, and which rows were moved differ between versions; `Evidence` says which it was and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llavao1_convert.source import Shard, SourceTensor
from llavao1_edge.contract.gguf import GgufHeader, read_header
from llavao1_edge.errors import CheckpointError, ModelFileError, UsageError
from llavao1_edge.ggml.quantise import from_bf16, to_bf16
from llavao1_edge.phrases import Phrase

ARCHITECTURE = "mllama"
VISION_MARK = "v.class_embd"
TEXT_MARK = "token_embd.weight"
ROPE = "text.rope_freqs"
POSITION_GATE = "vision.gated_positional_embedding.gate"

TOP = {
    "token_embd.weight": "text.embed_tokens.weight",
    "output.weight": "head.weight",
    "output_norm.weight": "text.norm.weight",
    "rope_freqs.weight": ROPE,
    "mm.0.weight": "projector.weight",
    "mm.0.bias": "projector.bias",
    "v.class_embd": "vision.class_embedding",
    "v.patch_embd.weight": "vision.patch_embedding.weight",
    "v.position_embd.weight": "vision.gated_positional_embedding.embedding",
    "v.tile_position_embd.weight": "vision.gated_positional_embedding.tile_embedding.weight",
    "v.tile_position_embd.gate": POSITION_GATE,
    "v.pre_tile_position_embd.weight": "vision.pre_tile_positional_embedding.embedding.weight",
    "v.pre_tile_position_embd.gate": "vision.pre_tile_positional_embedding.gate",
    "v.post_tile_position_embd.weight": "vision.post_tile_positional_embedding.embedding.weight",
    "v.post_tile_position_embd.gate": "vision.post_tile_positional_embedding.gate",
    "v.pre_ln.weight": "vision.layernorm_pre.weight",
    "v.pre_ln.bias": "vision.layernorm_pre.bias",
    "v.post_ln.weight": "vision.layernorm_post.weight",
    "v.post_ln.bias": "vision.layernorm_post.bias",
}
REDUNDANT_GATE = "v.position_embd.gate"  # 1 - tanh(g), where the tile gate has tanh(g)
TEXT_PARTS = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    **{
        f"attn_{part}.weight": f"self_attn.{part[0]}_proj.weight"
        for part in ("q", "k", "v", "output")
    },
    **{f"cross_attn_{part}_proj.weight": f"cross_attn.{part}_proj.weight" for part in "qkvo"},
    **{f"cross_attn_{part}_norm.weight": f"cross_attn.{part}_norm.weight" for part in "qk"},
    "cross_attn_attn_gate": "cross_attn_attn_gate",
    "cross_attn_mlp_gate": "cross_attn_mlp_gate",
}
# Both generations of names; fc1 and fc2 are told apart by their shapes.
VISION_PARTS = {
    **{f"attn_{part}.weight": f"self_attn.{part}_proj.weight" for part in "qkv"},
    **{f"attn_{part}.weight": "self_attn.o_proj.weight" for part in ("out", "output")},
    **{f"{norm}.{leaf}": f"input_layernorm.{leaf}"
       for norm in ("ln1", "attn_norm") for leaf in ("weight", "bias")},
    **{f"{norm}.{leaf}": f"post_attention_layernorm.{leaf}"
       for norm in ("ln2", "ffn_norm") for leaf in ("weight", "bias")},
    "attn_gate": "gate_attn",
    "ffn_gate": "gate_ffn",
}  # fmt: skip
STACKS = {"v.blk": "transformer", "v.global.blk": "global_transformer"}


@dataclass(frozen=True)
class Choices:
    """What the caller knows about a file; None: decide by evidence."""

    cross_permuted: bool | None = None
    raw_gates: bool | None = None
    system_block: bool | None = None


@dataclass(frozen=True)
class LegacyFiles:
    """An opened text file and the file with the vision half, which may be the same one."""

    text: GgufHeader
    vision: GgufHeader

    @property
    def combined(self) -> bool:
        return self.text is self.vision


@dataclass(frozen=True)
class Evidence:
    """What was done to the values of a file, and how that is known.

    permuted: rows of cross-attention and vision queries and keys stand in llama.cpp's order;
    raw_gates: gates of the global vision layers are as in the checkpoint, not tanh'ed.
    """

    layout: str
    cross_permuted: bool
    vision_permuted: bool
    raw_gates: bool
    notes: tuple[str, ...]


def is_legacy(header: GgufHeader) -> bool:
    return header.metadata.get("general.architecture") == ARCHITECTURE


def open_legacy(text: Path, projector: Path | None) -> LegacyFiles:
    """Raises CheckpointError for a file of another kind or a missing half."""
    try:
        first = read_header(text)
        second = None if projector is None else read_header(projector)
    except ModelFileError as error:
        raise CheckpointError(error.message, hint=error.hint) from error
    for header in (first, second):
        if header is not None and not is_legacy(header):
            raise CheckpointError(
                Phrase(
                    "{name} holds architecture {architecture}, expected 'mllama'",
                    name=header.path.name,
                    architecture=repr(header.metadata.get("general.architecture")),
                ),
                hint="Only old files of Llama-3.2-Vision can be rescued.",
            )
    if second is not None and TEXT_MARK not in first.tensors:
        first, second = second, first
    if second is None and VISION_MARK in first.tensors:
        second = first
    if TEXT_MARK not in first.tensors:
        raise CheckpointError(
            Phrase("{name} is a projector file: it sees, but cannot speak", name=first.path.name),
            hint="Give the text file, and this one with --projector.",
        )
    if second is None or VISION_MARK not in second.tensors:
        raise CheckpointError(
            Phrase(
                "{name} is the text half only; its projector file is missing", name=first.path.name
            ),
            hint="Give it with --projector FILE (Ollama: the layer of type image.projector).",
        )
    return LegacyFiles(first, second)


def legacy_tensors(files: LegacyFiles) -> dict[str, SourceTensor]:
    """By the names of a checkpoint; what has no such name keeps its own, and is refused later."""
    found: dict[str, SourceTensor] = {}
    for tensor in _all(files):
        name = _canonical(tensor, files)
        if name == REDUNDANT_GATE:
            continue
        if name in found:
            raise CheckpointError(
                Phrase(
                    "{name}: tensor {tensor} stands twice",
                    name=tensor.shard.name,
                    tensor=repr(tensor.name),
                ),
                hint="The two files do not belong together.",
            )
        found[name] = tensor
    for needed in ("text.embed_tokens.weight", "head.weight", "projector.weight", POSITION_GATE):
        if needed not in found:
            raise CheckpointError(
                Phrase("the file lacks {needed}", needed=needed), hint="It is incomplete."
            )
    return found


def _all(files: LegacyFiles) -> Iterator[SourceTensor]:
    headers = [files.text] if files.combined else [files.text, files.vision]
    for number, header in enumerate(headers):
        # Numbered, so that two files of one name in two folders stay apart.
        shard = Shard(f"{number} {header.path.name}", header.path)
        for info in header.tensors.values():
            shape = info.shape[::-1]
            yield SourceTensor(info.name, shard, info.kind, shape, info.offset, info.n_bytes)


def _canonical(tensor: SourceTensor, files: LegacyFiles) -> str:
    name = tensor.name
    if name in TOP:
        return TOP[name]
    for prefix, stack in STACKS.items():
        if name.startswith(f"{prefix}."):
            layer, _, part = name.removeprefix(f"{prefix}.").partition(".")
            known = VISION_PARTS.get(part) or _vision_mlp(tensor, part, files)
            return f"vision.{stack}.layers.{layer}.{known}" if known else name
    if name.startswith("blk."):
        layer, _, part = name.removeprefix("blk.").partition(".")
        if part in TEXT_PARTS:
            return f"text.layers.{layer}.{TEXT_PARTS[part]}"
    return name


def _vision_mlp(tensor: SourceTensor, part: str, files: LegacyFiles) -> str | None:
    """fc1 widens, fc2 narrows: layout B calls them the other way round than layout C."""
    stem, _, leaf = part.partition(".")
    if stem not in ("ffn_up", "ffn_down") or leaf not in ("weight", "bias"):
        return None
    width = files.vision.tensors[VISION_MARK].shape[0]
    widens = tensor.shape[0] != width
    return f"mlp.{'fc1' if widens else 'fc2'}.{leaf}"


# --- what was done to the values ------------------------------------------------------------------
def weigh(files: LegacyFiles, tensors: dict[str, SourceTensor], choices: Choices) -> Evidence:
    """Decides what the file alone can decide, and says what was assumed."""
    notes = []
    stops = "tokenizer.ggml.eos_token_ids" in files.text.metadata
    if not files.combined:
        layout, permuted = "A + B (Ollama 0.4 to 0.6)", True
        notes.append(
            "cross-attention rows are taken as moved, which is likely for files of this age but "
            "cannot be seen in the file: compare with --cross-permuted no if answers look odd"
        )
    elif stops:
        layout, permuted = "C (Ollama 0.7.1 and later)", True
    else:
        layout, permuted = "C (Ollama 0.7.0)", False
    vision_permuted = files.combined and permuted
    if choices.cross_permuted is not None:
        permuted = choices.cross_permuted
        notes = [
            "cross-attention rows were moved, as told"
            if permuted
            else "cross-attention rows were not moved, as told"
        ]
    raw, reason = _raw_gates(tensors, files, stops)
    if choices.raw_gates is not None:
        raw, reason = choices.raw_gates, Phrase("as told")
    notes.insert(0, Phrase("layout {layout}", layout=layout))
    notes.append(
        Phrase(
            "gates of the global vision layers are raw ({reason})"
            if raw
            else "gates of the global vision layers are tanh ({reason})",
            reason=Phrase(reason),
        )
    )
    return Evidence(layout, permuted, vision_permuted, raw, tuple(notes))


def _raw_gates(
    tensors: dict[str, SourceTensor], files: LegacyFiles, stops: bool
) -> tuple[bool, str]:
    gates = [
        tensor.values()
        for name, tensor in sorted(tensors.items())
        if name.startswith("vision.global_transformer.")
        and name.endswith(("gate_attn", "gate_ffn"))
    ]
    if not gates:
        raise CheckpointError("the file has no gates of global vision layers", hint="Incomplete.")
    values = np.concatenate(gates)
    if (np.abs(values) > 1).any():
        return True, Phrase("one is larger than 1")
    if not (values.view(np.uint32) & np.uint32(0xFFFF)).any():
        return True, Phrase("they are whole bfloat16 values, which a tanh is not")
    if files.combined and not stops:
        return True, Phrase("Ollama 0.7.0 wrote them so")
    return False, Phrase("none is a whole bfloat16 value")


def check_position_gate(files: LegacyFiles) -> None:
    """The two gates of the position table must say the same. Raises CheckpointError."""
    plain, tiles = (
        files.vision.tensors.get(name) for name in (REDUNDANT_GATE, "v.tile_position_embd.gate")
    )
    if plain is None or tiles is None:
        return
    a, b = (
        np.frombuffer(files.vision.data, "<f4", 1, info.offset)[0] if info.n_bytes == 4 else np.nan
        for info in (plain, tiles)
    )
    if not abs(float(a) + float(b) - 1) < 1e-3:
        raise CheckpointError(
            Phrase(
                "{gate} is {a:g} and v.tile_position_embd.gate is {b:g}: they should add up to 1",
                gate=REDUNDANT_GATE,
                a=a,
                b=b,
            ),
            hint="This file was made in a way that is not known here.",
        )


def raw_gate(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Undoes tanh. A gate that was bfloat16 in the checkpoint comes back exactly."""
    wide = values.astype(np.float64)
    if (np.abs(wide) > 1).any():
        raise UsageError(
            Phrase("a gate of {gate:g} cannot be a tanh", gate=np.abs(wide).max()),
            hint="Say --raw-gates yes.",
        )
    limit = 1 - 2.0**-25
    raw = np.where(
        np.abs(wide) > limit, np.sign(wide) * 16, np.arctanh(np.clip(wide, -limit, limit))
    )
    single = raw.astype(np.float32)
    nearest = from_bf16(to_bf16(single))
    same = np.abs(np.tanh(nearest.astype(np.float64)) - wide) <= np.spacing(np.abs(values))
    return np.where(same, nearest, single).astype(np.float32)
