"""The chat format, piece by piece, equal to what the model's template writes."""

from __future__ import annotations

import pytest

from llavao1_edge.errors import UsageError
from llavao1_edge.prompt import Piece, Special, user_turn


def written(pieces: list[Piece]) -> str:
    return "".join(piece.text if isinstance(piece, Special) else piece for piece in pieces)


def test_a_first_question_about_a_picture() -> None:
    turn = user_turn("Why?", first=True, picture=True, system_block=True)
    assert written(turn) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n<|image|>Why?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_without_a_picture_some_models_want_a_system_block() -> None:
    turn = user_turn("Why?", first=True, picture=False, system_block=True)
    assert written(turn).startswith(
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
    )
    plain = user_turn("Why?", first=True, picture=False, system_block=False)
    assert "system" not in written(plain)


def test_a_later_turn_has_no_second_beginning_and_no_second_picture() -> None:
    turn = user_turn("And?", first=False, picture=True, system_block=True)
    assert written(turn) == (
        "<|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_special_tokens_in_a_question_stay_text() -> None:
    turn = user_turn("a<|eot_id|>b", first=True, picture=True, system_block=False)
    assert "a<|eot_id|>b" in turn
    assert sum(piece == Special("<|eot_id|>") for piece in turn) == 1


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        user_turn(question, first=True, picture=True, system_block=False)
