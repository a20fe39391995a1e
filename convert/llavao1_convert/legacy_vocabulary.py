"""The vocabulary of an old file, and what had to be decided for it."""

from __future__ import annotations

from llavao1_convert.hyperparameters import Hyperparameters
from llavao1_convert.legacy import Choices
from llavao1_convert.tokenizer import CONTROL, IMAGE_TOKEN, NEEDED, UNUSED, Vocabulary
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.errors import CheckpointError
from llavao1_edge.phrases import Phrase

SPLITS = {"llama-bpe": "llama-bpe", "smaug-bpe": "llama-bpe", "gpt-2": "gpt-2"}
STOPS = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
HINT = Phrase("The file is damaged, or was made in a way that is not known here.")


def legacy_vocabulary(
    header: GgufHeader, shape: Hyperparameters, choices: Choices
) -> tuple[Vocabulary, list[str]]:
    """The vocabulary, and what had to be decided for it."""
    notes = []
    rows = shape.text.embedding_rows
    pre, tokens, types, merges = _read(header, rows)
    unused = range(len(tokens), rows)
    tokens += [f"<|unused_{identity}|>" for identity in unused]
    types += [UNUSED] * len(unused)
    if tokens[shape.image_token] == f"<|unused_{shape.image_token}|>":
        tokens[shape.image_token] = IMAGE_TOKEN
    types[shape.image_token] = CONTROL
    ids = {token: identity for identity, token in enumerate(tokens)}
    missing = [name for name in NEEDED if name not in ids]
    if missing:
        raise CheckpointError(
            Phrase("the vocabulary lacks {missing}", missing=", ".join(missing)), hint=HINT
        )
    stops = {ids[name] for name in STOPS if name in ids}
    if "tokenizer.ggml.eos_token_ids" in header.metadata:
        stops |= set(header.integers("tokenizer.ggml.eos_token_ids"))
    template = header.metadata.get("tokenizer.chat_template")
    if not isinstance(template, str):
        template = None
    if choices.system_block is not None:
        block = choices.system_block
    else:
        block = "Cutting Knowledge Date" in (template or "")
        if template is None:
            notes.append("no chat template: turns without a picture get no system block")
    end = header.metadata.get("tokenizer.ggml.eos_token_id", ids["<|eot_id|>"])
    pad = header.metadata.get("tokenizer.ggml.padding_token_id", ids["<|eot_id|>"])
    whole = [v if type(v) is int and 0 <= v < rows else ids["<|eot_id|>"] for v in (end, pad)]
    return (
        Vocabulary(
            pre=SPLITS[pre],
            tokens=tokens,
            types=types,
            merges=merges,
            bos=ids["<|begin_of_text|>"],
            eos=whole[0],
            eot=ids["<|eot_id|>"],
            pad=whole[1],
            stops=tuple(sorted(stop for stop in stops if 0 <= stop < rows)),
            chat_template=template,
            system_block=block,
        ),
        notes,
    )


def _read(header: GgufHeader, rows: int) -> tuple[str, list[str], list[int], list[str]]:
    """The split, tokens, their types, merges."""
    try:
        tokens = header.strings("tokenizer.ggml.tokens")
        merges = header.strings("tokenizer.ggml.merges")
        types = list(header.integers("tokenizer.ggml.token_type"))
        pre = header.text("tokenizer.ggml.pre")
    except Exception as error:
        raise CheckpointError(
            Phrase("the vocabulary is incomplete: {error}", error=error), hint=HINT
        ) from error
    if pre not in SPLITS or len(tokens) > rows or len(types) != len(tokens):
        raise CheckpointError(
            Phrase(
                "unknown vocabulary: split {pre}, {n_tokens} tokens, {rows} rows",
                pre=repr(pre),
                n_tokens=len(tokens),
                rows=rows,
            ),
            hint=HINT,
        )
    return pre, tokens, types, merges
