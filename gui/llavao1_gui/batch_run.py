"""A run over many pictures: one after the other through the engine, each result kept at once."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from llavao1_edge.errors import LlavaError, UsageError
from llavao1_edge.files import expanded
from llavao1_gui.state import messages as m
from llavao1_gui.state.batch import Results, Row, of_csv, of_folder
from llavao1_gui.widgets.texts import told
from llavao1_gui.work.link import Link

SAME_FAILURES = 3  # in a row; whatever it is, it would fail the next thousand too


class BatchRun(QObject):
    """changed: counts or state. added: a Row and what was found. Numbers of answers are negative,
    so that they are told from those of the conversation.

    It pauses where going on would only make errors: the engine ended, the results cannot be
    written, the same failure came three times.
    """

    changed = Signal()
    added = Signal(object, object)
    problem = Signal(str)

    def __init__(self, link: Link, parent: QObject) -> None:
        super().__init__(parent)
        self.link = link
        self.rows: list[Row] = []
        self.results: Results | None = None
        self.running = self.paused = False
        self._left: list[Row] = []
        self._number = 0
        self._waiting = self._begun = False
        self._failures: list[str] = []
        self._request: m.Ask | None = None
        link.received.connect(self._receive)
        link.ended.connect(self._engine_ended)

    @property
    def done(self) -> int:
        return len(self.rows) - len(self._left)

    @property
    def failed(self) -> int:
        found = self.results.done if self.results else {}
        return sum(bool(found[row].get("error")) for row in self.rows if row in found)

    def start(self, source: str, question: str, out: str, request: m.Ask) -> None:
        """request: how to answer; its question and picture are replaced. Raises LlavaError."""
        if not source.strip() or not out.strip():
            raise UsageError("a folder or a file of results is missing", hint="Fill both fields.")
        place = expanded(source.strip())
        rows = of_csv(place) if place.suffix.lower() == ".csv" else of_folder(place, question)
        target = expanded(out.strip())
        if target.suffix != ".jsonl":
            target = target.with_name(target.name + ".jsonl")
        self.results = Results(target)
        self.rows, self._request = list(dict.fromkeys(rows)), request
        self._left = self.results.left(rows)
        self.running, self.paused = True, False
        self._failures = []
        self.changed.emit()
        self._next()

    def toggle_pause(self) -> None:
        self.paused = not self.paused
        self._failures = []
        self.changed.emit()
        self._next()

    def stop(self) -> None:
        """The picture at hand is given up; the next start goes on with it."""
        if self._waiting:
            self.link.send(m.Stop(self._number))
        self.running = self._waiting = False
        self.changed.emit()

    def _next(self) -> None:
        if not self.running or self.paused or self._waiting:
            return
        if not self._left:
            self.running = False
            self.changed.emit()
            return
        row = self._left[0]
        self._number -= 1
        self._waiting, self._begun = True, False
        assert self._request is not None
        self.link.send(
            replace(self._request, number=self._number, picture=row.picture,
                      question=row.question)
        )  # fmt: skip

    def _receive(self, message: m.Message) -> None:
        if not self._waiting or getattr(message, "number", None) != self._number:
            return
        self._begun = True
        if isinstance(message, m.Answered):
            if message.cancelled:
                self._waiting = False
                return
            self._add(
                {
                    "conclusion": message.conclusion,
                    "seconds": round(message.seconds, 2),
                    "error": "" if message.conclusion else self.tr("no conclusion"),
                    "notes": list(message.notes),
                    "stages": message.stages,
                }
            )
        elif isinstance(message, m.Failed):
            if message.stopped:
                self._waiting = False
            else:
                self._add(_failed(message.line))

    def _engine_ended(self, how: str) -> None:
        """The picture at hand failed, if it was its turn already."""
        if not self._waiting:
            return
        error = self.tr("The engine ended unexpectedly ({0}).").format(how)
        self._pause(error)
        if self._begun:
            self._add(_failed(error))
        else:
            self._waiting = False
            self.changed.emit()

    def _pause(self, why: str) -> None:
        self.paused = True
        self.problem.emit(why + "\n" + self.tr("The run is paused. Go on tries again."))

    def _add(self, found: dict[str, object]) -> None:
        assert self.results is not None
        self._waiting = False
        row, before = self._left[0], self.results.done.get(self._left[0])
        try:
            self.results.add(row, found)
        except LlavaError as error:
            self._pause(told(error))
        if self.results.done.get(row) is not before:
            self.added.emit(self._left.pop(0), found)
            self._look_at_failures(str(found["error"]))
        self.changed.emit()
        self._next()

    def _look_at_failures(self, error: str) -> None:
        self._failures = [*self._failures, error][-SAME_FAILURES:]
        if error and self._failures == [error] * SAME_FAILURES and not self.paused:
            self._failures = []
            self._pause(error)


def _failed(error: str) -> dict[str, object]:
    return {"conclusion": "", "seconds": None, "error": error, "notes": []}
