"""Diagnostics: the logits of a prompt, to compare a conversion with its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.slots import Slots
from llavao1_edge.errors import UsageError
from llavao1_edge.images import Picture
from llavao1_edge.llama.context import Row
from llavao1_edge.mllama.model import Sight
from llavao1_edge.phrases import Phrase


@dataclass(frozen=True)
class PromptLogits:
    """tokens: the ids; logits: float32 (n_tokens, head vocabulary)."""

    tokens: list[int]
    logits: NDArray[np.float32]


def prompt_logits(
    runtime: Runtime, slots: Slots, picture: Picture | None, question: str | Sequence[int]
) -> PromptLogits:
    """See `Engine.prompt_logits`."""
    chat, system = runtime.words.chat, runtime.words.system
    before: Sequence[int] = ()
    if not isinstance(question, str):
        tokens = question
    elif picture is None:
        tokens = runtime.encode(chat.turn(question, system=system))
    elif chat.picture:
        tokens = runtime.encode([*chat.opening(), *chat.question(question)])
    else:
        before = runtime.encode(chat.opening())
        tokens = runtime.encode(chat.question(question))
    ids = check_tokens(runtime, tokens, picture=picture is not None)
    n_picture = 0 if picture is None else runtime.vision.preview(picture).n_cells
    slots.make_room(None, len(before) + len(ids) + n_picture)
    sight = None if picture is None else runtime.vision.see(picture)[0]
    return compute_logits(runtime, ids, sight, before=before)


def check_tokens(runtime: Runtime, tokens: Sequence[int], *, picture: bool) -> list[int]:
    """The ids. Raises UsageError for ids outside the vocabulary or a picture without a place."""
    ids = [int(token) for token in tokens]
    bad = [token for token in ids if not 0 <= token < runtime.model.n_vocab]
    if bad or not ids:
        raise UsageError(
            Phrase(
                "token ids {bad} are outside 0..{n_vocab}",
                bad=bad[:5],
                n_vocab=runtime.model.n_vocab - 1,
            )
            if bad
            else "no tokens",
            hint="Give the ids of the model's own tokenizer.",
        )
    token = runtime.words.image_token
    if picture and token is not None and token not in ids:
        raise UsageError(
            Phrase(
                "a picture was given, but the tokens hold no image token ({token})", token=token
            ),
            hint="Put it where the picture stands, or give no picture.",
        )
    return ids


def compute_logits(
    runtime: Runtime, ids: list[int], sight: Any, *, before: Sequence[int] = ()
) -> PromptLogits:
    """Logits after every token of checked ids. before: what stands before the picture, where the
    picture is no token among the ids."""
    sequence = runtime.take_sequence()
    n_logits = runtime.words.n_logits
    logits = np.empty((len(ids), n_logits), dtype=np.float32)
    n_batch, position = runtime.context.n_batch, 0
    try:
        image_token = runtime.words.image_token
        if isinstance(sight, Sight) and image_token is not None:
            sight = sight.at(ids.index(image_token))
        elif sight is not None:
            place = runtime.vision.place(sight, sequence, before, stop=lambda: False)
            position = place.position
        for start in range(0, len(ids), n_batch):
            chunk = ids[start : start + n_batch]
            rows = [
                Row(token, position + start + i, sequence, output=True)
                for i, token in enumerate(chunk)
            ]
            runtime.decode(rows, sight, stop=lambda: False)
            for i in range(len(chunk)):
                logits[start + i] = runtime.context.logits(i)[:n_logits]
    finally:
        runtime.release(sequence)
    return PromptLogits(ids, logits)
