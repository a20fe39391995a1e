"""Prints `docs/file-format.md` from the tables in `contract`: python -m tests.file_format."""

from __future__ import annotations

from pathlib import Path

from llavao1_edge.contract import keys
from llavao1_edge.contract.tensors import MmprojShape

HEAD = f"""\
# File format, contract version {keys.CONTRACT_VERSION}

A model is two GGUF files that belong together.

- `<Name>-<Quant>.gguf`: a plain `llama` model, the self-attention layers re-numbered from 0. Any
  llama.cpp program can load it for text. Tensor names are llama.cpp's. `output.weight` has as many
  rows as `token_embd.weight`; the rows beyond `{keys.HEAD_VOCAB}` are zero and never
  drawn. llama3 RoPE scaling is in `rope_freqs.weight`.
- `mmproj-<Name>-<Quant>.gguf` (`-<Quant>-<VisionQuant>` where they differ): vision tower, projector
  and cross-attention layers (architecture `clip`, projector `mllama`). The cross layers are stored
  in the text's quantisation, the rest in the vision's.

Which tensor gets which storage type: [converting.md](converting.md). What a file must satisfy
before native code sees it (`llavao1_edge/contract/gguf.py`; a bad one is refused with the offset):
version 2 or 3; at most 16,384 tensors, 4,096 entries, 1,048,576 strings in arrays, 16 MB of numbers
in arrays, 8 MB of other text; UTF-8; no key or tensor twice; known types; one to four dimensions
above zero whose product is whole blocks and below 2^40 bytes; alignment a power of two from 8 to
65,536; every tensor aligned, inside the file, and apart from the others.

Printed from `llavao1_edge/contract` by `python -m tests.file_format`; a test keeps it current.

## Metadata

| key | type | file | meaning |
|---|---|---|---|
"""
EXAMPLE = MmprojShape(
    width=1280,
    ffn=5120,
    local_layers=32,
    global_layers=8,
    n_intermediate=5,
    patch_size=14,
    tokens_per_tile=1601,
    max_tiles=4,
    n_arrangements=8,
    text_width=4096,
    text_ffn=14336,
    cross_layers=8,
    cross_heads=32,
    cross_kv_heads=8,
    head_width=128,
)
TENSORS = """
## Tensors of the mmproj file

Shapes in ggml order (fastest first), for the 11B model. Only the first layer of each kind is
listed. Gates are raw (tanh at run time) and F32, like all norms and biases; position tables are F16
or F32.

| tensor | shape |
|---|---|
"""


def page() -> str:
    rows = [f"| `{k.name}` | {k.kind} | {k.where} | {k.meaning} |" for k in keys.KEYS]
    expected = EXAMPLE.expected()
    shown = [name for name in expected if not any(f".{n}." in name for n in range(1, 64))]
    tensors = [f"| `{name}` | {' × '.join(map(str, expected[name]))} |" for name in shown]
    return HEAD + "\n".join(rows) + "\n" + TENSORS + "\n".join(tensors) + "\n"


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "docs" / "file-format.md"
    path.write_text(page(), encoding="utf-8")
