"""What a model's vocabulary means: its chat format, what ends an answer, what is never drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.native import family_of, per_layer
from llavao1_edge.errors import ModelFileError, UsageError
from llavao1_edge.llama.model import Model
from llavao1_edge.phrases import Phrase
from llavao1_edge.prompt import (
    EMPTY_THOUGHT,
    FORMATS,
    GUESSES,
    LLAMA3_VISION,
    STAGE_PROMPT,
    SYSTEM_BLOCK,
    ChatFormat,
    chat_format,
)
from llavao1_edge.settings import RuntimeSettings

CHAT_TEMPLATE = "tokenizer.chat_template"
THOUGHT = {piece.text for piece in EMPTY_THOUGHT if not isinstance(piece, str)}
# Marks that are no control tokens in some vocabularies, and have no place in an answer.
UNWANTED = {
    *THOUGHT,
    *("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"),
    *("<image>", "<image_soft_token>", "<|image_pad|>", "<|video_pad|>", "[IMG]"),
}


@dataclass(frozen=True)
class Words:
    """stop_tokens: end an answer; banned: ids that are never drawn; n_logits: of the head, what
    comes after is padding; image_token: the picture's own, if it has one.

    system: opens conversations without a picture, as the model was trained; stage_prompt: asks for
    the four stages, where the model was not trained on them.
    """

    chat: ChatFormat
    stop_tokens: frozenset[int]
    banned: NDArray[np.int64]
    n_logits: int
    image_token: int | None = None
    system: str = ""
    stage_prompt: str = ""


def mllama_words(header: GgufHeader, model: Model, settings: RuntimeSettings) -> Words:
    """Of a text file of ours. Raises ModelFileError, UsageError."""
    n_logits, image_token = header.integer(keys.HEAD_VOCAB), header.integer(keys.IMAGE_TOKEN)
    stops = frozenset(header.integers(keys.STOP_TOKENS))
    if not 0 < n_logits <= model.n_vocab or image_token >= model.n_vocab:
        raise ModelFileError(
            Phrase(
                "{name}: {n_logits} logits, image token {image_token}, {n_vocab} tokens",
                name=header.path.name,
                n_logits=n_logits,
                image_token=image_token,
                n_vocab=model.n_vocab,
            ),
            hint="Convert the checkpoint again with this version.",
        )
    if settings.chat_format is not None:
        raise UsageError(
            Phrase(
                "chat_format is {chat_format}, but this model has a format of its own",
                chat_format=repr(settings.chat_format),
            ),
            hint="Leave it out.",
        )
    asked = STAGE_PROMPT if settings.stage_prompt == "on" else ""
    block = SYSTEM_BLOCK if header.metadata.get(keys.SYSTEM_BLOCK) is True else ""
    return Words(
        LLAMA3_VISION,
        stops,
        _banned(model, stops, n_logits),
        n_logits,
        image_token,
        system=block,
        stage_prompt=asked,
    )


def native_words(
    text: GgufHeader, mmproj: GgufHeader, model: Model, settings: RuntimeSettings
) -> Words:
    """Of a model that llama.cpp runs itself. Raises UsageError, ModelFileError."""
    chat = native_format(text, mmproj, model, settings)
    first = chat.close[0]
    assert not isinstance(first, str)
    stops = model.end_tokens | {model.special(first.text)}
    return Words(
        chat,
        stops,
        _banned(model, stops, model.n_vocab),
        model.n_vocab,
        stage_prompt="" if settings.stage_prompt == "off" else STAGE_PROMPT,
    )


def native_format(
    text: GgufHeader, mmproj: GgufHeader, model: Model, settings: RuntimeSettings
) -> ChatFormat:
    """The format that was asked for, or the family's. Raises UsageError."""
    if settings.chat_format is not None:
        chat = chat_format(settings.chat_format)
        missing = [name for name in sorted(chat.specials) if not model.has_special(name)]
        if missing:
            raise UsageError(
                Phrase(
                    "chat_format is {name}, but {vocabulary} has no token {missing}",
                    name=repr(chat.name),
                    vocabulary=text.path.name,
                    missing=missing[0],
                ),
                hint=Phrase("Choose another of {formats}.", formats=", ".join(sorted(FORMATS))),
            )
    else:
        chat = _guessed(text, mmproj, model)
    if family_of(mmproj).line_break:
        chat = replace(chat, after_picture="\n")
    template = text.metadata.get(CHAT_TEMPLATE)
    thinks = isinstance(template, str) and "<think>" in template
    if thinks and all(map(model.has_special, THOUGHT)):
        return chat.without_thinking
    return chat


def _guessed(text: GgufHeader, mmproj: GgufHeader, model: Model) -> ChatFormat:
    """The family's usual format, or the first of all whose tokens the vocabulary has. A usual one
    without tokens of its own fits every vocabulary, and is tried last."""
    family = family_of(mmproj)
    names: tuple[str, ...] = ()
    if family.known:
        plain = FORMATS[family.chat].specials <= {"</s>"}
        names = (*GUESSES, _of_llama(text)) if plain else (family.chat, *GUESSES)
    for name in names:
        if all(map(model.has_special, FORMATS[name].specials)):
            return FORMATS[name]
    raise UsageError(
        Phrase("the chat format of {name} is not known", name=text.path.name),
        hint=Phrase(
            "Name it with --chat-format: one of {formats}.", formats=", ".join(sorted(FORMATS))
        ),
    )


def _of_llama(text: GgufHeader) -> str:
    """LLaVA on Vicuna or on Mistral: the same vocabulary, but Mistral shares keys among heads."""
    heads = per_layer(text, "attention.head_count")
    shared = per_layer(text, "attention.head_count_kv", heads[0]) != heads
    return "mistral-v1" if shared else "vicuna"


def _banned(model: Model, stops: frozenset[int], n_logits: int) -> NDArray[np.int64]:
    """Control tokens that end nothing, marks without a place in an answer, and padding."""
    controls = [t for t in range(n_logits) if t not in stops and model.is_control(t)]
    marks = [token for text, token in model.marks.items() if text in UNWANTED]
    padding = range(n_logits, model.n_vocab)
    return np.array([*controls, *marks, *padding], dtype=np.int64)
