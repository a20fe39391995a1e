"""Guessing ahead changes no token, whatever is guessed, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import (
    BudgetSettings,
    Engine,
    Retrace,
    RuntimeSettings,
    SamplingSettings,
    SentenceBeam,
    StageBeam,
    Staged,
    demo,
)
from llavao1_edge.engine import step_costs
from llavao1_edge.engine.lookup import Lookup
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.turns import Turns
from llavao1_edge.mllama.model import MllamaModel
from llavao1_edge.search import Budget, Strategy
from llavao1_edge.search.answer import Answer
from llavao1_edge.stages import STAGES
from tests.native.test_search import nothing_left

SAMPLE = demo.samples()[0]
WARM = SamplingSettings(temperature=0.9)
SEARCHES = [
    Staged(),
    StageBeam(candidates=4),
    StageBeam(candidates=2, keep=2, scorer="judge"),
    SentenceBeam(candidates=3),
    Retrace(candidates=2, returns=1, threshold=-0.1),
]


def demo_engine(draft_max: int | None, *, context: int | None = None) -> Engine:
    settings = RuntimeSettings(gpu_layers=0, threads=1, draft_max=draft_max, context=context)
    return Engine.open(demo.text_path(), settings=settings)


@pytest.fixture(scope="module")
def plain() -> Iterator[Engine]:
    with demo_engine(0) as engine:
        yield engine


@pytest.fixture(scope="module", params=[1, 3, 15])
def guessing(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with demo_engine(request.param) as engine:
        yield engine


def asked(engine: Engine, search: Strategy, seed: int, **more: object) -> Answer:
    session = engine.session(SAMPLE.picture)
    return session.ask(SAMPLE.question, search=search, seed=seed, sampling=WARM, **more)  # type: ignore[arg-type]


def candidates(answer: Answer) -> list[tuple[str, int, str, int]]:
    return sorted(
        (str(made.stage), made.number, made.text, made.n_tokens)
        for made in (node.candidate for node in answer.trace.nodes)
    )


def logprobs(answer: Answer) -> list[float]:
    return [node.candidate.logprob for node in answer.trace.nodes]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
def test_a_seed_gives_the_same_tokens(plain: Engine, guessing: Engine, search: Strategy) -> None:
    n_right = 0
    for seed in range(6):
        told = asked(guessing, search, seed)
        without = asked(plain, search, seed)
        assert candidates(told) == candidates(without)
        # Batches of other sizes round differently.
        assert sorted(logprobs(told)) == pytest.approx(sorted(logprobs(without)), abs=0.02)
        counters = told.trace.counters
        assert counters.sampled_tokens == without.trace.counters.sampled_tokens
        assert counters.draft_n >= counters.draft_n_accepted
        assert counters.decode_steps <= without.trace.counters.decode_steps
        assert without.trace.counters.draft_n == 0
        n_right += counters.draft_n_accepted
    assert n_right > 0


def test_later_questions_are_guessed_from_earlier_answers(plain: Engine, guessing: Engine) -> None:
    found = []
    for engine in (plain, guessing):
        session = engine.session(SAMPLE.picture)
        answers = [session.ask(SAMPLE.question, seed=3, sampling=WARM) for _ in range(2)]
        found.append([candidates(answer) for answer in answers])
        last = answers[-1].trace.counters
    assert found[0] == found[1]
    assert last.draft_n_accepted > 0


def test_nothing_is_left_in_the_cache() -> None:
    with demo_engine(7) as engine:
        asked(engine, StageBeam(candidates=4), 1)
        stream = engine.session(SAMPLE.picture).stream(SAMPLE.question, seed=2, sampling=WARM)
        for _ in range(12):
            next(stream)
        stream.close()  # in the middle
        backend = engine.backend
        backend.slots.sweep()  # type: ignore[attr-defined]
        assert nothing_left(backend.runtime)  # type: ignore[attr-defined]


def test_where_room_is_short_guesses_give_way_first(plain: Engine) -> None:
    search = StageBeam(candidates=6)
    with demo_engine(15, context=400) as engine:
        for seed in range(3):
            told = asked(engine, search, seed)
            assert candidates(told) == candidates(asked(plain, search, seed))


def test_a_budget_of_tokens_is_divided_as_without(plain: Engine, guessing: Engine) -> None:
    budget = BudgetSettings(token_budget=60)
    search = StageBeam(candidates=3)
    for seed in range(3):
        told = asked(guessing, search, seed, budget=budget)
        assert candidates(told) == candidates(asked(plain, search, seed, budget=budget))


def test_a_stage_is_not_guessed_beyond_its_limit(plain: Engine, guessing: Engine) -> None:
    for n in (3, 10, 17):
        budget = BudgetSettings(stage_tokens=n)
        told = asked(guessing, Staged(), n, budget=budget)
        assert candidates(told) == candidates(asked(plain, Staged(), n, budget=budget))


def test_memory_that_cannot_go_back_is_not_guessed_into(monkeypatch: pytest.MonkeyPatch) -> None:
    with demo_engine(7) as engine:
        monkeypatch.setattr(MllamaModel, "can_rewind", property(lambda _: False))
        assert asked(engine, Staged(), 1).trace.counters.draft_n == 0


# --- what pays ------------------------------------------------------------------------------------
class Stream:
    """What the look-up sees of a candidate."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens, self.guess, self.sureness = list(tokens), [], []  # type: ignore[var-annotated]


