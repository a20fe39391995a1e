"""A random 1B-shaped pair that llama.cpp runs itself, for timing only: the text half of
Llama-3.2-1B in Q8_0 with the tiny Idefics3 tower of the tests, whose projector is widened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.native_models import pair

LAYERS, WIDTH, FFN, HEADS, KV_HEADS, VOCAB = 16, 2048, 8192, 32, 8, 128_256
Q8_0 = gguf.GGMLQuantizationType.Q8_0


def native_one_b(folder: Path) -> tuple[Path, Path]:
    """(text, mmproj); made if they are not there."""
    text, mmproj = folder / "NativeOneB-Q8_0.gguf", folder / "mmproj-NativeOneB-Q8_0.gguf"
    folder.mkdir(parents=True, exist_ok=True)
    if not text.exists():
        _write_text(text)
    if not mmproj.exists():
        _write_mmproj(mmproj)
    return text, mmproj


def _random(rows: int, columns: int) -> Any:
    """Q8_0 blocks of one random tile, which is repeated: (rows, bytes of a row)."""
    rng = np.random.default_rng(rows + columns)
    tile = (rng.standard_normal((64, columns)) * columns**-0.5).astype(np.float32)
    blocks = gguf.quantize(tile, Q8_0)
    return np.tile(blocks, (-(-rows // 64), 1))[:rows]


def _write_text(path: Path) -> None:
    reader = gguf.GGUFReader(pair("idefics3")[0])
    writer = gguf.GGUFWriter(path, "llama")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    more = VOCAB - len(tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens, *(f"word{i}" for i in range(more))])
    writer.add_token_types([*types, *[1] * more])
    writer.add_token_merges(fields["tokenizer.ggml.merges"])
    writer.add_eos_token_id(fields["tokenizer.ggml.eos_token_id"])
    writer.add_bos_token_id(fields["tokenizer.ggml.bos_token_id"])
    writer.add_block_count(LAYERS)
    writer.add_context_length(131_072)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_file_type(7)
    kv = WIDTH // HEADS * KV_HEADS
    for name in ("token_embd", "output"):
        writer.add_tensor(f"{name}.weight", _random(VOCAB, WIDTH), raw_dtype=Q8_0)
    norm = np.ones(WIDTH, dtype=np.float32)
    writer.add_tensor("output_norm.weight", norm)
    for i in range(LAYERS):
        shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (kv, WIDTH), "attn_v": (kv, WIDTH),
                  "attn_output": (WIDTH, WIDTH), "ffn_gate": (FFN, WIDTH), "ffn_up": (FFN, WIDTH),
                  "ffn_down": (WIDTH, FFN)}  # fmt: skip
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{i}.{name}.weight", _random(*shape), raw_dtype=Q8_0)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{i}.{name}.weight", norm)
    _finish(writer)


def _write_mmproj(path: Path) -> None:
    reader = gguf.GGUFReader(pair("idefics3")[1])
    writer = gguf.GGUFWriter(path, "clip")
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value, kind = field.contents(), field.types[0]
        if name == "clip.vision.projection_dim":
            value = WIDTH
        item = field.types[1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, kind, item)
    for tensor in reader.tensors:
        data = np.array(tensor.data)
        if tensor.name == "mm.model.fc.weight":
            data = np.random.default_rng(1).standard_normal((WIDTH, data.shape[1]))
            data = data.astype(np.float32)
        writer.add_tensor(tensor.name, data)
    _finish(writer)


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
