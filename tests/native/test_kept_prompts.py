"""A conversation that is told again in another process goes on from where it was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llavao1_edge import (
    Answer,
    Engine,
    Free,
    SamplingSettings,
    StageBeam,
)
from llavao1_edge.engine.session import Session
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Context
from llavao1_gui.state.messages import Answered, Ask
from llavao1_gui.work.answering import AnswerWorker
from tests.configurations import CONFIGURATIONS, picture_for
from tests.shapes import SAMPLES

PICTURE = picture_for(CONFIGURATIONS["base"], 2, 2, seed=2)
SAMPLING = SamplingSettings(max_tokens=40, temperature=1)
QUESTIONS = ("What?", "And why?", "Is that all?")
QUESTION = "How many circles are there?"
KINDS = ("mllama", "qwen2vl")
Open = Callable[..., Engine]


def ask(session: Session, question: str) -> Answer:
    return session.ask(question, search=StageBeam(candidates=2), seed=3, sampling=SAMPLING)


def said(answer: Answer) -> list[tuple[str, float]]:
    return [(node.candidate.text, node.candidate.logprob) for node in answer.trace.nodes]


def conversation(engine: Engine, picture: object, n: int, **how: bool) -> list[Answer]:
    with engine.session(picture, **how) as session:
        return [ask(session, question) for question in QUESTIONS[:n]]


def told_again(
    engine: Engine, picture: object, turns: Sequence[Answer], **how: bool
) -> tuple[Answer, list[int]]:
    """The next answer, and the tokens that it was asked after."""
    with engine.session(picture, **how) as session:
        for question, answer in zip(QUESTIONS, turns, strict=False):
            session.recall(question, answer.stages)
        next_one = ask(session, QUESTIONS[len(turns)])
        return next_one, session.conversation.history


@pytest.mark.parametrize("picture", [PICTURE, None], ids=["picture", "text"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_as_if_it_had_never_been_closed(
    folder: Path, open_kind: Open, kind: str, picture: object
) -> None:
    with open_kind(kind) as engine:
        whole = conversation(engine, picture, 3)
        assert not folder.exists() or not files(folder)
        conversation(engine, picture, 2, resumable=True)
    # Of a conversation the last state alone; of one that is not resumed, nothing.
    assert len(files(folder)) == 1
    with open_kind(kind) as engine:
        resumed, history = told_again(engine, picture, whole[:2], resumable=True)
    with open_kind(kind) as engine:
        anew, _ = told_again(engine, picture, whole[:2])
    assert said(resumed) == said(whole[2])
    counted, computed, before = (one.trace.counters for one in (resumed, anew, whole[2]))
    assert counted.prefill_tokens == before.prefill_tokens < computed.prefill_tokens / 2
    assert counted.cached_tokens == before.cached_tokens
    assert len(history) > computed.prefill_tokens / 2


def test_what_was_made_room_for_is_taken_from_the_disk(folder: Path, open_kind: Open) -> None:
    """In the same process: a conversation that gave up its place is not computed again."""
    with open_kind("mllama") as engine:
        whole = conversation(engine, PICTURE, 3)
        with engine.session(PICTURE, resumable=True) as session:
            for question in QUESTIONS[:2]:
                ask(session, question)
            engine.local.slots.clear(session.conversation.slot)
            after = ask(session, QUESTIONS[2])
    assert said(after) == said(whole[2])
    assert after.trace.counters.prefill_tokens == whole[2].trace.counters.prefill_tokens
    assert len(files(folder)) == 1


def files(folder: Path) -> list[Path]:
    """Of conversations, not of pictures."""
    pictures = open_picture(PICTURE).key[:40]
    return [path for path in folder.iterdir() if not path.name.startswith(pictures)]


@pytest.mark.parametrize("kind", KINDS)
def test_other_words_and_another_picture_are_computed(
    folder: Path, open_kind: Open, kind: str
) -> None:
    with open_kind(kind) as engine:
        turns = conversation(engine, PICTURE, 1, resumable=True)
    assert len(files(folder)) == 1
    other = picture_for(CONFIGURATIONS["base"], 1, 1, seed=9)
    said_otherwise = replace(turns[0], stages={**turns[0].stages, "caption": "Nothing."})
    for picture, told in ((other, turns), (PICTURE, [said_otherwise])):
        with open_kind(kind) as engine:
            resumed, _ = told_again(engine, picture, told, resumable=True)
        with open_kind(kind) as engine:
            anew, _ = told_again(engine, picture, told)
        assert resumed.trace.counters.prefill_tokens == anew.trace.counters.prefill_tokens
        assert said(resumed) == said(anew)


@pytest.mark.parametrize("at", [20, 23, -40], ids=["counts", "a large count", "state"])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_computed_and_goes(folder: Path, open_kind: Open, kind: str, at: int) -> None:
    with open_kind(kind) as engine:
        turns = conversation(engine, PICTURE, 1, resumable=True)
        anew, _ = told_again(engine, PICTURE, turns)
    (path,) = files(folder)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x41
    path.write_bytes(data)
    with open_kind(kind) as engine:
        damaged, _ = told_again(engine, PICTURE, turns, resumable=True)
    assert damaged.trace.counters.prefill_tokens == anew.trace.counters.prefill_tokens
    assert said(damaged) == said(anew)
    assert path not in files(folder)


def test_an_answer_in_no_stages_is_not_kept(folder: Path, open_kind: Open) -> None:
    """Nothing in its name would tell two of them apart."""
    with open_kind("mllama") as engine:
        for seed in (1, 2):
            with engine.session(resumable=True) as session:
                session.ask(QUESTION, search=Free(), seed=seed, sampling=SAMPLING)
                ask(session, "And why?")
    assert not folder.exists() or not files(folder)


def test_a_conversation_has_one_file_however_often_it_is_opened(
    folder: Path, open_kind: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_kind("mllama") as engine:
        turns = conversation(engine, PICTURE, 1, resumable=True)
    for _ in range(2):
        with open_kind("mllama") as engine:
            answer, _ = told_again(engine, PICTURE, turns, resumable=True)
            turns = [*turns, answer]
        assert len(files(folder)) == 1
    # A turn that cannot be written leaves the file of the one before to the next.
    with open_kind("mllama") as engine, engine.session(PICTURE, resumable=True) as session:
        ask(session, "Once more?")
        with monkeypatch.context() as patch:
            patch.setattr(Context, "state", lambda *_: np.empty(0, np.uint8))
            ask(session, "And why?")
        assert len(files(folder)) == 2
        ask(session, "Is that all?")
        assert len(files(folder)) == 2


def test_as_many_cells_as_a_picture_takes_now(folder: Path, open_kind: Open) -> None:
    large = picture_for(CONFIGURATIONS["base"], 2, 2, seed=2)
    with open_kind("qwen2vl", picture_tokens=64) as engine:
        turns = conversation(engine, large, 1, resumable=True)
    with open_kind("qwen2vl", picture_tokens=16) as engine:
        fewer, _ = told_again(engine, large, turns, resumable=True)
    with open_kind("qwen2vl", picture_tokens=16) as engine:
        anew, _ = told_again(engine, large, turns)
    assert said(fewer) == said(anew)
    assert fewer.trace.counters.cached_tokens == anew.trace.counters.cached_tokens


def test_where_there_is_no_room_it_is_computed(
    folder: Path, open_kind: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    with open_kind("mllama") as engine:
        turns = conversation(engine, PICTURE, 1, resumable=True)
        anew, _ = told_again(engine, PICTURE, turns)
    monkeypatch.setattr(Context, "set_state", lambda *_: tried.append(1) is not None)
    with open_kind("mllama") as engine:
        free = engine.runtime.n_free_sequences
        full, _ = told_again(engine, PICTURE, turns, resumable=True)
        engine.local.slots.sweep()
        assert engine.runtime.n_free_sequences == free
    assert tried
    assert said(full) == said(anew)
    assert files(folder)


def test_the_state_of_a_sequence_fits_only_where_there_is_room(open_tiny: Open) -> None:
    with open_tiny(context=512) as engine:
        context, runtime = engine.runtime.context, engine.runtime
        with engine.session() as session:
            ask(session, "What?")
            slot = session.conversation.slot
            state = bytes(context.state(slot.sequence))
            taken = []
            while True:
                sequence = runtime.take_sequence()
                if not context.set_state(sequence, state):
                    runtime.release(sequence)
                    break
                taken.append(sequence)
            for one in taken:
                runtime.release(one)
            assert taken
            assert ask(session, "And?").trace.nodes


class Heard:
    """What the window's worker sends, in this process."""

    n_stops, closed = 0, threading.Event()

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.stops = False

    def send(self, message: Any) -> None:
        self.sent.append(message)

    def is_stopped(self, _: int) -> bool:
        return self.stops


