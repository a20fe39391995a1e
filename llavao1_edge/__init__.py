"""llavao1-edge: LLaVA-o1 (LLaVA-CoT) on your own computer, on stock llama.cpp.

Importing this package is cheap: nothing native is loaded before a model is opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llavao1_edge.engine import Engine, PromptLogits, Session
    from llavao1_edge.errors import LlavaError
    from llavao1_edge.search import Answered, Direct, Event, Free, Staged
    from llavao1_edge.search.answer import Answer
    from llavao1_edge.settings import RuntimeSettings, SamplingSettings

__version__ = "0.1.0"

_PLACES = {
    "Answer": "llavao1_edge.search.answer",
    "Answered": "llavao1_edge.search",
    "Direct": "llavao1_edge.search",
    "Engine": "llavao1_edge.engine",
    "Event": "llavao1_edge.search",
    "Free": "llavao1_edge.search",
    "LlavaError": "llavao1_edge.errors",
    "PromptLogits": "llavao1_edge.engine",
    "RuntimeSettings": "llavao1_edge.settings",
    "SamplingSettings": "llavao1_edge.settings",
    "Session": "llavao1_edge.engine",
    "Staged": "llavao1_edge.search",
}

__all__ = [
    "Answer",
    "Answered",
    "Direct",
    "Engine",
    "Event",
    "Free",
    "LlavaError",
    "PromptLogits",
    "RuntimeSettings",
    "SamplingSettings",
    "Session",
    "Staged",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'llavao1_edge' has no attribute {name!r}")
