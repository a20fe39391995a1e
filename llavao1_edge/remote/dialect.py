"""What servers call things: field names, and nothing else.

Sources: llama.cpp's server, vLLM 0.33 and SGLang 0.5.23, their request types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Grammar(Enum):
    """How a GBNF grammar is sent."""

    NONE = ""
    LLAMA_CPP = "grammar"
    VLLM = "structured_outputs"
    SGLANG = "ebnf"


@dataclass(frozen=True)
class Dialect:
    """owner: what the server calls itself in its list of models. continues: the fields with which
    it goes on in the assistant's message, None where it cannot. choices: several draws in one
    request, with seeds counted from the first. repeat_penalty: its name; extras: other settings it
    knows. keeps_stop: the fields with which a stop text stays in the reply.
    """

    name: str
    owner: str
    continues: Mapping[str, Any] | None = None
    grammar: Grammar = Grammar.NONE
    choices: bool = False
    repeat_penalty: str = ""
    extras: tuple[str, ...] = ()
    keeps_stop: Mapping[str, Any] = field(default_factory=dict)


# A thought before the answer would stand before the stages: it belongs into the reasoning.
NO_THOUGHT = {"chat_template_kwargs": {"enable_thinking": False}}
OPENAI = Dialect("OpenAI", "")
OURS = Dialect("llavao1-edge", "llavao1-edge", repeat_penalty="repeat_penalty",
               extras=("top_k", "min_p"))  # fmt: skip
DIALECTS = (
    Dialect(
        "llama.cpp",
        "llamacpp",
        continues={
            "continue_final_message": True,
            "add_generation_prompt": False,
            **NO_THOUGHT,
        },
        grammar=Grammar.LLAMA_CPP,
        choices=True,
        repeat_penalty="repeat_penalty",
        extras=("top_k", "min_p"),
    ),
    Dialect(
        "vLLM",
        "vllm",
        continues={
            "continue_final_message": True,
            "add_generation_prompt": False,
            **NO_THOUGHT,
        },
        grammar=Grammar.VLLM,
        choices=True,
        repeat_penalty="repetition_penalty",
        extras=("top_k", "min_p"),
        keeps_stop={"include_stop_str_in_output": True},
    ),
    Dialect(
        "SGLang",
        "sglang",
        continues={"continue_final_message": True, **NO_THOUGHT},
        grammar=Grammar.SGLANG,
        repeat_penalty="repetition_penalty",
        extras=("top_k", "min_p"),
        keeps_stop={"no_stop_trim": True},
    ),
    OURS,
)


def dialect_of(owner: str) -> Dialect:
    """By what a server calls itself; OpenAI's own where it is none of the known ones."""
    return next((one for one in DIALECTS if one.owner == owner.lower()), OPENAI)


def grammar_fields(kind: Grammar, gbnf: str) -> dict[str, Any]:
    """What a request says so that the text follows a grammar with a `root` rule."""
    match kind:
        case Grammar.NONE:
            return {}
        case Grammar.VLLM:
            return {"structured_outputs": {"grammar": gbnf}}
        case _:
            return {kind.value: gbnf}
