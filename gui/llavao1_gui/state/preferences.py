"""What the user chose: a JSON file in the config folder, checked value by value.

A bad value is named and its default used; the others hold. Written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from llavao1_edge.errors import LlavaError, UsageError
from llavao1_edge.files import write_whole
from llavao1_edge.phrases import Phrase
from llavao1_edge.scoring import SCORERS
from llavao1_edge.search import STRATEGIES, options_of
from llavao1_edge.search.presets import PRESETS
from llavao1_edge.settings import (
    BudgetSettings,
    RuntimeSettings,
    SamplingSettings,
    SearchSettings,
    ranges,
)

EXPERT = "expert"
"""Instead of a preset's name: the settings' own strategy and options."""
REPLACED = Phrase("{name} is {value} in {file}; the default is used")
NO_GROUP = Phrase("{group} in {file} is not a group of settings; it is left out")
GROUPS: dict[str, Any] = {
    "search": SearchSettings,
    "sampling": SamplingSettings,
    "budget": BudgetSettings,
    "runtime": RuntimeSettings,
}
THEMES = ("system", "light", "dark")
LANGUAGES = ("system", "en", "ko")
CHOICES = {
    "theme": THEMES,
    "language": LANGUAGES,
    "preset": (*(preset.name for preset in PRESETS), EXPERT),
    "strategy": tuple(STRATEGIES),
    "scorer": ("", *SCORERS),
}


@dataclass(frozen=True)
class Preferences:
    """groups: group → setting → value, only what differs from the defaults. shortcuts: action →
    keys, only those that were changed. layout: where the window was, as Qt tells it."""

    theme: str = "system"
    language: str = "system"
    model: str = "demo"
    preset: str = "careful"
    strategy: str = "stage-beam"
    scorer: str = ""
    remember: bool = True
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shortcuts: Mapping[str, str] = field(default_factory=dict)
    layout: Mapping[str, str] = field(default_factory=dict)

    def expert_options(self) -> dict[str, Any]:
        """Of the strategy that was chosen, as far as it has them."""
        known = options_of(STRATEGIES[self.strategy]())
        given = {name: value for name, value in self.group("search").items() if name in known}
        if self.scorer and "scorer" in known:
            given["scorer"] = self.scorer
        return given

    def group(self, name: str) -> dict[str, Any]:
        return dict(self.groups.get(name, {}))

    def with_setting(self, group: str, name: str, value: Any) -> Preferences:
        """Raises UsageError for a value out of its range."""
        default = getattr(GROUPS[group](), name)
        GROUPS[group](**{name: value})
        values = {**self.group(group), name: value}
        if value == default:
            del values[name]
        return replace(self, groups={**self.groups, group: values})


def read(path: Path) -> tuple[Preferences, list[str]]:
    """The preferences and a sentence for each value that could not be used."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Preferences(), []
    except (OSError, ValueError) as error:
        return Preferences(), [f"{path} cannot be read ({error}); the defaults are used"]
    if not isinstance(stored, dict):
        return Preferences(), [f"{path} holds no settings; the defaults are used"]
    problems: list[str] = []
    known: dict[str, Any] = {}
    for entry in fields(Preferences):
        if entry.name in stored and entry.name != "groups":
            value = stored[entry.name]
            if _fits(entry.name, value):
                known[entry.name] = value
            else:
                problems.append(_replaced(entry.name, value, path.name))
    known["groups"] = _groups(stored.get("groups"), path.name, problems)
    return Preferences(**known), problems


def _fits(name: str, value: Any) -> bool:
    if name in CHOICES:
        return value in CHOICES[name]
    if name in ("shortcuts", "layout"):
        return isinstance(value, dict) and all(
            isinstance(part, str) for pair in value.items() for part in pair
        )
    return isinstance(value, bool if name == "remember" else str)


def _replaced(name: str, value: Any, file: str) -> Phrase:
    return Phrase(REPLACED, name=name, value=repr(value), file=file)


def _groups(stored: Any, file: str, problems: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for group, values in stored.items() if isinstance(stored, dict) else ():
        if group not in GROUPS or not isinstance(values, dict):
            problems.append(Phrase(NO_GROUP, group=group, file=file))
            continue
        names = [name for name, _ in ranges(GROUPS[group])]
        for name, value in values.items():
            try:
                if name not in names or isinstance(value, bool | list | dict):
                    raise UsageError(Phrase("{name} is {value}", name=name, value=repr(value)))
                GROUPS[group](**{name: value})
                found.setdefault(group, {})[name] = value
            except (UsageError, TypeError):
                problems.append(_replaced(name, value, file))
    return found


def write(path: Path, preferences: Preferences) -> None:
    """Raises LlavaError where the folder cannot be written."""
    _write(path, vars(preferences))


def _write(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise LlavaError(
            Phrase(
                "cannot write the settings to {path}: {reason}",
                path=path,
                reason=error.strerror or error,
            ),
            hint="Free some space, or check the permissions.",
        ) from error


def write_layout(path: Path, layout: Mapping[str, str]) -> None:
    """Where the window was, and nothing else: a file that cannot be read keeps what it holds, and
    so does what another window or a newer version wrote into it. Raises LlavaError."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    except (OSError, ValueError):
        return
    if isinstance(known, dict):
        _write(path, known | {"layout": dict(layout)})
