"""The four stages: their tags, the grammar of their text, and a parser for free-running answers.

Knows no tokens and no models.
"""

from llavao1_edge.stages.answers import AnswerFormat, answer_kind, choices
from llavao1_edge.stages.grammar import stage_grammar
from llavao1_edge.stages.growing import before_tag, ends_sentence
from llavao1_edge.stages.parser import ParsedAnswer, parse
from llavao1_edge.stages.stage import (
    CAPTION,
    CONCLUSION,
    GAP,
    REASONING,
    STAGES,
    SUMMARY,
    TAGS,
    Stage,
    called,
)

__all__ = [
    "CAPTION",
    "CONCLUSION",
    "GAP",
    "REASONING",
    "STAGES",
    "SUMMARY",
    "TAGS",
    "AnswerFormat",
    "ParsedAnswer",
    "Stage",
    "answer_kind",
    "before_tag",
    "called",
    "choices",
    "ends_sentence",
    "parse",
    "stage_grammar",
]
