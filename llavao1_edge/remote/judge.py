"""Lets a model on a server judge: the likeliest next tokens after a fixed opening, or a reply."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any

from llavao1_edge.errors import Cancelled
from llavao1_edge.remote.client import TICK_S
from llavao1_edge.remote.context import Context
from llavao1_edge.remote.growing import told_tokens, whole_text
from llavao1_edge.remote.probe import PATH, choice_of
from llavao1_edge.remote.requests import sampling_fields
from llavao1_edge.scoring import Ask

REPLY_TOKENS = 256
TOP = 20  # the most that servers tell
ONLY = "\nReply with the number alone."


class RemoteJudge:
    """See `scoring.JudgeRunner`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def question(self) -> str:
        return self._context.request.question

    @property
    def seed(self) -> int:
        return self._context.request.seed

    def weigh(
        self, asks: Sequence[Ask], options: tuple[str, ...]
    ) -> list[tuple[float, ...] | None]:
        """See `scoring.JudgeRunner`: log-probabilities, whose differences are those of logits. An
        option that is not among the likeliest tokens counts as the least of them."""
        server = self._context.server
        if not server.logprobs:
            return [None] * len(asks)
        bodies = []
        for ask in asks:
            opening = ask.opening if server.continues else None
            text = ask.text if server.continues else f"{ask.text}{ONLY}"
            body = self._body(ask, text, opening, 1)
            bodies.append(body | {"temperature": 0, "logprobs": True, "top_logprobs": TOP})
        return [_weights(reply, options) for reply in self._all(bodies)]

    def reply(self, asks: Sequence[Ask]) -> list[str]:
        """See `scoring.JudgeRunner`."""
        request = self._context.request
        more = sampling_fields(self._context.server, request.sampling, greedy=False)
        bodies = [
            self._body(ask, ask.text, None, REPLY_TOKENS) | dict(more) | {"seed": request.seed}
            for ask in asks
        ]
        return [_content(reply) for reply in self._all(bodies)]

    def _body(self, ask: Ask, text: str, opening: str | None, most: int) -> dict[str, Any]:
        context = self._context
        fields = dict(context.server.dialect.continues or {}) if opening is not None else {}
        return {
            "model": context.server.model,
            "messages": context.messages.alone(text, picture=ask.picture, opening=opening),
            "max_tokens": most,
            **fields,
        }

    def _all(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """Replies to requests side by side; None for those that came too late."""
        context, started = self._context, time.perf_counter()
        futures = [context.client.begin(PATH, body) for body in bodies]
        found: list[dict[str, Any] | None] = []
        try:
            for future in futures:
                found.append(self._wait(future))
        except Cancelled:
            found += [None] * (len(futures) - len(found))
        finally:
            for future in futures:
                future.cancel()
            context.counters.judge_ms += (time.perf_counter() - started) * 1000
        context.counters.judge_calls += len(bodies)
        for reply in found:
            usage = (reply or {}).get("usage")
            if isinstance(usage, dict) and type(usage.get("total_tokens")) is int:
                context.counters.judge_tokens += usage["total_tokens"]
        return found

    def _wait(self, future: Future[dict[str, Any]]) -> dict[str, Any]:
        while True:
            if self._context.stop() or self._context.budget.ended:
                raise Cancelled("stopped")
            if wait([future], TICK_S).done:
                return future.result()


def _content(reply: dict[str, Any] | None) -> str:
    message = choice_of(reply).get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return whole_text(content) if isinstance(content, str) else ""


def _weights(reply: dict[str, Any] | None, options: tuple[str, ...]) -> tuple[float, ...] | None:
    tokens = told_tokens(choice_of(reply))
    if not tokens:
        return None
    best: dict[str, float] = {}
    for piece, logprob in (*tokens[0].top, (tokens[0].piece, tokens[0].logprob)):
        text = piece.decode("utf-8", "replace").strip()
        best[text] = max(logprob, best.get(text, logprob))
    known = [best.get(option.strip()) for option in options]
    if all(value is None for value in known):
        return None
    least = min(best.values())
    return tuple(least if value is None else value for value in known)
