"""What a conclusion must look like: one of several choices, a number, yes or no, JSON, any GBNF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llavao1_edge.errors import UsageError
from llavao1_edge.phrases import Phrase
from llavao1_edge.stages.gbnf import check_gbnf

NUMBER = r"""root ::= "-"? [0-9]{1,15} ("." [0-9]{1,15})?"""
YES_NO = """root ::= "yes" | "no" | "Yes" | "No\""""
JSON_SCHEMA = '{"type": ["object", "array"]}'
KINDS = ("number", "yes-no", "json")


@dataclass(frozen=True)
class AnswerFormat:
    """What the conclusion's text must follow: a GBNF grammar with a `root` rule, or a JSON schema
    (as text). Raises UsageError, with line and column for a mistake in a grammar.

    unenforced: keywords of the schema that are checked in the finished answer only.
    """

    grammar: str = ""
    name: str = "the answer grammar"
    schema: str = ""
    unenforced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.grammar) == bool(self.schema):
            raise UsageError(
                Phrase("{name} has both a grammar and a schema", name=self.name)
                if self.schema
                else Phrase("{name} has neither a grammar nor a schema", name=self.name),
                hint="Give one of them.",
            )
        if self.grammar:
            check_gbnf(self.grammar, name=self.name)


def choices(options: Sequence[str]) -> AnswerFormat:
    """One of `options`, exactly as they are written. Raises UsageError."""
    wanted = [option.strip() for option in options]
    if len(wanted) < 2 or not all(wanted) or len(set(wanted)) < len(wanted):
        raise UsageError(
            Phrase("the choices are {choices}", choices=", ".join(map(repr, wanted))),
            hint="Give at least two different ones, for example A,B,C,D.",
        )
    odd = next((option for option in wanted if "<" in option or not option.isprintable()), None)
    if odd is not None:
        raise UsageError(
            Phrase("the choice {odd} has a character that a choice cannot have", odd=repr(odd)),
            hint="Leave out < and line breaks.",
        )
    literals = (option.replace("\\", "\\\\").replace('"', '\\"') for option in wanted)
    return AnswerFormat("root ::= " + " | ".join(f'"{text}"' for text in literals), "the choices")


def answer_kind(kind: str) -> AnswerFormat:
    """`number`, `yes-no` or `json`. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(
            Phrase("the answer is {kind}", kind=repr(kind)),
            hint=Phrase("Choose one of {kinds}.", kinds=", ".join(KINDS)),
        )
    name = f"the grammar of {kind}"
    if kind == "json":
        return AnswerFormat(name=name, schema=JSON_SCHEMA)
    return AnswerFormat(NUMBER if kind == "number" else YES_NO, name)
