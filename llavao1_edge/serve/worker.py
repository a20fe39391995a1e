"""The engine's process: `python -m llavao1_edge.serve.worker JSON`. Messages come and go on pipes.

Standard output belongs to messages alone: whatever else writes there (native libraries do) is sent
to standard error. When the server goes away, so does this process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from llavao1_edge.engine import Engine
from llavao1_edge.engine.formats import schema_format
from llavao1_edge.engine.session import Session
from llavao1_edge.errors import Cancelled, ContextFullError, LlavaError, PictureError, UsageError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.lifetime import Kept
from llavao1_edge.search import Answered, make_strategy
from llavao1_edge.search.answer import Answer
from llavao1_edge.search.presets import CAREFUL
from llavao1_edge.serve import wire
from llavao1_edge.serve.problem import Failure
from llavao1_edge.serve.telling import Telling, conclusion_tokens
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages import CONCLUSION

GRACE_S = 5.0  # until a process whose server is gone ends itself, whatever it does
MAX_SESSIONS = 8  # conversations that are kept ready
OPENED = 4  # pictures that are kept ready
MOST_PIXELS = 40_000_000  # of those, and of the pictures of each conversation that is kept
FAILURES = (
    (PictureError, Failure.PICTURE),
    (ContextFullError, Failure.CONTEXT),
    (UsageError, Failure.INVALID),
    (Cancelled, Failure.STOPPED),
)


class Pipe:
    """`inbox` yields questions, None at the end; whoever is in `stopped` wants no answer."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.inbox: queue.Queue[wire.Ask | None] = queue.Queue()
        self.closed = threading.Event()
        self.stopped: set[int] = set()
        self._open: set[int] = set()  # questions that have not been answered
        self._lock = threading.Lock()
        self._source, self._sink = source, sink
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while (message := wire.read(self._source)) is not None:
            with self._lock:
                if isinstance(message, wire.Stop):
                    self.stopped |= {message.number} & self._open
                elif isinstance(message, wire.Ask):
                    self._open.add(message.number)
                    self.inbox.put(message)
        self.closed.set()
        self.inbox.put(None)
        threading.Timer(GRACE_S, os._exit, (0,)).start()

    def answered(self, number: int) -> None:
        """Whoever stops it from now on comes too late."""
        with self._lock:
            self._open.discard(number)
            self.stopped.discard(number)

    def send(self, message: wire.Message) -> None:
        data = wire.encode(message)
        try:
            with self._lock:
                self._sink.write(data)
                self._sink.flush()
        except OSError:
            self.closed.set()


