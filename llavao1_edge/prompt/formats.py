"""The chat formats that are known, by the names that llama.cpp gives them; and what is asked of
models that were never trained on the stages.

Templates in model files are never rendered: they are programs from strangers. Sources: the
templates that the models were published with.
"""

from __future__ import annotations

from dataclasses import replace

from llavao1_edge.errors import UsageError
from llavao1_edge.phrases import Phrase
from llavao1_edge.prompt.chat import BEGIN, ChatFormat, Piece, Special

# The template's own fallback date: a fixed one, so that the same question gives the same tokens.
SYSTEM_BLOCK = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

STAGE_PROMPT = """\
Look at the picture and answer the question in four parts, each between its own tags:
<SUMMARY> how you will go about it </SUMMARY>
<CAPTION> what the picture shows, as far as the question needs it </CAPTION>
<REASONING> step by step, what follows from what you see </REASONING>
<CONCLUSION> the answer alone </CONCLUSION>"""


def _llama3(role: str) -> tuple[Piece, ...]:
    return Special("<|start_header_id|>"), role, Special("<|end_header_id|>"), "\n\n"


def _llama4(role: str) -> tuple[Piece, ...]:
    return Special("<|header_start|>"), role, Special("<|header_end|>"), "\n\n"


_EOT, _IM_START, _IM_END = Special("<|eot_id|>"), Special("<|im_start|>"), Special("<|im_end|>")
_END_OF_UTTERANCE, _END = Special("<end_of_utterance>"), Special("</s>")

LLAMA3_VISION = ChatFormat(
    "llama3-vision",
    (Special("<|begin_of_text|>"),),
    (_llama3("system"), (_EOT,)),
    (_llama3("user"), (_EOT,)),
    _llama3("assistant"),
    (_EOT,),
    picture=(Special("<|image|>"),),
)
"""Of Llama-3.2-Vision: the picture has a token of its own, which its cross layers look for."""

CHATML = ChatFormat(
    "chatml",
    (BEGIN,),
    ((_IM_START, "system\n"), (_IM_END, "\n")),
    ((_IM_START, "user\n"), (_IM_END, "\n")),
    (_IM_START, "assistant\n"),
    (_IM_END, "\n"),
)

SMOLVLM = ChatFormat(
    "smolvlm",
    (_IM_START,),
    (("System: ",), (_END_OF_UTTERANCE, "\n")),
    (("User:",), (_END_OF_UTTERANCE, "\n")),
    ("Assistant:",),
    (_END_OF_UTTERANCE, "\n"),
    gap=" ",
)

FORMATS: dict[str, ChatFormat] = {
    one.name: one
    for one in (
        CHATML,
        SMOLVLM,
        replace(SMOLVLM, name="idefics3", begin=(BEGIN,)),
        ChatFormat(
            "gemma",
            (BEGIN,),
            None,
            ((Special("<start_of_turn>"), "user\n"), (Special("<end_of_turn>"), "\n")),
            (Special("<start_of_turn>"), "model\n"),
            (Special("<end_of_turn>"), "\n"),
        ),
        ChatFormat(
            "vicuna",
            (BEGIN,),
            ((), (" ",)),
            (("USER: ",), (" ",)),
            ("ASSISTANT:",),
            (_END,),
        ),
        ChatFormat(
            "mistral-v7-tekken",
            (BEGIN,),
            ((Special("[SYSTEM_PROMPT]"),), (Special("[/SYSTEM_PROMPT]"),)),
            ((Special("[INST]"),), (Special("[/INST]"),)),
            (),
            (_END,),
        ),
        ChatFormat(
            "mistral-v3-tekken",
            (BEGIN,),
            None,
            ((Special("[INST]"),), (Special("[/INST]"),)),
            (),
            (_END,),
        ),
        ChatFormat("mistral-v1", (BEGIN,), None, (("[INST] ",), (" [/INST]",)), (), (_END,)),
        ChatFormat(
            "phi3",
            (BEGIN,),
            ((Special("<|system|>"), "\n"), (Special("<|end|>"), "\n")),
            ((Special("<|user|>"), "\n"), (Special("<|end|>"), "\n")),
            (Special("<|assistant|>"), "\n"),
            (Special("<|end|>"), "\n"),
        ),
        replace(LLAMA3_VISION, name="llama3", picture=()),
        ChatFormat(
            "llama4",
            (Special("<|begin_of_text|>"),),
            (_llama4("system"), (Special("<|eot|>"),)),
            (_llama4("user"), (Special("<|eot|>"),)),
            _llama4("assistant"),
            (Special("<|eot|>"),),
        ),
    )
}
GUESSES = (
    *("idefics3", "chatml", "llama3", "phi3", "mistral-v7-tekken", "mistral-v3-tekken", "gemma"),
)
"""Tried in this order where a family's usual format does not fit a vocabulary, or fits any."""


def chat_format(name: str) -> ChatFormat:
    """Raises UsageError for a name that is not known."""
    if name not in FORMATS:
        raise UsageError(
            Phrase("chat_format is {name}", name=repr(name)),
            hint=Phrase("Choose one of {formats}.", formats=", ".join(sorted(FORMATS))),
        )
    return FORMATS[name]
