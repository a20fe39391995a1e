"""A backend that says what a script tells it to, beneath the real engine.

For tests of what stands above the engine (the desktop app): everything but the model is real.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llavao1_edge.backend import ModelInfo, Request, Stop
from llavao1_edge.engine import Engine
from llavao1_edge.errors import BackendError, UsageError
from llavao1_edge.images import Picture, TilingRules, choose_canvas
from llavao1_edge.search import (
    Branch,
    Budget,
    CandidateFinished,
    Ending,
    PictureReady,
    Token,
    Told,
    Work,
    tell_nobody,
)
from llavao1_edge.search.answer import Counters
from llavao1_edge.testing.scripted import ScriptedDrafter

RULES = TilingRules(tile_size=56, max_tiles=4, mean=(0, 0, 0), std=(1, 1, 1))
LAYERS = 40  # steps in which a picture is read
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


class _PacedDrafter(ScriptedDrafter):
    """Takes its time as the script says, and may stop, hang or die on the way."""

    pace: Script
    question: str
    stop: Stop

    @property
    def ended(self) -> Ending | None:
        return Ending.CANCELLED if self.stop() else super().ended

    def draft(self, *given: Any, **options: Any) -> Iterator[Token | CandidateFinished]:
        for event in super().draft(*given, **options):
            if not isinstance(event, Token):
                yield event
                continue
            time.sleep(self.pace.token_s)
            if self.pace.dies and self.pace.dies in self.question and self.sampled > 30:
                os.abort()
            while self.pace.stuck and self.pace.stuck in self.question:
                time.sleep(1)
            yield Token(event.stage, event.candidate, event.text + " ")


class ScriptedAttempt:
    """See `backend.Attempt`."""

    def __init__(
        self, conversation: ScriptedConversation, request: Request, budget: Budget, stop: Stop
    ) -> None:
        self.conversation, self.request = conversation, request
        self.counters, self.remarks = Counters(), ()
        script = conversation.backend.script
        self.drafter = _PacedDrafter(
            self._texts(script), logprobs=dict(script.logprobs), budget=budget
        )
        self.drafter.pace, self.drafter.question = script, request.question
        self.drafter.stop = stop

    def _texts(self, script: Script) -> dict[str, list[str]]:
        """What is said to the question; another seed begins at another text."""
        texts, seed = dict(script.texts), self.request.seed
        for part, other in script.answers.items():
            if part in self.request.question:
                texts |= other
        return {
            name: said[seed % len(said) :] + said[: seed % len(said)]
            for name, said in texts.items()
        }

    def see(self) -> PictureReady | None:
        pictures = self.conversation.pictures
        see = self.conversation.backend.see
        return see(pictures[0], self.request.told) if pictures else None

    def begin(self) -> Branch:
        return self.drafter.root()

    def keep(self, branch: Branch) -> None:  # noqa: ARG002
        self.conversation.turns.append(self.request.question)

    def close(self) -> None:
        self.counters.sampled_tokens = self.drafter.sampled
        self.counters.candidates = self.drafter.finished


class ScriptedConversation:
    """See `backend.Conversation`. `turns`: what was asked and recalled so far."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self.backend = backend
        self.pictures: tuple[Picture, ...] = ()
        self.resumable = False
        self.turns: list[str] = []

    @property
    def begun(self) -> bool:
        return bool(self.turns)

    def recall(self, question: str, stages: Mapping[str, str]) -> None:  # noqa: ARG002
        self.turns.append(question)

    def attempt(self, request: Request, *, budget: Budget, stop: Stop) -> ScriptedAttempt:
        if not request.question.strip():
            raise UsageError("the question is empty", hint="Ask something about the picture.")
        for part, message in self.backend.script.fail.items():
            if part in request.question:
                raise BackendError(message, hint="The script wanted it so.")
        return ScriptedAttempt(self, request, budget, stop)

    def close(self) -> None:
        pass


class ScriptedBackend:
    """See `backend.Backend`. `seen`: keys of the pictures read so far."""

    about = ModelInfo("script", "script", "script", tile_size=56, max_tiles=4)

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[str] = []
        time.sleep(script.load_s)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass

    def conversation(self) -> ScriptedConversation:
        return ScriptedConversation(self)

    def see(self, picture: Picture, told: Told = tell_nobody) -> PictureReady:
        reused = picture.key in self.seen
        if not reused:
            for layer in range(LAYERS):
                told(Work.PICTURE, layer / LAYERS)
                time.sleep(self.script.picture_s / LAYERS)
            self.seen.append(picture.key)
        found = choose_canvas(picture.height, picture.width, rules=RULES)
        return PictureReady(
            found.rows, found.columns, found.width, found.height, reused,
            0.0 if reused else self.script.picture_s * 1000,
        )  # fmt: skip


class ScriptedEngine(Engine):
    """An `engine.Engine` on a script."""

    def __init__(self, script: Script) -> None:
        super().__init__(ScriptedBackend(script))
