"""The only wiring: opens a pair, owns everything native, answers questions.

Everything above (command line, desktop app, evaluation) speaks to the model through this room.
"""

from llavao1_edge.engine.diagnosis import PromptLogits
from llavao1_edge.engine.engine import Engine, check_pictures, pair_identity, resolve_pair
from llavao1_edge.engine.session import Session

__all__ = ["Engine", "PromptLogits", "Session", "check_pictures", "pair_identity", "resolve_pair"]