def test_the_windows_conversations_are_kept(folder: Path) -> None:
    """Opened again, by another worker: nothing but the new question is computed."""

    def answered(*earlier: tuple[str, dict[str, str]], question: str) -> Any:
        channel: Any = Heard()
        worker = AnswerWorker(channel, None)
        try:
            worker.answer(Ask(1, question, picture=str(SAMPLES[0].picture), earlier=earlier))
        finally:
            worker.close()
        return channel.sent[-1]

    first = answered(question=QUESTION)
    assert isinstance(first, Answered), first
    assert len(list(folder.iterdir())) >= 1
    second = answered((QUESTION, first.stages), question="Is there a blue circle?")
    counters = second.trace["counters"]
    assert counters["prefill_tokens"] < counters["cached_tokens"] / 3


def test_a_stop_leaves_the_conversation_as_it_was() -> None:
    """In the worker: what was said before is not computed again for the next question."""
    channel: Any = Heard()
    worker = AnswerWorker(channel, None)

    def ask(question: str, *earlier: tuple[str, dict[str, str]]) -> Any:
        runtime = {"picture_cache": 0.0}
        worker.answer(
            Ask(1, question, picture=str(SAMPLES[0].picture), earlier=earlier, runtime=runtime)
        )
        return channel.sent[-1]

    try:
        first = ask(QUESTION)
        channel.stops = True
        ask("Is there a blue circle?", (QUESTION, first.stages))
        channel.stops = False
        counters = ask("Is there a blue circle?", (QUESTION, first.stages)).trace["counters"]
    finally:
        worker.close()
    assert counters["vision_passes"] == 0
    assert counters["prefill_tokens"] < counters["cached_tokens"] / 3
