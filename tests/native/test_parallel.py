"""Several answers written at once, in the same batches: each is what it is alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest

from llavao1_edge import (
    BestOfN,
    Direct,
    Engine,
    Retrace,
    RuntimeSettings,
    StageBeam,
    Staged,
)
from llavao1_edge.engine.turns import Step, Turns
from llavao1_edge.errors import BackendError, Cancelled, OutOfMemory, UsageError
from llavao1_edge.search import Strategy
from llavao1_edge.search.answer import Answer
from tests.native.test_search import nothing_left
from tests.native_models import FOLDER
from tests.shapes import SAMPLES

AT_ONCE = 4
NATIVE = {"picture_tokens": 64, "stage_prompt": "off"}


@dataclass(frozen=True)
class Model:
    model: str
    settings: dict[str, Any]

    def open(self, at_once: int, search: Strategy | None = None, **settings: Any) -> Engine:
        chosen = RuntimeSettings(
            **{"gpu_layers": 0, "threads": 1, "cache": "f32", **self.settings, **settings}
        )
        return Engine.open(self.model, settings=chosen, search=search, parallel=at_once)


DEMO, SHAPES = Model("demo", {}), Model(str(FOLDER / "shapes.gguf"), NATIVE)


@pytest.fixture(params=[DEMO, SHAPES], ids=["mllama", "native"])
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.param
    return found


def asking(engine: Engine, search: Strategy, seeds: list[int]) -> list[Answer]:
    """An answer for each seed, from as many threads as the engine writes answers at once."""

    def ask(seed: int) -> Answer:
        sample = SAMPLES[seed % len(SAMPLES)]
        with engine.session(sample.picture) as session:
            return session.ask(sample.question, search=search, seed=seed)

    with ThreadPoolExecutor(engine.turns.at_once) as threads:
        return list(threads.map(ask, seeds))


def told(answers: list[Answer]) -> list[dict[str, str]]:
    return [answer.stages for answer in answers]


@pytest.mark.parametrize(
    "search",
    [Direct(), Staged(), StageBeam(candidates=4), BestOfN(candidates=3), Retrace()],
    ids=lambda search: search.name,
)
def test_each_answer_is_what_it_is_alone(model: Model, search: Strategy) -> None:
    seeds = list(range(8))
    with model.open(1, search) as engine:
        alone = asking(engine, search, seeds)
    with model.open(AT_ONCE, search) as engine:
        decode = engine.runtime.context.decode
        with patch.object(engine.runtime.context, "decode", wraps=decode) as batches:
            together = asking(engine, search, seeds)
        n_batches = batches.call_count
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert told(together) == told(alone)
    assert all(not answer.notes for answer in together)
    # Counters are each answer's own: what they decoded, it had in fewer batches.
    steps = [sum(one.trace.counters.decode_steps for one in some) for some in (alone, together)]
    assert steps[0] == steps[1]
    assert n_batches < steps[1] * (0.95 if search == Direct() else 0.7)


def test_different_searches_side_by_side(model: Model) -> None:
    searches: list[Strategy] = [Direct(), StageBeam(candidates=4), Staged(), BestOfN(candidates=2)]

    def answers(engine: Engine) -> list[Answer]:
        def ask(i: int) -> Answer:
            with engine.session(SAMPLES[i % 3].picture) as session:
                first = session.ask(SAMPLES[i % 3].question, search=searches[i % 4], seed=i)
                assert first.conclusion
                return session.ask("How many circles are there?", search=searches[-1 - i % 4])

        with ThreadPoolExecutor(engine.turns.at_once) as threads:
            return list(threads.map(ask, range(12)))

    with model.open(1, StageBeam(candidates=4)) as engine:
        alone = told(answers(engine))
    with model.open(AT_ONCE, StageBeam(candidates=4)) as engine:
        assert told(answers(engine)) == alone
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)


def test_where_room_is_short_they_wait_for_each_other(model: Model) -> None:
    """The context holds about one wide answer: nobody's answer is cut off for another's."""
    search = StageBeam(candidates=6)
    with model.open(1, search, context=512) as engine:
        alone = asking(engine, search, list(range(8)))
    with model.open(AT_ONCE, search, context=512) as engine:
        together = asking(engine, search, list(range(8)))
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert told(together) == told(alone)


def test_one_that_is_stopped_leaves_the_others(model: Model) -> None:
    search, seeds = Staged(), [0, 1, 2, 3]
    with model.open(1, search) as engine:
        alone = told(asking(engine, search, seeds))
    with model.open(AT_ONCE, search) as engine:

        def ask(seed: int) -> Answer | None:
            sample, n = SAMPLES[seed % len(SAMPLES)], 0

            def stop() -> bool:
                nonlocal n
                n += 1
                return seed == 2 and n > 20

            with engine.session(sample.picture) as session:
                try:
                    return session.ask(sample.question, search=search, seed=seed, stop=stop)
                except Cancelled:
                    return None

        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = list(threads.map(ask, seeds))
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert answers[2] is None or answers[2].cancelled
    for seed in (0, 1, 3):
        answer = answers[seed]
        assert answer is not None
        assert answer.stages == alone[seed]


def test_pictures_that_do_not_fit_at_once_are_read_again() -> None:
    """What a batch sees is looked up in it: a picture that was given up meanwhile comes back."""
    with DEMO.open(1) as engine:
        alone = told(asking(engine, Direct(), list(range(8))))
    with DEMO.open(AT_ONCE) as engine:
        engine.runtime.vision._most = 1  # type: ignore[attr-defined]
        assert told(asking(engine, Direct(), list(range(8)))) == alone


def test_closing_waits_for_all_of_them() -> None:
    engine = DEMO.open(AT_ONCE)
    begun = threading.Barrier(AT_ONCE)

    def closing(seed: int) -> str:
        with engine.session(SAMPLES[0].picture) as session:
            begun.wait(60)
            try:
                return session.ask(SAMPLES[0].question, seed=seed).conclusion
            except UsageError as error:
                return error.message

    with ThreadPoolExecutor(AT_ONCE) as threads:
        waiting = [threads.submit(closing, seed) for seed in range(AT_ONCE)]
        time.sleep(0.05)
        engine.close()
        ended = [one.result() for one in waiting]
    assert all(ended)  # an answer, or that the model is closed: no crash, no waiting forever
    assert not engine.is_open


def together(engine: Engine, stops: list[Any]) -> list[Answer | BaseException]:
    """An answer for each stop, all begun before one goes on."""
    begun = threading.Barrier(len(stops))

    def ask(seed: int) -> Answer | BaseException:
        sample = SAMPLES[seed % len(SAMPLES)]
        with engine.session(sample.picture) as session:
            begun.wait(60)
            try:
                return session.ask(sample.question, seed=seed, stop=stops[seed])
            except BaseException as error:
                return error

    with ThreadPoolExecutor(len(stops)) as threads:
        return list(threads.map(ask, range(len(stops))))


def test_a_batch_that_fails_once_costs_nobody_anything(model: Model) -> None:
    """Cells that the failed batch left are taken back before each is tried alone."""
    with model.open(1) as engine:
        alone = [together(engine, [lambda: False])[0]]
    with model.open(3) as engine:
        context, failed = engine.runtime.context, []
        decode = context.decode

        def fails(rows: Any, **options: Any) -> None:
            decode(rows, **options)  # llama.cpp has done it: the cells are there
            if not failed and len({row.sequence for row in rows}) > 1:
                failed.append(len(rows))
                raise OutOfMemory("no memory for once")

        with patch.object(context, "decode", fails):
            found = together(engine, [lambda: False] * 3)
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert failed
    assert all(isinstance(answer, Answer) and not answer.cancelled for answer in found)
    assert isinstance(found[0], Answer)
    assert isinstance(alone[0], Answer)
    assert found[0].stages == alone[0].stages


def test_what_one_answers_stop_raises_is_its_own() -> None:
    asked = 0

    def broken() -> bool:
        nonlocal asked
        asked += 1
        if asked > 60:
            raise RuntimeError("this stop is broken")
        return False

    with DEMO.open(3) as engine:
        found = together(engine, [lambda: False, broken, lambda: False])
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert isinstance(found[0], Answer)
    assert isinstance(found[1], RuntimeError)
    assert isinstance(found[2], Answer)


def test_all_stopped_at_once() -> None:
    stopped, asked = threading.Event(), 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if asked > 200:
            stopped.set()
        return stopped.is_set()

    with DEMO.open(3) as engine:
        found = together(engine, [stop] * 3)
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert all(isinstance(one, Cancelled) or getattr(one, "cancelled", False) for one in found)


# --- the meeting itself --------------------------------------------------------------------------
def test_all_rows_go_at_once_and_a_latecomer_is_waited_for() -> None:
    turns, sizes, begun = Turns(3), [], threading.Barrier(3)

    def run(steps: Any) -> None:
        sizes.append(len(steps))
        time.sleep(1e-4)  # as the model does, it lets other threads run
        for step in steps:
            step.error = BackendError("done")

    def answer(n: int) -> None:
        if n == 100:
            begun.wait(60)
        with turns.take():
            for _ in range(n):
                turns.meet(Step((), None, lambda: False), run)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(answer, [100, 100, 100, 10, 10]))
    assert sum(sizes) == 320
    assert max(sizes) == 3
    assert len(sizes) < 300


def test_nobody_waits_for_room_that_nobody_leaves() -> None:
    turns, waited = Turns(2), []
    begun = threading.Barrier(2)

    def answer(patient: bool) -> None:
        with turns.take():
            turns.meet(Step((), None, lambda: False), _done)
            waited.append((patient, turns.wait_for_another(lambda: False)))

    def _done(steps: Any) -> None:
        for step in steps:
            step.error = BackendError("done")

    def start(patient: bool) -> None:
        begun.wait(60)
        answer(patient)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(start, [True, False]))
    with turns.take():
        assert not turns.wait_for_another(lambda: False)
    assert sorted(found for _, found in waited) in ([False, False], [False, True])


def test_the_same_thread_gets_an_error() -> None:
    turns = Turns(2)
    with turns.take(), pytest.raises(UsageError, match="still being written"):
        turns.take().__enter__()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before


def test_whoever_waits_for_room_can_be_stopped() -> None:
    turns, stopped = Turns(2), threading.Event()

    def wide() -> str:
        with turns.take():
            try:
                turns.reserve(100, of=100, stop=stopped.is_set)
            except Cancelled:
                return "stopped"
            return "had room"

    with ThreadPoolExecutor(1) as threads:
        with turns.take():
            turns.reserve(50, of=100, stop=lambda: False)
            other = threads.submit(wide)
            stopped.set()
            while not other.done():
                assert not turns._wait(lambda: False, other.done)
        assert other.result() == "stopped"
        stopped.clear()
        assert threads.submit(wide).result() == "had room"


def test_who_waits_for_another_gives_way_to_who_waits_for_it() -> None:
    """A has no room and waits for B to end; B cannot begin beside A: one must give way."""
    turns, in_turn = Turns(2), threading.Event()

    def short() -> bool:
        with turns.take():
            turns.reserve(80, of=100, stop=lambda: False)
            in_turn.set()
            while turns._n_active < 2:
                time.sleep(0.001)
            return turns.wait_for_another(lambda: False)

    def late() -> str:
        in_turn.wait(60)
        with turns.take():
            turns.reserve(80, of=100, stop=lambda: False)
            return "had room"

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(short), threads.submit(late)
        assert first.result(60) is False
        assert second.result(60) == "had room"


def test_who_waits_is_not_forgotten_by_one_that_computes_alone() -> None:
    """B and C wait for room beside A; what C leaves, B gets while A still computes."""
    turns, log = Turns(3), []

    def run(steps: Any) -> None:
        time.sleep(1e-3)
        for step in steps:
            step.error = BackendError("done")

    def answer(name: str, n: int) -> None:
        with turns.take():
            turns.reserve(40, of=100, stop=lambda: False)
            log.append(f"{name} begins")
            for _ in range(n):
                turns.meet(Step((), None, lambda: False), run)
            log.append(f"{name} ends")

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(answer, "A", 400)
        while "A begins" not in log:
            time.sleep(0.001)
        others = [threads.submit(answer, name, 5) for name in ("B", "C")]
        for one in (first, *others):
            one.result(60)
    assert log[-1] == "A ends"
