"""A draft model changes no token, whatever it guesses, leaves nothing behind, and is refused where
it cannot serve."""

from __future__ import annotations

import json
import logging
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llavao1_edge import BudgetSettings, Engine, RuntimeSettings, StageBeam, Staged, demo
from llavao1_edge.cli.main import main
from llavao1_edge.contract.draft import check_draft
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.engine import step_costs
from llavao1_edge.engine.draft_model import MOST_KEPT, DraftModel
from llavao1_edge.engine.model_guesses import ModelGuesses
from llavao1_edge.errors import BackendError, Cancelled, ContextFullError, PairError, UsageError
from llavao1_edge.llama.context import Row
from llavao1_edge.llama.model import Model
from llavao1_edge.search import Strategy
from llavao1_edge.search.answer import Answer
from tests.native.test_lookup import SAMPLE, SEARCHES, asked, candidates
from tests.native.test_parallel import asking
from tests.native.test_search import nothing_left
from tests.native_models import FOLDER
from tests.patience import PATIENCE_S

TEXT = demo.text_path()
SHAPES = FOLDER / "shapes.gguf"


def opened(
    draft: Path | None, draft_max: int | None, *, text: Path = TEXT, parallel: int = 1, **more: Any
) -> Engine:
    settings = RuntimeSettings(
        gpu_layers=0, threads=1, draft=str(draft) if draft else None, draft_max=draft_max, **more
    )
    return Engine.open(text, settings=settings, parallel=parallel)


@pytest.fixture(scope="module")
def plain() -> Iterator[Engine]:
    with opened(None, 0) as engine:
        yield engine


