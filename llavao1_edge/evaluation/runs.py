"""Runs every chosen search over every question, and remembers each answer as soon as it is there.

Rows go to a JSON Lines file that is only ever added to. A row's id follows from the question, the
search, the pair and the seed, so a run that was killed goes on without repeating or losing one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.engine import Engine
from llavao1_edge.errors import Cancelled, LlavaError, UsageError
from llavao1_edge.evaluation.datasets import Malformed, read_dataset
from llavao1_edge.evaluation.items import Item, rotations, shard_of
from llavao1_edge.evaluation.matching import match
from llavao1_edge.files import write_whole
from llavao1_edge.search import Strategy, make_strategy
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages.answers import AnswerFormat

Row = dict[str, Any]
Stop = Callable[[], bool]

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


@dataclass(frozen=True)
class Plan:
    """What to run. limit: questions at most; shard: (number from 0, of how many)."""

    dataset: Path
    pairs: tuple[Pair, ...]
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
    usual, names = RuntimeSettings(), ("chat_format", "stage_prompt", "picture_tokens")
    given = [
        f"{n}={getattr(runtime, n)}" for n in names if getattr(runtime, n) != getattr(usual, n)
    ]
    return " ".join(given)


class Rows:
    """The file of rows: read at the start, then only added to, by one run at a time.

    A line that was being written when a run was killed is taken away. Any other line that cannot
    be read is kept in a file beside it (`damaged`: how many), and the rows around it count.
    Raises UsageError for a file that is not ours, and where another run writes there.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout

        self.path, self.damaged = path, 0
        self.known: dict[str, Row] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(
                f"another run is writing into {path.parent}",
                hint="Wait for its end, or choose another folder with --out.",
            ) from None
        try:
            self._read()
            self._file = path.open("a", encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> None:
        data = self.path.read_bytes() if self.path.exists() else b""
        good, bad = [], []
        for line in data.splitlines(keepends=True):
            row = _row(line)
            if row is not None:
                good.append(line)
                self.known[row["id"]] = row
            else:
                bad.append(line)
        torn = bool(bad) and not data.endswith(b"\n") and _begins_like_a_row(bad[-1])
        if torn:
            bad.pop()
        if bad and not good:
            raise UsageError(
                f"{self.path} is not a file of rows of an evaluation",
                hint="Choose another folder with --out; nothing was changed.",
            )
        if bad:
            self.damaged = len(bad)
            write_whole(self.path.with_suffix(f".damaged-{time.time_ns()}.jsonl"), b"".join(bad))
        if bad or torn:
            write_whole(self.path, b"".join(good))

    def add(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
        self._file.flush()
        self.known[row["id"]] = row

    def take(self, path: Path) -> int:
        """Rows of another run's file that are not known here; how many. Raises UsageError."""
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}", hint="Give the folders of other runs."
            ) from None
        found = [row for line in lines if (row := _row(line)) is not None]
        if lines and not found:
            raise UsageError(
                f"{path} is not a file of rows of an evaluation", hint="Check the folders."
            )
        new = [row for row in found if row["id"] not in self.known]
        for row in new:
            self.add(row)
        return len(new)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        self._lock.release()


def _row(line: bytes) -> Row | None:
    """None for what is not a whole line, or not a row."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else {}
        return row if isinstance(row["id"], str) and isinstance(row["question"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _begins_like_a_row(line: bytes) -> bool:
    start = b'{"answered": '
    return line.startswith(start) or start.startswith(line)


def run(
    plan: Plan, found: Questions, rows: Rows, *, stop: Stop = lambda: False
) -> Iterator[Progress]:
    """Answers what has no row yet. Ends early, without an error, once `stop` says so."""
    total = len(found.items) * len(plan.cells)
    for pair in plan.pairs:
        widest = max((cell.search() for cell in plan.cells), key=lambda search: search.width)
        with Engine.open(
            text=pair.text, mmproj=pair.mmproj, settings=plan.runtime, search=widest, stop=stop
        ) as engine:
            pair_id = f"{engine.about.identity} {pair.text.name}"
            done = right = counted = 0
            for item in found.items:
                # All searches of a question follow each other: its picture is read once.
                for cell in plan.cells:
                    if stop():
                        return
                    identity = row_id(item, cell, pair_id, plan)
                    row = rows.known.get(identity)
                    started = time.monotonic()
                    if row is None:
                        row = _answer(engine, plan, pair, cell, item, stop)
                        if row is None:
                            return
                        rows.add({"id": identity, **row})
                    done += 1
                    if row["right"] is not None:
                        counted, right = counted + 1, right + bool(row["right"])
                    yield Progress(
                        pair.name, cell.name, done, total, right, counted,
                        time.monotonic() - started,
                    )  # fmt: skip


def _about(item: Item, pair: Pair, cell: Variant) -> Row:
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
    engine: Engine, plan: Plan, pair: Pair, cell: Variant, item: Item, stop: Stop
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
