"""Makes an answer format from what a user gives; checked before any model is loaded."""

from __future__ import annotations

from pathlib import Path

from llavao1_edge.errors import UsageError
from llavao1_edge.stages import AnswerFormat, answer_kind, choices

MAX_BYTES = 1 << 20


def answer_format(
    *,
    one_of: str | None = None,
    kind: str | None = None,
    schema: Path | None = None,
    grammar: Path | None = None,
) -> AnswerFormat | None:
    """At most one of: choices divided by commas, a kind, a JSON schema file, a GBNF file.

    None for none. Raises UsageError with line and column for a bad file.
    """
    given = [value for value in (one_of, kind, schema, grammar) if value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise UsageError(
            f"{len(given)} answer formats were given",
            hint="Give one of --choices, --answer, --json-schema, --grammar.",
        )
    if one_of is not None:
        return choices(one_of.split(","))
    if kind is not None:
        return answer_kind(kind)
    if grammar is not None:
        return AnswerFormat(_read(grammar), str(grammar))
    assert schema is not None
    from llavao1_edge.llama.schema import gbnf_of_schema

    return AnswerFormat(gbnf_of_schema(_read(schema), name=str(schema)), str(schema), made=True)


def check_fits(strategy: str, given: object) -> None:
    """Raises UsageError where a form is given to a strategy that forces none."""
    if given and strategy == "free":
        raise UsageError(
            "the strategy free leaves the form of the answer to the model",
            hint="Choose another strategy, or leave the form of the conclusion out.",
        )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than 1 MB", hint="That is no grammar.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}", hint="Check the path.") from None
