"""The result of a question, and the record of how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llavao1_edge.phrases import Phrase
from llavao1_edge.search.budget import Limit
from llavao1_edge.search.events import Judged, PictureReady, Retraced, SearchEvent, StageKept
from llavao1_edge.search.seam import Branch, Candidate, CandidateFinished
from llavao1_edge.stages import STAGES, called


@dataclass
class Counters:
    """What an answer cost. Times in milliseconds.

    prefill_tokens: of the question, of a picture that stands in the context, and of history not
    cached yet; cached_tokens: of what was there already. sampled_tokens: of candidates
    and of written judgements. forced_tokens: tags.
    decode_steps: calls into the model, prefill and judge included. restored_tokens: computed again
    because room was short. draft_n: tokens that were guessed ahead; draft_n_accepted: those of them
    that were drawn. judge_calls: questions to the judge; judge_tokens: what it read, shared
    beginnings once.
    """

    vision_passes: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    sampled_tokens: int = 0
    forced_tokens: int = 0
    restored_tokens: int = 0
    decode_steps: int = 0
    draft_n: int = 0
    draft_n_accepted: int = 0
    candidates: int = 0
    grammar_misses: int = 0
    judge_calls: int = 0
    judge_tokens: int = 0
    picture_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    judge_ms: float = 0.0


@dataclass
class Node:
    """A candidate in the tree: `key` names it, `parent` the one it goes on from (0: the prompt).

    by: who decided its round. kept: it went on. chosen: it is part of the answer.
    """

    key: int
    parent: int
    candidate: Candidate
    score: float | None = None
    by: str = ""
    kept: bool = False
    chosen: bool = False

    def as_dict(self) -> dict[str, Any]:
        made = self.candidate
        return {
            "key": self.key,
            "parent": self.parent,
            "number": made.number,
            "stage": made.stage.name if made.stage else None,
            "text": made.text,
            "tokens": made.n_tokens,
            "mean_logprob": round(made.mean_logprob, 6),
            "min_logprob": round(made.min_logprob, 6),
            "ending": str(made.ending),
            "truncated": made.truncated,
            "milliseconds": round(made.milliseconds, 1),
            "score": None if self.score is None else round(self.score, 6),
            "by": self.by,
            "kept": self.kept,
            "chosen": self.chosen,
        }


@dataclass(frozen=True)
class Trace:
    """How the answer came about. remarks: what the search did that is worth knowing (waves,
    returns); ended: the budget that was used up."""

    strategy: str
    options: Mapping[str, Any]
    seed: int
    counters: Counters
    nodes: tuple[Node, ...] = ()
    comparisons: tuple[Judged, ...] = ()
    remarks: tuple[str, ...] = ()
    ended: Limit | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "strategy": self.strategy,
            "options": dict(self.options),
            "seed": self.seed,
            "counters": {
                name: round(value, 1) if isinstance(value, float) else value
                for name, value in vars(self.counters).items()
            },
            "remarks": list(self.remarks),
            "ended": None if self.ended is None else str(self.ended),
            "candidates": [node.as_dict() for node in self.nodes],
            "comparisons": [
                {
                    "stage": event.stage.name if event.stage else None,
                    "first": event.verdict.first,
                    "second": event.verdict.second,
                    "choice": str(event.verdict.choice),
                    "winner": event.verdict.winner,
                    "preferences": [round(p, 4) for p in event.verdict.preferences],
                    "reasons": list(event.verdict.reasons),
                }
                for event in self.comparisons
            ],
        }


@dataclass(frozen=True)
class Answer:
    """`stages`: name → text, the missing ones absent. `notes`: what was odd, empty if nothing.

    cancelled: it was stopped, and this is the best there was by then. form_problem: why the
    conclusion is not of the form that was asked for; empty where it is, or none was.
    """

    conclusion: str
    stages: dict[str, str]
    trace: Trace
    notes: tuple[str, ...] = field(default=())
    cancelled: bool = False
    form_problem: str = ""

    @property
    def complete(self) -> bool:
        return not self.notes

    def in_order(self) -> dict[str, str | None]:
        """All four stages in their order, None where one is missing."""
        return {stage.name: self.stages.get(stage.name) for stage in STAGES}


@dataclass(frozen=True)
class Answered:
    """The last event."""

    answer: Answer


Event = PictureReady | SearchEvent | Answered


class Recorder:
    """Builds the tree from the events of a search."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._comparisons: list[Judged] = []
        self.remarks: list[str] = []

    def feed(self, event: SearchEvent) -> None:
        if isinstance(event, CandidateFinished):
            made = event.candidate
            parent = made.parent if made.parent in self._nodes else 0
            self._nodes[made.branch.key] = Node(made.branch.key, parent, made)
        elif isinstance(event, Judged):
            self._comparisons.append(event)
        elif isinstance(event, StageKept):
            for candidate in event.kept:
                self._nodes[candidate.branch.key].kept = True
                self._nodes[candidate.branch.key].by = event.by
            for key, score in event.scores.items():
                self._nodes[key].score = score
                self._nodes[key].by = event.by
        elif isinstance(event, Retraced):
            self.remarks.append(
                Phrase(
                    "went back to the {name}: second-best reasoning {score:.3f}, not above "
                    "{threshold:g}",
                    name=called(event.stage),
                    score=event.score,
                    threshold=event.threshold,
                )
            )

    def chosen(self, branch: Branch) -> list[Node]:
        """The nodes from the first stage to `branch`, marked."""
        path: list[Node] = []
        node = self._nodes.get(branch.key)
        while node is not None:
            node.chosen = True
            path.append(node)
            node = self._nodes.get(node.parent)
        return path[::-1]

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._nodes.values())

    @property
    def comparisons(self) -> tuple[Judged, ...]:
        return tuple(self._comparisons)
