"""Asks the teacher, several questions at a time, and remembers every reply.

`replies.jsonl` holds what was paid for: a line for each reply, by the hash of all that was sent. A
run that was stopped asks only what is missing; everything else is made from these lines again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.errors import PictureError, ServerError, UsageError
from llavao1_edge.evaluation.items import Item
from llavao1_edge.files import append_line, lock_folder, read_lines, write_whole
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.remote.client import Client
from llavao1_edge.remote.requests import data_url
from train.annotate.asking import Reason, Teacher, Verdict, judge, prompt

TICK_S = 0.2
LAST_S = 120.0  # for replies that are on their way when the run must end
UNKNOWN_KIND = 415  # of a picture: this is about one question, too; the rest ends the run
WARMER, WARMEST = 0.2, 1.2  # each time: what was wrong once is likely to be wrong again


@dataclass(frozen=True)
class Limits:
    """What a run may cost. Prices: for a million tokens; what earlier runs paid counts as well."""

    tries: int = 3
    parallel: int = 8
    tokens: int | None = None
    cost: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0


@dataclass
class Spent:
    """Over all runs into a folder."""

    prompt: int = 0
    completion: int = 0
    replies: int = 0

    def add(self, usage: Mapping[str, int]) -> None:
        self.replies += 1
        self.prompt += usage.get("prompt_tokens", 0)
        self.completion += usage.get("completion_tokens", 0)

    def cost(self, limits: Limits) -> float:
        paid = self.prompt * limits.prompt_price + self.completion * limits.completion_price
        return paid / 1e6

    def over(self, limits: Limits) -> str:
        """What is used up, or nothing."""
        if limits.tokens is not None and self.prompt + self.completion >= limits.tokens:
            return f"the budget of {limits.tokens} tokens is used up"
        if limits.cost is not None and self.cost(limits) >= limits.cost:
            return f"the budget of {limits.cost:g} is used up"
        return ""


@dataclass
class Asked:
    """A question on its way. image: the name of its picture in the folder of the result."""

    item: Item
    url: str
    image: str
    tried: int = 0
    verdict: Verdict | None = None


@dataclass
class Outcome:
    """verdicts: by question, in the order of the data set; left: questions that were not asked to
    the end; ended: why, where it was not the end."""

    verdicts: dict[str, Asked] = field(default_factory=dict)
    left: int = 0
    ended: str = ""


class Replies:
    """What the teacher said, on disk."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError where another run writes there, or the file is something else."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "replies.jsonl"
        self.spent = Spent()
        self.known: dict[str, Mapping[str, Any]] = {}
        self._lock = lock_folder(folder / "lock")
        try:
            self._read()
        except BaseException:
            self._lock.release()
            raise

    def _read(self) -> None:
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
        self.spent.add(_usage(line["reply"]))

    def add(self, key: str, reply: Mapping[str, Any]) -> None:
        line = {"key": key, "reply": reply}
        append_line(self.path, json.dumps(line).encode() + b"\n")
        self._remember(line)

    def close(self) -> None:
        self._lock.release()


def annotate(
    client: Client,
    items: Sequence[Item],
    teacher: Teacher,
    limits: Limits,
    folder: Path,
    *,
    unchecked: bool = False,
    tell: Callable[[Outcome, Spent], None] = lambda _outcome, _spent: None,
) -> tuple[Outcome, Spent]:
    """Asks what is not known yet. Raises ServerError where the server fails; what it said until
    then is kept."""
    replies = Replies(folder)
    run = _Run(client, teacher, limits, replies, folder, unchecked)
    try:
        run.all(items, tell)
    finally:
        replies.close()
    return run.outcome, replies.spent


