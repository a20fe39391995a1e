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
    found: dict[str, None] = dict.fromkeys([stage.name for stage in STAGES])
    found |= dict.fromkeys([*map(str, Part), *map(str, Ending), *STATUSES])
    named = set()
    for tree in trees:
        for node in ast.walk(tree):
            for said in said_by(node, kinds) if isinstance(node, ast.Call) else ():
                found |= _text(said)
                named.add(_name(said))
    for tree in trees:  # and of constants that have a name
        for node in tree.body:
            if isinstance(node, ast.Assign) and named & set(map(_name, node.targets)):
                found |= _text(node.value)
    return [text for text in found if any(c.isalpha() for c in _outside(text))]


def said_by(call: ast.Call, kinds: set[str]) -> Iterator[ast.expr]:
    """What a call is told to say: a phrase's pattern, an error's message and hint, what memory is
    for. Of a choice both sides."""
    given = call.args[:1] if _name(call.func) in kinds | {"Phrase"} else []
    if _name(call.func) in kinds:
        given += [one.value for one in call.keywords if one.arg == "hint"]
    given += [one.value for one in call.keywords if one.arg == "purpose"]
    while given:
        one = given.pop(0)
        if isinstance(one, ast.IfExp):
            given += [one.body, one.orelse]
        else:
            yield one


def _text(node: ast.expr) -> dict[str, None]:
    text = node.value if isinstance(node, ast.Constant) else None
    return {text: None} if isinstance(text, str) else {}


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
