"""Asking and what is kept of it: one answer at a time, saved as it is written."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from PySide6.QtCore import QObject, QTimer, Signal

from llavao1_edge.errors import LlavaError
from llavao1_gui.composing import Composer, turn_of
from llavao1_gui.jobs import Job, Same, part_of
from llavao1_gui.pictures import Pictures
from llavao1_gui.saving import Saver
from llavao1_gui.state import messages as m
from llavao1_gui.state.history import Conversation, Exchange, History, HistoryError
from llavao1_gui.state.live import LiveAnswer
from llavao1_gui.state.preferences import Preferences
from llavao1_gui.widgets.answer_card import AnswerCard
from llavao1_gui.widgets.picture_view import Part
from llavao1_gui.widgets.question_box import LONGEST
from llavao1_gui.widgets.texts import said
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.link import Link

CLOCK_MS = 250
TITLE = 80  # characters of a question that become a title


class Conversations(QObject):
    """problem: a sentence and what to do. listed: the history changed. told: a message came.
    copied, candidates, instead: wanted of an exchange. answered: by an exchange, whole."""

    problem = Signal(str, str)
    listed = Signal()
    busy_changed = Signal(bool)
    told = Signal(object)
    copied = Signal(object)
    candidates = Signal(object)
    instead = Signal(object)
    answered = Signal(object)

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
        self.current: Conversation | None = None
        self.exchanges: list[Exchange] = []
        self.composer = Composer(pictures, history, preferences)
        self.live: LiveAnswer | None = None
        self.jobs: list[Job] = []  # the first one is being answered
        self._cards: dict[int, AnswerCard] = {}  # of what is shown and on its way, by its number
        self._drafts: dict[int, str] = {}
        self._loading = False
        self.saver = Saver(history, self)
        self.saver.recovered.connect(self.listed)
        self._clock = QTimer(self)
        self._clock.setInterval(CLOCK_MS)
        self._clock.timeout.connect(self._tick)
        link.received.connect(self._receive)
        link.ended.connect(self._engine_ended)
        pictures.changed.connect(self.new)
        pictures.pixels_came.connect(self._show_parts)

    @property
    def busy(self) -> bool:
        """Whether any answer is on its way."""
        return bool(self.jobs)

    @property
    def running(self) -> set[int]:
        """Conversations with an answer on its way."""
        return {job.owner.id for job in self.jobs}

    def shows(self, number: int) -> bool:
        """Whether an answer on its way is about the picture and the part that are shown."""
        return any(
            job.message.number == number
            and job.owner is self.current
            and part_of(job.exchange) == self.pictures.part
            for job in self.jobs
        )

    def _here(self) -> Job | None:
        """What is on its way in the conversation that is shown."""
        return next((job for job in self.jobs if job.owner is self.current), None)

    # --- asking -------------------------------------------------------------------------------
    def ask(
        self, question: str, *, seed: int = 0, form: tuple[str, str] | None = None,
        turn: int | None = None, part: Part | Same | None = Same.PART,
    ) -> bool:  # fmt: skip
        """False where it cannot be asked; the question then stays where it is.

        turn: of the question that is asked again; a new one where none is given. part: of the
        picture; the one that is chosen now, where none is given.
        """
        if self._here() is not None:
            return False
        trouble = self._trouble(question)
        if trouble:
            self.problem.emit(*trouble)
            return False
        picture = self.pictures.active
        assert picture is not None
        try:
            path = self.pictures.file_of(picture)
            more = self.composer.more(self.exchanges)
        except LlavaError as error:
            self.problem.emit(said(error.message), said(error.hint))
            return False
        turn = self._next_turn() if turn is None else turn
        request = self.composer.request(seed=seed, form=form)
        crop = self.pictures.part if part is Same.PART else part
        request |= {"turn": turn, "more": more, "crop": crop}
        question = question.strip()
        message = self.composer.message(question, str(path), request, self.exchanges)
        exchange = Exchange(0, question, request)
        if self.current is None:
            title = " ".join(question.split())[:TITLE]
            self.current = Conversation(0, title, picture.digest, picture.name)
        self.exchanges.append(exchange)
        job = Job(self.current, exchange, message)
        self.jobs.append(job)
        self.saver.save(self.current, exchange)
        self._show(self.window.answers.add(exchange), job)
        self._show_state()
        if len(self.jobs) == 1:
            self._begin(job)
        return True

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
        return 1 + max(map(turn_of, self.exchanges), default=-1)

    def _begin(self, job: Job) -> None:
        """It is its turn."""
        self.live, chosen = job.live, job.exchange.request
        with suppress(HistoryError):
            self.live.expected = self.history.typical_seconds(chosen["model"], chosen["preset"])
        self.live.begin("loading" if self._loading else "waiting")
        self._clock.start()
        self._refresh(job)
        self.link.send(job.message)

    def _show(self, card: AnswerCard, job: Job | None = None) -> None:
        card.again.connect(self.again)
        card.instead.connect(self.instead)
        card.copied.connect(self.copied)
        card.edited.connect(self.edit)
        card.candidates.connect(self.candidates)
        card.set_part(self.pictures.cut(part_of(card.exchange)))
        if job is not None:
            self._cards[job.message.number] = card
            card.follow(job.live)

    def _show_parts(self) -> None:
        for card in self.window.answers.all_cards():
            card.set_part(self.pictures.cut(part_of(card.exchange)))

    def _refresh(self, job: Job) -> None:
        card = self._cards.get(job.message.number)
        if card is not None:
            card.refresh()

    def _show_state(self) -> None:
        """After a question began or ended, or another conversation was opened."""
        self.window.answers.box.set_busy(self._here() is not None)
        self.busy_changed.emit(self.busy)
        self.listed.emit()

    def stop(self) -> None:
        """The answer that is shown, else the one that is being written; within one token. An engine
        that does not react is ended by another call."""
        job = self._here() or (self.jobs[0] if self.jobs else None)
        if job is None:
            return
        if job is not self.jobs[0]:
            self._end(job, "stopped")
        elif job.live.is_stuck:
            self.link.kill()
        else:
            job.live.stop()
            self.link.send(m.Stop(job.message.number))
            self._tick()

    def again(self, exchange: Exchange) -> bool:
        """The same question about the same part with the next seed; False if it cannot be asked."""
        turn = turn_of(exchange)
        asked = [e.request.get("seed", 0) for e in self.exchanges if turn_of(e) == turn]
        form = exchange.request.get("form")
        return self.ask(exchange.question, seed=max(asked, default=0) + 1,
                        form=tuple(form) if form else None, turn=turn,
                        part=part_of(exchange))  # fmt: skip

    def edit(self, exchange: Exchange) -> None:
        """The question again in the box, to be reworded; about the same part."""
        box = self.window.answers.box
        self.pictures.set_part(part_of(exchange))
        box.set_text(exchange.question)
        box.field.selectAll()
        box.field.setFocus()

    # --- what the engine says -----------------------------------------------------------------
    def _receive(self, message: m.Message) -> None:
        self.told.emit(message)
        if isinstance(message, m.Loading | m.Loaded):
            self._loading = isinstance(message, m.Loading)
        if not self.jobs:
            return
        job = self.jobs[0]
        live, exchange = job.live, job.exchange
        if getattr(message, "number", live.number) != live.number:
            return
        live.feed(message)
        match message:
            case m.Seen():
                exchange.request["reused"] = message.reused
            case m.Text() | m.Kept():
                exchange.stages = dict(live.stages)
                self.saver.save_stages(exchange)
            case m.Answered():
                exchange.conclusion, exchange.stages = message.conclusion, dict(message.stages)
                exchange.trace, exchange.notes = message.trace, message.notes
                exchange.seconds = message.seconds
                if not message.conclusion and not message.cancelled:
                    exchange.error = self.tr(
                        "The answer ended before its conclusion. Give it more tokens in the "
                        "settings, or ask again with another seed."
                    )
                self._end(job, "stopped" if message.cancelled else "answered")
                return
            case m.Failed():
                if not message.stopped:
                    exchange.error = message.sentence
                exchange.stages, exchange.seconds = dict(live.stages), live.elapsed
                self._end(job, "stopped" if message.stopped else "failed")
                return
        self._refresh(job)

    def _end(self, job: Job, status: str) -> None:
        first = job is self.jobs[0]
        self.jobs.remove(job)
        job.exchange.status = status
        if not job.live.done:
            job.live.feed(m.Failed(job.message.number, "", "", stopped=True))
        self.saver.save(job.owner, job.exchange)
        self._refresh(job)
        self._cards.pop(job.message.number, None)
        if not self.jobs:
            self._clock.stop()
        self._show_state()
        if status == "answered":
            self.answered.emit(job.exchange)
        if first and self.jobs:
            self._begin(self.jobs[0])

    def _engine_ended(self, how: str) -> None:
        """The process is gone: the window says so, and the next question starts another."""
        self._loading = False
        text = self.tr("The engine ended unexpectedly ({0}).").format(how)
        if self.jobs:
            hint = self.tr("Nothing else is lost; ask again to start it anew.")
            live = self.jobs[0].live
            self._receive(m.Failed(live.number, text, hint, stopped=live.stopping))
        else:
            self.problem.emit(text, self.tr("It starts again with the next question."))

    def _tick(self) -> None:
        if self.jobs:
            self._refresh(self.jobs[0])

    # --- conversations ------------------------------------------------------------------------
    def new(self) -> None:
        """An empty conversation about the picture at hand. A running answer goes on unseen, and is
        saved in its own conversation."""
        if self.current is not None:
            self._change_draft(0)
        self.current, self.exchanges, self._cards = None, [], {}
        self.window.answers.show_exchanges([])
        self._show_state()

    def _change_draft(self, to: int) -> None:
        """What was typed for one conversation is not sent in another."""
        box = self.window.answers.box
        self._drafts[self.current.id if self.current else 0] = box.field.toPlainText()
        box.set_text(self._drafts.pop(to, ""))

    def open(self, number: int) -> None:
        if self.current is not None and self.current.id == number:
            return
        try:
            found = self.history.conversation(number)
            exchanges = self.history.exchanges(number)
        except HistoryError as error:
            self.problem.emit(said(error.message), said(error.hint))
            return
        if found is None:
            return
        self._change_draft(number)
        job = next((one for one in self.jobs if one.owner.id == number), None)
        if job is not None:  # it is still being written: the same objects go on being filled
            found = job.owner
        self._merge(exchanges, self.saver.waiting(number))
        self._merge(exchanges, [job.exchange] if job is not None else [])
        self.current, self.exchanges, self._cards = found, exchanges, {}
        part = part_of(exchanges[-1]) if exchanges else None
        self.pictures.reopen(found, part or found.crop)
        for card in self.window.answers.show_exchanges(exchanges):
            self._show(card, job if job is not None and card.exchange is job.exchange else None)
        self._show_state()

    def _merge(self, exchanges: list[Exchange], held: list[Exchange]) -> None:
        """What is newer here than in the history, or not there yet, in its place."""
        for one in held:
            if any(other is one for other in exchanges):
                continue
            numbers = [other.id for other in exchanges]
            at = numbers.index(one.id) if one.id and one.id in numbers else len(exchanges)
            exchanges[at : at + 1] = [one]

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

    # --- the end ------------------------------------------------------------------------------
    def _write(self, change: Callable[[], object]) -> bool:
        try:
            change()
        except HistoryError as error:
            self.problem.emit(said(error.message), said(error.hint))
            return False
        return True

    def forget(self, numbers: Collection[int] | None) -> None:
        """Before conversations are deleted for good (None: all): nothing of them is written again,
        not even an answer that is on its way."""

        def gone(conversation: Conversation | None) -> bool:
            return conversation is not None and (numbers is None or conversation.id in numbers)

        for job in [one for one in self.jobs[1:] if gone(one.owner)]:
            self.jobs.remove(job)
        if self.jobs and gone(self.jobs[0].owner):
            self.link.send(m.Stop(self.jobs[0].message.number))
            self.jobs.pop(0)
            if self.jobs:
                self._begin(self.jobs[0])
            else:
                self._clock.stop()
            self._show_state()
        self.saver.forget(gone)
        if gone(self.current):
            self.new()

    def save_for(self, seconds: float) -> bool:
        """Before the end: everything is saved as it stands, or tried for so long; whether it is."""
        for job in self.jobs:
            self.saver.save(job.owner, job.exchange)
        return self.saver.save_for(seconds)

    def close(self) -> None:
        """Answers on their way count as stopped."""
        for job in self.jobs:
            job.exchange.status = "stopped"
            self.saver.save(job.owner, job.exchange)
        self.saver.stop()
        self._clock.stop()
