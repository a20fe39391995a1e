"""Rows of the history as they are read: every cell may be damaged, though SQLite's check passes.

What cannot be read is left out and said so; the rest of the row, and all other rows, stay usable.
Nothing is written back: the damaged cell is kept as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from llavao1_edge.phrases import Phrase, unpacked

UNREADABLE = Phrase("a part of this answer could not be read from the history")


class Cells:
    """One row, read cell by cell. damaged: names of cells that could not be used."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        self.damaged: list[str] = []

    def text(self, name: str) -> str:
        value = self._row[name]
        if isinstance(value, str):
            return value
        self.damaged.append(name)
        return ""

    def sentence(self, name: str) -> str:
        """A text, or what `packed` made of a phrase."""
        value = self.text(name)
        if value.startswith('{"pattern"'):
            try:
                found = unpacked(json.loads(value))
                if isinstance(found, Phrase):
                    return found
            except Exception:  # whatever a changed byte makes of it
                self.damaged.append(name)
        return value

    def number(self, name: str) -> float:
        value = self._row[name]
        if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e11:
            return float(value)
        self.damaged.append(name)
        return 0.0

    def optional_text(self, name: str) -> str | None:
        return None if self._row[name] is None else self.text(name)

    def optional_number(self, name: str) -> float | None:
        return None if self._row[name] is None else self.number(name)

    def _json(self, name: str) -> Any:
        value = self._row[name]
        try:
            return None if value is None else json.loads(value)
        except (ValueError, TypeError, RecursionError):
            self.damaged.append(name)
            return None

    def mapping(self, name: str) -> dict[str, Any]:
        value = self._json(name)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.damaged.append(name)
        return {}

    def texts_by_name(self, name: str) -> dict[str, str]:
        found = self.mapping(name)
        good = {key: text for key, text in found.items() if isinstance(text, str)}
        if len(good) < len(found):
            self.damaged.append(name)
        return good

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._json(name)
        try:
            value = unpacked(value)
        except Exception:  # whatever a changed byte makes of it
            value = 0
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        if value is not None:
            self.damaged.append(name)
        return ()

    def box(self, name: str) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of a part of a picture."""
        value = self._json(name)
        if value is None:
            return None
        whole = isinstance(value, list) and len(value) == 4
        if whole and all(type(each) is int and 0 <= each < 10**6 for each in value):
            left, top, right, bottom = value
            if left < right and top < bottom:
                return left, top, right, bottom
        self.damaged.append(name)
        return None

    def trace(self, name: str) -> dict[str, Any] | None:
        """Only one that can be drawn."""
        from llavao1_gui.state.tree import columns

        if self._row[name] is None:
            return None
        try:
            value: dict[str, Any] = unpacked(self.mapping(name))
            columns(value)
        except Exception:  # whatever a changed byte makes of a tree
            self.damaged.append(name)
            return None
        return value
