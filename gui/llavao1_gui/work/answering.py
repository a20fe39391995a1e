"""The engine's process: opens models, answers one question at a time, tells what happens.

    python -m llavao1_gui.work.answering [--script FILE]

--script: a scripted engine says what the file wants (for tests); nothing native is loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from llavao1_edge.errors import Cancelled, LlavaError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.lifetime import Kept
from llavao1_edge.search import (
    Answered,
    CandidateFinished,
    Event,
    Judged,
    PictureReady,
    Retraced,
    StageBeam,
    StageKept,
    StageStarted,
    Strategy,
    Token,
    Work,
    make_strategy,
)
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.state_cache import StateCache
from llavao1_gui.state import messages as m
from llavao1_gui.state.servers import is_server, parts
from llavao1_gui.work.channel import Channel

TEXT_EVERY_S = 1 / 30
MAX_SESSIONS = 8  # conversations that are kept ready
WIDEST = 8  # candidates of the widest preset


class Session(Protocol):
    def recall(self, question: str, stages: dict[str, str]) -> None: ...
    def stream(self, question: str, **options: Any) -> Iterator[Event]: ...
    def close(self) -> None: ...


class EventSender:
    """Sends an answer's events; tokens are gathered to about thirty messages a second."""

    def __init__(self, channel: Channel, number: int) -> None:
        self.channel, self.number = channel, number
        self._grown: dict[int, str] = {}
        self._stage, self._tokens, self._last = "", 0, 0.0
        self._started = time.monotonic()

    def tell(self, event: Event) -> None:
        if isinstance(event, Token):
            self._stage = event.stage.name if event.stage else ""
            self._grown[event.candidate] = self._grown.get(event.candidate, "") + event.text
            self._tokens += 1
            if time.monotonic() - self._last >= TEXT_EVERY_S:
                self._flush()
            return
        self._flush()
        message = self._message(event)
        if message is not None:
            self.channel.send(message)

    def work(self, work: Work, share: float) -> None:
        """How far it is; as often as somebody could see."""
        if time.monotonic() - self._last >= TEXT_EVERY_S:
            self._last = time.monotonic()
            self.channel.send(m.Working(self.number, work.value, share))

    def _flush(self) -> None:
        if self._grown:
            grown = tuple(self._grown.items())
            self.channel.send(m.Text(self.number, self._stage, grown, self._tokens))
            self._grown, self._tokens = {}, 0
        self._last = time.monotonic()

    def _message(self, event: Event) -> m.Message | None:
        number = self.number
        match event:
            case PictureReady():
                return m.Seen(number, event.rows, event.columns, event.width, event.height,
                              event.reused, event.milliseconds, event.n_cells,
                              event.looks, event.n_pictures)  # fmt: skip
            case StageStarted():
                return m.StageBegan(number, _name(event), event.candidates)
            case CandidateFinished():
                return m.CandidateDone(number)
            case Judged():
                return m.Compared(number)
            case StageKept():
                return m.Kept(number, _name(event), event.text)
            case Retraced():
                return m.Returned(number, event.stage.name)
            case Answered():
                answer = event.answer
                return m.Answered(
                    number, answer.conclusion, answer.stages, answer.trace.as_dict(),
                    answer.notes, answer.cancelled, time.monotonic() - self._started,
                )  # fmt: skip
        return None


def _name(event: Any) -> str:
    return event.stage.name if event.stage else ""


