"""Sentences for people that are data too: an English pattern and its values.

Whoever only prints them has a `str`. A window in another language looks the pattern up in its
catalogue and puts the values into what it finds there. Catalogues are made of the sources: of
`Phrase("…")` with a constant, and of constants that errors are raised with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any

Value = str | int | float


class Phrase(str):
    """The English sentence, its `pattern` (as of `str.format`) and its `values`, by name.

    Without values the pattern is taken as it is: a whole sentence, or one to be filled elsewhere.
    Values are numbers, strings and other phrases; the word of an enum is a phrase, and anything
    else is taken as `str` says it.
    """

    __slots__ = ("pattern", "values")
    pattern: str
    values: Mapping[str, Value]

    def __new__(cls, pattern: str, /, **values: object) -> Phrase:
        known = {name: _value(value) for name, value in values.items()}
        made = super().__new__(cls, pattern.format(**known) if known else pattern)
        made.pattern, made.values = str(pattern), known
        return made

    @classmethod
    def of(cls, text: str) -> Phrase:
        """`text` itself where it is a phrase."""
        return text if isinstance(text, Phrase) else cls(text)

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Value]]:
        """So that copies and pickles are phrases as well."""
        return (self.pattern,), dict(self.values)


def packed(value: Any) -> Any:
    """`value` for JSON, with every phrase in it as a pattern and its values."""
    if isinstance(value, Phrase):
        return {"pattern": value.pattern, "values": packed(value.values)}
    if isinstance(value, dict):
        return {name: packed(one) for name, one in value.items()}
    return [packed(one) for one in value] if isinstance(value, list | tuple) else value


def unpacked(value: Any) -> Any:
    """What `packed` was given, but lists for tuples. Raises ValueError and
    what `str.format` raises where a pattern and its values do not fit."""
    if isinstance(value, list):
        return [unpacked(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: unpacked(one) for name, one in value.items()}
    if found.keys() != _PACKED:
        return found
    pattern = found["pattern"].encode().decode()  # whole characters only
    rest = _FIELD.sub("", pattern.replace("{{", "").replace("}}", ""))
    if found["values"] and ("{" in rest or "}" in rest):
        raise ValueError(f"the fields of {pattern!r} are not ours")
    return Phrase(pattern, **found["values"])


# What patterns of ours hold; a changed byte could ask for a width that no memory holds.
_FIELD = re.compile(r"\{\w+(:(,|g|\.\df))?\}")
_PACKED = {"pattern", "values"}


def _value(value: object) -> Value:
    if isinstance(value, Enum):
        return Phrase(str(value))
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, Integral):  # also numpy's
        return int(value)
    return float(value) if isinstance(value, Real) else str(value)
