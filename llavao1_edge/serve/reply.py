"""What clients get: OpenAI's objects, and beside them what they do not know of, in `llavao1`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from llavao1_edge.serve import wire
from llavao1_edge.serve.request import ChatRequest
from llavao1_edge.serve.telling import reasoning

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": still at work\n\n"


class Reply:
    """The reply to one request, whole or in chunks."""

    def __init__(self, request: ChatRequest) -> None:
        self.request = request
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": request.model,
        }
        self._begun: set[int] = set()

    # --- whole --------------------------------------------------------------------------------
    def whole(self, choices: Sequence[wire.Chosen]) -> dict[str, Any]:
        """A `chat.completion`."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._choice(chosen) for chosen in choices],
            "usage": usage(choices),
            "llavao1": self._own(choices),
        }

    def _choice(self, chosen: wire.Chosen) -> dict[str, Any]:
        thought = _reasoning(chosen)
        message = {"role": "assistant", "content": chosen.conclusion, "refusal": None}
        if thought:
            message["reasoning_content"] = thought
        return {
            "index": chosen.choice,
            "message": message,
            "logprobs": self._logprobs(chosen),
            "finish_reason": "length" if chosen.truncated else "stop",
        }

    def _logprobs(self, chosen: wire.Chosen) -> dict[str, Any] | None:
        if not self.request.logprobs:
            return None
        content = []
        for piece, logprob, top in chosen.tokens:
            best = [_token(one, value) for one, value in top]
            content.append({**_token(piece, logprob), "top_logprobs": best})
        return {"content": content, "refusal": None}

    def _own(self, choices: Sequence[wire.Chosen]) -> dict[str, Any]:
        request = self.request
        told: dict[str, Any] = {
            "seed": request.seed,
            "strategy": request.strategy.name,
            "notes": [note for chosen in choices for note in chosen.notes],
        }
        if request.wants_stages:
            told["stages"] = [dict(chosen.stages) for chosen in choices]
        if request.wants_trace:
            told["trace"] = [dict(chosen.trace) for chosen in choices]
        return told

    # --- chunks -------------------------------------------------------------------------------
    def delta(self, message: wire.Delta) -> bytes:
        name = "reasoning_content" if message.reasoning else "content"
        return self._chunk(message.choice, self._first(message.choice) | {name: message.text})

    def end(self, chosen: wire.Chosen) -> bytes:
        """The last chunk of a choice."""
        reason = "length" if chosen.truncated else "stop"
        logprobs = self._logprobs(chosen)
        first, own = self._first(chosen.choice), self._own([chosen])
        return self._chunk(chosen.choice, first, reason, logprobs, llavao1=own)

    def last(self, choices: Sequence[wire.Chosen]) -> bytes:
        """The end of the stream; before it a chunk without choices, where usage was asked for."""
        if not self.request.include_usage:
            return DONE
        told = {**self._head, "object": "chat.completion.chunk", "choices": []}
        return event({**told, "usage": usage(choices)}) + DONE

    def _first(self, choice: int) -> dict[str, Any]:
        if choice in self._begun:
            return {}
        self._begun.add(choice)
        return {"role": "assistant"}

    def _chunk(
        self,
        index: int,
        delta: Mapping[str, Any],
        reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return event({**self._head, "object": "chat.completion.chunk", "choices": [choice], **more})


def event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def usage(choices: Sequence[wire.Chosen]) -> dict[str, Any]:
    """All tokens of all candidates count; those that are not the conclusion's are reasoning."""
    counted = [chosen.trace["counters"] for chosen in choices]
    cached = sum(one["cached_tokens"] for one in counted)
    prompt = cached + sum(one["prefill_tokens"] for one in counted)
    sampled = sum(one["sampled_tokens"] for one in counted)
    own = sum(chosen.n_conclusion for chosen in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": sampled,
        "total_tokens": prompt + sampled,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": max(0, sampled - own)},
    }


def _reasoning(chosen: wire.Chosen) -> str:
    stages = {name: text for name, text in chosen.stages.items() if text is not None}
    stages.pop("conclusion", None)
    return reasoning(stages)


def _token(piece: Sequence[int], logprob: float) -> dict[str, Any]:
    text = bytes(piece).decode("utf-8", "replace")
    return {"token": text, "logprob": logprob, "bytes": list(piece)}
