"""What was paid for, on disk: `replies.jsonl` holds a line for each reply, by the hash of what was
asked. A run that was stopped asks only what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.files import append_line, lock_folder, read_lines, write_whole

REPLIES = "replies.jsonl"
EXAMPLES, ASIDE, REPORT = "train.jsonl", "set_aside.jsonl", "report.md"


@dataclass(frozen=True)
class Limits:
    """What a run may cost. Prices: for a million tokens; what earlier runs paid counts as well.
    max_tokens: of an answer, as the server is told."""

    tries: int = 3
    parallel: int = 8
    tokens: int | None = None
    cost: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0
    max_tokens: int = 2048

    @property
    def is_set(self) -> bool:
        """Whether there is a budget."""
        return self.tokens is not None or self.cost is not None

    @property
    def prices(self) -> tuple[float, float] | None:
        """None where none was given."""
        given = (self.prompt_price, self.completion_price)
        return given if any(given) else None


@dataclass
class Spent:
    """Over all runs into a folder. paid: for replies whose run was told its prices; the tokens of
    others are `unpriced`. largest: a prompt and an answer, so far."""

    prompt: int = 0
    completion: int = 0
    replies: int = 0
    paid: float = 0.0
    unpriced: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)

    def add(self, usage: Mapping[str, int], prices: tuple[float, float] | None) -> None:
        prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        self.replies += 1
        self.prompt += prompt
        self.completion += completion
        self.largest = (max(self.largest[0], prompt), max(self.largest[1], completion))
        if prices is None:
            self.unpriced = (self.unpriced[0] + prompt, self.unpriced[1] + completion)
        else:
            self.paid += _cost((prompt, completion), prices)

    def cost(self, limits: Limits) -> float:
        return self.paid + _cost(self.unpriced, limits.prices or (0.0, 0.0))

    def room(self, limits: Limits, running: int) -> bool:
        """Whether one more request keeps the budget, beside `running` ones, even if all take a
        prompt as large as the largest so far and as many tokens as they may."""
        if not limits.is_set:
            return True
        if running and not self.replies:
            return False  # how large a prompt is, the first reply tells
        prompt, completion = self.largest[0], max(self.largest[1], limits.max_tokens)
        n = running + 1
        tokens = self.prompt + self.completion + n * (prompt + completion)
        if limits.tokens is not None and tokens > limits.tokens:
            return False
        cost = self.cost(limits) + n * _cost((prompt, completion), limits.prices or (0.0, 0.0))
        return limits.cost is None or cost <= limits.cost

    def over(self, limits: Limits) -> str:
        """Why nothing more can be asked, for people."""
        if limits.tokens is not None and self.prompt + self.completion >= limits.tokens:
            return f"the budget of {limits.tokens} tokens is used up"
        if limits.cost is not None and self.cost(limits) >= limits.cost:
            return f"the budget of {limits.cost:g} is used up"
        told = f"{limits.tokens} tokens" if limits.tokens is not None else f"{limits.cost:g}"
        return (
            f"what is left of the budget of {told} may be less than one more answer takes "
            f"(--max-tokens {limits.max_tokens})"
        )


def _cost(tokens: tuple[int, int], prices: tuple[float, float]) -> float:
    return sum(n * price for n, price in zip(tokens, prices, strict=True)) / 1e6


class Replies:
    """What the teacher said. `known`: by the hash of what was asked; `items`: the questions that
    were answered, by their keys."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError where another run writes there, or the files are something else."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / REPLIES
        self.spent = Spent()
        self.known: dict[str, Mapping[str, Any]] = {}
        self.items: set[str] = set()
        self._lock = lock_folder(folder / "lock")
        try:
            self._read()
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> None:
        if not self.path.exists():
            for name in (EXAMPLES, ASIDE, REPORT):
                if (path := self.path.with_name(name)).exists():
                    raise UsageError(f"{path} is not of this command", hint="Choose another --out.")
            self.path.touch()
        good: list[bytes] = []
        lines = read_lines(self.path)
        for line in lines:
            if _is_reply(line.value):
                good.append(line.data)
                self._remember(line.value)
        if lines and not good and lines[0].is_whole:
            raise UsageError(f"{self.path} holds no replies", hint="Choose another --out.")
        if len(good) < len(lines):  # the last one was being written
            write_whole(self.path, b"".join(good))

    def _remember(self, line: Mapping[str, Any]) -> None:
        self.known[line["key"]] = line["reply"]
        self.items.add(line.get("item", ""))  # earlier versions did not say
        self.spent.add(usage(line["reply"]), _prices(line.get("prices")))

    def add(
        self, key: str, item: str, reply: Mapping[str, Any], prices: tuple[float, float] | None
    ) -> None:
        """item: the key of the question."""
        line: dict[str, Any] = {"key": key, "item": item, "reply": reply}
        if prices is not None:
            line["prices"] = prices
        append_line(self.path, json.dumps(line).encode() + b"\n")
        self._remember(line)

    def close(self) -> None:
        self._lock.release()


def _is_reply(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    texts = (value.get("key"), value.get("item", ""))
    return all(isinstance(text, str) for text in texts) and isinstance(value.get("reply"), dict)


def _prices(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    prompt, completion = value
    if not all(type(price) in (int, float) and 0 <= price < 1e9 for price in value):
        return None
    return float(prompt), float(completion)


def usage(reply: Mapping[str, Any]) -> dict[str, int]:
    """What a reply took; empty where the server does not say."""
    told = reply.get("usage")
    names = ("prompt_tokens", "completion_tokens")
    if not isinstance(told, Mapping):
        return {}
    counts = {name: told.get(name) for name in names}
    return {n: v for n, v in counts.items() if type(v) is int and v >= 0}
