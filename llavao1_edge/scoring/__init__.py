"""How good is a candidate? Scores and verdicts over texts; knows no tokens and no model.

A new scorer is a file here and a line in `SCORERS`.
"""

from collections.abc import Callable

from llavao1_edge.scoring.agreement import Agreement
from llavao1_edge.scoring.asks import Ask
from llavao1_edge.scoring.combined import Combined
from llavao1_edge.scoring.decision import Decision, decide
from llavao1_edge.scoring.judge import Judge, ReferenceJudge
from llavao1_edge.scoring.logprob import LogProb, MinLogProb
from llavao1_edge.scoring.part import Contender, Part, mean_logprob
from llavao1_edge.scoring.scorer import Choice, Field, JudgeRunner, Ranking, Scorer, Verdict

SCORERS: dict[str, Callable[[], Scorer]] = {
    "combined": Combined,
    "logprob": LogProb,
    "min-logprob": MinLogProb,
    "agreement": Agreement,
    "judge": Judge,
    "judge-reference": ReferenceJudge,
}

__all__ = [
    "SCORERS",
    "Agreement",
    "Ask",
    "Choice",
    "Combined",
    "Contender",
    "Decision",
    "Field",
    "Judge",
    "JudgeRunner",
    "LogProb",
    "MinLogProb",
    "Part",
    "Ranking",
    "ReferenceJudge",
    "Scorer",
    "Verdict",
    "decide",
    "mean_logprob",
]
