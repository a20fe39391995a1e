"""A drafter that reads its candidates from a script, and keeps account of branches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llavao1_edge.search import Branch, Candidate, CandidateFinished, Ending, Token
from llavao1_edge.stages import Stage


@dataclass
class ScriptedDrafter:
    """`script`: stage name (or "free") → texts, one per candidate, used again in turn.

    `logprobs`: text → mean log-probability. `live` holds the keys of branches not dropped yet.
    """

    script: Mapping[str, Sequence[str]]
    logprobs: Mapping[str, float] = field(default_factory=dict)
    endings: Mapping[str, Ending] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    drafted: list[tuple[str, int]] = field(default_factory=list)
    _next: int = 0

    def root(self) -> Branch:
        return self._branch(())

    def draft(
        self, branch: Branch, stage: Stage | None, *, n: int
    ) -> Iterator[Token | CandidateFinished]:
        if branch.key not in self.live:
            raise AssertionError(f"branch {branch.key} was dropped or never made")
        name = stage.name if stage else "free"
        self.drafted.append((name, n))
        texts = self.script[name]
        for number in range(n):
            text = texts[number % len(texts)]
            for word in text.split(" "):
                yield Token(stage, number, word)
            stages = branch.stages if stage is None else (*branch.stages, (stage, text))
            candidate = Candidate(
                branch=self._branch(stages),
                stage=stage,
                text=text,
                n_tokens=len(text.split(" ")),
                mean_logprob=self.logprobs.get(text, -1.0),
                ending=self.endings.get(text, Ending.CLOSED),
            )
            yield CandidateFinished(number, candidate)

    def drop(self, branch: Branch) -> None:
        self.live.discard(branch.key)

    def _branch(self, stages: tuple[tuple[Stage, str], ...]) -> Branch:
        self._next += 1
        self.live.add(self._next)
        return Branch(self._next, stages)
