"""Runs every chosen search over every question, and remembers each answer as soon as it is there.

Rows go to a JSON Lines file that is only ever added to. A row's id follows from the question, the
search, the pair and the seed, so a run that was killed goes on without repeating or losing one. A
row is about one picture, whose digest it holds.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass

from llavao1_edge.engine import Engine
from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation.asking import answer
from llavao1_edge.evaluation.cluster import ClusterAnswerers
from llavao1_edge.evaluation.datasets import read_dataset
from llavao1_edge.evaluation.items import Item, Malformed, rotations, shard_of
from llavao1_edge.evaluation.plan import Asked, Pair, Plan, Served, Stop, Variant, known_row
from llavao1_edge.evaluation.rows import Row, Rows
from llavao1_edge.lifetime import Closing


@dataclass(frozen=True)
class Progress:
    """After each row: how many are done of how many, and how many of those that count are right."""

    pair: str
    cell: str
    done: int
    total: int
    right: int
    counted: int
    seconds: float


@dataclass
class Questions:
    """The questions of a run, and the rows of the file that could not be used."""

    items: list[Item]
    malformed: list[Malformed]


def questions(plan: Plan) -> Questions:
    """Raises UsageError for a malformed row where the plan is strict, or where nothing is left."""
    found = Questions([], [])
    n, (number, shards) = 0, plan.shard
    for row in read_dataset(plan.dataset):
        if isinstance(row, Malformed):
            if plan.strict:
                raise UsageError(
                    f"{plan.dataset.name}, line {row.line}: {row.problem}",
                    hint="Correct it, or leave --strict out to skip such rows.",
                )
            found.malformed.append(row)
            continue
        if plan.limit is not None and n >= plan.limit:
            break
        n += 1
        if shard_of(row.group or row.key, shards) == number:
            found.items += rotations(row) if plan.circular else [row]
    if not found.items:
        raise UsageError(
            f"{plan.dataset.name} has no question that can be asked",
            hint=_why_none(found.malformed),
        )
    return found


def _why_none(malformed: list[Malformed]) -> str:
    """The first reasons, where all rows were bad."""
    if not malformed:
        return "It has no rows, or none in this part (--shard, --limit)."
    reasons = dict.fromkeys(f"line {row.line}: {row.problem}" for row in malformed[:3])
    return f"{len(malformed)} rows cannot be used: {'; '.join(reasons)}"


Identities = Mapping[str, str]
"""What names each model of a plan in its rows, by the pair's name."""


def identities(plan: Plan) -> Identities:
    """Raises LlavaError where a model, or its server, is not there."""
    return {pair.name: pair.identity(plan) for pair in plan.pairs}


def run(
    plan: Plan, found: Questions, rows: Rows, models: Identities, *, stop: Stop = lambda: False
) -> Iterator[Progress]:
    """Answers what has no row yet. Ends early, without an error, once `stop` says so."""
    total = len(found.items) * len(plan.cells)
    for pair in plan.pairs:
        with _answerers(plan, pair, models[pair.name], stop) as answerers:
            right = counted = 0
            # All searches of a question follow each other: its picture is read once.
            todo = ((item, cell) for item in found.items for cell in plan.cells)
            answered = answerers.rows(todo, rows.known)
            for done, (cell, identity, row, seconds) in enumerate(answered, start=1):
                if row is None:  # stopped; others may be done
                    continue
                if row is not rows.known.get(identity):
                    rows.add({"id": identity, **row})
                if row["right"] is not None:
                    counted, right = counted + 1, right + bool(row["right"])
                yield Progress(pair.name, cell.name, done, total, right, counted, seconds)


def _answerers(
    plan: Plan, pair: Pair | Served, identity: str, stop: Stop
) -> Answerers | ClusterAnswerers:
    if plan.ray is None:
        return Answerers(plan, pair, identity, stop)
    return ClusterAnswerers(plan, pair, identity, plan.ray)


class Answerers(Closing):
    """Engines for the questions that are answered at a time: one of this machine for all of them, a
    connection to a server for each."""

    def __init__(self, plan: Plan, pair: Pair | Served, identity: str, stop: Stop) -> None:
        self._plan, self._pair, self._identity, self._stop = plan, pair, identity, stop
        self._stack = ExitStack()
        self._free: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        with ExitStack() as opening:
            n_engines = plan.parallel if isinstance(pair, Served) else 1
            engines = [opening.enter_context(pair.open(plan, stop)) for _ in range(n_engines)]
            for number in range(plan.parallel):
                self._free.put(engines[number % n_engines])
            self._stack = opening.pop_all()

    def close(self) -> None:
        self._stack.close()

    def rows(
        self, todo: Iterable[tuple[Item, Variant]], known: Mapping[str, Row]
    ) -> Iterator[Asked]:
        """As they are done; those that are known are not asked again. Raises what an answer raises,
        when those beside it are done."""
        if self._plan.parallel == 1:
            for item, cell in todo:
                if self._stop():
                    return
                yield self._asked(item, cell, known)
            return
        problem: BaseException | None = None
        running: set[Future[Asked]] = set()
        questions = iter(todo)
        with ThreadPoolExecutor(self._plan.parallel) as pool:
            while True:
                while problem is None and len(running) < 2 * self._plan.parallel:
                    if self._stop() or (question := next(questions, None)) is None:
                        break
                    running.add(pool.submit(self._asked, *question, known))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    problem = problem or future.exception()
                    if future.exception() is None:
                        yield future.result()
        if problem is not None:
            raise problem

    def _asked(self, item: Item, cell: Variant, known: Mapping[str, Row]) -> Asked:
        identity, row = known_row(item, cell, self._identity, self._plan, known)
        started = time.monotonic()
        if row is None and not self._stop():
            engine = self._free.get()
            try:
                row = answer(engine, self._plan, self._pair, cell, item, self._stop)
            finally:
                self._free.put(engine)
        elif self._stop():
            row = None
        return cell, identity, row, time.monotonic() - started


def of_plan(plan: Plan, found: Questions, rows: Rows, models: Identities) -> list[Row]:
    """The rows that belong to a plan, in its order: pairs, searches, questions. The file may hold
    those of other plans: another seed, other limits, a model that was converted anew."""
    wanted = (
        (known_row(item, cell, models[pair.name], plan, rows.known)[1], item)
        for pair in plan.pairs
        for cell in plan.cells
        for item in found.items
    )
    return [
        {**row, "question": item.key}  # the id is what tells
        for row, item in wanted
        if row is not None
    ]