class AnswerWorker:
    """Holds the open model and the conversations with it."""

    def __init__(self, channel: Channel, script: Path | None) -> None:
        self.channel, self.script = channel, script
        self.engine: Any = None
        self._model: tuple[str, str] | None = None
        self._sessions: Kept[Session] = Kept(MAX_SESSIONS)
        self._pictures: dict[tuple[str, str], Picture] = {}

    def answer(self, ask: m.Ask) -> None:
        """Sends the answer's events, at last `Answered` or `Failed`."""
        sender = EventSender(self.channel, ask.number)

        def stop() -> bool:
            return self.channel.is_stopped(ask.number)

        try:
            search = make_strategy(ask.strategy, ask.options)
            sampling, budget = SamplingSettings(**ask.sampling), BudgetSettings(**ask.budget)
            form = self._form(ask)
            self._open(ask, search, stop)
            picture = self._picture(ask.picture, ask.crop)
            session, said = self._session(ask, picture), ask.earlier
            try:
                for event in session.stream(
                    ask.question,
                    search=search,
                    seed=ask.seed,
                    sampling=sampling,
                    budget=budget,
                    answer_format=form,
                    stop=stop,
                    told=sender.work,
                ):
                    if isinstance(event, Answered) and not event.answer.cancelled:
                        said = (*ask.earlier, (ask.question, event.answer.stages))
                    sender.tell(event)
            finally:  # after a stop or an error it is as it was
                self._sessions.keep(_key(ask, said), session)
        except Cancelled as error:
            self.channel.send(m.Failed(ask.number, error.message, stopped=True))
        except LlavaError as error:
            self.channel.send(m.Failed(ask.number, error.message, error.hint))
        except Exception as error:
            self.channel.send(m.Failed(ask.number, m.unexpected(error), m.A_BUG))

    def load(self, load: m.Load) -> None:
        """Opens a model; what goes wrong is told when something is asked of it."""
        before = self.channel.n_stops  # whoever stops an answer now stops what it waits for

        def stop() -> bool:
            return self.channel.closed.is_set() or self.channel.n_stops > before

        with contextlib.suppress(Exception):
            self._open(load, make_strategy("staged", {}), stop)

    def _form(self, ask: m.Ask) -> Any:
        if ask.form is None or not ask.form[1].strip():
            return None
        from llavao1_edge.engine.formats import answer_format

        kind, value = ask.form
        path = Path(value)
        given: dict[str, dict[str, Any]] = {
            "choices": {"one_of": value},
            "answer": {"kind": value},
            "schema": {"schema": path},
            "grammar": {"grammar": path},
        }
        return answer_format(**given[kind])

    def _open(self, ask: m.Ask | m.Load, search: Strategy, stop: Any) -> None:
        model = (ask.model, repr(sorted(ask.runtime.items())))
        if self.engine is not None and model == self._model:
            return
        self.channel.send(m.Loading(ask.model))
        started = time.monotonic()
        self.close()
        if self.script is not None:
            from llavao1_edge.testing import Script, ScriptedEngine

            self.engine = ScriptedEngine(Script.read(self.script))
        elif is_server(ask.model):
            from llavao1_edge.engine import Engine

            url, name = parts(ask.model)
            settings = RuntimeSettings(**ask.runtime)
            self.engine = Engine.connect(url, model=name, settings=settings, stop=stop)
        else:
            from llavao1_edge.engine import Engine
            from llavao1_edge.locate import model_paths

            text, mmproj = model_paths(ask.model)
            settings = RuntimeSettings(**ask.runtime)
            if not settings.picture_cache:  # nothing shall be kept: not of earlier days either
                StateCache.of_user(0).clear()
            # Room for the widest preset too: a model is not loaded again for another search.
            roomy = StageBeam(candidates=max(search.width, WIDEST))
            self.engine = Engine.open(
                text=text, mmproj=mmproj, settings=settings, search=roomy, stop=stop
            )
        self._model = model
        found = self.engine.about
        self.channel.send(
            m.Loaded(
                ask.model,
                found.device,
                found.memory,
                found.context,
                found.tile_size,
                found.max_tiles,
                time.monotonic() - started,
                found.max_pictures != 1,
            )
        )

    def _picture(self, path: str | None, crop: Sequence[int] | None) -> Picture | None:
        if path is None:
            return None
        key = (path, repr(crop))
        if key not in self._pictures:
            opened = open_picture(Path(path))
            if crop is not None:
                opened = open_picture(opened.image.crop(tuple(crop)))  # type: ignore[arg-type]
            self._pictures = {key: opened}  # a large one is not kept for long
        return self._pictures[key]

    def _session(self, ask: m.Ask, picture: Picture | None) -> Session:
        """The conversation the question belongs to, told again where this process has it not."""
        known = self._sessions.take(_key(ask, ask.earlier))
        if known is not None:
            return known
        more = [open_picture(Path(path)) for path in ask.more]
        session: Session = self.engine.session(picture, *more, resumable=True)
        for question, stages in ask.earlier:
            session.recall(question, stages)
        return session

    def close(self) -> None:
        self._sessions.clear()
        if self.engine is not None:
            self.engine.close()
            self.engine = None


def _key(ask: m.Ask, turns: Sequence[tuple[str, dict[str, str]]]) -> str:
    """Names a conversation by its picture and all that was said."""
    return repr(
        (ask.picture, ask.crop, ask.more, [(q, sorted(stages.items())) for q, stages in turns])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--script", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the window's to answer
    channel = Channel()
    worker = AnswerWorker(channel, options.script)
    while (message := channel.inbox.get()) is not None:
        if isinstance(message, m.Ask):
            worker.answer(message)
        elif isinstance(message, m.Load):
            worker.load(message)
    with contextlib.suppress(LlavaError):
        worker.close()


if __name__ == "__main__":
    main()
