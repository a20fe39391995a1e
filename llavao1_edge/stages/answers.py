"""What a conclusion must look like: one of several choices, a number, yes or no, JSON, any GBNF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llavao1_edge.errors import UsageError
from llavao1_edge.stages.gbnf import check_gbnf
from llavao1_edge.stages.stage import CONCLUSION

START = "llavao1-conclusion"
"""The rule that a conclusion's grammar starts from: the user's `root`, then the closing tag."""

NUMBER = r"""root ::= "-"? [0-9]{1,15} ("." [0-9]{1,15})?"""
YES_NO = """root ::= "yes" | "no" | "Yes" | "No\""""
JSON = r"""
root ::= object | array
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (member ("," ws member)*)? "}" ws
member ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})? ws
ws ::= [ \n]{0,4}
"""
KINDS = {"number": NUMBER, "yes-no": YES_NO, "json": JSON}


@dataclass(frozen=True)
class AnswerFormat:
    """A grammar with a `root` rule that the conclusion's text must follow. Raises UsageError.

    made: it was made by a program, so that a place in it would tell a user nothing.
    """

    grammar: str
    name: str = "the answer grammar"
    made: bool = False

    def __post_init__(self) -> None:
        if not self.made:
            check_gbnf(self.grammar, name=self.name)
        if START in self.grammar:
            raise UsageError(
                f"{self.name} uses the name {START}", hint="Choose another name for that rule."
            )

    @property
    def gbnf(self) -> str:
        """The grammar from the opening tag on; it starts at the rule `START`."""
        end = f'[ \\n]? root [ \\n]? "{CONCLUSION.closing}" "\\n"*'
        # First, so that a grammar that ends in the middle of a rule cannot swallow it.
        return f"{START} ::= {end}\n{self.grammar.strip()}\n"


def choices(options: Sequence[str]) -> AnswerFormat:
    """One of `options`, exactly as they are written. Raises UsageError."""
    wanted = [option.strip() for option in options]
    if len(wanted) < 2 or not all(wanted) or len(set(wanted)) < len(wanted):
        raise UsageError(
            f"the choices are {', '.join(map(repr, wanted))}",
            hint="Give at least two different ones, for example A,B,C,D.",
        )
    odd = next((option for option in wanted if "<" in option or not option.isprintable()), None)
    if odd is not None:
        raise UsageError(
            f"the choice {odd!r} has a character that a choice cannot have",
            hint="Leave out < and line breaks.",
        )
    literals = (option.replace("\\", "\\\\").replace('"', '\\"') for option in wanted)
    return AnswerFormat("root ::= " + " | ".join(f'"{text}"' for text in literals), "the choices")


def answer_kind(kind: str) -> AnswerFormat:
    """`number`, `yes-no` or `json`. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(f"the answer is {kind!r}", hint=f"Choose one of {', '.join(KINDS)}.")
    return AnswerFormat(KINDS[kind], f"the grammar of {kind}")
