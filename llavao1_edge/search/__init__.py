"""Search strategies over branches and candidates. Pure: no tokens, no KV cache, no model.

A strategy is a generator: it asks the drafter for candidates, yields events, and returns the branch
it chose. A new strategy is a file here and a line in `STRATEGIES`.
"""

from collections.abc import Callable

from llavao1_edge.search.direct import Direct
from llavao1_edge.search.events import (
    Answered,
    CandidateFinished,
    Event,
    PictureReady,
    StageKept,
    StageStarted,
    Token,
)
from llavao1_edge.search.free import Free
from llavao1_edge.search.seam import Branch, Candidate, Drafter, Ending, Strategy
from llavao1_edge.search.staged import Staged

STRATEGIES: dict[str, Callable[[], Strategy]] = {"staged": Staged, "direct": Direct, "free": Free}

__all__ = [
    "STRATEGIES",
    "Answered",
    "Branch",
    "Candidate",
    "CandidateFinished",
    "Direct",
    "Drafter",
    "Ending",
    "Event",
    "Free",
    "PictureReady",
    "StageKept",
    "StageStarted",
    "Staged",
    "Strategy",
    "Token",
]
