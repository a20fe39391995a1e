"""What of an answer may be told while it is written, and what is told at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llavao1_edge.search import CandidateFinished, Event, StageBeam, StageKept, Strategy, Token
from llavao1_edge.search.answer import Answer
from llavao1_edge.stages import CONCLUSION, STAGES, Stage

Tell = Callable[[bool, str], None]
"""Whether it is reasoning, and the text."""
BETWEEN = "\n\n"


def reasoning(stages: dict[str, str]) -> str:
    """All stages but the conclusion, as a client shows them."""
    written = [stage for stage in STAGES[:-1] if stage.name in stages]
    return BETWEEN.join(f"{_title(stage)}: {stages[stage.name]}" for stage in written)


def _title(stage: Stage) -> str:
    return stage.name.capitalize()


def cut(text: str, stops: Sequence[str]) -> str:
    """Up to the first of the texts that end an answer."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends, default=len(text))].rstrip() if ends else text


class Telling:
    """Tells an answer as soon as it is certain: token by token where there is one candidate, stage
    by stage where the best of a stage goes on whatever comes, else at the end."""

    def __init__(self, strategy: Strategy, stops: Sequence[str], tell: Tell) -> None:
        self._by_token = strategy.width == 1 and strategy.forces_tags
        self._by_stage = isinstance(strategy, StageBeam) and strategy.keep == 1
        self._stops, self._tell = stops, tell
        self._stage: Stage | None = None
        self._held = ""
        self._told = {True: "", False: ""}
        self.stopped = False
        """Whether a stop text came, after which nothing is told."""

    def feed(self, event: Event) -> None:
        if self._by_token and isinstance(event, Token):
            self._add(event.stage, event.text)
        elif self._by_token and isinstance(event, CandidateFinished):
            self._held = self._held.rstrip()
        elif (
            self._by_stage
            and not self._by_token
            and isinstance(event, StageKept)
            and not event.candidate.branch.open  # else it comes again, whole
        ):
            self._add(event.stage, event.text)
            self._held = self._held.rstrip()

    def finish(self, answer: Answer) -> str:
        """Tells what is left; the conclusion."""
        stages = dict(answer.stages)
        stages.pop(CONCLUSION.name, None)
        conclusion = cut(answer.conclusion, self._stops)
        for is_reasoning, whole in ((True, reasoning(stages)), (False, conclusion)):
            told = self._told[is_reasoning]
            if whole.startswith(told) and len(whole) > len(told):
                self._say(is_reasoning, whole[len(told) :])
        return conclusion

    def _add(self, stage: Stage | None, text: str) -> None:
        if stage is None:
            return
        if stage is not self._stage:
            self._stage, self._held = stage, ""
            text = text.lstrip()
            if not text:
                self._stage = None  # blanks after the opening tag
                return
            if stage is not CONCLUSION:
                between = BETWEEN if self._told[True] else ""
                self._say(True, f"{between}{_title(stage)}: ")
        self._held += text
        ready = self._held.rstrip()  # blanks before a closing tag belong to nothing
        if stage is CONCLUSION:
            ready = self._before_stop(ready)
        if ready:
            self._held = self._held[len(ready) :]
            self._say(stage is not CONCLUSION, ready)

    def _before_stop(self, text: str) -> str:
        """What of held text is no beginning of a stop text, and comes before any."""
        if self.stopped:
            return ""
        before = cut(text, self._stops)
        if before != text:
            self.stopped = True
            return before
        for n in range(max((len(stop) for stop in self._stops), default=1) - 1, 0, -1):
            if any(stop.startswith(text[-n:]) for stop in self._stops if n < len(stop)):
                return text[:-n].rstrip()
        return text

    def _say(self, is_reasoning: bool, text: str) -> None:
        if text:
            self._told[is_reasoning] += text
            self._tell(is_reasoning, text)


def conclusion_tokens(answer: Answer, conclusion: str) -> list[Any]:
    """(text, bytes, log-probability, top) of the tokens that wrote the conclusion; empty where the
    model was not asked for its stages."""
    tokens = [
        token
        for node in answer.trace.nodes
        if node.chosen and node.candidate.stage is CONCLUSION
        for token in node.candidate.tokens
    ]
    whole = b"".join(token.piece for token in tokens)
    start = len(whole) - len(whole.lstrip())
    end = start + len(conclusion.encode())
    found, at = [], 0
    for token in tokens:
        after = at + len(token.piece)
        if after > start and at < end:
            top = [(list(piece), logprob) for piece, logprob in token.top]
            found.append((list(token.piece), token.logprob, top))
        at = after
    return found