def guessed(costs: object, text: Sequence[int], *ends: Sequence[int]) -> list[list[int]]:
    lookup = Lookup(costs=costs)  # type: ignore[arg-type]
    lookup.read(text)
    streams = [Stream(end) for end in ends]
    lookup.guess(streams, [15] * len(streams))  # type: ignore[arg-type]
    return [stream.guess for stream in streams]


TEXT = [*range(100, 112), 7]


def test_guesses_are_as_many_as_pay() -> None:
    end = TEXT[:5]
    (free,) = guessed(lambda _: 1.0, TEXT, end)
    assert free == TEXT[5:][: len(free)]
    assert len(free) >= 4
    assert guessed(float, TEXT, end) == [[]]  # every row costs a step
    (some,) = guessed(lambda n: 1 + 0.3 * (n - 1), TEXT, end)
    assert 0 < len(some) < len(free)


def test_unlikely_guesses_give_way_to_likely_ones() -> None:
    """One candidate found four tokens, the other one."""
    known, one = guessed(lambda n: 1 + 0.2 * (n - 2), TEXT, TEXT[:5], [1, 2, 3, 100])
    assert known
    assert not one


def test_it_learns_from_what_was_right() -> None:
    def chances(right: int) -> int:
        lookup = Lookup(costs=lambda n: 1 + 0.5 * (n - 1))
        lookup.read(TEXT)
        for _ in range(20):
            tried = Stream(TEXT[:5])
            tried.n_decoded, tried.n_right, tried.sureness = 4, right, [4]  # type: ignore[attr-defined]
            lookup.learn(tried)  # type: ignore[arg-type]
        stream = Stream(TEXT[:5])
        lookup.guess([stream], [15])  # type: ignore[list-item]
        return len(stream.guess)

    assert chances(0) == 0 < chances(1)