class _Run:
    def __init__(
        self,
        client: Client,
        teacher: Teacher,
        limits: Limits,
        replies: Replies,
        folder: Path,
        unchecked: bool,
    ) -> None:
        self.client, self.teacher, self.limits = client, teacher, limits
        self.replies, self.folder, self.unchecked = replies, folder, unchecked
        self.outcome = Outcome()
        self._running: dict[Future[dict[str, Any]], tuple[str, Asked]] = {}

    def all(self, items: Sequence[Item], tell: Callable[[Outcome, Spent], None]) -> None:
        waiting: Iterator[Item] = iter(items)
        again: deque[Asked] = deque()
        try:
            while True:
                while len(self._running) < self.limits.parallel:
                    asked = again.popleft() if again else self._opened(waiting)
                    if asked is None:
                        break
                    self._ask(asked)
                if not self._running:
                    break
                done, _ = wait(self._running, TICK_S, FIRST_COMPLETED)
                again += self._heard(done)
                tell(self.outcome, self.replies.spent)
        except ServerError:  # what is on its way was paid for
            with suppress(ServerError):
                self._heard(wait(self._running, LAST_S).done)
            raise
        finally:
            for future in self._running:
                future.cancel()
            self.outcome.left = sum(item.key not in self.outcome.verdicts for item in items)

    def _opened(self, waiting: Iterator[Item]) -> Asked | None:
        """The next question whose picture can be read; None at the end."""
        for item in waiting:
            source = item.picture_bytes()
            try:
                picture = None if source is None else open_picture(source)
            except PictureError as error:
                verdict = Verdict({}, Reason.NO_PICTURE, error.message)
                self.outcome.verdicts[item.key] = Asked(item, "", "", verdict=verdict)
                continue
            return Asked(item, *self._kept(picture))
        return None

    def _kept(self, picture: Picture | None) -> tuple[str, str]:
        """(data URL, name of the file beside the result) of a picture: what was sent is learnt."""
        if picture is None:
            return "", ""
        url = data_url(picture)
        head, _, data = url.partition(",")
        kind = head.removeprefix("data:image/").partition(";")[0]
        name = f"images/{hashlib.sha256(data.encode()).hexdigest()[:24]}.{kind}"
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, base64.b64decode(data))
        return url, name

    def _ask(self, asked: Asked) -> None:
        """Sends it, unless the reply is known: then it is as if it had just come. Where the budget
        is used up it stays unasked."""
        while True:
            body = self._body(asked)
            told = f"{self.client.url} {json.dumps(body, sort_keys=True)}"
            key = hashlib.sha256(told.encode()).hexdigest()
            known = self.replies.known.get(key)
            if known is None and (over := self.replies.spent.over(self.limits)):
                self.outcome.ended = over
                return
            if known is None:
                self._running[self.client.begin("/chat/completions", body)] = (key, asked)
                return
            if self._judged(asked, known):
                return

    def _body(self, asked: Asked) -> dict[str, Any]:
        teacher = self.teacher
        warmth = teacher.temperature + WARMER * asked.tried
        content: list[dict[str, Any]] = []
        if asked.url:
            content.append({"type": "image_url", "image_url": {"url": asked.url}})
        content.append({"type": "text", "text": prompt(asked.item, teacher)})
        own = {"llavao1": {"stages": True}} if teacher.is_ours else {}
        return {
            "model": teacher.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": round(min(max(WARMEST, teacher.temperature), warmth), 2),
            "max_tokens": teacher.max_tokens,
            "seed": asked.tried,
            **own,
        }

    def _heard(self, done: Iterable[Future[dict[str, Any]]]) -> list[Asked]:
        """Those that must be asked again. Raises ServerError, when all have been stored."""
        again: list[Asked] = []
        problem: ServerError | None = None
        for future in done:
            key, asked = self._running.pop(future)
            try:
                reply = future.result()
            except CancelledError:
                continue
            except ServerError as error:
                if error.is_about_the_request or error.status == UNKNOWN_KIND:
                    self._end(asked, Verdict({}, Reason.REJECTED, error.message))
                else:
                    problem = error
                continue
            self.replies.add(key, reply)
            problem = problem or self._uncounted(reply)
            if not self._judged(asked, reply):
                again.append(asked)
        if problem is not None:
            raise problem
        return again

    def _uncounted(self, reply: Mapping[str, Any]) -> ServerError | None:
        limited = self.limits.tokens is not None or self.limits.cost is not None
        if not limited or _usage(reply):
            return None
        return ServerError(
            f"{self.client.name} does not say how many tokens a reply took",
            hint="Without that no budget can be kept: leave it out, or limit the questions.",
        )

    def _judged(self, asked: Asked, reply: Mapping[str, Any]) -> bool:
        verdict = judge(
            asked.item, reply, unchecked=self.unchecked, shown=self.teacher.shows_answer
        )
        asked.tried += 1
        final = verdict.reason is None or verdict.reason is Reason.UNCHECKED
        if final or asked.tried >= self.limits.tries:
            self._end(asked, verdict)
            return True
        return False

    def _end(self, asked: Asked, verdict: Verdict) -> None:
        asked.verdict = verdict
        asked.url = ""  # megabytes
        self.outcome.verdicts[asked.item.key] = asked


def _is_reply(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("key"), str) and isinstance(value.get("reply"), dict)


def _usage(reply: Mapping[str, Any]) -> dict[str, int]:
    told = reply.get("usage")
    names = ("prompt_tokens", "completion_tokens")
    if not isinstance(told, Mapping):
        return {}
    counts = {name: told.get(name) for name in names}
    return {n: v for n, v in counts.items() if isinstance(v, int) and v >= 0}
