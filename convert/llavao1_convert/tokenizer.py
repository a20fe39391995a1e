"""Reads tokenizer.json into llama.cpp's vocabulary: byte-level BPE with a split we know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llavao1_convert.checkpoint import Checkpoint, Json
from llavao1_convert.hyperparameters import Hyperparameters
from llavao1_edge.errors import CheckpointError
from llavao1_edge.phrases import Phrase

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
IMAGE_TOKEN = "<|image|>"
NEEDED = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
HINT = "Only byte-level BPE with the GPT-2 or Llama-3 split is supported."

# The split of Llama 3, as its tokenizer.json spells it.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

SPLIT_STEP = {
    "type": "Split",
    "pattern": {"Regex": LLAMA3_SPLIT},
    "behavior": "Isolated",
    "invert": False,
}
# As tokenizers writes it, with and without a field that does not matter here.
LLAMA3_STEPS = [
    [SPLIT_STEP, {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False, **trim}]
    for trim in ({}, {"trim_offsets": True}, {"trim_offsets": False})
]
MAX_TEMPLATE = 16 << 20


@dataclass(frozen=True)
class Vocabulary:
    """What goes under `tokenizer.ggml.*`; `tokens` has one entry per embedding row."""

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    bos: int
    eos: int
    eot: int
    pad: int
    stops: tuple[int, ...]
    chat_template: str | None
    system_block: bool
    """Whether turns without a picture get a system block with dates."""


def read_vocabulary(checkpoint: Checkpoint, shape: Hyperparameters) -> Vocabulary:
    """Raises CheckpointError for a tokenizer that llama.cpp could not reproduce."""
    tokenizer = checkpoint.json("tokenizer.json")
    settings = checkpoint.json_or_none("tokenizer_config.json") or {}
    pre = recognise_split(tokenizer)
    tokens, types = _tokens(tokenizer, shape)
    ids = {token: identity for identity, token in enumerate(tokens)}
    missing = [name for name in NEEDED if name not in ids]
    if missing:
        raise CheckpointError(
            Phrase("tokenizer.json lacks the special tokens {missing}", missing=", ".join(missing)),
            hint="The Llama-3 chat format needs them: use the model's own tokenizer.",
        )
    template = _template(checkpoint, settings)
    return Vocabulary(
        pre=pre,
        tokens=tokens,
        types=types,
        merges=_merges(tokenizer),
        bos=ids["<|begin_of_text|>"],
        eos=ids.get(_content(settings.get("eos_token")), ids["<|eot_id|>"]),
        eot=ids["<|eot_id|>"],
        pad=ids.get(_content(settings.get("pad_token")), ids["<|eot_id|>"]),
        stops=_stops(checkpoint, ids, len(tokens)),
        chat_template=template,
        system_block="Cutting Knowledge Date" in (template or ""),
    )


def recognise_split(tokenizer: Json) -> str:
    """`llama-bpe` or `gpt-2`. Raises CheckpointError for any other pre-tokenizer."""
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise CheckpointError(
            Phrase("tokenizer.json: model type {kind} is not BPE", kind=repr(kind)), hint=HINT
        )
    for key, where in (
        ("normalizer", tokenizer),
        ("byte_fallback", model),
        ("continuing_subword_prefix", model),
        ("end_of_word_suffix", model),
    ):
        if where.get(key):
            raise CheckpointError(
                Phrase("tokenizer.json: {key} is not supported", key=key), hint=HINT
            )
    pre = tokenizer.get("pre_tokenizer") or {}
    if pre.get("type") == "ByteLevel" and pre.get("use_regex", True):
        if not pre.get("add_prefix_space", True) and not model.get("ignore_merges"):
            return "gpt-2"
    elif pre.get("type") == "Sequence" and pre.get("pretokenizers") in LLAMA3_STEPS:
        return "llama-bpe"
    raise CheckpointError(
        Phrase("tokenizer.json: unknown pre-tokenizer {pre}", pre=str(pre)[:120]), hint=HINT
    )


def _tokens(tokenizer: Json, shape: Hyperparameters) -> tuple[list[str], list[int]]:
    n_rows = shape.text.embedding_rows
    tokens = [f"<|unused_{identity}|>" for identity in range(n_rows)]
    types = [UNUSED] * n_rows
    entries = [(text, identity, NORMAL) for text, identity in tokenizer["model"]["vocab"].items()]
    for added in tokenizer.get("added_tokens") or []:
        kind = CONTROL if added.get("special") else USER_DEFINED
        entries.append((added.get("content"), added.get("id"), kind))
    for text, identity, kind in entries:
        if type(identity) is not int or not 0 <= identity < n_rows or not isinstance(text, str):
            raise CheckpointError(
                Phrase(
                    "tokenizer.json: token {text} has id {identity}, the model has {n_rows} rows",
                    text=repr(text),
                    identity=repr(identity),
                    n_rows=n_rows,
                ),
                hint="Use the tokenizer that belongs to this checkpoint.",
            )
        tokens[identity], types[identity] = text, kind
    if types[shape.image_token] == UNUSED:
        tokens[shape.image_token] = IMAGE_TOKEN
    types[shape.image_token] = CONTROL
    return tokens, types


def _merges(tokenizer: Json) -> list[str]:
    merges = []
    for merge in tokenizer["model"].get("merges") or []:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(pair):
            raise CheckpointError(
                Phrase("tokenizer.json: merge {merge} is not a pair", merge=repr(merge)), hint=HINT
            )
        merges.append(" ".join(pair))
    return merges


def _content(token: Any) -> str:
    """Special tokens are written as text or as an object with `content`."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _stops(checkpoint: Checkpoint, ids: dict[str, int], n_tokens: int) -> tuple[int, ...]:
    given = (checkpoint.json_or_none("generation_config.json") or {}).get("eos_token_id")
    listed = given if isinstance(given, list) else [given]
    stops = {value for value in listed if type(value) is int and 0 <= value < n_tokens}
    names = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
    return tuple(sorted(stops | {ids[name] for name in names if name in ids}))


def _template(checkpoint: Checkpoint, settings: Json) -> str | None:
    """Kept for other programs; this one never renders a template from a file."""
    for source in (checkpoint.json_or_none("chat_template.json") or {}, settings):
        if isinstance(source.get("chat_template"), str):
            return str(source["chat_template"])
    path = checkpoint.folder / "chat_template.jinja"
    if not checkpoint.has(path.name):
        return None
    if path.stat().st_size > MAX_TEMPLATE:
        raise CheckpointError(
            Phrase(
                "{path} is larger than {most} MB",
                path=path,
                most=MAX_TEMPLATE >> 20,
            ),
            hint=HINT,
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(Phrase("{path} is not UTF-8 text", path=path), hint=HINT) from error