# --- what a step costs ----------------------------------------------------------------------------
@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Rows of every step; costs are kept in an empty folder, and no step is too short."""
    taken: list[int] = []
    step = Runtime.step

    def counted(self: Runtime, rows: Sequence[object], *args: object, **more: object) -> object:
        taken.append(len(rows))
        return step(self, rows, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Runtime, "step", counted)
    monkeypatch.setattr(step_costs, "LEAST_MS", 0.0)
    monkeypatch.setattr(step_costs, "_path", lambda: tmp_path / "kept" / "step-costs.json")
    return taken


def test_costs_are_measured_once(
    steps: list[int], tmp_path: Path, plain: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept" / "step-costs.json"
    repeats = 1 + step_costs.REPEATS
    with demo_engine(None) as engine:
        asked(engine, Staged(), 1)
        assert steps[: repeats * len(step_costs.SIZES)] == [
            n for n in step_costs.SIZES for _ in range(repeats)
        ]
        kept = path.read_bytes()
        monkeypatch.setattr(step_costs, "_of_model", None)
        told = asked(engine, Staged(), 2)
    assert path.read_bytes() == kept
    assert candidates(told) == candidates(asked(plain, Staged(), 2))


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"{", b'{"%s": [1, 2]}', b'{"%s": [1,1,1,1,1,1,1,-1]}', b"\xff"]
)
def test_a_damaged_file_is_measured_anew(
    steps: list[int], tmp_path: Path, content: bytes, plain: Engine
) -> None:
    path = tmp_path / "kept" / "step-costs.json"
    with demo_engine(None) as engine:
        asked(engine, Staged(), 1)
    (name,) = json.loads(path.read_bytes())
    path.write_bytes(content.replace(b"%s", name.encode()))
    with demo_engine(None) as engine:
        asked(engine, Staged(), 1)
    (values,) = json.loads(path.read_bytes()).values()
    assert len(values) == len(step_costs.SIZES)
    assert min(values) > 0


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    steps: list[int], tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("a file in the place of the folder")
    with demo_engine(None) as engine:
        assert asked(engine, Staged(), 1).stages


@pytest.mark.parametrize(("milliseconds", "guesses"), [(4.9, False), (5.1, True)])
def test_short_steps_are_not_worth_it(
    milliseconds: float, guesses: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    costs = [milliseconds] * len(step_costs.SIZES)
    monkeypatch.setattr(step_costs, "_of_model", lambda *_: costs)
    monkeypatch.setattr(step_costs, "_path", lambda: tmp_path / "step-costs.json")
    with demo_engine(None) as engine:
        counters = asked(engine, Staged(), 1).trace.counters
    assert (counters.draft_n > 0) is guesses


def test_costs_between_what_was_measured() -> None:
    costs = step_costs.StepCosts([10, 11, 12, 13, 15, 17, 21, 25])
    assert [costs(n) for n in (1, 4, 5, 7, 16, 20)] == [10, 13, 14, 16, 25, 25]


def test_a_disturbed_measurement_makes_no_row_cheaper_than_nothing() -> None:
    costs = step_costs.StepCosts([10, 10, 10, 10, 10, 30, 20, 19])
    assert [costs(n) for n in (6, 8, 12, 16, 128)] == [10, 30, 30, 30, 30]
    ends = [TEXT[:5]] * 8
    found = guessed(costs, TEXT, *ends)
    assert 8 + sum(map(len, found)) <= step_costs.MOST_ROWS


def test_of_equal_guesses_only_those_that_pay_are_taken() -> None:
    """Up to four rows cost hardly anything, the fifth one a lot."""
    ends = [TEXT[:5]] * 3
    found = guessed(lambda n: 1.0 if n <= 4 else 5.0, TEXT, *ends)
    assert sum(map(len, found)) == 1


def test_what_cannot_be_kept_is_measured_once_for_an_open_pair(
    steps: list[int], tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("a file in the place of the folder")
    with demo_engine(None) as engine:
        asked(engine, Staged(), 1)
        n = steps.count(12)
        asked(engine, Staged(), 2)
    assert steps.count(12) == n > 0


def test_a_small_batch_is_not_measured(steps: list[int]) -> None:
    settings = RuntimeSettings(gpu_layers=0, threads=1, batch=8)
    with Engine.open(demo.text_path(), settings=settings) as engine:
        assert asked(engine, Staged(), 1).stages
    assert max(steps) <= 8


def test_another_answer_meanwhile_ends_the_measurement(
    steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turns, "alone", property(lambda _: len(steps) < 6))
    with demo_engine(None) as engine:
        asked(engine, Staged(), 1)
    assert not (tmp_path / "kept").exists()


def test_measuring_is_not_paid_by_the_time_budget(
    steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only measuring moves, beyond the whole budget."""
    now = [0.0]
    measure = step_costs._of_model

    def slow(*given: Any) -> Any:
        now[0] += 1000
        return measure(*given)

    monkeypatch.setattr(step_costs, "_of_model", slow)
    monkeypatch.setattr(Budget.__init__, "__defaults__", (None, None, lambda: now[0], 0))
    with demo_engine(None) as engine:
        told = asked(engine, StageBeam(candidates=2), 1, budget=BudgetSettings(time_budget=100))
    assert now[0] == 1000
    assert told.trace.ended is None
    assert len(told.trace.nodes) == 2 * len(STAGES)