@pytest.fixture(scope="module", params=[1, 4, 15])
def guessing(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The demo's text half guesses for the whole: right often, as it cannot see."""
    with opened(TEXT, request.param) as engine:
        yield engine


def draft_of(engine: Engine) -> DraftModel:
    found: DraftModel = engine.runtime.draft  # type: ignore[attr-defined]
    return found


def nothing_held(engine: Engine) -> bool:
    """Of the draft model: only texts that are kept for later hold cells, and few of them."""
    draft = draft_of(engine)
    memory, position = draft._context._memory, draft._context._c.llama_memory_seq_pos_max
    ends = {s: position(memory, s) for s in range(draft._context.n_sequences)}
    assert {s for s, end in ends.items() if end != -1} == {text.sequence for text in draft.kept}
    assert all(ends[text.sequence] == len(text.tokens) - 1 for text in draft.kept)
    free = draft._context.n_sequences - len(draft.kept)
    return len(draft.kept) <= MOST_KEPT and len(set(draft._free)) == len(draft._free) == free


# --- the same answers -----------------------------------------------------------------------------
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
def test_a_seed_gives_the_same_tokens(plain: Engine, guessing: Engine, search: Strategy) -> None:
    n_right = 0
    for seed in range(4):
        told, without = asked(guessing, search, seed), asked(plain, search, seed)
        assert candidates(told) == candidates(without)
        counters = told.trace.counters
        assert counters.decode_steps < without.trace.counters.decode_steps
        n_right += counters.draft_n_accepted
        assert nothing_held(guessing)
    assert n_right > 0


@pytest.mark.parametrize("kept", [True, False])
def test_it_follows_a_conversation(
    plain: Engine, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """What it has read for one question it does not read again for the next one."""
    decode, read = DraftModel.decode, []

    def counted(self: DraftModel, rows: Sequence[Row], **more: Any) -> Any:
        read.append(len(rows))
        return decode(self, rows, **more)

    monkeypatch.setattr(DraftModel, "decode", counted)
    if not kept:
        monkeypatch.setattr(DraftModel, "keep", lambda self, text: self.release(text.sequence))
    found: list[list[Any]] = []
    with opened(TEXT, 1) as engine:
        for each in (plain, engine):
            session = each.session(SAMPLE.picture)
            found.append([candidates(session.ask(SAMPLE.question, seed=3)) for _ in range(3)])
        n_tokens = len(session.conversation.history)  # type: ignore[attr-defined]
    assert found[0] == found[1]
    assert (sum(read) < 1.5 * n_tokens) is kept


def test_it_guesses_better_than_the_look_up(guessing: Engine) -> None:
    most = guessing.runtime.settings.draft_max  # type: ignore[attr-defined]

    def steps(engine: Engine) -> int:
        return sum(asked(engine, Staged(), n).trace.counters.decode_steps for n in range(4))

    with opened(None, most) as looking:
        assert steps(guessing) < steps(looking)


def test_a_model_that_llama_cpp_runs_itself_has_one_too() -> None:
    native = {"picture_tokens": 64, "stage_prompt": "off"}
    found: list[list[Answer]] = []
    for draft, most in ((None, 0), (SHAPES, 3)):
        with opened(draft, most, text=SHAPES, **native) as engine:
            found.append([asked(engine, StageBeam(candidates=3), seed) for seed in range(3)])
    assert [*map(candidates, found[0])] == [*map(candidates, found[1])]
    assert sum(answer.trace.counters.draft_n_accepted for answer in found[1]) > 0


def test_several_answers_at_once(plain: Engine) -> None:
    seeds = list(range(6))
    with opened(TEXT, 3, parallel=3) as engine:
        told = asking(engine, StageBeam(candidates=2), seeds)
        assert nothing_held(engine)
    assert [*map(candidates, told)] == [
        *map(candidates, asking(plain, StageBeam(candidates=2), seeds))
    ]


def test_nothing_is_left_of_an_answer_that_was_given_up(guessing: Engine) -> None:
    session = guessing.session(SAMPLE.picture)
    stream = session.stream(SAMPLE.question, search=StageBeam(candidates=3), seed=2)
    for _ in range(12):
        next(stream)
    stream.close()
    assert nothing_held(guessing)
    del session
    guessing.backend.slots.sweep()  # type: ignore[attr-defined]
    assert nothing_left(guessing.backend.runtime)  # type: ignore[attr-defined]


def test_a_limit_of_a_stage_holds(plain: Engine, guessing: Engine) -> None:
    for n in (3, 10, 17):
        budget = BudgetSettings(stage_tokens=n)
        told = asked(guessing, Staged(), n, budget=budget)
        assert candidates(told) == candidates(asked(plain, Staged(), n, budget=budget))


# --- where it fails -------------------------------------------------------------------------------
def failing(monkeypatch: pytest.MonkeyPatch, after: int, error: Exception) -> None:
    decode, n_calls = DraftModel.decode, 0

    def broken(self: DraftModel, *given: Any, **more: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > after:
            raise error
        return decode(self, *given, **more)

    monkeypatch.setattr(DraftModel, "decode", broken)


@pytest.mark.parametrize("error", [BackendError("lost"), ContextFullError("full")], ids=type)
@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_answer_goes_on_without_it(
    plain: Engine,
    guessing: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    after: int,
) -> None:
    failing(monkeypatch, after, error)
    with caplog.at_level(logging.WARNING):
        told = asked(guessing, StageBeam(candidates=3), 1)
    assert candidates(told) == candidates(asked(plain, StageBeam(candidates=3), 1))
    assert str(error) in caplog.text
    assert nothing_held(guessing)


def test_a_stop_while_it_guesses_ends_the_answer(
    guessing: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, decode, n_calls = guessing.session(SAMPLE.picture), DraftModel.decode, 0

    def stopped(self: DraftModel, *given: Any, stop: Callable[[], bool]) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            session.cancel()
            assert stop()
            raise Cancelled("stopped")
        return decode(self, *given, stop=stop)

    monkeypatch.setattr(DraftModel, "decode", stopped)
    assert session.ask(SAMPLE.question, search=StageBeam(candidates=3), seed=1).cancelled
    assert n_calls == 3
    assert nothing_held(guessing)


@pytest.mark.parametrize(("context", "batch"), [(400, 128), (1024, 8), (256, 16)])
def test_where_room_is_short(plain: Engine, context: int, batch: int) -> None:
    """Fewer cells than candidates need, and fewer sequences than candidates and those before."""
    search = StageBeam(candidates=6)
    with opened(TEXT, 3, context=context, batch=batch) as engine:
        for seed in range(2):
            assert candidates(asked(engine, search, seed)) == candidates(asked(plain, search, seed))
        assert nothing_held(engine)


# --- what is refused ------------------------------------------------------------------------------
def with_token(folder: Path, old: bytes, new: bytes) -> Path:
    data = TEXT.read_bytes()
    assert data.count(old) >= 1
    (folder / "draft.gguf").write_bytes(data.replace(old, new, 1))
    return folder / "draft.gguf"


def ask(draft: Path | str, *more: str) -> int:
    return main(["ask", "--draft", str(draft), "--gpu-layers", "0", *more, "none", "What?"])


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an mmproj file": (lambda _: FOLDER / "mmproj-shapes.gguf", "is an mmproj file"),
    "another size": (lambda _: SHAPES, r"shapes\.gguf has 539 tokens"),
    "another word": (
        lambda folder: with_token(folder, b"square", b"sqvare"),
        r"draft\.gguf has another vocabulary than .*sqvare",
    ),
    "no model": (
        lambda folder: (folder / "x.gguf", (folder / "x.gguf").write_text("x"))[0],
        "GGUF",
    ),
    "no file": (lambda folder: folder / "none.gguf", r"none\.gguf"),
    "a folder": (lambda folder: folder, "it is a folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_guess_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, said = REFUSED[case]
    assert ask(make(tmp_path)) in (1, 2)
    told = capsys.readouterr()
    assert not told.out
    assert re.search(said, told.err)
    assert "Traceback" not in told.err


def test_guesses_need_a_model_that_can_go_back(capsys: pytest.CaptureFixture[str]) -> None:
    """The large one this time. With `--draft-max 0` no draft model is even read."""
    text = str(FOLDER / "lfm2.gguf")
    assert ask(text, "--model", text, "--picture-tokens", "64") == 2
    assert "leave --draft out" in capsys.readouterr().err
    assert ask("none.gguf", "--draft-max", "0") == 0


def test_a_draft_model_must_go_back_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    recurrent = iter([False, True])
    monkeypatch.setattr(Model, "has_recurrent_state", property(lambda _: next(recurrent)))
    with pytest.raises(UsageError, match="cannot take back what it guessed"):
        opened(TEXT, 3)


def test_a_damaged_one_does_not_end_the_program_without_a_word(tmp_path: Path) -> None:
    """llama.cpp ends the process at a norm below zero."""
    key = b"llama.attention.layer_norm_rms_epsilon" + (6).to_bytes(4, "little")
    data = TEXT.read_bytes()
    at = data.index(key) + len(key)
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data[:at] + struct.pack("<f", -1.0) + data[at + 4 :])
    words = f"ask none What? --gpu-layers 0 --draft-max 3 --draft {path}".split()
    done = subprocess.run(
        [sys.executable, "-m", "llavao1_edge.cli.main", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "error: " in done.stderr


def test_a_replay_does_without_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    draft = tmp_path / "draft.gguf"
    draft.write_bytes(TEXT.read_bytes())
    assert ask(draft, "--draft-max", "3", "--json") == 0
    record = tmp_path / "record.json"
    record.write_text(capfd.readouterr().out, encoding="utf-8")
    draft.unlink()
    assert main(["ask", "--replay", str(record)]) == 0


def test_control_tokens_may_have_other_names(tmp_path: Path) -> None:
    draft = with_token(tmp_path, b"<|eot_id|>", b"<|eof_id|>")
    check_draft(read_header(draft), read_header(TEXT))
    with pytest.raises(PairError):
        check_draft(read_header(with_token(tmp_path, b"square", b"sqvare")), read_header(TEXT))


# --- what pays ------------------------------------------------------------------------------------
class Fake:
    """A draft model whose every guess is the token before, plus one, with this probability."""

    n_vocab = 4000

    def __init__(self, probability: float = 0.95) -> None:
        self.probability, self.n_steps, self.held = probability, 0, dict[int, list[int]]()
        self.kept: list[Any] = []

    def take(self) -> int:
        self.held[len(self.held)] = []
        return len(self.held) - 1

    def release(self, sequence: int) -> None:
        del self.held[sequence]

    def keep(self, text: Any) -> None:
        self.kept.append(text)

    def fork(self, source: int, target: int, n: int) -> None:
        self.held[target] = self.held[source][:n]

    def rewind(self, sequence: int, n: int) -> None:
        del self.held[sequence][n:]

    def decode(self, rows: Sequence[Any], *, stop: object) -> Any:  # noqa: ARG002
        self.n_steps += any(row.output for row in rows)
        logits = np.full((sum(row.output for row in rows), self.n_vocab), 0.0, np.float32)
        others = self.n_vocab - 1
        best = np.log(self.probability * others / (1 - self.probability))
        outputs = [row for row in rows if row.output]
        for row in rows:
            held = self.held[row.sequence]
            assert row.position == len(held)
            held.append(row.token)
        for i, row in enumerate(outputs):
            logits[i, row.token + 1] = best
        return logits


class Base:
    tokens = (5, 6, 7)


class Stream:
    """What guesses see of a candidate."""

    def __init__(self, *tokens: int) -> None:
        self.base, self.tokens, self.n_decoded = Base, [*tokens], 0
        self.guess: list[int] = []
        self.sureness: list[int] = []
        self.n_right = 0


def guesses(model: Fake, *, costs: Any = lambda n: 100 + 10.0 * n, draft: Any = lambda _: 5.0,
            n_vocab: int = 4000, **more: Any) -> ModelGuesses:  # fmt: skip
    made = ModelGuesses(
        model,  # type: ignore[arg-type]
        costs=costs,
        draft_costs=draft,
        n_vocab=n_vocab,
        stop=lambda: False,
        **more,
    )
    made.read([1, 2, 3])
    return made


def test_guesses_go_on_where_the_text_is() -> None:
    model = Fake()
    guesser = guesses(model, most=3)
    one, two = Stream(100), Stream(200, 201)
    guesser.guess([one, two], [15, 2])  # type: ignore[list-item]
    assert (one.guess, two.guess) == ([101, 102, 103], [202, 203])
    assert model.n_steps == 3
    one.tokens += [101, 7]  # one guess was right
    guesser.guess([one], [15])  # type: ignore[list-item]
    assert one.guess == [8, 9, 10]
    assert model.held[0] == [1, 2, 3, 5, 6, 7, 100, 101, 7, 8, 9]


def test_tokens_that_it_does_not_have_are_left_out() -> None:
    model = Fake()
    guesser = guesses(model, most=1)
    guesser.read([1, 4000, 2])
    guesser.guess([Stream(100)], [1])  # type: ignore[list-item]
    assert model.held[0] == [1, 2, 5, 6, 7, 100]


@pytest.mark.parametrize(
    ("costs", "draft", "most"),
    [
        (lambda n: 100.0 * n, lambda _: 1.0, 0),  # every row costs a step
        (lambda _: 100.0, lambda _: 100.0, 0),  # the draft model is as slow as the model
        (lambda n: 100 + 10.0 * n, lambda _: 5.0, 15),
        # The second row costs a lot, those after it nothing.
        (lambda n: 100.0 if n == 1 else 190.0, lambda _: 1.0, 15),
    ],
)
def test_guesses_are_as_many_as_pay(costs: Any, draft: Any, most: int) -> None:
    model, stream = Fake(), Stream(100)
    guesses(model, costs=costs, draft=draft).guess([stream], [15])  # type: ignore[list-item]
    assert bool(stream.guess) is bool(most)
    assert len(stream.guess) <= most
    assert bool(model.n_steps) is bool(most)


def drawn(guesser: ModelGuesses, stream: Stream, token: int) -> None:
    """A step in which this token is drawn."""
    stream.guess, stream.sureness, stream.n_decoded = [], [], len(stream.tokens) - 1
    guesser.guess([stream], [15])  # type: ignore[list-item]
    stream.n_decoded += 1
    stream.n_right = int(stream.guess[:1] == [token])
    stream.tokens.append(token)
    guesser.learn(stream)  # type: ignore[arg-type]


def test_an_unsure_one_is_hardly_asked() -> None:
    """Its guesses are not worth checking, so nothing is learnt from them but that. It is asked now
    and then, as a text can become easier."""
    model, stream = Fake(0.05), Stream(100)
    guesser = guesses(model)
    for _ in range(50):
        drawn(guesser, stream, 9)
    before = model.n_steps
    assert before < 40
    for _ in range(300):
        drawn(guesser, stream, 9)
        assert not stream.guess
    assert 0 < model.n_steps - before < 30


def test_a_wrong_one_is_hardly_asked() -> None:
    model, stream = Fake(), Stream(100)
    guesser = guesses(model)
    for _ in range(60):
        drawn(guesser, stream, 9)
    before = model.n_steps
    for _ in range(300):
        drawn(guesser, stream, 9)
    assert model.n_steps - before < 30


def test_it_is_asked_again_where_the_text_becomes_easier() -> None:
    model, stream = Fake(0.05), Stream(100)
    guesser = guesses(model)
    for _ in range(50):
        drawn(guesser, stream, 9)
    model.probability = 0.95
    for _ in range(60):
        drawn(guesser, stream, stream.tokens[-1] + 1)
    assert len(stream.guess) > 2


def test_tokens_that_the_large_model_lacks_are_no_guesses() -> None:
    stream = Stream(100)
    guesser = guesses(Fake(), most=2, n_vocab=101)
    guesser.guess([stream], [2])  # type: ignore[list-item]
    assert stream.guess
    assert max(stream.guess) < 101


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_a_guess_without_a_chance(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Fake, rows: Sequence[Any], **_: object) -> Any:
        for row in rows:
            self.held[row.sequence].append(row.token)
        n = sum(row.output for row in rows)
        return np.full((n, self.n_vocab), value, np.float32)

    monkeypatch.setattr(Fake, "decode", broken)
    stream = Stream(100)
    guesses(Fake()).guess([stream], [15])  # type: ignore[list-item]
    assert not stream.guess
    guesses(Fake(), most=2).guess([stream], [15])  # type: ignore[list-item]
    assert len(stream.guess) == 2


def test_many_candidates_leave_no_rows_for_guesses() -> None:
    model, streams = Fake(), [Stream(100 + i) for i in range(20)]
    guesses(model).guess(streams, [15] * 20)  # type: ignore[arg-type]
    assert not any(stream.guess for stream in streams)
    assert not model.n_steps


# --- what its steps cost --------------------------------------------------------------------------
def test_costs_are_measured_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Engine
) -> None:
    path = tmp_path / "step-costs.json"
    monkeypatch.setattr(step_costs, "LEAST_MS", 0.0)
    monkeypatch.setattr(step_costs, "_path", lambda: path)
    with opened(TEXT, None) as engine:
        told = asked(engine, Staged(), 1)
        assert candidates(told) == candidates(asked(plain, Staged(), 1))
        assert nothing_held(engine)
    kept = json.loads(path.read_bytes())
    assert [len(costs) for costs in kept.values()] == [len(step_costs.SIZES)] * 2
    monkeypatch.setattr(step_costs, "_timed", None)
    with opened(TEXT, None) as engine:
        asked(engine, Staged(), 1)


def test_short_steps_do_not_ask_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_costs, "LEAST_MS", 1e9)
    monkeypatch.setattr(step_costs, "_path", lambda: tmp_path / "step-costs.json")
    failing(monkeypatch, 0, AssertionError())
    with opened(TEXT, None) as engine:
        assert asked(engine, Staged(), 1).trace.counters.draft_n == 0
