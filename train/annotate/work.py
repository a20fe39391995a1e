"""Asks the teacher, several questions at a time, and remembers every reply.

What is known is not asked again; everything else is made from the replies anew. A question that
cannot be answered does not end a run: it is set aside. The run ends where nothing more can be
asked: the budget is used up, the server fails at everything, or somebody stops it. What is known is
judged even then, so that the result holds all that was paid for.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.errors import PictureError, ServerError
from llavao1_edge.evaluation.items import Item
from llavao1_edge.remote.client import Client
from train.annotate.asking import Reason, Teacher, Verdict, is_comparable, judge, prompt
from train.annotate.pictures import Pictures, digest_of
from train.annotate.replies import Limits, Replies, Spent, usage

TICK_S = 0.2
LAST_S = 120.0  # for replies that are on their way when the run must end
PAUSE_S, ROUNDS = 1.0, 5  # after a failure, doubled each time; so many in a row end the run
FAILURES = 3  # of one question
FIRST_REJECTED = 8  # so many, and nothing else yet: it is the request, not the questions
WARMER, WARMEST = 0.2, 1.2  # each time: what was wrong once is likely to be wrong again
UNKNOWN_KIND, FORBIDDEN = 415, 403
BUSY = 429
BRIEF = (408, 409, 425, BUSY)  # of the 4xx: the same may be answered later
RENAMED = {"max_tokens": "max_completion_tokens"}  # OpenAI's reasoning models know no other
OPTIONAL = ("temperature", "seed")  # and take the first one at its default only


@dataclass
class Asked:
    """A question on its way. digest: of its picture; image: its name in the folder of the result;
    tried, failed: how often it was answered, and not; without: parameters that were left out."""

    item: Item
    source: bytes | Path | None = None
    digest: str = ""
    image: str = ""
    tried: int = 0
    failed: int = 0
    without: frozenset[str] = frozenset()
    verdict: Verdict | None = None


@dataclass
class Outcome:
    """verdicts: by question; left: questions without one; ended: why nothing more was asked, for
    people; error: where that was the server's fault; stopped: by Ctrl-C."""

    verdicts: dict[str, Asked] = field(default_factory=dict)
    left: int = 0
    ended: str = ""
    error: ServerError | None = None
    stopped: bool = False


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
    """Asks what is not known yet. Raises UsageError for a folder that holds something else,
    OSError."""
    replies = Replies(folder)
    run = _Run(client, teacher, limits, replies, Pictures(folder), unchecked)
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
        pictures: Pictures,
        unchecked: bool,
    ) -> None:
        self.client, self.teacher, self.limits = client, teacher, limits
        self.replies, self.pictures, self.unchecked = replies, pictures, unchecked
        self.outcome = Outcome()
        self._running: dict[Future[dict[str, Any]], tuple[str, Asked]] = {}
        self._again: deque[Asked] = deque()
        self._dropped: set[str] = set()  # parameters that the server does not take
        self._paused_until, self._rounds, self._rejected = 0.0, 0, 0
        self._was_answered = False  # in this run
        self._doubtful: list[str] = []  # questions given up since the last reply
        self._ends_at: float | None = None

    def all(self, items: Sequence[Item], tell: Callable[[Outcome, Spent], None]) -> None:
        waiting = iter(items)
        try:
            while True:
                try:
                    if not self._turn(waiting):
                        break
                    tell(self.outcome, self.replies.spent)
                except KeyboardInterrupt:
                    if self.outcome.stopped:  # again: what is judged is the result
                        break
                    self._stop()
        finally:
            for future in self._running:
                future.cancel()
            self.outcome.left = sum(item.key not in self.outcome.verdicts for item in items)

    def _turn(self, waiting: Iterator[Item]) -> bool:
        """Begins one question, or judges it where its reply is known, and hears what has come.
        False where nothing is left to do."""
        asked = None
        if len(self._running) < self.limits.parallel:
            asked = self._again.popleft() if self._again else self._opened(waiting)
            if asked is None and not self._running:
                return False
        if asked is not None and not self._begun(asked):
            self._again.appendleft(asked)
            asked = None
        self._hear(0.0 if asked is not None else TICK_S)
        return True

    # --- questions ------------------------------------------------------------------------------
    def _opened(self, waiting: Iterator[Item]) -> Asked | None:
        """The next question that can be asked; None at the end."""
        for item in waiting:
            if self.outcome.ended and item.key not in self.replies.items:
                continue  # nothing was paid for it
            if not self.unchecked and not is_comparable(item):
                self._end(Asked(item), Verdict({}, Reason.UNCHECKED))
                continue
            try:
                source = item.picture_bytes()
                return Asked(item, source, "" if source is None else digest_of(source))
            except PictureError as error:
                self._end(Asked(item), Verdict({}, Reason.NO_PICTURE, error.message))
        return None

    def _begun(self, asked: Asked) -> bool:
        """Sends it; where the reply is known, it is as if it had just come. True where nothing more
        is to be done for it now; False where it must wait."""
        while True:
            key = self._key(asked)
            if (known := self.replies.known.get(key)) is not None:
                if self._is_judged(asked, known):
                    return True
                continue
            if self.outcome.ended:
                return True
            if time.monotonic() < self._paused_until:
                return False
            if not self.replies.spent.room(self.limits, len(self._running)):
                if self._running:
                    return False
                self.outcome.ended = self.replies.spent.over(self.limits)
                return True
            if self._has_picture(asked):
                asked.without = frozenset(self._dropped)
                self._running[self.client.begin("/chat/completions", self._body(asked))] = (
                    key,
                    asked,
                )
            return True

    def _has_picture(self, asked: Asked) -> bool:
        """Whether its picture lies beside the result, as it is sent; else it has ended."""
        if asked.source is None or asked.image:
            return True
        try:
            asked.image = self.pictures.name(asked.source, asked.digest)
        except PictureError as error:
            self._end(asked, Verdict({}, Reason.NO_PICTURE, error.message))
            return False
        return True

    def _sampling(self, asked: Asked) -> dict[str, Any]:
        teacher = self.teacher
        warmth = teacher.temperature + WARMER * asked.tried
        return {
            "temperature": round(min(max(WARMEST, teacher.temperature), warmth), 2),
            "max_tokens": teacher.max_tokens,
            "seed": asked.tried,
        }

    def _key(self, asked: Asked) -> str:
        """Of what is asked, not of how it is sent: another address, another way to write a picture
        or a parameter is no reason to pay again."""
        teacher = self.teacher
        told = [teacher.model, asked.digest, prompt(asked.item, teacher), self._sampling(asked)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def _body(self, asked: Asked) -> dict[str, Any]:
        teacher = self.teacher
        content: list[dict[str, Any]] = []
        if asked.image:
            url = self.pictures.url(asked.image)
            content.append({"type": "image_url", "image_url": {"url": url}})
        content.append({"type": "text", "text": prompt(asked.item, teacher)})
        sampling = {
            RENAMED[name] if name in asked.without else name: value
            for name, value in self._sampling(asked).items()
            if name not in asked.without or name in RENAMED
        }
        return {
            "model": teacher.model,
            "messages": [{"role": "user", "content": content}],
            **sampling,
            **({"llavao1": {"stages": True}} if teacher.is_ours else {}),
        }

    # --- replies --------------------------------------------------------------------------------
    def _hear(self, seconds: float) -> None:
        """Waits for replies so long."""
        if not self._running:
            time.sleep(seconds)
            return
        done, _ = wait(self._running, seconds, FIRST_COMPLETED)
        self._heard(done)
        if self._ends_at is not None and time.monotonic() > self._ends_at:
            self._forget_running()

    def _heard(self, done: Iterable[Future[dict[str, Any]]]) -> None:
        for future in done:
            key, asked = self._running.pop(future)
            try:
                reply = future.result()
            except CancelledError:
                continue
            except ServerError as error:
                self._failed(asked, error)
                continue
            self.replies.add(key, asked.item.key, reply, self.limits.prices)
            self._rounds, self._doubtful, self._was_answered = 0, [], True
            if self.limits.is_set and not usage(reply):
                self._stop(self._uncounted())
            if not self._is_judged(asked, reply):
                self._again.append(asked)

    def _failed(self, asked: Asked, error: ServerError) -> None:
        if error.parameter in (*RENAMED, *OPTIONAL) and error.parameter not in asked.without:
            self._dropped.add(error.parameter)
            self._again.append(asked)
        elif self._is_about_it(error):
            self._rejected += 1
            self._end(asked, Verdict({}, Reason.REJECTED, error.message))
            if self._rejected == FIRST_REJECTED and not self._was_answered:
                self._stop(error)
        elif 400 <= error.status < 500 and error.status not in BRIEF:
            self._stop(error)
        else:
            self._retry(asked, error)

    def _is_about_it(self, error: ServerError) -> bool:
        """Whether it is about one question. A key that is not taken is told with the same number as
        a question that is not: what came before tells them apart."""
        if error.status == FORBIDDEN:
            return self._was_answered
        return error.is_about_the_request or error.status == UNKNOWN_KIND

    def _retry(self, asked: Asked, error: ServerError) -> None:
        """After a pause, longer each time in which nothing came."""
        asked.failed += error.status != BUSY  # which is no fault of a question
        now = time.monotonic()
        if now >= self._paused_until:
            self._paused_until = now + PAUSE_S * 2**self._rounds
            self._rounds += 1
        if self._rounds > ROUNDS:
            self._stop(error)
        elif asked.failed < FAILURES:
            self._again.append(asked)
        else:
            self._end(asked, Verdict({}, Reason.FAILED, error.message))
            self._doubtful.append(asked.item.key)

    def _uncounted(self) -> ServerError:
        return ServerError(
            f"{self.client.name} does not say how many tokens a reply took",
            hint="Without that no budget can be kept: leave it out, or limit the questions.",
        )

    def _is_judged(self, asked: Asked, reply: Mapping[str, Any]) -> bool:
        """False where it must be asked again."""
        verdict = judge(
            asked.item, reply, unchecked=self.unchecked, shown=self.teacher.shows_answer
        )
        asked.tried += 1
        if verdict.reason is None and not self._has_picture(asked):
            return True
        final = verdict.reason is None or verdict.reason is Reason.UNCHECKED
        if not final and asked.tried < self.limits.tries:
            return False
        self._end(asked, verdict)
        return True

    def _end(self, asked: Asked, verdict: Verdict) -> None:
        asked.verdict, asked.source = verdict, None  # megabytes
        self.outcome.verdicts[asked.item.key] = asked

    # --- the end --------------------------------------------------------------------------------
    def _stop(self, error: ServerError | None = None) -> None:
        """Nothing more is asked. error: None where somebody stopped it; else what is on its way was
        paid for, and is waited for."""
        if error is None:
            self.outcome.stopped, self.outcome.ended = True, "it was stopped"
            self._forget_running()
            return
        if self.outcome.error is not None:
            return
        self.outcome.error, self.outcome.ended = error, error.message
        self._ends_at = time.monotonic() + LAST_S
        for key in self._doubtful:  # it was the server, not the question
            del self.outcome.verdicts[key]

    def _forget_running(self) -> None:
        self._heard([future for future in self._running if future.done()])
        for future in self._running:
            future.cancel()
        self._running.clear()
