"""Checks a GBNF grammar in llama.cpp's dialect, so that a mistake is named by line and column.

llama.cpp itself only says that it failed, and only after the model is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llavao1_edge.errors import UsageError
from llavao1_edge.phrases import Phrase

MAX_REPEAT = 1999  # llama.cpp's own limit
_NAME = re.compile(r"[A-Za-z0-9-]+")
_ESCAPE = re.compile(r'\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[trn\\"\[\]-])')
_REPEAT = re.compile(r"\{\s*(\d+)\s*(,\s*(\d+)?\s*)?\}")
_TOKEN = re.compile(r"!?<[^>\n]+>")  # a token of the vocabulary, by text or number
_BLANK = re.compile(r"(?:[ \t]|#[^\n]*)*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


@dataclass(frozen=True)
class _Item:
    """One element of a sequence. rule: the name it refers to, if it does; group: alternatives."""

    at: int
    rule: str = ""
    group: tuple[tuple[_Item, ...], ...] = ()
    optional: bool = False
    empty: bool = False  # a literal without characters


_Alternatives = tuple[tuple[_Item, ...], ...]


def check_gbnf(text: str, *, name: str = "the grammar") -> None:
    """Raises UsageError with line and column where `text` is not a grammar with a `root` rule."""
    try:
        _Parser(text, name).check()
    except RecursionError:
        raise UsageError(
            Phrase("{name} is nested too deeply", name=name),
            hint="Write repetitions as {2,5}, not as groups in groups.",
        ) from None


@dataclass
class _Parser:
    text: str
    name: str
    at: int = 0
    rules: dict[str, _Alternatives] = field(default_factory=dict)
    where: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        self._skip(lines=True)
        while self.at < len(self.text):
            self._rule()
            self._skip(lines=True)
        if "root" not in self.rules:
            raise self._error("there is no rule named root", len(self.text))
        for alternatives in self.rules.values():
            self._check_names(alternatives)
        nullable = self._nullable()
        for rule in self.rules:
            self._check_recursion(rule, rule, set(), nullable)

    def _error(self, problem: str, at: int | None = None) -> UsageError:
        at = self.at if at is None else at
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        return UsageError(
            Phrase(
                "{name}, line {line}, column {column}: {problem}",
                name=self.name,
                line=line,
                column=column,
                problem=problem,
            ),
            hint="It must be GBNF, the grammar notation of llama.cpp.",
        )

    def _skip(self, *, lines: bool) -> None:
        match = (_BLANK_LINES if lines else _BLANK).match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    # --- syntax -----------------------------------------------------------------------------
    def _rule(self) -> None:
        start = self.at
        match = _NAME.match(self.text, start)
        if match is None:
            raise self._error(f"expected the name of a rule, found {self._peek()!r}")
        self.at = match.end()
        self._skip(lines=False)
        if not self.text.startswith("::=", self.at):
            raise self._error(f'expected "::=" after {match[0]}')
        self.at += 3
        if match[0] in self.rules:
            raise self._error(f"the rule {match[0]} is defined twice", start)
        self._skip(lines=True)
        self.where[match[0]] = start
        self.rules[match[0]] = self._alternatives(nested=False)
        if self._peek() not in ("\n", "\r", ""):
            raise self._error(f"expected the end of the line, found {self._peek()!r}")

    def _alternatives(self, *, nested: bool) -> _Alternatives:
        found = [self._sequence(nested=nested)]
        while self._peek() == "|":
            self.at += 1
            self._skip(lines=True)
            found.append(self._sequence(nested=nested))
        return tuple(found)

    def _sequence(self, *, nested: bool) -> tuple[_Item, ...]:
        items: list[_Item] = []
        while True:
            item = self._element()
            if item is None:
                return tuple(items)
            again: _Item | None = item
            while again is not None:
                item, again = again, self._repeated(again, nested=nested)
            items.append(item)
            self._skip(lines=nested)

    def _element(self) -> _Item | None:
        start, character = self.at, self._peek()
        if character == '"':
            return _Item(start, empty=self._quoted('"', "string") == 0)
        if character == "[":
            if self._quoted("]", "character class") == 0:
                raise self._error("the character class is empty", start)
            return _Item(start)
        token = _TOKEN.match(self.text, start)
        if token is not None:
            self.at = token.end()
            return _Item(start)
        if character == ".":
            self.at += 1
            return _Item(start)
        if character == "(":
            self.at += 1
            self._skip(lines=True)
            group = self._alternatives(nested=True)
            if self._peek() != ")":
                raise self._error('expected ")"')
            self.at += 1
            return _Item(start, group=group)
        match = _NAME.match(self.text, start)
        if match is None:
            return None
        self.at = match.end()
        return _Item(start, rule=match[0])

    def _quoted(self, end: str, what: str) -> int:
        """Skips to the closing character; how many characters stood inside."""
        start, n = self.at, 0
        self.at += 1
        while self._peek() != end:
            if self._peek() == "":
                raise self._error(f"the {what} that begins here is not closed", start)
            if self._peek() == "\\":
                match = _ESCAPE.match(self.text, self.at)
                if match is None:
                    raise self._error(f"unknown escape {self.text[self.at : self.at + 2]!r}")
                self.at = match.end()
            else:
                self.at += 1
            n += 1
        self.at += 1
        return n

    def _repeated(self, item: _Item, *, nested: bool) -> _Item | None:
        """The item with the repetition that follows it; None where none does."""
        start = self.at
        self._skip(lines=nested)
        character = self._peek()
        if character and character in "*+?{" and item.empty:
            raise self._error("there is nothing to repeat: the string is empty")
        if character and character in "*+?":
            self.at += 1
            return _Item(item.at, item.rule, item.group, character != "+", item.empty)
        if character != "{":
            self.at = start
            return None
        match = _REPEAT.match(self.text, self.at)
        if match is None:
            raise self._error('expected a repetition such as "{2}", "{2,}" or "{2,5}"')
        low, high = (int(number[:18]) for number in (match[1], match[3] or match[1]))
        if high < low or high > MAX_REPEAT:
            raise self._error(f"the repetition {match[0][:40]} is not between 0 and {MAX_REPEAT}")
        self.at = match.end()
        return _Item(item.at, item.rule, item.group, low == 0, item.empty)

    # --- meaning ----------------------------------------------------------------------------
    def _check_names(self, alternatives: _Alternatives) -> None:
        for sequence in alternatives:
            for item in sequence:
                if item.rule and item.rule not in self.rules:
                    raise self._error(f"the rule {item.rule} is not defined", item.at)
                self._check_names(item.group)

    def _nullable(self) -> set[str]:
        """Rules that can be empty."""
        nullable: set[str] = set()
        while True:
            new = {
                name
                for name, alternatives in self.rules.items()
                if name not in nullable and _can_be_empty(alternatives, nullable)
            }
            if not new:
                return nullable
            nullable |= new

    def _check_recursion(self, rule: str, root: str, seen: set[str], nullable: set[str]) -> None:
        for first in _first_rules(self.rules[rule], nullable):
            if first.rule == root:
                raise self._error(
                    f"the rule {root} can begin with itself, which llama.cpp cannot follow",
                    self.where[root],
                )
            if first.rule not in seen:
                seen.add(first.rule)
                self._check_recursion(first.rule, root, seen, nullable)


def _can_be_empty(alternatives: _Alternatives, nullable: set[str]) -> bool:
    return any(all(_item_empty(item, nullable) for item in items) for items in alternatives)


def _item_empty(item: _Item, nullable: set[str]) -> bool:
    if item.optional or item.empty or item.rule in nullable:
        return True
    return bool(item.group) and _can_be_empty(item.group, nullable)


def _first_rules(alternatives: _Alternatives, nullable: set[str]) -> list[_Item]:
    """References that can stand at the beginning."""
    found: list[_Item] = []
    for sequence in alternatives:
        for item in sequence:
            found += [item] if item.rule else _first_rules(item.group, nullable)
            if not _item_empty(item, nullable):
                break
    return found


_WORDS = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n]*|[A-Za-z][\w-]*')


def renamed(grammar: str, name: str) -> str:
    """The same grammar with its `root` rule called `name`, to stand inside another one."""
    return _WORDS.sub(lambda found: name if found[0] == "root" else found[0], grammar)
