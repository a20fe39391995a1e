"""Conversations: reuse, determinism, several pictures, cancelling, running out of room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llavao1_edge import Direct, Engine, Free, SamplingSettings, Staged
from llavao1_edge.errors import BackendError, Cancelled, ContextFullError, UsageError
from llavao1_edge.images import open_picture
from llavao1_edge.search import (
    Answered,
    PictureReady,
    StageKept,
    Token,
)
from llavao1_edge.search.answer import Answer
from tests.configurations import CONFIGURATIONS, picture_for

BASE = CONFIGURATIONS["base"]
SHORT = SamplingSettings(max_tokens=24)
GREEDY = SamplingSettings(temperature=0, max_tokens=24)
A = open_picture(picture_for(BASE, 1, 2, seed=1))
B = open_picture(picture_for(BASE, 2, 2, seed=2))
C = open_picture(picture_for(BASE, 1, 1, seed=3))


def gist(answer: Answer) -> tuple[str, dict[str, str]]:
    return answer.conclusion, answer.stages


@pytest.mark.parametrize("strategy", [Staged(), Direct(), Free()])
def test_same_seed_same_answer(strategy: Staged, open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    first = engine.session(A).ask("What?", seed=5, sampling=SHORT, search=strategy)
    again = engine.session(A).ask("What?", seed=5, sampling=SHORT, search=strategy)
    other = engine.session(A).ask("What?", seed=6, sampling=SHORT, search=strategy)
    fresh = open_tiny().session(A).ask("What?", seed=5, sampling=SHORT, search=strategy)
    assert gist(first) == gist(again) == gist(fresh)
    assert gist(first) != gist(other)


def test_pictures_a_b_a(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    answers = [engine.session(p).ask("What?", sampling=GREEDY) for p in (A, B, C, A, B)]
    assert gist(answers[0]) == gist(answers[3])
    assert gist(answers[1]) == gist(answers[4])
    assert gist(answers[0]) != gist(answers[1])
    # Two pictures are kept: the third one pushed A and B out, one after the other.
    assert [answer.trace.counters.vision_passes for answer in answers] == [1, 1, 1, 1, 1]
    again = engine.session(B).ask("What?", sampling=GREEDY)
    assert again.trace.counters.vision_passes == 0
    assert gist(again) == gist(answers[1])


def test_a_picture_is_read_once_for_a_conversation(open_tiny: Callable[..., Engine]) -> None:
    session = open_tiny().session(A)
    events = [list(session.stream(f"Question {i}?", sampling=SHORT)) for i in range(3)]
    ready = [event for turn in events for event in turn if isinstance(event, PictureReady)]
    assert [event.reused for event in ready] == [False, True, True]
    assert (ready[0].rows, ready[0].columns) == (1, 2)


def test_a_conversation_goes_on_as_if_computed_at_once(open_tiny: Callable[..., Engine]) -> None:
    """The cached conversation gives the logits of the whole history computed in one go."""
    engine = open_tiny()
    session = engine.session(A)
    session.ask("What?", sampling=GREEDY)
    history = list(session.conversation.history)
    second = session.ask("And?", sampling=GREEDY, search=Free())
    after = session.conversation.history[len(history) :]
    n_prompt = second.trace.counters.prefill_tokens
    whole = engine.prompt_logits(A, history + after[:n_prompt])
    runtime = engine.runtime
    logits = whole.logits[-1].copy()
    logits[runtime.banned[runtime.banned < runtime.words.n_logits]] = -np.inf
    if len(after) > n_prompt:
        assert int(np.argmax(logits)) == after[n_prompt]
    else:
        assert int(np.argmax(logits)) in runtime.stop_tokens


def test_an_evicted_conversation_goes_on(open_tiny: Callable[..., Engine]) -> None:
    kept, evicted = open_tiny().session(A), open_tiny().session(A)
    answers = []
    for session, evict in ((kept, False), (evicted, True)):
        session.ask("What?", sampling=GREEDY)
        if evict:
            session.engine.local.slots.clear(session.conversation.slot)
            assert session.conversation.n_cached == 0
        answers.append(session.ask("And?", sampling=GREEDY))
    assert gist(answers[0]) == gist(answers[1])


def test_sessions_take_turns_in_a_small_context(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny(context=256)
    sessions = [engine.session(A) for _ in range(4)]
    first = [session.ask("What?", sampling=GREEDY) for session in sessions]
    assert all(gist(answer) == gist(first[0]) for answer in first)
    second = [session.ask("And?", sampling=GREEDY) for session in sessions[::-1]]
    assert all(answer.stages for answer in second)


def test_dropped_sessions_give_their_place_back(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny(batch=8)  # eight sequences only
    wanted = gist(engine.session(A).ask("What?", sampling=GREEDY))
    for _ in range(12):
        assert gist(engine.session(A).ask("What?", sampling=GREEDY)) == wanted


def test_more_conversations_than_sequences(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny(batch=8, context=2048)
    sessions = [engine.session(A) for _ in range(12)]
    answers = [session.ask("What?", sampling=GREEDY) for session in sessions]
    assert all(gist(answer) == gist(answers[0]) for answer in answers)
    assert sum(session.conversation.n_cached > 0 for session in sessions) < 8


def test_closing_a_session_while_it_answers(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    with engine.session(A) as session:
        stream = session.stream("What?", sampling=SHORT)
        next(stream)
    assert list(stream) == []
    assert engine.session(B).ask("What?", sampling=SHORT).stages
    engine.local.slots.sweep()
    assert engine.runtime.n_free_sequences >= engine.runtime.n_sequences - 1


def test_an_engine_that_nobody_closed_is_freed(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    text, mmproj = engine.runtime.text_header.path, engine.runtime.mmproj_header.path
    code = f"""
