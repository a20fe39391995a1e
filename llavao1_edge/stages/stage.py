"""What a stage is."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.phrases import Phrase


@dataclass(frozen=True)
class Stage:
    """One of the four parts of an answer, between `<TAG>` and `</TAG>`."""

    name: str

    @property
    def tag(self) -> str:
        return self.name.upper()

    @property
    def opening(self) -> str:
        return f"<{self.tag}>"

    @property
    def closing(self) -> str:
        return f"</{self.tag}>"


SUMMARY, CAPTION, REASONING, CONCLUSION = (
    Stage(name) for name in ("summary", "caption", "reasoning", "conclusion")
)
STAGES = (SUMMARY, CAPTION, REASONING, CONCLUSION)
TAGS = tuple(tag for stage in STAGES for tag in (stage.opening, stage.closing))


def called(stage: Stage | None) -> Phrase:
    """The stage's name in a sentence; None: an answer in one pass."""
    return Phrase(stage.name) if stage else Phrase("answer")


GAP = "\n\n"
"""What the model was trained to write between two stages."""
