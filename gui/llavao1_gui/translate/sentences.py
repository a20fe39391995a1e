"""The sentences that the window says for others: found in the sources, for the catalogues.

They are the constants that `Phrase` and the project's errors are made with, and the words of the
enums and stages that stand in them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import llavao1_convert
import llavao1_edge
from llavao1_edge import errors
from llavao1_edge.engine.sizes import Part
from llavao1_edge.search import Ending
from llavao1_edge.stages import STAGES
from llavao1_gui.state.history import STATUSES
from llavao1_gui.translate import FOLDER

# What no window calls.
ELSEWHERE = ("cli", "evaluation", "serve", "testing", "bench")
ROOTS = (*llavao1_edge.__path__, *llavao1_convert.__path__, str(FOLDER.parent))


def sources() -> list[Path]:
    """Whose sentences may reach a window."""
    found = []
    for root in map(Path, ROOTS):
        paths = (path.relative_to(root) for path in root.rglob("*.py"))
        found += [root / path for path in sorted(paths) if path.parts[0] not in ELSEWHERE]
    return found


def errors_of(trees: list[ast.Module]) -> set[str]:
    """Names of all kinds of LlavaError."""
    found = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and found & set(map(_name, node.bases)):
                found.add(node.name)
    return found


def sentences() -> list[str]:
    """Every pattern, once."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sources()]
    kinds = errors_of(trees)
    found = dict.fromkeys([stage.name for stage in STAGES])
    found |= dict.fromkeys([*map(str, Part), *map(str, Ending), *STATUSES])
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for given in said_by(node, kinds):
                    found |= dict.fromkeys(_constants(given))
    return [text for text in found if any(c.isalpha() for c in _outside(text))]


def said_by(call: ast.Call, kinds: set[str]) -> Iterator[ast.expr]:
    """What a call is told to say: a phrase's pattern, an error's message and hint."""
    if _name(call.func) == "Phrase":
        yield from call.args[:1]
    elif _name(call.func) in kinds:
        yield from call.args[:1]
        yield from (given.value for given in call.keywords if given.arg == "hint")


def _constants(given: ast.expr) -> Iterator[str]:
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        yield given.value
    elif isinstance(given, ast.IfExp):
        yield from _constants(given.body)
        yield from _constants(given.orelse)


def _name(node: ast.expr) -> str:
    return getattr(node, "id", getattr(node, "attr", ""))


def _outside(pattern: str) -> str:
    """Its text without the fields."""
    text, depth = "", 0
    for character in pattern:
        depth += (character == "{") - (character == "}")
        text += character if not depth and character != "}" else ""
    return text


def as_source() -> str:
    """A file that Qt's tools read as they read the window's own."""
    lines = (f'QCoreApplication.translate("engine", {text!r})' for text in sentences())
    return "from PySide6.QtCore import QCoreApplication\n\n" + "\n".join(lines) + "\n"
