"""Makes an answer format from what a user gives; checked before any model is loaded."""

from __future__ import annotations

import functools
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.llama import guide
from llavao1_edge.phrases import Phrase
from llavao1_edge.search import Strategy
from llavao1_edge.stages import CONCLUSION, AnswerFormat, answer_kind, choices

MAX_BYTES = 1 << 20
WRAPPER = {"name", "schema", "strict", "description"}  # as OpenAI's response_format has it
DEEPEST = 100  # parts of a schema inside each other
LONGEST_TEXT = 1_000_000  # of a string or list that a schema may ask for


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
            Phrase("{n_given} answer formats were given", n_given=len(given)),
            hint="Give one of --choices, --answer, --json-schema, --grammar.",
        )
    if one_of is not None:
        return choices(one_of.split(","))
    if kind is not None:
        return answer_kind(kind)
    if grammar is not None:
        made = AnswerFormat(_read(grammar), str(grammar))
    else:
        assert schema is not None
        made = schema_format(_read(schema), name=str(schema))
    compiled(made)
    return made


def schema_format(text: str, *, name: str) -> AnswerFormat:
    """The format of a JSON schema, also in the wrapper {"name", "schema"} of OpenAI's protocol.

    Raises UsageError where it cannot be read or followed.
    """
    schema = _unwrapped(_parsed(text, name=name))
    if not isinstance(schema, dict):
        raise UsageError(
            Phrase("{name} holds {kind}", name=name, kind=type(schema).__name__),
            hint="It must be a JSON schema.",
        )
    _check_sizes(schema, name=name)
    _check_schema(schema, name=name)
    return AnswerFormat(name=name, schema=json.dumps(schema), unenforced=guide.unenforced(schema))


def _parsed(text: str, *, name: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise UsageError(
            Phrase(
                "{name}, line {line}, column {column}: {problem}",
                name=name,
                line=error.lineno,
                column=error.colno,
                problem=error.msg,
            ),
            hint="It must be a JSON schema.",
        ) from None
    except RecursionError:
        raise _too_deep(name) from None
    except ValueError as error:  # a number of thousands of digits, NaN
        message = str(error).split(";")[0]
        raise UsageError(
            Phrase("{name}: {message}", name=name, message=message),
            hint="It must be a JSON schema.",
        ) from None


def _too_deep(name: str) -> UsageError:
    return UsageError(
        Phrase("{name} is nested too deeply", name=name), hint="Use a simpler schema."
    )


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number in JSON")


def _unwrapped(found: Any) -> Any:
    if isinstance(found, dict) and isinstance(found.get("json_schema"), dict):
        found = found["json_schema"]
    if isinstance(found, dict) and isinstance(found.get("schema"), dict) and set(found) <= WRAPPER:
        return found["schema"]
    return found


def _check_sizes(part: Any, *, name: str) -> None:
    """Raises UsageError for a length that no answer can have, and for a schema too deep."""
    waiting = [(part, 0)]
    while waiting:
        part, depth = waiting.pop()
        if depth > DEEPEST:
            raise _too_deep(name)
        if isinstance(part, list):
            waiting += [(each, depth + 1) for each in part]
        if not isinstance(part, dict):
            continue
        waiting += [(each, depth + 1) for each in part.values()]
        for key in ("minItems", "minLength", "minProperties"):
            least = part.get(key)
            if isinstance(least, int | float) and not least <= LONGEST_TEXT:
                hint = Phrase("At most {most} can be followed.", most=LONGEST_TEXT)
                raise UsageError(
                    Phrase("{name}: {key} is {least}", name=name, key=key, least=str(least)[:20]),
                    hint=hint,
                )
        numbers = [part.get(key) for key in ("minimum", "maximum", "multipleOf")]
        if any(isinstance(n, float) and not math.isfinite(n) for n in numbers):
            raise UsageError(
                Phrase("{name} has an infinite number", name=name), hint="It must be a JSON schema."
            )


def _check_schema(schema: dict[str, Any], *, name: str) -> None:
    """By the meta-schema: a keyword with a value of the wrong kind is named with its place."""
    from jsonschema import Draft202012Validator, SchemaError, validators

    if not isinstance(schema.get("$schema", ""), str):
        raise UsageError(
            Phrase("{name}: $schema is not text", name=name), hint="It must be a JSON schema."
        )
    kind = validators.validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.path)) or "the top"
        message = str(error.message)[:200]
        raise UsageError(
            Phrase("{name}, at {place}: {message}", name=name, place=place, message=message),
            hint="It must be a JSON schema.",
        ) from None
    except RecursionError:
        raise _too_deep(name) from None


@functools.lru_cache(maxsize=16)
def compiled(form: AnswerFormat) -> str:
    """The whole grammar that the conclusion follows, for `guide`. Raises UsageError."""
    if form.grammar:
        lark = guide.lark_of_gbnf(form.grammar, name=form.name)
    else:
        lark = guide.lark_of_schema(json.loads(form.schema), lenient=bool(form.unenforced))
    return guide.compile_form(lark, closing=CONCLUSION.closing, name=form.name)


def problem(form: AnswerFormat, conclusion: str, *, closed: bool) -> str:
    """Why a conclusion is not of the form that was asked for; empty where it is.

    closed: it came to its closing tag, which a form's grammar has at its end only.
    """
    if not closed:
        return Phrase("the answer was cut off before it had the form of {name}", name=form.name)
    if not form.schema:
        return ""
    from jsonschema import Draft202012Validator, validators
    from jsonschema_specifications import REGISTRY

    schema = json.loads(form.schema, parse_float=Decimal)
    try:
        value = json.loads(conclusion, parse_float=Decimal)
        kind = validators.validator_for(schema, default=Draft202012Validator)
        # With a registry of its own nothing is fetched, whatever a reference leads to.
        checker = kind(schema, registry=REGISTRY, format_checker=kind.FORMAT_CHECKER)
        errors = checker.iter_errors(value)
        first = next(iter(errors), None)
    except (ValueError, RecursionError) as error:
        return Phrase("the answer is not JSON ({error})", error=str(error)[:80])
    except Exception as error:  # a reference that leads nowhere, a pattern that Python cannot read
        return Phrase(
            "the answer cannot be checked against {name}: {error}",
            name=form.name,
            error=str(error)[:120],
        )
    if first is None:
        return ""
    place = "/".join(map(str, first.path)) or "the top"
    return Phrase(
        "the answer does not follow {name}, at {place}: {message}",
        name=form.name,
        place=place,
        message=str(first.message)[:120],
    )


def check_fits(strategy: Strategy, given: object) -> None:
    """Raises UsageError where a form is given to a strategy that forces none."""
    if given and not strategy.forces_tags:
        raise UsageError(
            Phrase(
                "the strategy {name} leaves the form of the answer to the model", name=strategy.name
            ),
            hint="Choose another strategy, or leave the form of the conclusion out.",
        )


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(Phrase("{path} is not a file", path=path), hint="Check the path.")
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(
                Phrase("{path} is larger than 1 MB", path=path), hint="That is not a grammar."
            )
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            Phrase("cannot read {path}: {reason}", path=path, reason=reason), hint="Check the path."
        ) from None
