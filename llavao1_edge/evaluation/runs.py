"""Runs every chosen search over every question, and remembers each answer as soon as it is there.

Rows go to a JSON Lines file that is only ever added to. A row's id follows from the question, the
search, the pair and the seed, so a run that was killed goes on without repeating or losing one.
"""

from __future__ import annotations

import hashlib
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.engine import Engine
from llavao1_edge.errors import Cancelled, LlavaError, UsageError
from llavao1_edge.evaluation.datasets import Malformed, read_dataset
from llavao1_edge.evaluation.items import Item, rotations, shard_of
from llavao1_edge.evaluation.matching import match
from llavao1_edge.evaluation.rows import Row, Rows
from llavao1_edge.lifetime import Closing
from llavao1_edge.search import Strategy, make_strategy
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages.answers import AnswerFormat

Stop = Callable[[], bool]

AHEAD = 4  # questions that may be answered before an earlier one, for each at a time
PROMPT_SETTINGS = ("chat_format", "stage_prompt", "picture_tokens")


@dataclass(frozen=True)
class Variant:
    """One search over all questions. options: those of the strategy, `scorer` among them."""

    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    greedy: bool = False

    @property
    def name(self) -> str:
        shown = [str(self.options[key]) for key in sorted(self.options)]
        return "/".join([self.strategy, *shown, *(["greedy"] if self.greedy else [])])

    def search(self) -> Strategy:
        return make_strategy(self.strategy, self.options)


@dataclass(frozen=True)
class Pair:
    """A model: a name for the tables, and its files."""

    name: str
    text: Path
    mmproj: Path

    def open(self, plan: Plan, stop: Stop) -> Engine:
        return Engine.open(
            text=self.text,
            mmproj=self.mmproj,
            settings=plan.runtime,
            search=plan.widest,
            stop=stop,
        )

    def identity(self, engine: Engine) -> str:
        """Names the model in rows."""
        return f"{engine.about.identity} {self.text.name}"


@dataclass(frozen=True)
class Served:
    """A model on a server. model: its name there, None for the only one."""

    name: str
    url: str
    model: str | None = None

    def open(self, plan: Plan, stop: Stop) -> Engine:
        return Engine.connect(self.url, model=self.model, settings=plan.runtime, stop=stop)

    def identity(self, engine: Engine) -> str:
        """By its name alone: another server with the same model goes on with a run."""
        return f"{engine.about.identity.rpartition('#')[2]} (served)"


@dataclass(frozen=True)
class Plan:
    """What to run. limit: questions at most; shard: (number from 0, of how many); parallel:
    questions at a time, for models on servers."""

    dataset: Path
    pairs: tuple[Pair | Served, ...]
    cells: tuple[Variant, ...]
    seed: int = 0
    limit: int | None = None
    shard: tuple[int, int] = (0, 1)
    circular: bool = False
    strict: bool = False
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    answer_format: AnswerFormat | None = None
    parallel: int = 1

    @property
    def widest(self) -> Strategy:
        return max((cell.search() for cell in self.cells), key=lambda search: search.width)


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


def row_id(item: Item, cell: Variant, pair_id: str, plan: Plan) -> str:
    """Equal for the same question under the same circumstances."""
    parts = [item.key, item.prompt(), cell.name, pair_id, str(plan.seed)]
    parts += [repr(plan.sampling), repr(plan.budget)]
    parts.append(
        "" if plan.answer_format is None else plan.answer_format.grammar + plan.answer_format.schema
    )
    if words := _words(plan.runtime):
        parts.append(words)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _words(runtime: RuntimeSettings) -> str:
    """What of the machine's settings changes a prompt; empty where nothing was set."""
    usual = RuntimeSettings()
    given = [
        f"{name}={getattr(runtime, name)}"
        for name in PROMPT_SETTINGS
        if getattr(runtime, name) != getattr(usual, name)
    ]
    return " ".join(given)


def run(
    plan: Plan, found: Questions, rows: Rows, *, stop: Stop = lambda: False
) -> Iterator[Progress]:
    """Answers what has no row yet. Ends early, without an error, once `stop` says so."""
    total = len(found.items) * len(plan.cells)
    for pair in plan.pairs:
        with Answerers(plan, pair, stop) as answerers:
            right = counted = 0
            # All searches of a question follow each other: its picture is read once.
            todo = ((item, cell) for item in found.items for cell in plan.cells)
            answered = answerers.rows(todo, rows.known)
            for done, (cell, identity, row, seconds) in enumerate(answered, start=1):
                if row is None:
                    return
                if identity not in rows.known:
                    rows.add({"id": identity, **row})
                if row["right"] is not None:
                    counted, right = counted + 1, right + bool(row["right"])
                yield Progress(pair.name, cell.name, done, total, right, counted, seconds)


Asked = tuple[Variant, str, Row | None, float]
"""A search, the row's id, the row (None: stopped), and the seconds it took."""


