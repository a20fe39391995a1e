"""Asking and what is kept of it: one answer at a time, saved as it is written."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from llavao1_edge.errors import LlavaError
from llavao1_edge.search.presets import preset
from llavao1_gui.pictures import Pictures
from llavao1_gui.saving import Saver
from llavao1_gui.state import messages as m
from llavao1_gui.state.history import Conversation, Exchange, History, HistoryError
from llavao1_gui.state.live import LiveAnswer
from llavao1_gui.state.preferences import Preferences
from llavao1_gui.widgets.answer_card import AnswerCard
from llavao1_gui.widgets.question_box import LONGEST
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.link import Link

CLOCK_MS = 250
TITLE = 80  # characters of a question that become a title
NOT_SENT = ("preset", "turn", "reused", "more")  # of what history keeps of a request


class Conversations(QObject):
    """problem: a sentence and what to do. listed: the history changed. told: a message came.
    copied, candidates: wanted of an exchange."""

    problem = Signal(str, str)
    listed = Signal()
    busy_changed = Signal(bool)
    told = Signal(object)
    copied = Signal(object)
    candidates = Signal(object)

    def __init__(
        self,
        window: MainWindow,
        pictures: Pictures,
        history: History,
        link: Link,
        preferences: Callable[[], Preferences],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.window, self.pictures, self.history, self.link = window, pictures, history, link
        self.preferences = preferences
        self.current: Conversation | None = None
        self.exchanges: list[Exchange] = []
        self.live: LiveAnswer | None = None
        self._card: AnswerCard | None = None
        self._running: Exchange | None = None
        self._loading = False
        self._owner: Conversation | None = None
        self.saver = Saver(history, self)
        self.saver.problem.connect(self.problem)
        self.saver.recovered.connect(self.listed)
        self._number = 0
        self._clock = QTimer(self)
        self._clock.setInterval(CLOCK_MS)
        self._clock.timeout.connect(self._tick)
        link.received.connect(self._receive)
        link.ended.connect(self._engine_ended)
        pictures.changed.connect(self.new)

    @property
    def busy(self) -> bool:
        return self.live is not None and not self.live.done

    # --- asking -------------------------------------------------------------------------------
    def ask(
        self, question: str, *, seed: int = 0, form: tuple[str, str] | None = None,
        turn: int | None = None,
    ) -> bool:  # fmt: skip
        """False where it cannot be asked; the question then stays where it is.

        turn: of the question that is asked again; a new one where none is given.
        """
        if self.busy:
            return False
        trouble = self._trouble(question)
        if trouble:
            self.problem.emit(*trouble)
            return False
        picture = self.pictures.active
        assert picture is not None
        try:
            path = self.pictures.file_of(picture)
            more = self._more()
        except LlavaError as error:
            self.problem.emit(error.message, error.hint)
            return False
        turn = self._next_turn() if turn is None else turn
        request = self._request(seed, form) | {"turn": turn, "more": more}
        message = self._message(question.strip(), str(path), request)
        exchange = Exchange(0, question.strip(), request)
        if self.current is None:
            title = " ".join(question.split())[:TITLE]
            self.current = Conversation(0, title, picture.digest, picture.name, self.pictures.part)
        self.exchanges.append(exchange)
        self._owner = self.current
        self.saver.save(self.current, exchange)
        self.listed.emit()
        self._begin(exchange, message)
        return True

    def _more(self) -> list[str]:
        """Digests of the further pictures of this conversation, which its first question chose.
        Raises HistoryError, where one cannot be kept."""
        if self.exchanges:
            kept = self.exchanges[0].request.get("more")
            return [str(digest) for digest in kept] if isinstance(kept, list) else []
        return [self.pictures.file_of(picture).name for picture in self.pictures.others]

    def _trouble(self, question: str) -> tuple[str, str] | None:
        if not question.strip():
            return self.tr("The question is empty."), self.tr("Ask something about the picture.")
        if len(question) > LONGEST:
            text = self.tr("The question has {0} characters; at most {1} fit.")
            return text.format(len(question), LONGEST), self.tr("Shorten it.")
        if self.pictures.reopening:
            return self.tr("The picture is still being opened."), self.tr("Try again in a moment.")
        active, current = self.pictures.active, self.current
        if current is not None and (active is None or active.digest != current.picture):
            return (
                self.tr("The picture of this conversation is not at hand."),
                self.tr("Open the picture again; a new conversation begins with it."),
            )
        if active is None:
            return (
                self.tr("There is no picture yet."),
                self.tr("Drop one on the window, paste one, or open one."),
            )
        return None

    def _next_turn(self) -> int:
        return 1 + max(map(_turn, self.exchanges), default=-1)

    def _earlier(self, turn: int) -> tuple[tuple[str, dict[str, str]], ...]:
        """What was said before a turn: the last answer to each question."""
        if not self.preferences().remember:
            return ()
        said = {
            _turn(exchange): (exchange.question, exchange.stages)
            for exchange in self.exchanges
            if exchange.status == "answered" and exchange.stages
        }
        return tuple(said[at] for at in sorted(said) if at < turn)

    def _request(self, seed: int, form: tuple[str, str] | None) -> dict[str, Any]:
        """Everything that decides the answer, as history keeps it."""
        chosen = self.preferences()
        known = preset(chosen.preset)
        options = dict(known.options) if known else chosen.expert_options()
        sampling = chosen.group("sampling")
        if known and known.temperature is not None and not seed:
            sampling = {"temperature": known.temperature} | sampling
        return {
            "preset": chosen.preset,
            "strategy": known.strategy if known else chosen.strategy,
            "options": options,
            "seed": seed,
            "form": form,
            "model": chosen.model,
            "sampling": sampling,
            "budget": chosen.group("budget"),
            "runtime": chosen.group("runtime"),
        }

    def _message(self, question: str, path: str, request: dict[str, Any]) -> m.Ask:
        self._number += 1
        return replace(
            self.message(request),
            number=self._number,
            question=question,
            picture=path,
            crop=self.pictures.part,
            more=tuple(str(self.history.picture_path(digest)) for digest in request["more"]),
            earlier=self._earlier(request["turn"]),
        )

    def message(self, request: dict[str, Any] | None = None) -> m.Ask:
        """How to answer, as chosen now; without a question."""
        chosen = self._request(0, None) if request is None else request
        return m.Ask(0, "", **{name: chosen[name] for name in chosen if name not in NOT_SENT})

    def _begin(self, exchange: Exchange, message: m.Ask) -> None:
        self.live = LiveAnswer(message.number)
        if self._loading:
            self.live.phase = "loading"
        self._running = exchange
        self._card = self.window.answers.add(exchange)
        self._connect(self._card)
        self._card.follow(self.live)
        self.window.answers.box.set_busy(True)
        self._clock.start()
        self.busy_changed.emit(True)
        self.link.send(message)

    def stop(self) -> None:
        """Within one token. An engine that does not react is ended by another call."""
        live = self.live
        if live is None or not self.busy:
            return
        if live.is_stuck:
            self.link.kill()
        else:
            live.stop()
            self.link.send(m.Stop(live.number))
            self._tick()

    def again(self, exchange: Exchange) -> None:
        """The same question with the next seed, told what was said before it."""
        turn = _turn(exchange)
        asked = [e.request.get("seed", 0) for e in self.exchanges if _turn(e) == turn]
        form = exchange.request.get("form")
        self.ask(exchange.question, seed=max(asked, default=0) + 1,
                 form=tuple(form) if form else None, turn=turn)  # fmt: skip

    # --- what the engine says -----------------------------------------------------------------
    def _receive(self, message: m.Message) -> None:
        self.told.emit(message)
        if isinstance(message, m.Loading | m.Loaded):
            self._loading = isinstance(message, m.Loading)
        if self.live is None or self.live.done or self._running is None:
            return
        if getattr(message, "number", self.live.number) != self.live.number:
            return
        self.live.feed(message)
        exchange = self._running
        match message:
            case m.Seen():
                exchange.request["reused"] = message.reused
            case m.Text() | m.Kept():
                exchange.stages = dict(self.live.stages)
                if exchange.id:  # what fails now is written with the next piece, or at the end
                    with suppress(HistoryError):
                        self.history.save_stages(exchange.id, exchange.stages)
            case m.Answered():
                exchange.status = "stopped" if message.cancelled else "answered"
                exchange.conclusion, exchange.stages = message.conclusion, dict(message.stages)
                exchange.trace, exchange.notes = message.trace, message.notes
                exchange.seconds = message.seconds
                if not message.conclusion and not message.cancelled:
                    exchange.error = self.tr(
                        "The answer ended before its conclusion. Give it more tokens in the "
                        "settings, or ask again with another seed."
                    )
                self._end()
            case m.Failed():
                exchange.status = "stopped" if message.stopped else "failed"
                if not message.stopped:
                    exchange.error = f"{message.message}\n{message.hint}".strip()
                exchange.stages = dict(self.live.stages)
                exchange.seconds = self.live.elapsed
                self._end()
        if self._card is not None:
            self._card.refresh()

    def _end(self) -> None:
        assert self._owner is not None
        assert self._running is not None
        self.saver.save(self._owner, self._running)
        self._running = None
        self._rest()

    def _rest(self) -> None:
        """No answer is being written any more."""
        self._clock.stop()
        self.window.answers.box.set_busy(False)
        self.busy_changed.emit(False)
        self.listed.emit()

    def _engine_ended(self, how: str) -> None:
        """The process is gone: the window says so, and the next question starts another."""
        self._loading = False
        text = self.tr("The engine ended unexpectedly ({0}).").format(how)
        if self.busy and self.live is not None:
            hint = self.tr("Nothing else is lost; ask again to start it anew.")
            stopped = self.live.stopping
            self._receive(m.Failed(self.live.number, text, hint, stopped=stopped))
        else:
            self.problem.emit(text, self.tr("It starts again with the next question."))

    def _tick(self) -> None:
        if self._card is not None:
            self._card.refresh()

    # --- conversations ------------------------------------------------------------------------
    def new(self) -> None:
        """An empty conversation about the picture at hand. A running answer goes on unseen, and is
        saved in its own conversation."""
        self.current, self.exchanges, self._card = None, [], None
        self.window.answers.show_exchanges([])
        self.listed.emit()

    def open(self, number: int) -> None:
        if self.current is not None and self.current.id == number:
            return
        try:
            found = self.history.conversation(number)
            exchanges = self.history.exchanges(number)
        except HistoryError as error:
            self.problem.emit(error.message, error.hint)
            return
        if found is None:
            return
        self.current, self.exchanges, self._card = found, exchanges, None
        running = self._running if self._owner is not None and self._owner.id == number else None
        if running is not None:  # it is still being written: the same object goes on being filled
            exchanges[:] = [running if one.id == running.id else one for one in exchanges]
        for card in self.window.answers.show_exchanges(exchanges):
            self._connect(card)
            if running is not None and card.exchange is running and self.live is not None:
                self._card = card
                card.follow(self.live)
        self.pictures.reopen(found)
        self.listed.emit()

    def delete(self, number: int) -> bool:
        """Whether it could be deleted."""
        done = self._write(lambda: self.history.delete(number))
        if done and self.current is not None and self.current.id == number:
            self.new()
        self.listed.emit()
        return done

    def restore(self, number: int) -> bool:
        """Whether it could be brought back."""
        done = self._write(lambda: self.history.restore(number))
        self.listed.emit()
        return done

    def rename(self, number: int, title: str) -> None:
        self._write(lambda: self.history.rename(number, title))
        if self.current is not None and self.current.id == number:
            self.current.title = title
        self.listed.emit()

    def _connect(self, card: AnswerCard) -> None:
        card.again.connect(self.again)
        card.copied.connect(self.copied)
        card.candidates.connect(self.candidates)

    # --- the end ------------------------------------------------------------------------------
    def _write(self, change: Callable[[], object]) -> bool:
        try:
            change()
        except HistoryError as error:
            self.problem.emit(error.message, error.hint)
            return False
        return True

    def forget(self, numbers: Collection[int] | None) -> None:
        """Before conversations are deleted for good (None: all): nothing of them is written again,
        not even an answer that is on its way."""

        def gone(conversation: Conversation | None) -> bool:
            return conversation is not None and (numbers is None or conversation.id in numbers)

        if self.busy and gone(self._owner):
            self.stop()
            self.live = self._running = None
            self._rest()
        self.saver.forget(gone)
        if gone(self.current):
            self.new()

    def save_for(self, seconds: float) -> bool:
        """Before the end: everything is saved as it stands, or tried for so long; whether it is."""
        if self._running is not None and self._owner is not None:
            self.saver.save(self._owner, self._running)
        return self.saver.save_for(seconds)

    def close(self) -> None:
        """The answer at hand counts as stopped."""
        if self._running is not None and self._owner is not None:
            self._running.status = "stopped"
            self.saver.save(self._owner, self._running)
        self.saver.stop()
        self._clock.stop()


def _turn(exchange: Exchange) -> int:
    """Which question of its conversation it is; answers to the same one share it."""
    return int(exchange.request.get("turn", exchange.id))
