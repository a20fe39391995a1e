"""An engine that says what a script tells it to, through the real strategies and events.

For tests of what stands above the engine (the desktop app): same calls, no model, no native code.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.errors import BackendError, Cancelled, UsageError
from llavao1_edge.images import Canvas, Picture, TilingRules, choose_canvas
from llavao1_edge.lifetime import Closing
from llavao1_edge.search import (
    Answered,
    Branch,
    Event,
    PictureReady,
    Staged,
    Strategy,
    Token,
    options_of,
)
from llavao1_edge.search.answer import Answer, Counters, Recorder, Trace
from llavao1_edge.testing.scripted import ScriptedDrafter

RULES = TilingRules(tile_size=56, max_tiles=4, mean=(0, 0, 0), std=(1, 1, 1))
TEXTS = {
    "summary": ["I will look at the picture and count."],
    "caption": ["There are three shapes.", "There are two shapes."],
    "reasoning": ["One, two, three.", "One and two."],
    "conclusion": ["3", "2"],
}


@dataclass
class Script:
    """What is said. A word is a token.

    texts: stage → texts, one per candidate; answers: a part of a question → other texts for it.
    token_s: seconds a token takes; load_s, picture_s: likewise. fail: a part of a question → the
    error's message. dies: a part of a question at which the process ends at once, as by a crash;
    stuck: one at which it no longer reacts.
    """

    texts: Mapping[str, list[str]] = field(default_factory=lambda: dict(TEXTS))
    answers: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    logprobs: Mapping[str, float] = field(default_factory=dict)
    token_s: float = 0.0
    load_s: float = 0.0
    picture_s: float = 0.0
    fail: Mapping[str, str] = field(default_factory=dict)
    dies: str = ""
    stuck: str = ""

    @classmethod
    def read(cls, path: Path) -> Script:
        """A JSON object with any of these fields."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


class ScriptedSession(Closing):
    """As `engine.Session`. `turns`: what was asked and recalled so far."""

    def __init__(self, engine: ScriptedEngine, picture: Picture | None) -> None:
        self.engine, self.picture = engine, picture
        self.turns: list[str] = []

    def close(self) -> None:
        pass

    def recall(self, question: str, stages: Mapping[str, str]) -> None:  # noqa: ARG002
        self.turns.append(question)

    def stream(
        self,
        question: str,
        *,
        search: Strategy | None = None,
        seed: int = 0,
        stop: Callable[[], bool] = lambda: False,
        **_: Any,
    ) -> Generator[Event, None, None]:
        """The events of an answer. Raises what the script wants raised."""
        self._refuse(question)
        if self.picture is not None:
            yield self.engine.see(self.picture)
        strategy = search or Staged()
        drafter = ScriptedDrafter(
            self._texts(question, seed), logprobs=dict(self.engine.script.logprobs)
        )
        recorder = Recorder()
        chosen = yield from self._search(question, strategy, drafter, recorder, stop)
        path = recorder.chosen(chosen)
        if stop() and not path:
            raise Cancelled("stopped before the answer began")
        trace = Trace(
            strategy.name,
            options_of(strategy),
            seed,
            Counters(sampled_tokens=drafter.sampled, candidates=len(recorder.nodes)),
            recorder.nodes,
            recorder.comparisons,
            tuple(recorder.remarks),
        )
        notes = ("stopped; this is the best there was",) if stop() else ()
        stages = {stage.name: text for stage, text in chosen.stages}
        self.turns.append(question)
        yield Answered(Answer(stages.get("conclusion", ""), stages, trace, notes, stop()))

    def _refuse(self, question: str) -> None:
        if not question.strip():
            raise UsageError("the question is empty", hint="Ask something about the picture.")
        for part, message in self.engine.script.fail.items():
            if part in question:
                raise BackendError(message, hint="The script wanted it so.")

    def _texts(self, question: str, seed: int) -> dict[str, list[str]]:
        """What is said to a question; another seed begins at another text."""
        texts = dict(self.engine.script.texts)
        for part, other in self.engine.script.answers.items():
            if part in question:
                texts |= other
        return {
            name: said[seed % len(said) :] + said[: seed % len(said)]
            for name, said in texts.items()
        }

    def _search(
        self,
        question: str,
        strategy: Strategy,
        drafter: ScriptedDrafter,
        recorder: Recorder,
        stop: Callable[[], bool],
    ) -> Generator[Event, None, Branch]:
        script = self.engine.script
        run = strategy.run(drafter.root(), drafter)
        while True:
            try:
                event = next(run)
            except StopIteration as finished:
                branch: Branch = finished.value
                return branch
            recorder.feed(event)
            if isinstance(event, Token):
                if stop():
                    drafter.cancel_after = 0
                time.sleep(script.token_s)
                if script.dies and script.dies in question and drafter.sampled > 30:
                    os.abort()
                while script.stuck and script.stuck in question:
                    time.sleep(1)
                event = Token(event.stage, event.candidate, event.text + " ")
            yield event


class ScriptedEngine(Closing):
    """As `engine.Engine`. `seen`: keys of the pictures read so far."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[str] = []
        time.sleep(script.load_s)

    def close(self) -> None:
        pass

    def canvas(self, picture: Picture) -> Canvas:
        return choose_canvas(picture.height, picture.width, rules=RULES)

    def see(self, picture: Picture) -> PictureReady:
        reused = picture.key in self.seen
        if not reused:
            time.sleep(self.script.picture_s)
            self.seen.append(picture.key)
        found = self.canvas(picture)
        return PictureReady(
            found.rows, found.columns, found.width, found.height, reused,
            0.0 if reused else self.script.picture_s * 1000,
        )  # fmt: skip

    def session(self, picture: Picture | None = None) -> ScriptedSession:
        return ScriptedSession(self, picture)