class Answerers(Closing):
    """As many engines as questions are answered at a time. Rows come in the order of the questions,
    however long each takes."""

    def __init__(self, plan: Plan, pair: Pair | Served, stop: Stop) -> None:
        self._plan, self._pair, self._stop = plan, pair, stop
        self._stack = ExitStack()
        self._free: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        with ExitStack() as opening:
            for _ in range(plan.parallel):
                engine = opening.enter_context(pair.open(plan, stop))
                self._identity = pair.identity(engine)
                self._free.put(engine)
            self._stack = opening.pop_all()

    def close(self) -> None:
        self._stack.close()

    def rows(
        self, todo: Iterable[tuple[Item, Variant]], known: Mapping[str, Row]
    ) -> Iterator[Asked]:
        """Those that are known are not asked again."""
        if self._plan.parallel == 1:
            for item, cell in todo:
                yield self._asked(item, cell, known)
            return
        ahead: deque[Future[Asked]] = deque()
        with ThreadPoolExecutor(self._plan.parallel) as pool:
            try:
                for item, cell in todo:
                    ahead.append(pool.submit(self._asked, item, cell, known))
                    if len(ahead) > AHEAD * self._plan.parallel:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _asked(self, item: Item, cell: Variant, known: Mapping[str, Row]) -> Asked:
        started = time.monotonic()
        identity = row_id(item, cell, self._identity, self._plan)
        row = known.get(identity)
        if row is None and not self._stop():
            engine = self._free.get()
            try:
                row = _answer(engine, self._plan, self._pair, cell, item, self._stop)
            finally:
                self._free.put(engine)
        elif self._stop():
            row = None
        return cell, identity, row, time.monotonic() - started


def _about(item: Item, pair: Pair | Served, cell: Variant) -> Row:
    """What a row says before there is an answer."""
    return {
        "question": item.key,
        "line": item.line,
        "pair": pair.name,
        "cell": cell.name,
        "strategy": cell.strategy,
        "options": dict(cell.options),
        "greedy": cell.greedy,
        "category": item.category,
        "group": item.group,
        "kind": item.kind,
        "wanted": list(item.answers),
        "error": None,
    }


def _answer(
    engine: Engine, plan: Plan, pair: Pair | Served, cell: Variant, item: Item, stop: Stop
) -> Row | None:
    """A row; an error is a row too. None: stopped."""
    row = _about(item, pair, cell)
    sampling = plan.sampling
    if cell.greedy:
        sampling = SamplingSettings(**{**vars(sampling), "temperature": 0})
    started = time.perf_counter()
    try:
        with engine.session(item.picture_bytes()) as session:
            answer = session.ask(
                item.prompt(),
                search=cell.search(),
                seed=plan.seed,
                sampling=sampling,
                budget=plan.budget,
                answer_format=plan.answer_format,
                stop=stop,
            )
    except Cancelled:
        return None
    except (LlavaError, ValueError) as error:
        return row | {"right": False, "answered": None, "conclusion": "", "error": str(error)}
    if answer.cancelled:
        return None
    found, trace = match(item, answer.conclusion), answer.trace
    counters = trace.counters
    return row | {
        "right": found.right,
        "answered": found.answered,
        "conclusion": answer.conclusion,
        "stages": answer.in_order(),
        "notes": list(answer.notes),
        "budget_hit": trace.ended is not None,
        "seconds": round(time.perf_counter() - started, 4),
        "picture_seconds": round(counters.picture_ms / 1000, 4),
        "sampled_tokens": counters.sampled_tokens,
        "prefill_tokens": counters.prefill_tokens,
        "judge_tokens": counters.judge_tokens,
        "decode_steps": counters.decode_steps,
        "candidates": [
            {
                "stage": node.candidate.stage.name if node.candidate.stage else None,
                "text": node.candidate.text,
                "score": node.score,
                "mean_logprob": round(node.candidate.mean_logprob, 5),
                "chosen": node.chosen,
            }
            for node in trace.nodes
        ],
        "comparisons": len(trace.comparisons),
        "undecided": sum(str(e.verdict.choice) == "undecided" for e in trace.comparisons),
    }


def of_plan(plan: Plan, found: Questions, rows: Iterable[Row]) -> list[Row]:
    """The rows that belong to a plan, in its order: pairs, searches, questions."""
    place = {item.key: at for at, item in enumerate(found.items)}
    pairs = {pair.name: at for at, pair in enumerate(plan.pairs)}
    cells = {cell.name: at for at, cell in enumerate(plan.cells)}
    mine = [
        row
        for row in rows
        if row["question"] in place and row["pair"] in pairs and row["cell"] in cells
    ]
    return sorted(
        mine, key=lambda r: (pairs[r["pair"]], cells[r["cell"]], place[r["question"]], r["id"])
    )