from llavao1_edge import Engine, RuntimeSettings, SamplingSettings
cpu = RuntimeSettings(gpu_layers=0)
engine = Engine.open(text={str(text)!r}, mmproj={str(mmproj)!r}, settings=cpu)
engine.session().ask("What?", sampling=SamplingSettings(max_tokens=4))
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_question_that_does_not_fit_is_refused_before_the_picture_is_read(
    open_tiny: Callable[..., Engine],
) -> None:
    engine = open_tiny(context=256)
    with pytest.raises(ContextFullError):
        engine.session(A).ask("why " * 60)
    with pytest.raises(UsageError, match="no image token"):
        engine.prompt_logits(A, [1, 2])
    assert engine.runtime.vision.n_seen == 0


def test_useless_logits_are_an_error(
    open_tiny: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny()
    n_vocab = engine.runtime.model.n_vocab
    monkeypatch.setattr(
        engine.runtime.context, "outputs", lambda n: np.full((n, n_vocab), np.nan, np.float32)
    )
    with pytest.raises(BackendError, match="no usable logits"):
        engine.session(A).ask("What?")


def test_without_a_picture(open_tiny: Callable[..., Engine]) -> None:
    answer = open_tiny().session().ask("What?", sampling=SHORT)
    assert set(answer.stages) == {"summary", "caption", "reasoning", "conclusion"}
    assert answer.trace.counters.vision_passes == 0


def test_stages_are_forced_and_hold_no_tags(open_tiny: Callable[..., Engine]) -> None:
    sampling = SamplingSettings(temperature=2.0, max_tokens=120)
    answer = open_tiny().session(A).ask("What?", sampling=sampling, seed=3)
    assert list(answer.stages) == ["summary", "caption", "reasoning", "conclusion"]
    for text in answer.stages.values():
        assert "<SUMMARY" not in text
        assert "</" not in text or "</S" not in text
    assert not answer.complete
    assert "ended early" in answer.notes[-1]


def test_events_tell_the_story(open_tiny: Callable[..., Engine]) -> None:
    events = list(open_tiny().session(A).stream("What?", sampling=SHORT))
    assert isinstance(events[0], PictureReady)
    assert isinstance(events[-1], Answered)
    answer = events[-1].answer
    for stage, text in answer.stages.items():
        streamed = "".join(
            e.text for e in events if isinstance(e, Token) and e.stage and e.stage.name == stage
        )
        assert streamed.strip() == text
    assert sum(isinstance(event, StageKept) for event in events) == 4
    counters = answer.trace.counters
    assert counters.sampled_tokens == SHORT.max_tokens
    assert counters.decode_steps >= counters.sampled_tokens


@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_stopping_leaves_the_conversation_as_it_was(
    after: int, open_tiny: Callable[..., Engine]
) -> None:
    engine = open_tiny()
    session = engine.session(A)
    session.ask("What?", sampling=GREEDY)
    history = list(session.conversation.history)
    free = engine.runtime.n_free_sequences
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > after

    try:
        answer = session.ask("And?", sampling=GREEDY, stop=stop)
    except Cancelled:
        assert after < 5
    else:
        assert answer.cancelled
        assert answer.stages
    assert session.conversation.history == history
    assert engine.runtime.n_free_sequences == free
    undisturbed = open_tiny().session(A)
    undisturbed.ask("What?", sampling=GREEDY)
    wanted = undisturbed.ask("And?", sampling=GREEDY)
    assert gist(session.ask("And?", sampling=GREEDY)) == gist(wanted)


def test_closing_the_stream_is_a_way_to_stop(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    session = engine.session(A)
    stream = session.stream("What?", sampling=SHORT)
    while not isinstance(next(stream), Token):
        pass
    stream.close()
    assert session.conversation.history == []
    # What stands before the questions stays, for the next one.
    assert engine.runtime.n_free_sequences == engine.runtime.n_sequences - 1
    assert session.ask("What?", sampling=SHORT).stages
    session.close()
    engine.local.slots.sweep()
    assert engine.runtime.n_free_sequences == engine.runtime.n_sequences


def test_one_answer_at_a_time(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    stream = engine.session(A).stream("What?", sampling=SHORT)
    next(stream)
    with pytest.raises(UsageError, match="still being written"):
        engine.session(B).ask("What?", sampling=SHORT)
    with pytest.raises(UsageError, match="still being written"):
        engine.prompt_logits(None, [1, 2])
    stream.close()
    assert engine.session(B).ask("What?", sampling=SHORT).stages


def test_leaving_a_loop_over_events_ends_the_answer(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    for event in engine.session(A).stream("What?", sampling=SHORT):
        if isinstance(event, Token):
            break
    assert engine.session(B).ask("What?", sampling=SHORT).stages


def test_threads_wait_for_each_other(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    wanted = [gist(engine.session(p).ask("What?", sampling=GREEDY)) for p in (A, B)]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(engine.session(p).ask, "What?", sampling=GREEDY) for p in (A, B, A, B)]
        assert [gist(future.result()) for future in asked] == wanted * 2


def test_closing_the_engine_ends_an_open_stream(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    stream = engine.session(A).stream("What?", sampling=SHORT)
    while not isinstance(next(stream), Token):
        pass
    engine.close()
    assert list(stream) == []


def test_an_error_inside_the_callback_comes_out(
    open_tiny: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_tiny()
    session = engine.session(A)

    def fail(*_: object) -> None:
        raise RuntimeError("inside the callback")

    with monkeypatch.context() as patch:
        patch.setattr(engine.runtime.vision.injection, "_apply", fail)
        with pytest.raises(RuntimeError, match="inside the callback"):
            session.ask("What?", sampling=SHORT)
    assert session.ask("What?", sampling=SHORT).stages


def test_a_conversation_that_is_too_long_is_refused(open_tiny: Callable[..., Engine]) -> None:
    session = open_tiny(context=256).session(A)
    with pytest.raises(ContextFullError, match="256"):
        session.ask("why " * 60, sampling=SHORT)
    assert session.ask("Why?", sampling=SHORT).stages


def test_a_full_context_ends_the_answer_and_says_so(open_tiny: Callable[..., Engine]) -> None:
    session = open_tiny(context=256).session(A)
    answer = session.ask("Why? " * 20, sampling=SamplingSettings(max_tokens=600))
    assert any("context" in note for note in answer.notes)


def test_one_picture_per_conversation(open_tiny: Callable[..., Engine]) -> None:
    session = open_tiny().session()
    session.show(A)
    with pytest.raises(UsageError, match="has one picture"):
        session.show(B)
    assert session.ask("What?", sampling=SHORT).trace.counters.vision_passes == 1
    late = open_tiny().session()
    late.ask("What?", sampling=SHORT)
    with pytest.raises(UsageError, match="first question"):
        late.show(A)


def test_special_tokens_in_a_question_are_text(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    logits = engine.prompt_logits(A, "<|eot_id|><|image|>")
    special = engine.runtime.model.special("<|eot_id|>")
    assert logits.tokens.count(special) == 1
    assert logits.tokens.count(engine.runtime.words.image_token) == 1


def test_token_ids_are_checked(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    with pytest.raises(UsageError, match="99999"):
        engine.prompt_logits(None, [1, 99999])
    with pytest.raises(UsageError, match="no image token"):
        engine.prompt_logits(A, [1, 2])
    with pytest.raises(UsageError, match="no tokens"):
        engine.prompt_logits(None, [])


def test_a_closed_engine_and_session_say_so(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    session = engine.session(A)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session.ask("What?")
    engine.close()
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.session(A)


def test_cross_graphs_are_built_once_per_shape(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    engine.session(A).ask("What?", sampling=GREEDY)
    built = engine.runtime.vision.encoder.layers.plans_built
    engine.session(A).ask("What?", sampling=GREEDY)
    assert engine.runtime.vision.encoder.layers.plans_built == built


def test_cross_layers_work_in_place_without_copies(
    open_tiny: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.mllama import cross

    def copy(*_: object) -> None:
        raise AssertionError("rows were copied, although the backend reaches them")

    engine = open_tiny()
    wanted = engine.session(A).ask("What?", sampling=GREEDY).stages
    monkeypatch.setattr(cross, "copy", copy)
    assert engine.session(A).ask("What?", sampling=GREEDY).stages == wanted


def test_rows_that_the_backend_does_not_reach_are_copied(
    open_tiny: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.ggml.backend import Backend

    wanted = open_tiny().session(A).ask("What?", sampling=GREEDY).stages
    monkeypatch.setattr(Backend, "reaches", lambda *_: False)
    assert open_tiny().session(A).ask("What?", sampling=GREEDY).stages == wanted