class Answerer:
    """Answers questions with one engine; each thread that works does so one after the other."""

    def __init__(self, engine: Engine, pipe: Pipe) -> None:
        self.engine, self.pipe = engine, pipe
        self._lock = threading.Lock()  # of what is kept
        self._sessions: Kept[Session] = Kept(MAX_SESSIONS)
        self._pictures: OrderedDict[bytes, Picture] = OrderedDict()

    def work(self) -> None:
        """Until there are no more questions."""
        while (ask := self.pipe.inbox.get()) is not None:
            last = self.answer(ask)
            self.pipe.answered(ask.number)
            self.pipe.send(last)
        self.pipe.inbox.put(None)  # for the other threads

    def answer(self, ask: wire.Ask) -> wire.Done | wire.Failed:
        """Sends deltas and choices. The last word is the result."""
        try:
            self._answer(ask)
        except LlavaError as error:
            kinds = (failure for kind, failure in FAILURES if isinstance(error, kind))
            failure = next(kinds, Failure.ENGINE)
            return wire.Failed(ask.number, failure, error.message, error.hint)
        except MemoryError:
            return wire.Failed(ask.number, Failure.ENGINE, "there is not enough memory")
        except Exception as error:
            message = f"unexpected {type(error).__name__}: {error}"
            hint = "This is a bug; please report it."
            return wire.Failed(ask.number, Failure.ENGINE, message, hint)
        return wire.Done(ask.number)

    def _answer(self, ask: wire.Ask) -> None:
        most = self.engine.about.max_pictures
        if most is not None and len(ask.pictures) > most:  # before they take memory
            raise UsageError(
                f"{len(ask.pictures)} pictures were sent, this model takes {most}",
                hint="Ask about each of them.",
            )
        pictures = [self._open(data) for data in ask.pictures]
        about = tuple(picture.key for picture in pictures)
        with self._lock:
            kept = self._sessions.take((about, ask.turns))
        session = kept or self._begun(ask, pictures)
        said: tuple[tuple[str, str], ...] = ask.turns
        try:
            for choice in range(ask.n):
                conclusion = self._choose(ask, choice, session)
            # It goes on from what the client knows, as it would in a new conversation.
            session.recall(ask.question, {CONCLUSION.name: conclusion})
            said = (*ask.turns, (ask.question, conclusion))
        finally:  # after an error it is as it was
            if _pixels(pictures) <= MOST_PIXELS:
                with self._lock:
                    self._sessions.keep((about, said), session)
            else:
                session.close()

    def _open(self, data: bytes) -> Picture:
        with self._lock:
            kept = self._pictures.pop(data, None)
        picture = kept or open_picture(data, name="the picture")
        with self._lock:
            self._pictures[data] = picture
            while len(self._pictures) > 1 and (
                len(self._pictures) > OPENED or _pixels(self._pictures.values()) > MOST_PIXELS
            ):
                self._pictures.popitem(last=False)
        return picture

    def _begun(self, ask: wire.Ask, pictures: list[Picture]) -> Session:
        """The conversation as the client tells it."""
        session = self.engine.session(*pictures)
        for question, conclusion in ask.turns:
            session.recall(question, {CONCLUSION.name: conclusion})
        return session

    def _choose(self, ask: wire.Ask, choice: int, session: Session) -> str:
        strategy = make_strategy(ask.strategy, ask.options)

        def tell(is_reasoning: bool, text: str) -> None:
            if ask.stream:
                self.pipe.send(wire.Delta(ask.number, choice, is_reasoning, text))

        telling = Telling(strategy, ask.stop, tell)

        def stop() -> bool:
            gone = ask.number in self.pipe.stopped or self.pipe.closed.is_set()
            return gone or telling.stopped

        form = schema_format(ask.schema, name="response_format") if ask.schema else None
        for event in session.stream(
            ask.question,
            search=strategy,
            seed=ask.seed + choice,
            sampling=SamplingSettings(**ask.sampling),
            budget=BudgetSettings(**ask.budget),
            answer_format=form,
            stop=stop,
            top_logprobs=ask.top_logprobs,
            remember=False,
        ):
            telling.feed(event)
            if isinstance(event, Answered):
                answer = event.answer
        if answer.cancelled and not telling.stopped:
            raise Cancelled("stopped")
        conclusion = telling.finish(answer)
        self.pipe.send(self._chosen(ask, choice, answer, conclusion))
        return conclusion

    def _chosen(self, ask: wire.Ask, choice: int, answer: Answer, conclusion: str) -> wire.Chosen:
        tokens = conclusion_tokens(answer, conclusion)
        path = [node.candidate for node in answer.trace.nodes if node.chosen]
        cut = conclusion != answer.conclusion
        ends = cut or (bool(conclusion) and not (path and path[-1].truncated))
        return wire.Chosen(
            ask.number,
            choice,
            conclusion,
            answer.in_order(),
            truncated=not ends,
            notes=() if cut else answer.notes,
            trace=answer.trace.as_dict(),
            n_conclusion=len(tokens),
            tokens=tuple(tokens) if ask.logprobs else (),
        )


def _pixels(pictures: Iterable[Picture]) -> int:
    return sum(picture.width * picture.height for picture in pictures)


def open_engine(given: dict[str, Any]) -> Engine:
    """As the command line of the server says. Raises LlavaError."""
    if given.get("script"):
        from llavao1_edge.testing import Script, ScriptedEngine

        return ScriptedEngine(Script.read(Path(given["script"])))
    strategy = make_strategy(given["strategy"], given["options"])
    careful = make_strategy(CAREFUL.strategy, CAREFUL.options)
    return Engine.open(
        text=given["text"],
        mmproj=given["mmproj"],
        settings=RuntimeSettings(**given["settings"]),
        search=max(strategy, careful, key=lambda one: one.width),
        parallel=given["parallel"],
    )


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the server's to answer
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    pipe = Pipe(sys.stdin.buffer, sink)
    given = json.loads(sys.argv[1])
    try:
        engine = open_engine(given)
    except LlavaError as error:
        pipe.send(wire.Broken(error.message, error.hint, error.exit_code))
        return
    with engine:
        found = engine.about
        about = {"context": found.context, "kind": found.kind, "device": found.device}
        pipe.send(wire.Ready({**about, "identity": found.identity, "memory": found.memory}))
        answerer = Answerer(engine, pipe)
        threads = [threading.Thread(target=answerer.work) for _ in range(given["parallel"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
