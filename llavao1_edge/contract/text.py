"""What the text half may hold: exact keys with ranges, exact tensors with shapes and types.

llama.cpp asserts on much of this and ends the process; our converter writes every text file, so
anything that it would not write is refused by name before native code sees it.
"""

from __future__ import annotations

import math
from array import array

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader, Strings
from llavao1_edge.errors import ModelFileError
from llavao1_edge.ggml.types import F32
from llavao1_edge.phrases import Phrase

MODEL = "tokenizer.ggml.model"
PRE = "tokenizer.ggml.pre"
TOKENS, TYPES, MERGES = (f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges"))
PRE_TOKENIZERS = ("gpt-2", "llama-bpe")
IDS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eos", "eot", "padding"))
# Key → (least, most) of a number.
WHOLE = {
    "llama.block_count": (1, 512),
    "llama.context_length": (256, 1 << 24),
    "llama.embedding_length": (8, 1 << 16),
    "llama.feed_forward_length": (8, 1 << 18),
    "llama.attention.head_count": (1, 1024),
    "llama.attention.head_count_kv": (1, 1024),
    "llama.rope.dimension_count": (2, 1024),
    "llama.vocab_size": (8, 1 << 21),
    keys.FILE_TYPE: (0, 1024),
    "general.quantization_version": (0, 16),
    keys.VERSION: (1, 1 << 16),
    keys.HEAD_VOCAB: (1, 1 << 21),
    keys.IMAGE_TOKEN: (0, 1 << 21),
    keys.TOP_K: (1, 1 << 31),
}
FRACTIONS = {
    "llama.attention.layer_norm_rms_epsilon": (1e-12, 1.0),
    "llama.rope.freq_base": (1.0, 1e12),
    keys.TEMPERATURE: (0.0, 10.0),
    keys.TOP_P: (0.0, 1.0),
}
OPTIONAL = {
    *(keys.TEMPERATURE, keys.TOP_P, keys.TOP_K, keys.FILE_TYPE, "general.quantization_version"),
    *("llama.vocab_size", "llama.rope.dimension_count", *IDS),
}
FLAGS = {
    keys.SYSTEM_BLOCK,
    *(f"tokenizer.ggml.add_{name}" for name in ("bos_token", "eos_token", "space_prefix")),
}
TEXTS = {
    *(keys.ARCHITECTURE, keys.GENERAL_TYPE, keys.NAME, keys.PAIR_ID, MODEL, PRE),
    "tokenizer.chat_template",
}
LISTS = {keys.STOP_TOKENS, TOKENS, TYPES, MERGES}
FREE = "general."  # names, authors, licences: nothing reads them
LONGEST_TOKEN = 4096  # bytes
TOKEN_TYPES = range(1, 7)
HINT = "Convert the checkpoint again with this version."


def check_text(header: GgufHeader) -> None:
    """Raises ModelFileError for the first thing that does not belong into a text file of ours."""
    _check_keys(header)
    _check_numbers(header)
    _check_vocabulary(header)
    _check_tensors(header)


def _wrong(header: GgufHeader, problem: str) -> ModelFileError:
    return ModelFileError(
        Phrase("{name}: {problem}", name=header.path.name, problem=problem), hint=HINT
    )


def _check_keys(header: GgufHeader) -> None:
    known = {*WHOLE, *FRACTIONS, *FLAGS, *TEXTS, *LISTS, *IDS}
    for name in header.metadata:
        if name not in known and not name.startswith(FREE):
            raise _wrong(header, f"the key {name!r} does not belong into a text file")


def _check_numbers(header: GgufHeader) -> None:
    for name, (least, most) in WHOLE.items():
        if name in OPTIONAL and name not in header.metadata:
            continue
        value = header.integer(name)
        if not least <= value <= most:
            raise _wrong(header, f"{name} is {value}, it must be from {least} to {most}")
    for name, (low, high) in FRACTIONS.items():
        if name in OPTIONAL and name not in header.metadata:
            continue
        number = header.number(name)
        if not low <= number <= high:
            raise _wrong(header, f"{name} is {number:g}, it must be from {low:g} to {high:g}")
    width, heads = (
        header.integer("llama.embedding_length"),
        header.integer("llama.attention.head_count"),
    )
    kv_heads = header.integer("llama.attention.head_count_kv")
    if width % heads or heads % kv_heads:
        raise _wrong(
            header, f"a width of {width} does not divide into {heads} and {kv_heads} heads"
        )
    turned = header.metadata.get("llama.rope.dimension_count", width // heads)
    if turned != width // heads or width // heads % 2:
        raise _wrong(header, f"llama.rope.dimension_count is {turned}, not {width // heads}")


def _check_vocabulary(header: GgufHeader) -> None:
    if header.text(MODEL) != "gpt2":
        raise _wrong(header, f"{MODEL} is {header.text(MODEL)!r}, it must be 'gpt2'")
    if header.text(PRE) not in PRE_TOKENIZERS:
        known = " or ".join(map(repr, PRE_TOKENIZERS))
        raise _wrong(header, f"{PRE} is {header.text(PRE)!r}, it must be {known}")
    tokens, merges = header.metadata.get(TOKENS), header.metadata.get(MERGES)
    if not isinstance(tokens, Strings) or not isinstance(merges, Strings):
        raise _wrong(header, f"{TOKENS} or {MERGES} is not a list of strings")
    seen: set[str] = set()
    for token in tokens:
        if not token or len(token) > LONGEST_TOKEN:
            raise _wrong(header, f"token {len(seen)} has {len(token)} characters")
        if token in seen:
            raise _wrong(header, f"the token {token[:40]!r} is there twice")
        seen.add(token)
    for merge in merges:
        if len(merge) > 2 * LONGEST_TOKEN or " " not in merge[1:-1]:
            raise _wrong(header, f"the merge {merge[:40]!r} is not two parts with a blank between")
    types = header.metadata.get(TYPES)
    if not isinstance(types, array) or len(types) != len(tokens):
        raise _wrong(header, f"{TYPES} does not have {len(tokens)} entries")
    if any(kind not in TOKEN_TYPES for kind in set(types)):
        raise _wrong(header, f"{TYPES} holds a type that is not known")
    for name in IDS:
        if name in header.metadata and not 0 <= header.integer(name) < len(tokens):
            raise _wrong(header, f"{name} is {header.integer(name)} of {len(tokens)} tokens")
    if not all(0 <= token < len(tokens) for token in header.integers(keys.STOP_TOKENS)):
        raise _wrong(header, f"{keys.STOP_TOKENS} names a token that is not there")
    if not header.integers(keys.STOP_TOKENS):
        raise _wrong(header, f"{keys.STOP_TOKENS} is empty: no answer could end")


def _check_tensors(header: GgufHeader) -> None:
    wanted = tensors(header)
    for name, shape in wanted.items():
        info = header.tensors.get(name)
        if info is None:
            raise _wrong(header, f"the tensor {name!r} is missing")
        if info.shape != shape:
            found, right = (" × ".join(map(str, each)) for each in (info.shape, shape))
            raise _wrong(header, f"the tensor {name!r} is {found}, it must be {right}")
        if len(shape) == 1 and info.kind is not F32:
            raise _wrong(header, f"the tensor {name!r} is {info.kind.name}, it must be F32")
        if len(shape) > 1 and shape[0] % info.kind.block:
            raise _wrong(header, f"rows of {name!r} do not divide into blocks of {info.kind.name}")
    for name, info in header.tensors.items():
        if name == "rope_freqs.weight":
            head = header.integer("llama.embedding_length") // header.integer(
                "llama.attention.head_count"
            )
            if info.kind is not F32 or math.prod(info.shape) != head // 2:
                raise _wrong(header, f"the tensor {name!r} must be {head // 2} numbers in F32")
        elif name not in wanted:
            raise _wrong(header, f"the tensor {name!r} does not belong into a text file")


def tensors(header: GgufHeader) -> dict[str, tuple[int, ...]]:
    """Name → shape (ggml order) of what a text file must hold."""
    width, ffn = (header.integer(f"llama.{n}_length") for n in ("embedding", "feed_forward"))
    heads, kv_heads = (
        header.integer(f"llama.attention.{n}") for n in ("head_count", "head_count_kv")
    )
    kv, tokens = width // heads * kv_heads, header.metadata[TOKENS]
    assert isinstance(tokens, Strings)
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, len(tokens)),
        "output.weight": (width, len(tokens)),
        "output_norm.weight": (width,),
    }
    for layer in range(header.integer("llama.block_count")):
        found |= {
            f"blk.{layer}.{part}.weight": shape
            for part, shape in (
                ("attn_norm", (width,)),
                ("attn_q", (width, width)),
                ("attn_k", (width, kv)),
                ("attn_v", (width, kv)),
                ("attn_output", (width, width)),
                ("ffn_norm", (width,)),
                ("ffn_gate", (width, ffn)),
                ("ffn_up", (width, ffn)),
                ("ffn_down", (ffn, width)),
            )
        }
    return found
