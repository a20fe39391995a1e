"""Candidates on a server that cannot go on in an answer: whole answers, handed out by stages.

What a strategy asks for after the first stage is there already. Strategies that would weigh a stage
before the next one is written cannot work there, and are told so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

from llavao1_edge.errors import ServerError, UsageError
from llavao1_edge.phrases import Phrase
from llavao1_edge.remote.client import TICK_S
from llavao1_edge.remote.dialect import OURS
from llavao1_edge.remote.drafter import RemoteDrafter
from llavao1_edge.remote.growing import State, Written, told_tokens, whole_text
from llavao1_edge.remote.probe import PATH
from llavao1_edge.remote.requests import sampling_fields
from llavao1_edge.scoring import Part
from llavao1_edge.search import (
    Branch,
    Candidate,
    CandidateFinished,
    Ending,
    Token,
    TokenLogprob,
    Unit,
)
from llavao1_edge.stages import CONCLUSION, STAGES, Stage, parse


def cannot_go_on(server: str) -> UsageError:
    return UsageError(
        Phrase("{name} cannot go on in an answer", name=server),
        hint="Choose --strategy best-of-n, staged, direct or free (in the window: Fast).",
    )


class WholeDrafter(RemoteDrafter):
    """See `search.seam.Drafter`."""

    def draft(
        self,
        branches: Sequence[Branch],
        stage: Stage | None,
        *,
        n: int,
        first: int = 0,
        unit: Unit = Unit.STAGE,
        greedy: bool = False,
    ) -> Iterator[Token | CandidateFinished]:
        """Raises UsageError where a stage would have to be written again."""
        if stage is None:  # nothing to go on in
            yield from super().draft(branches, stage, n=n, first=first, greedy=greedy)
            return
        started = time.perf_counter()
        if unit is Unit.SENTENCE or (any(branch.parts for branch in branches) and n > 1):
            raise cannot_go_on(self.context.client.name)
        if self.context.stop() or (self.context.budget.ended and not greedy):
            return
        for position, branch in enumerate(branches):
            if branch.parts:
                yield from self._next_stage(branch, stage, position * n, started)
                continue
            replies = self._replies(branch, stage, n=n, first=first, greedy=greedy)
            for i, reply in enumerate(replies):
                if reply is None:
                    continue
                written = self._written(reply, stage)
                number = position * n + i
                made = self._made(branch, written, first + i, started)
                yield Token(stage, number, made.text)
                yield CandidateFinished(number, made)

    # --- asking -------------------------------------------------------------------------------
    def _replies(
        self, branch: Branch, stage: Stage, *, n: int, first: int, greedy: bool
    ) -> list[dict[str, Any] | None]:
        """All side by side; None for those that came too late."""
        context = self.context
        bodies = [self._asking(branch, stage, first + i, greedy=greedy) for i in range(n)]
        context.counters.candidates += n
        context.counters.decode_steps += n
        futures = [context.client.begin(PATH, body) for body in bodies]
        found: list[dict[str, Any] | None] = [None] * n
        try:
            left = set(range(n))
            while left and not context.stop() and (greedy or not context.budget.ended):
                waited = wait([futures[i] for i in left], TICK_S, FIRST_COMPLETED)
                for i in sorted(left):
                    if futures[i] in waited.done:
                        found[i] = futures[i].result()
                        left.discard(i)
        finally:
            for future in futures:
                future.cancel()
        return found

    def _asking(self, branch: Branch, stage: Stage, draw: int, *, greedy: bool) -> dict[str, Any]:
        context = self.context
        server, request = context.server, context.request
        one = self._growing(branch, stage, 0, draw, Unit.STAGE, request.sampling.max_tokens)
        body: dict[str, Any] = {
            "model": server.model,
            "messages": context.messages.asking(request.question),
            "max_tokens": one.most,
            "seed": self._seed(one),
            **sampling_fields(server, request.sampling, greedy=greedy),
        }
        if server.dialect is OURS:
            strategy = "direct" if stage is CONCLUSION else "staged"
            body["llavao1"] = {"strategy": strategy, "stages": True, "trace": True}
        if server.logprobs:
            body |= {"logprobs": True}
            if request.top_logprobs:
                body["top_logprobs"] = request.top_logprobs
        return body

    # --- reading ------------------------------------------------------------------------------
    def _written(self, reply: dict[str, Any], stage: Stage) -> tuple[Written, ...]:
        """The stages of an answer from `stage` on, which is the first or the only one."""
        choices = reply.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict) or not isinstance(choice, dict):
            name = self.context.client.name
            raise ServerError(
                Phrase("{name} sends a reply without a choice", name=name), hint="Ask again."
            )
        usage = reply.get("usage")
        if isinstance(usage, dict):
            self._count(usage)
        own = reply.get("llavao1")
        if isinstance(own, dict) and own.get("trace"):
            return self._traced(own["trace"])
        text, tokens = whole_text(message.get("content")), told_tokens(choice)
        ending = Ending.LENGTH if choice.get("finish_reason") == "length" else Ending.CLOSED
        if not self._spend(len(tokens) or len(text.split())):
            ending = Ending.BUDGET
        stages = _split(text, tokens, ending)
        return stages if stage is not CONCLUSION else stages[-1:]

    def _spend(self, n: int) -> bool:
        self.context.counters.sampled_tokens += n
        return self.context.budget.take(n) == n

    def _traced(self, trace: Any) -> tuple[Written, ...]:
        """As our own server tells it."""
        try:
            made = [
                Written(
                    next(stage for stage in STAGES if stage.name == one["stage"]),
                    whole_text(one["text"]),
                    int(one["tokens"]),
                    float(one["mean_logprob"]) * int(one["tokens"]),
                    float(one["min_logprob"]),
                    Ending(one["ending"]),
                )
                for one in trace[0]["candidates"]
                if one["chosen"]
            ]
            _ = made[0]
        except (LookupError, TypeError, ValueError, ArithmeticError, StopIteration) as error:
            name = self.context.client.name
            raise ServerError(
                Phrase(
                    "{name} sends an odd trace ({kind}: {error})",
                    name=name,
                    kind=type(error).__name__,
                    error=error,
                ),
                hint="It may be of another version.",
            ) from None
        self._spend(sum(one.n_tokens for one in made))
        return tuple(made)

    def _next_stage(
        self, branch: Branch, stage: Stage, number: int, started: float
    ) -> Iterator[CandidateFinished]:
        """The stage that came with the answer; an empty one where the model left it out."""
        later = self.states[branch.key].later
        rest = tuple(one for one in later if one.stage is not stage)
        own = next((one for one in later if one.stage is stage), None)
        own = own or Written(stage, "", 0, 0.0, 0.0, Ending.LENGTH)
        yield CandidateFinished(number, self._made(branch, (own, *rest), 0, started))

    def _made(
        self, branch: Branch, written: tuple[Written, ...], draw: int, started: float
    ) -> Candidate:
        """A candidate of the first of `written`; the others wait in its branch."""
        own = written[0]
        state = self.states[branch.key]
        text = f"{state.text}{own.stage.opening} {own.text} {own.stage.closing}\n\n"
        part = Part(
            own.stage,
            own.text,
            own.n_tokens,
            own.logprob,
            own.min_logprob,
            finished=own.ending is Ending.CLOSED,
        )
        reached = Branch(
            self.add(State(text, later=written[1:])),
            (*branch.parts, part),
            (*branch.path, draw),
        )
        return Candidate(
            branch=reached,
            parent=branch.key,
            number=draw,
            stage=own.stage,
            text=own.text,
            n_tokens=own.n_tokens,
            logprob=own.logprob,
            min_logprob=own.min_logprob,
            ending=own.ending,
            milliseconds=(time.perf_counter() - started) * 1000,
            tokens=own.tokens,
        )


def _piece(stage: Stage, text: str, tokens: list[TokenLogprob], ending: Ending) -> Written:
    values = [token.logprob for token in tokens]
    n = len(tokens) or len(text.split())
    least = min(values, default=0.0)
    return Written(stage, text.strip(), n, sum(values), least, ending, tuple(tokens))


def _split(text: str, tokens: list[TokenLogprob], ending: Ending) -> tuple[Written, ...]:
    """By tags, as far as the model wrote them; without any, all of it is the conclusion."""
    stages = parse(text).stages
    found = []
    for stage in STAGES:
        if stage.name not in stages:
            found.append(Written(stage, "", 0, 0.0, 0.0, Ending.LENGTH))
            continue
        start = text.find(stage.opening)
        end = text.find(stage.closing, max(0, start))
        start = start + len(stage.opening) if start >= 0 else 0
        own = _between(tokens, start, end if end >= 0 else len(text))
        closed = end >= 0 or ending is Ending.CLOSED
        found.append(_piece(stage, stages[stage.name], own, Ending.CLOSED if closed else ending))
    return tuple(found)


def _between(tokens: list[TokenLogprob], start: int, end: int) -> list[TokenLogprob]:
    """Those that wrote a part of a text. start, end: of its characters."""
    found, at = [], 0
    for token in tokens:
        after = at + len(token.piece.decode("utf-8", "replace"))
        if after > start and at < end:
            found.append(token)
        at = after
    return found
