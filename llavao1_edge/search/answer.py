"""The result of a question."""

from __future__ import annotations

from dataclasses import dataclass, field

from llavao1_edge.stages import STAGES


@dataclass
class Counters:
    """What an answer cost. Times in milliseconds."""

    vision_passes: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    forced_tokens: int = 0
    decode_calls: int = 0
    candidates: int = 0
    grammar_misses: int = 0
    picture_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True)
class Trace:
    """How the answer came about."""

    strategy: str
    seed: int
    counters: Counters


@dataclass(frozen=True)
class Answer:
    """`stages`: name → text, the missing ones absent. `notes`: what was odd, empty if nothing."""

    conclusion: str
    stages: dict[str, str]
    trace: Trace
    notes: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        return not self.notes

    def in_order(self) -> dict[str, str | None]:
        """All four stages in their order, None where one is missing."""
        return {stage.name: self.stages.get(stage.name) for stage in STAGES}
