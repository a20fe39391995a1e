"""What a run is: models, searches, settings; and the id of each of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.engine import Engine, pair_identity
from llavao1_edge.evaluation.items import Item
from llavao1_edge.evaluation.rows import Row
from llavao1_edge.search import Strategy, make_strategy
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages.answers import AnswerFormat

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

    def open(self, plan: Plan, stop: Stop) -> Engine:
        return Engine.open(
            text=self.text,
            mmproj=self.mmproj,
            settings=plan.runtime,
            search=plan.widest,
            parallel=plan.parallel,
            stop=stop,
        )

    def identity(self, _: Plan) -> str:
        """Names the model in rows. Raises ModelFileError."""
        return f"{pair_identity(self.text, self.mmproj)} {self.text.name}"


@dataclass(frozen=True)
class Served:
    """A model on a server. model: its name there, None for the only one."""

    name: str
    url: str
    model: str | None = None

    def open(self, plan: Plan, stop: Stop) -> Engine:
        return Engine.connect(self.url, model=self.model, settings=plan.runtime, stop=stop)

    def identity(self, plan: Plan) -> str:
        """By its name alone: another server with the same model goes on with a run."""
        with self.open(plan, lambda: False) as engine:
            return f"{engine.about.identity.rpartition('#')[2]} (served)"


@dataclass(frozen=True)
class Plan:
    """What to run. limit: questions at most; shard: (number from 0, of how many); parallel:
    questions at a time; ray: the address of a cluster."""

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
    ray: str | None = None

    @property
    def widest(self) -> Strategy:
        return max((cell.search() for cell in self.cells), key=lambda search: search.width)


Asked = tuple[Variant, str, Row | None, float]
"""A search, the row's id, the row (None: stopped), and the seconds it took."""


def row_id(item: Item, cell: Variant, pair_id: str, plan: Plan) -> str:
    """Equal for the same words under the same circumstances."""
    parts = [item.key, item.prompt(), cell.name, pair_id, str(plan.seed)]
    parts += [repr(plan.sampling), repr(plan.budget)]
    parts.append(
        "" if plan.answer_format is None else plan.answer_format.grammar + plan.answer_format.schema
    )
    if words := _words(plan.runtime):
        parts.append(words)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def known_row(
    item: Item, cell: Variant, pair_id: str, plan: Plan, known: Mapping[str, Row]
) -> tuple[str, Row | None]:
    """The id, and the row where there is one. Not one about another picture under the same number
    and words; where the picture cannot be read here, the row counts."""
    identity = row_id(item, cell, pair_id, plan)
    row = known.get(identity)
    if row is not None and "picture" in row:
        here = item.picture_digest
        if here and here != row["picture"]:
            return identity, None
    return identity, row


def _words(runtime: RuntimeSettings) -> str:
    """What of the machine's settings changes a prompt; empty where nothing was set."""
    usual = RuntimeSettings()
    given = [
        f"{name}={getattr(runtime, name)}"
        for name in PROMPT_SETTINGS
        if getattr(runtime, name) != getattr(usual, name)
    ]
    return " ".join(given)
