"""Chat formats, piece by piece, equal to what the models' templates write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llavao1_edge.errors import UsageError
from llavao1_edge.prompt import (
    BEGIN,
    FORMATS,
    GUESSES,
    LLAMA3_VISION,
    SYSTEM_BLOCK,
    Piece,
    Special,
    chat_format,
)


def written(pieces: list[Piece]) -> str:
    return "".join(
        ("<BEGIN>" if piece == BEGIN else piece.text) if isinstance(piece, Special) else piece
        for piece in pieces
    )


def test_a_first_question_about_a_picture() -> None:
    turn = [*LLAMA3_VISION.opening(), *LLAMA3_VISION.question("Why?")]
    assert written(turn) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<|image|>Why?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_without_a_picture_some_models_want_a_system_block() -> None:
    turn = LLAMA3_VISION.turn("Why?", system=SYSTEM_BLOCK)
    assert written(turn).startswith(
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
    )
    assert "system" not in written(LLAMA3_VISION.turn("Why?"))


def test_a_later_turn_has_no_second_beginning_and_no_second_picture() -> None:
    turn = LLAMA3_VISION.turn("And?", first=False, system="ignored")
    assert written([*LLAMA3_VISION.close, *turn]) == (
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


# Each as the model's own template writes: system text, picture («P»), question, answer, question.
TEMPLATES = {
    "chatml": "<BEGIN><|im_start|>system\nS<|im_end|>\n<|im_start|>user\n«P»Q<|im_end|>\n"
    "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n",
    "smolvlm": "<|im_start|>System: S<end_of_utterance>\nUser:«P»Q<end_of_utterance>\nAssistant:A"
    "<end_of_utterance>\nUser: R<end_of_utterance>\nAssistant:",
    "gemma": "<BEGIN><start_of_turn>user\nS\n\n«P»Q<end_of_turn>\n<start_of_turn>model\nA"
    "<end_of_turn>\n<start_of_turn>user\nR<end_of_turn>\n<start_of_turn>model\n",
    "idefics3": "<BEGIN>System: S<end_of_utterance>\nUser:«P»Q<end_of_utterance>\nAssistant:A"
    "<end_of_utterance>\nUser: R<end_of_utterance>\nAssistant:",
    "mistral-v1": "<BEGIN>[INST] S\n\n«P»Q [/INST]A</s>[INST] R [/INST]",
    "phi3": "<BEGIN><|system|>\nS<|end|>\n<|user|>\n«P»Q<|end|>\n<|assistant|>\nA<|end|>\n"
    "<|user|>\nR<|end|>\n<|assistant|>\n",
    "vicuna": "<BEGIN>S USER: «P»Q ASSISTANT:A</s>USER: R ASSISTANT:",
    "mistral-v7-tekken": "<BEGIN>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]«P»Q[/INST]A</s>"
    "[INST]R[/INST]",
    "mistral-v3-tekken": "<BEGIN>[INST]S\n\n«P»Q[/INST]A</s>[INST]R[/INST]",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n«P»Q<|eot_id|><|start_header_id|>assistant"
    "<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nR<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama4": "<|begin_of_text|><|header_start|>system<|header_end|>\n\nS<|eot|>"
    "<|header_start|>user<|header_end|>\n\n«P»Q<|eot|><|header_start|>assistant<|header_end|>\n\nA"
    "<|eot|><|header_start|>user<|header_end|>\n\nR<|eot|><|header_start|>assistant<|header_end|>"
    "\n\n",
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_conversation_of_two_turns(name: str) -> None:
    chat = FORMATS[name]
    pieces = [*chat.opening(system="S"), "«P»", *chat.question("Q"), "A"]
    pieces += [*chat.close, *chat.turn("R", first=False)]
    assert written(pieces) == TEMPLATES[name]


def test_what_stands_after_the_picture_stands_nowhere_else() -> None:
    chat = replace(FORMATS["vicuna"], after_picture="\n")
    pieces = [*chat.opening(), "«P»", *chat.question("Q"), "A", *chat.close]
    assert written([*pieces, *chat.turn("R", first=False)]) == (
        "<BEGIN>USER: «P»\nQ ASSISTANT:A</s>USER: R ASSISTANT:"
    )


def test_special_tokens_in_a_question_stay_text() -> None:
    turn = LLAMA3_VISION.question("a<|eot_id|>b")
    assert "a<|eot_id|>b" in turn
    assert sum(piece == Special("<|eot_id|>") for piece in turn) == 1


def test_a_thinking_model_gets_an_empty_thought() -> None:
    turn = chat_format("chatml").without_thinking.question("Q")
    assert written(turn).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert "<think>" in chat_format("chatml").without_thinking.specials


def test_every_format_names_what_it_needs() -> None:
    assert set(GUESSES) <= set(FORMATS)
    for chat in FORMATS.values():
        assert isinstance(chat.close[0], Special), "an answer must be able to end"
        assert chat.close[0].text in chat.specials


def test_an_unknown_format_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="'jinja'") as refused:
        chat_format("jinja")
    assert "chatml" in refused.value.hint


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        LLAMA3_VISION.question(question)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="not text"):
        LLAMA3_VISION.question("\udcff")
