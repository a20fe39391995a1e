"""Search strategies over branches and candidates. Pure: no tokens, no KV cache, no model.

A strategy is a generator: it asks the drafter for candidates, yields events, and returns the branch
it chose. A new strategy is a file here and a line in `STRATEGIES`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from llavao1_edge.search.answer import Answered, Event
from llavao1_edge.search.best_of_n import BestOfN
from llavao1_edge.search.budget import Budget
from llavao1_edge.search.direct import Direct
from llavao1_edge.search.events import (
    Judged,
    PictureReady,
    Retraced,
    SearchEvent,
    StageKept,
    StageStarted,
    Told,
    Work,
    tell_nobody,
)
from llavao1_edge.search.free import Free
from llavao1_edge.search.options import make, options_of
from llavao1_edge.search.retrace import Retrace
from llavao1_edge.search.seam import (
    Branch,
    Candidate,
    CandidateFinished,
    Drafter,
    Ending,
    Token,
    TokenLogprob,
    Unit,
)
from llavao1_edge.search.sentence_beam import SentenceBeam
from llavao1_edge.search.stage_beam import StageBeam
from llavao1_edge.search.staged import Staged
from llavao1_edge.search.strategy import Strategy

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "staged": Staged,
    "direct": Direct,
    "free": Free,
    "stage-beam": StageBeam,
    "best-of-n": BestOfN,
    "sentence-beam": SentenceBeam,
    "retrace": Retrace,
}


def make_strategy(name: str, options: Mapping[str, Any]) -> Strategy:
    """A strategy by name. Raises UsageError for an unknown name, option or value."""
    return make(STRATEGIES, name, options)


__all__ = [
    "STRATEGIES",
    "Answered",
    "BestOfN",
    "Branch",
    "Budget",
    "Candidate",
    "CandidateFinished",
    "Direct",
    "Drafter",
    "Ending",
    "Event",
    "Free",
    "Judged",
    "PictureReady",
    "Retrace",
    "Retraced",
    "SearchEvent",
    "SentenceBeam",
    "StageBeam",
    "StageKept",
    "StageStarted",
    "Staged",
    "Strategy",
    "Token",
    "TokenLogprob",
    "Told",
    "Unit",
    "Work",
    "make_strategy",
    "options_of",
    "tell_nobody",
]
