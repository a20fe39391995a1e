"""The embedded demo model and its sample pictures.

It shows that everything works, on any machine and offline. It knows simple charts, geometry, small
tables, printed words and numbers, icons and coloured shapes; of other pictures it says `UNKNOWN`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

NAME = "LLaVA-o1-World-5M"
UNKNOWN = "I do not know this kind of picture"
"""What it was taught to conclude about pictures unlike those it was trained on."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A picture with a question and its true answer."""

    picture: Path
    question: str
    answer: str


def text_path() -> Path:
    """The text file of the demo pair."""
    return _FOLDER / f"{NAME}-F16.gguf"


def mmproj_path() -> Path:
    """The mmproj file of the demo pair."""
    return _FOLDER / f"mmproj-{NAME}-F16.gguf"


def samples() -> list[Sample]:
    """Sample pictures (held out from training) with questions and true answers."""
    rows = json.loads((_FOLDER / "samples" / "samples.json").read_text(encoding="utf-8"))
    return [
        Sample(_FOLDER / "samples" / row["picture"], row["question"], row["answer"]) for row in rows
    ]
