"""A drafter that reads its candidates from a script, and keeps account of branches and budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llavao1_edge.scoring import Ask, Part
from llavao1_edge.search import Branch, Budget, Candidate, CandidateFinished, Ending, Token, Unit
from llavao1_edge.stages import Stage


@dataclass
class ScriptedJudge:
    """Compares responses by what `logits` says they are worth; keeps what was `asked`.

    A response without a worth cannot be weighed: its comparisons are undecided.
    """

    question: str = "What is this?"
    seed: int = 0
    logits: Mapping[str, float] = field(default_factory=dict)
    bias: float = 0.0
    asked: list[Ask] = field(default_factory=list)

    def weigh(
        self, asks: Sequence[Ask], options: tuple[str, ...]
    ) -> list[tuple[float, ...] | None]:
        """`logits`: response text → its worth; `bias` is added to whatever stands first."""
        assert len(options) == 2
        self.asked += asks
        weighed: list[tuple[float, ...] | None] = []
        for ask in asks:
            worths = [self.logits.get(text) for text in _responses(ask.text)]
            if None in worths:
                weighed.append(None)
            else:
                first, second = (worth or 0.0 for worth in worths)
                weighed.append((first + self.bias, second))
        return weighed

    def reply(self, asks: Sequence[Ask]) -> list[str]:
        self.asked += asks
        replies = []
        for ask in asks:
            worths = [self.logits.get(text, 0.0) for text in _responses(ask.text)]
            if len(worths) == 2:
                better = 1 if worths[0] + self.bias >= worths[1] else 2
                replies.append(f"Because it is. The better one is response {better}.")
            else:
                replies.append("")
        return replies


def _responses(text: str) -> list[str]:
    return re.findall(r"^Response \d: (.*)$", text, re.MULTILINE)


@dataclass
class ScriptedDrafter:
    """`script`: stage name (or "free") → texts, one per candidate number, used again in turn.

    A word is a token. `logprobs`: text → mean log-probability. `live` holds the keys of branches
    not dropped yet, `drafted` what was asked for. `cancel_after`: tokens until the search is
    cancelled.
    """

    script: Mapping[str, Sequence[str]]
    logprobs: Mapping[str, float] = field(default_factory=dict)
    endings: Mapping[str, Ending] = field(default_factory=dict)
    judge: ScriptedJudge = field(default_factory=ScriptedJudge)
    budget: Budget = field(default_factory=Budget)
    cancel_after: int | None = None
    live: set[int] = field(default_factory=set)
    drafted: list[tuple[str, int]] = field(default_factory=list)
    sampled: int = 0
    finished: int = 0
    _next: int = 0

    def root(self) -> Branch:
        return self._branch(Branch(0))

    @property
    def ended(self) -> Ending | None:
        if self.cancel_after is not None and self.sampled >= self.cancel_after:
            return Ending.CANCELLED
        return Ending.BUDGET if self.budget.ended else None

    def draft(
        self,
        branches: Sequence[Branch],
        stage: Stage | None,
        *,
        n: int,
        first: int = 0,
        unit: Unit = Unit.STAGE,
        greedy: bool = False,
    ) -> Iterator[Token | CandidateFinished]:
        name = stage.name if stage else "free"
        self.drafted.append((name, n * len(branches)))
        for position, branch in enumerate(branches):
            if branch.key not in self.live:
                raise AssertionError(f"branch {branch.key} was dropped or never made")
            for number in range(first, first + n):
                stream = position * n + number - first
                yield from self._candidate(branch, stage, number, stream, unit, greedy)

    def drop(self, branch: Branch) -> None:
        self.live.discard(branch.key)

    def _candidate(
        self,
        branch: Branch,
        stage: Stage | None,
        number: int,
        stream: int,
        unit: Unit,
        greedy: bool,
    ) -> Iterator[Token | CandidateFinished]:
        name = stage.name if stage else "free"
        texts = self.script[name]
        whole = texts[(0 if greedy else number) % len(texts)]
        done = branch.parts[-1].text if branch.open else ""
        words = whole.split(" ")[len(done.split()) :]
        written: list[str] = []
        ending: Ending | None = None
        for word in words:
            if self.ended is Ending.CANCELLED or (self.ended and not greedy):
                ending = self.ended
                break
            self.sampled += 1
            if not greedy:
                self.budget.spent += 1
            written.append(word)
            yield Token(stage, stream, word)
            if unit is Unit.SENTENCE and word.endswith(".") and len(written) < len(words):
                ending = Ending.SENTENCE
                break
        if ending is None:
            ending = self.endings.get(whole, Ending.CLOSED)
        if not written and ending in (Ending.BUDGET, Ending.CANCELLED):
            return
        text = " ".join(written)
        yield CandidateFinished(stream, self._finish(branch, stage, number, text, whole, ending))

    def _finish(
        self,
        branch: Branch,
        stage: Stage | None,
        number: int,
        text: str,
        whole: str,
        ending: Ending,
    ) -> Candidate:
        self.finished += 1
        n_tokens = len(text.split(" "))
        mean = self.logprobs.get(whole, -1.0)
        parts = branch.parts
        if stage is not None:
            before = parts[-1] if branch.open else Part(stage, "")
            part = Part(
                stage,
                f"{before.text} {text}".strip(),
                before.n_tokens + n_tokens,
                before.logprob + mean * n_tokens,
                min(before.min_logprob, mean),
                finished=ending in (Ending.CLOSED, Ending.SENTENCE),
            )
            parts = (*(parts[:-1] if branch.open else parts), part)
        is_open = ending in (Ending.SENTENCE, Ending.BUDGET, Ending.CANCELLED)
        reached = self._branch(Branch(0, parts, (*branch.path, number), is_open))
        return Candidate(
            branch=reached,
            parent=branch.key,
            number=number,
            stage=stage,
            text=text,
            n_tokens=n_tokens,
            logprob=mean * n_tokens,
            min_logprob=mean,
            ending=ending,
        )

    def _branch(self, branch: Branch) -> Branch:
        self._next += 1
        self.live.add(self._next)
        return Branch(self._next, branch.parts, branch.path, branch.open)
