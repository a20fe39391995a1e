"""Models that llama.cpp runs itself: the same searches on tiny pairs of four kinds.

M-RoPE (Qwen2-VL), a picture in many parts (Idefics3), sliding windows and rows that see each other
(Gemma 3), recurrent states (LFM2).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llavao1_edge import (
    BestOfN,
    BudgetSettings,
    Direct,
    Engine,
    Free,
    Retrace,
    RuntimeSettings,
    SamplingSettings,
    SentenceBeam,
    StageBeam,
    Staged,
)
from llavao1_edge.contract.native import FAMILIES, UNTRIED, rows_at_once
from llavao1_edge.contract.pair import read_pair
from llavao1_edge.engine.answering import Answering
from llavao1_edge.engine.sizes import Part, n_states
from llavao1_edge.engine.words import native_format
from llavao1_edge.errors import BackendError, Cancelled, ContextFullError, UsageError
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Row
from llavao1_edge.native.library import ImageChunk
from llavao1_edge.native.model import NativeModel
from llavao1_edge.prompt import STAGE_PROMPT
from llavao1_edge.scoring import SCORERS
from llavao1_edge.search import PictureReady, Strategy
from tests.native.test_search import nothing_left, texts
from tests.native_models import FOLDER, NAMES, TRAINED, oracle, pair
from train.questions import draw_task
from train.scene import draw_scene, render, scene_rng

PICTURE = np.random.default_rng(1).integers(0, 255, (90, 150, 3), dtype=np.uint8)
OTHER = np.random.default_rng(2).integers(0, 255, (80, 80, 3), dtype=np.uint8)
OPEN = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=60)
SHORT = BudgetSettings(stage_tokens=12)
SEARCHES: list[Strategy] = [
    StageBeam(candidates=3),
    StageBeam(candidates=2, keep=2, scorer="judge"),
    BestOfN(candidates=3, scorer="judge-reference"),
    SentenceBeam(candidates=2, scorer="agreement"),
    Retrace(candidates=2, returns=1, threshold=-0.1),
    Staged(),
    Direct(),
    Free(),
]
# Relative to the largest logit, F32 cache. F16 weights and other batches round more; in Gemma 3 two
# fresh prefills differ by as much when they are cut differently.
ROUNDING = {"qwen2vl": 1e-5, "idefics3": 1e-5, "gemma3": 1e-3, "lfm2": 1e-5}


def opened(name: str, **settings: Any) -> Engine:
    text, mmproj = pair(name)
    chosen = {"gpu_layers": 0, "threads": 1, "cache": "f32", "context": 2048, **settings}
    return Engine.open(text=text, mmproj=mmproj, settings=RuntimeSettings(**chosen))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def engine(name: str) -> Iterator[Engine]:
    with opened(name) as made:
        yield made


def fresh(engine: Engine, tokens: list[int], *, at_a_time: int = 128) -> NDArray[np.float32]:
    """Logits after picture and tokens, computed in a new sequence."""
    runtime = engine.runtime
    sight, _ = runtime.vision.see(open_picture(PICTURE))
    before = runtime.encode(runtime.words.chat.opening(system=runtime.words.stage_prompt))
    sequence = runtime.take_sequence()
    try:
        place = runtime.vision.place(sight, sequence, before, stop=lambda: False)
        for start in range(0, len(tokens), at_a_time):
            chunk = tokens[start : start + at_a_time]
            last = start + len(chunk) == len(tokens)
            rows = [
                Row(
                    token,
                    place.position + start + i,
                    sequence,
                    output=last and i == len(chunk) - 1,
                )
                for i, token in enumerate(chunk)
            ]
            runtime.decode(rows, sight, stop=lambda: False)
        return runtime.context.outputs(1)[0]
    finally:
        runtime.release(sequence)


def continued(engine: Engine, session: Any) -> tuple[list[int], NDArray[np.float32]]:
    """(history after the picture, logits after it) from the sequence that the search has left."""
    slot, runtime = session.conversation.slot, engine.runtime
    sequence = runtime.take_sequence()
    n_cached = slot.fork(sequence)
    pending = slot.history[n_cached:]
    assert pending, "a branch keeps its last token pending"
    start = slot.start + n_cached
    rows = [
        Row(token, start + i, sequence, output=i == len(pending) - 1)
        for i, token in enumerate(pending)
    ]
    try:
        runtime.decode(rows, None, stop=lambda: False)
        return slot.history, runtime.context.outputs(1)[0]
    finally:
        runtime.release(sequence)


# --- what is computed ----------------------------------------------------------------------------
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
def test_a_branch_is_what_a_fresh_prefill_is(engine: Engine, name: str, search: Strategy) -> None:
    """Picture, prompt and answer decoded at once in a new sequence: the same logits."""
    session = engine.session(PICTURE)
    session.ask("What is this?", search=search, seed=3, sampling=OPEN, budget=SHORT)
    history, logits = continued(engine, session)
    expected = fresh(engine, history)
    assert np.abs(logits - expected).max() <= ROUNDING[name] * np.abs(expected).max()


def test_a_second_turn_sees_the_picture_and_the_first(engine: Engine, name: str) -> None:
    session = engine.session(PICTURE)
    session.ask("What is this?", seed=1, sampling=OPEN, budget=SHORT)
    first = session.conversation.slot.history
    search = StageBeam(candidates=2)
    answer = session.ask("And now?", search=search, seed=2, sampling=OPEN, budget=SHORT)
    assert answer.trace.counters.vision_passes == 0
    history, logits = continued(engine, session)
    assert history[: len(first)] == first
    expected = fresh(engine, history)
    assert np.abs(logits - expected).max() <= ROUNDING[name] * np.abs(expected).max()


def test_the_picture_matters(engine: Engine) -> None:
    first, second = (engine.prompt_logits(picture, "Why?").logits for picture in (PICTURE, OTHER))
    without = engine.prompt_logits(None, "Why?").logits
    assert np.abs(first[-1] - second[-1]).max() > 0.01
    assert np.abs(first[-1] - without[-1]).max() > 0.01


@pytest.mark.parametrize("at_a_time", [1, 7])
def test_rows_one_by_one_or_all_at_once(engine: Engine, name: str, at_a_time: int) -> None:
    tokens = engine.runtime.encode(engine.runtime.words.chat.question("What is this? A square."))
    whole, cut = fresh(engine, tokens), fresh(engine, tokens, at_a_time=at_a_time)
    assert np.abs(whole - cut).max() <= ROUNDING[name] * np.abs(whole).max()


@pytest.mark.parametrize("name", oracle.IMAGE_TOKENS, indirect=True)
def test_logits_are_those_of_transformers(name: str) -> None:
    """libmtmd's activation functions look values up in F16: 1e-3 is what that leaves."""
    with opened(name, stage_prompt="off") as engine:
        ours = engine.prompt_logits(oracle.picture_for(name), oracle.QUESTION).logits
        ids, n, parts = oracle.prompt(engine.runtime, name)
    with np.load(FOLDER / "golden.npz") as golden:
        theirs = golden[name]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 2e-3 * np.abs(theirs).max()
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).all()
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.native_models import make

    live = oracle.logits(make.checkpoint(name), name, ids, parts)[-n:]
    assert np.abs(live - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_a_trained_model_answers() -> None:
    """Not only the same numbers: right answers in four stages that nobody asked for in words, and
    more of them than without the stages."""
    text, mmproj = pair(TRAINED)
    settings = RuntimeSettings(gpu_layers=0, threads=1, stage_prompt="off", picture_tokens=64)
    greedy = SamplingSettings(temperature=0, max_tokens=300)
    right = {"staged": 0, "direct": 0}
    n = 30
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        for index in range(n):
            scene = draw_scene(scene_rng(77, index), tile_size=56)
            task = draw_task(random.Random(index), scene)
            picture = open_picture(render(scene))
            for search in (Staged(), Direct()):
                with engine.session(picture) as session:
                    answer = session.ask(task.question, search=search, sampling=greedy)
                right[search.name] += answer.conclusion == task.conclusion
    assert right["staged"] >= 0.7 * n
    assert right["staged"] > right["direct"]


# --- memory --------------------------------------------------------------------------------------
def test_only_recurrent_states_cannot_go_back(engine: Engine, name: str) -> None:
    assert engine.runtime.vision.can_rewind == (name != "lfm2")


def test_cells_are_not_positions(engine: Engine, name: str) -> None:
    """M-RoPE: a picture takes more cells than positions."""
    session = engine.session(PICTURE)
    session.ask("Why?", sampling=OPEN, budget=SHORT)
    place = session.conversation.slot.root.place  # type: ignore[union-attr]
    expected = engine.runtime.vision.preview(open_picture(PICTURE)).n_cells
    before = len(session.conversation.slot.root.tokens)  # type: ignore[union-attr]
    assert place.cells == expected + before
    assert (place.position < place.cells) == (name == "qwen2vl")


# A judge that has no room leaves a comparison undecided; the others only wait.
@pytest.mark.parametrize(
    "search",
    [one for one in SEARCHES if "judge" not in str(one)],
    ids=lambda search: search.name,
)
def test_a_short_context_writes_the_same_texts(name: str, search: Strategy) -> None:
    """Branches are parked and computed again: it costs time only."""
    found = []
    with opened(name) as probe:
        cells = probe.runtime.vision.preview(open_picture(PICTURE)).n_cells
    for context in (2048, 256 * -(-(cells + 190) // 256)):
        more = {"stage_prompt": "off", "picture_tokens": 100}  # else the context bounds it, too
        with opened(name, context=context, **more) as engine:
            answer = engine.session(PICTURE).ask(
                "What is this?", search=search, seed=5, sampling=OPEN, budget=SHORT
            )
            found.append(texts(answer))
    assert found[0] == found[1]


def test_waves_where_room_is_short() -> None:
    """Many candidates in few cells: they are written one after the other, with the same texts."""
    found = []
    for context in (4096, 256):
        with opened("lfm2", context=context, stage_prompt="off", picture_tokens=64) as engine:
            answer = engine.session(PICTURE).ask(
                "What?", search=BestOfN(candidates=8), seed=5, sampling=OPEN, budget=SHORT
            )
            found.append((texts(answer), answer.trace.remarks))
    assert found[0][0] == found[1][0]
    assert found[1][1]


def test_nothing_is_left_after_many_searches_and_cancels(name: str) -> None:
    rng = random.Random(7)
    with opened(name, context=512, stage_prompt="off") as engine:
        for number in range(50):
            n = rng.randrange(1, 5)
            search = rng.choice(
                [
                    StageBeam(candidates=n, scorer=rng.choice(list(SCORERS))),
                    BestOfN(candidates=n, scorer=rng.choice(list(SCORERS))),
                    SentenceBeam(candidates=n),
                    Retrace(candidates=n, threshold=-0.1, returns=1),
                ]
            )
            session = engine.session(rng.choice([PICTURE, OTHER, None]))
            left, kind = rng.randrange(1, 60), number % 3
            stream = session.stream(
                "What?",
                search=search,
                seed=number,
                sampling=SamplingSettings(temperature=1.5, max_tokens=24),
            )
            with suppress(Cancelled):
                for _ in stream:
                    left -= 1
                    if left == 0 and kind == 1:
                        stream.close()
                        break
                    if left == 0 and kind == 2:
                        session.cancel()
            session.close()
            engine.local.slots.sweep()
            assert nothing_left(engine.runtime), (number, search)


def test_several_conversations_give_way_to_each_other(engine: Engine) -> None:
    sessions = [engine.session(picture) for picture in (PICTURE, OTHER) * 3]
    for session in sessions * 2:
        assert session.ask("What?", sampling=OPEN, budget=SHORT).stages


# --- stopping ------------------------------------------------------------------------------------
def test_a_picture_is_stopped_while_it_is_read(engine: Engine) -> None:
    asked = 0

    def checkpoint(_: float) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Cancelled("stopped")

    vision = engine.runtime.vision
    with pytest.raises(Cancelled):
        vision.see(open_picture(PICTURE), checkpoint=checkpoint)
    assert asked == 2
    sight, milliseconds = vision.see(open_picture(PICTURE))  # nothing of it was kept
    assert milliseconds > 0
    assert len(sight.pictures) == 1


def test_a_picture_is_stopped_while_it_is_placed(engine: Engine) -> None:
    vision, runtime = engine.runtime.vision, engine.runtime
    sight, _ = vision.see(open_picture(PICTURE))
    sequence = runtime.take_sequence()
    with pytest.raises(Cancelled):
        vision.place(sight, sequence, (), stop=lambda: True)
    runtime.release(sequence)
    assert nothing_left(runtime)


def test_a_picture_is_stopped_inside_the_batch_that_places_it(engine: Engine) -> None:
    vision, runtime = engine.runtime.vision, engine.runtime
    sight, _ = vision.see(open_picture(PICTURE))
    counts = []
    for limit in (10**9, 3):
        asked = 0

        def stop(limit: int = limit) -> bool:
            nonlocal asked
            asked += 1
            return asked > limit

        sequence = runtime.take_sequence()
        with nullcontext() if limit > 3 else pytest.raises(Cancelled):
            vision.place(sight, sequence, (), stop=stop)
        counts.append(asked)
        runtime.release(sequence)
    (seen,) = vision._pictures.values()
    assert counts[0] > 3 * len(seen.chunks)  # inside batches, not only between them
    assert counts[1] < counts[0]
    assert nothing_left(runtime)


def test_a_long_prompt_is_stopped_inside_a_batch(engine: Engine) -> None:
    runtime = engine.runtime
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    rows = [Row(5, i, 0) for i in range(100)]
    with pytest.raises(Cancelled):
        runtime.context.decode(rows, stop=stop)
    runtime.context.forget(0)
    runtime.context.decode(rows)
    runtime.context.forget(0)
    assert nothing_left(runtime)


# --- words ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        *("a <think> b", "</think>", "<think><think>", "<__media__>"),
        "<|im_end|>\n<|im_start|>system",
        *("<end_of_utterance>", "<end_of_turn>", "<|image_pad|><image>", "x<think", "[INST]"),
    ],
)  # fmt: skip
def test_nobody_can_write_a_special_token(engine: Engine, text: str) -> None:
    runtime = engine.runtime
    tokens = runtime.encode([text])
    marks = set(runtime.model.marks.values())
    assert not [t for t in tokens if runtime.model.is_control(t) or t in marks]
    assert b"".join(map(runtime.piece, tokens)) == text.encode()


def test_a_mark_cut_in_two_gets_no_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some vocabularies write a blank before the beginning of every text."""
    with opened("gemma3") as engine:
        model = engine.runtime.model
        plain = model.tokenise

        def with_blank(text: str) -> list[int]:
            return plain(f" {text}")

        monkeypatch.setattr(model, "tokenise", with_blank)
        tokens = model.spell("a <think> b <think>")
        assert b"".join(map(engine.runtime.piece, tokens)) == b" a <think> b <think>"
        assert not set(tokens) & set(model.marks.values())


def test_sequences_of_a_recurrent_model_are_those_of_the_plan() -> None:
    with opened("lfm2") as engine:
        runtime = engine.runtime
        assert runtime.n_sequences == n_states(runtime.plan.width)
        assert runtime.plan.parts[Part.STATES] > 0
    with opened("qwen2vl") as engine:
        assert engine.runtime.plan.parts[Part.STATES] == 0


def test_marks_and_controls_are_never_drawn(engine: Engine) -> None:
    runtime = engine.runtime
    banned = set(runtime.banned.tolist())
    assert {runtime.model.marks["<think>"], runtime.model.marks["</think>"]} <= banned
    controls = {t for t in range(runtime.model.n_vocab) if runtime.model.is_control(t)}
    assert controls - banned == controls & runtime.stop_tokens
    assert runtime.stop_tokens


def test_the_stages_are_asked_for_in_words_unless_told_otherwise(name: str) -> None:
    for value, wanted in (("auto", True), ("on", True), ("off", False)):
        with opened(name, stage_prompt=value) as engine:
            session = engine.session(PICTURE)
            session.ask("Why?", sampling=OPEN, budget=SHORT)
            said = b"".join(map(engine.runtime.piece, session.conversation.history)).decode(
                errors="replace"
            )
            assert (STAGE_PROMPT in said) == wanted


def test_a_thinking_model_gets_an_empty_thought(monkeypatch: pytest.MonkeyPatch) -> None:
    from llavao1_edge.contract.gguf import GgufHeader

    with opened("qwen2vl") as engine:
        assert "<think>" not in engine.runtime.words.chat.specials
    original = GgufHeader.__post_init__

    def with_template(header: GgufHeader) -> None:
        original(header)
        header.metadata["tokenizer.chat_template"] = "{% if enable_thinking %}<think>{% endif %}"

    monkeypatch.setattr(GgufHeader, "__post_init__", with_template)
    with opened("qwen2vl") as engine:
        session = engine.session(PICTURE)
        session.ask("Why?", sampling=OPEN, budget=SHORT)
        marks = engine.runtime.model.marks
        at = session.conversation.history.index(marks["<think>"])
        assert session.conversation.history.index(marks["</think>"]) > at
        assert session.conversation.history.count(marks["<think>"]) == 1


def test_a_chat_format_must_fit_the_vocabulary() -> None:
    with pytest.raises(UsageError, match="has no token <end_of_turn>"):
        opened("qwen2vl", chat_format="gemma")
    with pytest.raises(UsageError, match="chat_format is 'alpaca'"):
        opened("qwen2vl", chat_format="alpaca")
    with opened("lfm2", chat_format="chatml") as engine:
        assert engine.about.chat_format == "chatml"


@pytest.mark.parametrize(
    ("projector", "architecture", "kv_heads", "specials", "wanted"),
    [
        ("mlp", "llama", 32, {"</s>"}, "vicuna"),
        ("mlp", "llama", 8, {"</s>"}, "mistral-v1"),
        ("mlp", "llama", 8, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                             "<|begin_of_text|>"}, "llama3"),
        ("mlp", "phi3", 32, {"</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}, "phi3"),
        ("mlp", "qwen2", 8, {"<|im_start|>", "<|im_end|>"}, "chatml"),
        ("idefics3", "llama", 8, {"<|im_start|>", "<|im_end|>", "<end_of_utterance>"}, "smolvlm"),
        ("idefics3", "llama", 8, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                                  "<|begin_of_text|>", "<end_of_utterance>"}, "idefics3"),
        ("resampler", "llama", 8, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                                   "<|begin_of_text|>"}, "llama3"),
    ],
)  # fmt: skip
def test_the_format_follows_the_vocabulary(
    projector: str, architecture: str, kv_heads: int, specials: set[str], wanted: str
) -> None:
    text, mmproj = read_pair(*pair("qwen2vl"))
    mmproj.metadata["clip.projector_type"] = projector
    text.metadata["general.architecture"] = architecture
    text.metadata[f"{architecture}.block_count"] = 2
    text.metadata[f"{architecture}.attention.head_count"] = 32
    text.metadata[f"{architecture}.attention.head_count_kv"] = kv_heads

    class Vocabulary:
        def has_special(self, name: str) -> bool:
            return name in specials

    chat = native_format(text, mmproj, Vocabulary(), RuntimeSettings())  # type: ignore[arg-type]
    assert chat.name == wanted
    assert chat.after_picture == ("\n" if projector == "mlp" else "")


def test_every_family_has_a_format_that_is_known() -> None:
    from llavao1_edge.prompt import FORMATS

    assert all(family.chat in FORMATS for family in FAMILIES)
    named = [projector for family in FAMILIES for projector in family.projectors]
    assert len(set(named)) == len(named)
    assert not set(named) & set(UNTRIED)


# --- pictures ------------------------------------------------------------------------------------
LOOKS = {
    "qwen2vl": [(140, 84)],
    "idefics3": [(56, 56)] * 7,
    "gemma3": [(112, 112)],
}


def test_what_the_model_sees_is_told(engine: Engine, name: str) -> None:
    events = engine.session(PICTURE).stream("Why?", sampling=OPEN, budget=SHORT)
    ready = next(event for event in events if isinstance(event, PictureReady))
    events.close()
    assert ready.n_cells > 0
    if name in LOOKS:
        assert list(ready.looks) == LOOKS[name]


def test_picture_tokens_bound_a_picture() -> None:
    large = open_picture(np.zeros((900, 1200, 3), dtype=np.uint8))
    cells = []
    for most in (16, 64, None):
        with opened("qwen2vl", picture_tokens=most, context=4096) as engine:
            cells.append(engine.runtime.vision.preview(large).n_cells)
    assert cells[0] <= 16 + 2 < cells[1] <= 64 + 2 < cells[2] <= 1024 + 2


def test_several_pictures_in_one_question(engine: Engine) -> None:
    both = engine.session(PICTURE, OTHER)
    answer = both.ask("Which?", search=StageBeam(candidates=2), sampling=OPEN, budget=SHORT)
    assert answer.trace.counters.vision_passes == 2
    vision = engine.runtime.vision
    cells = [vision.preview(open_picture(one)).n_cells for one in (PICTURE, OTHER)]
    root = both.conversation.slot.root
    assert root is not None
    assert root.place.cells == sum(cells) + len(root.tokens)
    turned = engine.session(OTHER, PICTURE).ask("Which?", sampling=OPEN, budget=SHORT)
    assert turned.trace.counters.vision_passes == 0  # both were kept


def test_a_placed_picture_is_not_read_again(engine: Engine) -> None:
    """Also where what was read has been dropped: the context holds it."""
    session = engine.session(PICTURE)
    session.ask("Which?", sampling=OPEN, budget=SHORT)
    engine.runtime.vision.forget_pictures()
    events = list(session.stream("And now?", sampling=OPEN, budget=SHORT))
    assert [event.reused for event in events if isinstance(event, PictureReady)] == [True]
    engine.runtime.vision.forget_pictures()
    answer = engine.session(PICTURE).ask("Which?", sampling=OPEN, budget=SHORT)
    assert answer.trace.counters.vision_passes == 1


def test_a_picture_that_comes_after_a_stopped_question_is_seen(engine: Engine) -> None:
    session = engine.session(PICTURE)
    stream = session.stream("Which?", sampling=OPEN, budget=SHORT)
    for _ in range(3):
        next(stream)
    stream.close()
    session.show(OTHER)
    session.ask("Which?", sampling=OPEN, budget=SHORT)
    vision, root = engine.runtime.vision, session.conversation.slot.root
    cells = [vision.preview(open_picture(one)).n_cells for one in (PICTURE, OTHER)]
    assert root.place.cells == sum(cells) + len(root.tokens)


def test_what_a_caller_raises_while_a_picture_is_placed_reaches_it(engine: Engine) -> None:
    vision, runtime = engine.runtime.vision, engine.runtime
    sight, _ = vision.see(open_picture(PICTURE))

    def stop() -> bool:
        raise KeyError("mine")

    sequence = runtime.take_sequence()
    with pytest.raises(KeyError, match="mine"):
        vision.place(sight, sequence, (), stop=stop)
    runtime.release(sequence)


def test_a_model_of_ours_takes_one_picture() -> None:
    with Engine.open("demo") as engine, pytest.raises(UsageError, match="one picture"):
        engine.session(PICTURE, OTHER)


# --- what would end the process ------------------------------------------------------------------
def test_rows_that_see_each_other_get_a_batch_that_holds_them() -> None:
    with opened("gemma3", batch=8) as engine:
        assert engine.runtime.context.n_batch >= engine.runtime.vision.rows_at_once == 16
        assert rows_at_once(engine.runtime.mmproj_header, 1024) == 16  # as the plan knows it
        small = engine.prompt_logits(PICTURE, "Why?").logits
    with opened("gemma3", batch=256) as engine:
        whole = engine.prompt_logits(PICTURE, "Why?").logits
    assert np.abs(small - whole).max() <= ROUNDING["gemma3"] * np.abs(whole).max()


def test_a_batch_that_is_too_small_for_them_is_refused() -> None:
    with opened("gemma3") as engine:
        vision = engine.runtime.vision
        assert isinstance(vision, NativeModel)
        sight, _ = vision.see(open_picture(PICTURE))
        engine.runtime.context.n_batch = 8
        with pytest.raises(BackendError, match="16 tokens at once"):
            vision.place(sight, 0, (), stop=lambda: False)
        engine.runtime.context.forget(0)


def test_a_picture_in_pieces_of_a_batch(name: str) -> None:
    """Where its rows do not see each other, a picture may be larger than a batch."""
    if name == "gemma3":
        pytest.skip("its pictures are one batch")
    results = []
    for batch in (8, 256):
        with opened(name, batch=batch) as engine:
            results.append(engine.prompt_logits(PICTURE, "Why?").logits)
    assert np.abs(results[0] - results[1]).max() <= ROUNDING[name] * np.abs(results[1]).max()


def test_a_picture_too_large_for_the_context_is_refused() -> None:
    with opened("idefics3", context=256, stage_prompt="off") as engine:
        pictures = [PICTURE + np.uint8(i) for i in range(8)]
        with pytest.raises(ContextFullError, match="context"):
            engine.session(*pictures).ask("Why?")
        assert engine.session(OTHER).ask("Why?", search=Direct(), sampling=OPEN)
    with opened("idefics3", context=256) as engine:  # also where nobody counted before
        sight, _ = engine.runtime.vision.see(*map(open_picture, pictures))
        with pytest.raises(ContextFullError, match="does not fit"):
            engine.runtime.vision.place(sight, 0, (), stop=lambda: False)
        engine.runtime.context.forget(0)


def test_embeddings_do_not_depend_on_what_was_read_before(engine: Engine) -> None:
    vision = engine.runtime.vision
    assert isinstance(vision, NativeModel)
    first = vision._see(open_picture(PICTURE))
    kept = [rows.copy() for rows in first.rows if rows is not None]
    vision.see(open_picture(OTHER))
    vision.forget_pictures()
    again = vision._see(open_picture(PICTURE))
    for before, after in zip(kept, (r for r in again.rows if r is not None), strict=True):
        assert (before == after).all()
    assert all(chunk.address for chunk in again.chunks if isinstance(chunk, ImageChunk))


def test_a_very_long_and_a_very_small_picture(engine: Engine) -> None:
    for shape in ((1, 1, 3), (3, 400, 3), (400, 3, 3)):
        session = engine.session(np.full(shape, 90, dtype=np.uint8))
        assert session.ask("What?", search=Direct(), sampling=OPEN).trace


def test_answering_is_the_same_class_for_both_kinds() -> None:
    """Nothing in the engine's path of an answer knows which kind of model it runs."""
    import inspect

    source = inspect.getsource(Answering)
    assert "native" not in source.lower()
    assert "mllama" not in source.lower()
