"""llavao1-edge: LLaVA-o1 (LLaVA-CoT) on your own computer, on stock llama.cpp.

Importing this package is cheap: nothing native is loaded before a model is opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llavao1_edge.engine import Engine, PromptLogits, Session
    from llavao1_edge.errors import LlavaError
    from llavao1_edge.search import (
        Answered,
        BestOfN,
        Candidate,
        CandidateFinished,
        Direct,
        Event,
        Free,
        Judged,
        PictureReady,
        Retrace,
        SentenceBeam,
        StageBeam,
        Staged,
        StageKept,
        StageStarted,
        Token,
    )
    from llavao1_edge.search.answer import Answer
    from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
    from llavao1_edge.stages import AnswerFormat

__version__ = "0.1.0"

_PLACES = {
    "Answer": "llavao1_edge.search.answer",
    "AnswerFormat": "llavao1_edge.stages",
    "Answered": "llavao1_edge.search",
    "BestOfN": "llavao1_edge.search",
    "BudgetSettings": "llavao1_edge.settings",
    "Candidate": "llavao1_edge.search",
    "CandidateFinished": "llavao1_edge.search",
    "Direct": "llavao1_edge.search",
    "Engine": "llavao1_edge.engine",
    "Event": "llavao1_edge.search",
    "Free": "llavao1_edge.search",
    "Judged": "llavao1_edge.search",
    "LlavaError": "llavao1_edge.errors",
    "PictureReady": "llavao1_edge.search",
    "PromptLogits": "llavao1_edge.engine",
    "Retrace": "llavao1_edge.search",
    "RuntimeSettings": "llavao1_edge.settings",
    "SamplingSettings": "llavao1_edge.settings",
    "SentenceBeam": "llavao1_edge.search",
    "Session": "llavao1_edge.engine",
    "StageBeam": "llavao1_edge.search",
    "StageKept": "llavao1_edge.search",
    "StageStarted": "llavao1_edge.search",
    "Staged": "llavao1_edge.search",
    "Token": "llavao1_edge.search",
}

__all__ = [
    "Answer",
    "AnswerFormat",
    "Answered",
    "BestOfN",
    "BudgetSettings",
    "Candidate",
    "CandidateFinished",
    "Direct",
    "Engine",
    "Event",
    "Free",
    "Judged",
    "LlavaError",
    "PictureReady",
    "PromptLogits",
    "Retrace",
    "RuntimeSettings",
    "SamplingSettings",
    "SentenceBeam",
    "Session",
    "StageBeam",
    "StageKept",
    "StageStarted",
    "Staged",
    "Token",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'llavao1_edge' has no attribute {name!r}")
