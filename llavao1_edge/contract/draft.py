"""Whether a text file can guess for another one: both must have the same tokens."""

from __future__ import annotations

from array import array

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader, Strings
from llavao1_edge.contract.native import TOKENS, check_numbers
from llavao1_edge.contract.text import TYPES
from llavao1_edge.errors import ModelFileError, PairError
from llavao1_edge.phrases import Phrase

MOST_MORE = 128  # tokens that one vocabulary may have behind the other's, as llama.cpp allows
CONTROL = 3  # LLAMA_TOKEN_TYPE_CONTROL
HINT = "Use a smaller model of the same family, such as Llama 3.2 1B for LLaVA-o1."


def check_draft(draft: GgufHeader, text: GgufHeader) -> None:
    """Raises ModelFileError or PairError for the first thing that cannot be. Control tokens may
    have other names: they are only ever read."""
    if draft.metadata.get(keys.ARCHITECTURE) == keys.MMPROJ_ARCHITECTURE:
        raise ModelFileError(
            Phrase("{name} is an mmproj file, a draft model is a text model", name=draft.path.name),
            hint=HINT,
        )
    check_numbers(draft)
    own, other = draft.metadata[TOKENS], text.metadata.get(TOKENS)
    assert isinstance(own, Strings), "check_numbers has looked"
    if not isinstance(other, Strings) or abs(len(own) - len(other)) > MOST_MORE:
        raise PairError(
            Phrase(
                "{name} has {n_own} tokens, {text} has {n_other}: another vocabulary",
                name=draft.path.name,
                n_own=len(own),
                text=text.path.name,
                n_other=len(other) if isinstance(other, Strings) else 0,
            ),
            hint=HINT,
        )
    for token, (a, b) in enumerate(zip(own, other, strict=False)):
        if a != b and not (_is_control(draft, token) and _is_control(text, token)):
            raise PairError(
                Phrase(
                    "{name} has another vocabulary than {text}: token {token} is {a}, not {b}",
                    name=draft.path.name,
                    text=text.path.name,
                    token=token,
                    a=repr(a[:40]),
                    b=repr(b[:40]),
                ),
                hint=HINT,
            )


def _is_control(header: GgufHeader, token: int) -> bool:
    types = header.metadata.get(TYPES)
    return isinstance(types, array) and types[token : token + 1].tolist() == [CONTROL]
