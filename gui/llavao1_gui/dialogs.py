"""Opens the dialogs and does what was chosen in them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QDialog

from llavao1_edge.errors import LlavaError
from llavao1_gui.batch_run import BatchRun
from llavao1_gui.conversations import Conversations
from llavao1_gui.state import messages as m
from llavao1_gui.state.history import Exchange, History
from llavao1_gui.state.preferences import Preferences
from llavao1_gui.state.servers import host, is_server
from llavao1_gui.taskbar import TaskbarIcon
from llavao1_gui.widgets.batch_dialog import BatchDialog
from llavao1_gui.widgets.candidates import CandidatesDialog
from llavao1_gui.widgets.compare_dialog import CompareDialog
from llavao1_gui.widgets.help_dialogs import AboutDialog, KeysDialog, ShortcutsDialog
from llavao1_gui.widgets.models_dialog import ModelRow, ModelsDialog
from llavao1_gui.widgets.settings_dialog import SettingsDialog
from llavao1_gui.widgets.texts import said, told
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.link import Link


class Shell(Protocol):
    """What the dialogs need of the application that opens them."""

    window: MainWindow
    history: History
    link: Link
    conversations: Conversations
    preferences: Preferences
    loaded: m.Loaded | None
    models_desk: ModelsDesk | None
    batch_desk: BatchDesk | None
    taskbar: TaskbarIcon

    def change(self, **values: Any) -> None:
        """Changes preferences, and what follows from them."""

    def tell(self, text: str, *, bad: bool = False) -> None:
        """A sentence that stays until it is closed."""


Dialog = TypeVar("Dialog", bound=QDialog)


def _opened(dialog: Dialog, *, modal: bool = True) -> Dialog:
    """Shown now, and gone when it is closed."""
    dialog.finished.connect(dialog.deleteLater)
    if modal:
        dialog.open()
    else:
        dialog.show()
    return dialog


def settings(app: Shell) -> SettingsDialog:
    dialog = SettingsDialog(app.preferences, app.window)

    def accept() -> None:
        chosen = dialog.preferences
        app.change(**{name: getattr(chosen, name) for name in vars(chosen)})

    dialog.accepted.connect(accept)
    return _opened(dialog)


def keys(app: Shell) -> KeysDialog:
    """A sheet to read; changing them is one button further."""
    dialog = KeysDialog(app.preferences.shortcuts, app.window)
    dialog.change_wanted.connect(lambda: shortcuts(app))
    return _opened(dialog)


def shortcuts(app: Shell) -> ShortcutsDialog:
    dialog = ShortcutsDialog(app.preferences.shortcuts, app.window)
    dialog.accepted.connect(lambda: app.change(shortcuts=dialog.changed))
    return _opened(dialog)


def about(app: Shell) -> AboutDialog:
    return _opened(AboutDialog(app.window))


def compare(app: Shell) -> CompareDialog | None:
    """Two answers of the conversation that is shown; None where there are not two."""
    answered = [one for one in app.conversations.exchanges if one.conclusion]
    if len(answered) < 2:
        text = QCoreApplication.translate("Dialogs", "There are no two answers to compare yet.")
        app.tell(text)
        return None
    return _opened(CompareDialog(answered, app.window), modal=False)


def candidates(app: Shell, exchange: Exchange) -> CandidatesDialog | None:
    if exchange.trace is None:
        return None
    dialog = CandidatesDialog(exchange.question, exchange.trace, app.window)
    return _opened(dialog, modal=False)


# --- models ---------------------------------------------------------------------------------------
class ModelsDesk:
    """The models dialog with what it starts."""

    def __init__(self, app: Shell) -> None:
        self.app = app
        self.dialog = ModelsDialog(app.window)
        self.working: Link | None = None
        self.looking: dict[str, Link] = {}
        self._came = ("", False)
        dialog = self.dialog
        dialog.used.connect(self.use)
        dialog.removed.connect(self.remove)
        dialog.looked.connect(self.look)
        dialog.work.connect(self.work)
        dialog.cancelled.connect(self.cancel)
        self.show_models()
        self.foresee()

    def show_models(self) -> None:
        from llavao1_edge import demo
        from llavao1_edge.store.catalogue import Store

        size = sum(path.stat().st_size for path in (demo.text_path(), demo.mmproj_path()))
        about = QCoreApplication.translate(
            "Dialogs",
            "Built in: simple charts, geometry, tables, print, icons and shapes.",
        )
        rows = [ModelRow("demo", size, about)]
        try:
            store = Store()
            rows += [ModelRow(found.name, found.n_bytes, found.source) for found in store.entries()]
            problems = store.problems()
        except LlavaError as error:
            problems = [told(error)]
        current = self.app.preferences.model
        if is_server(current):
            text = QCoreApplication.translate("Dialogs", "A server: pictures are sent to {0}.")
            rows.append(ModelRow(current, 0, text.format(host(current))))
        self.dialog.show_models(rows, current)
        if problems:
            self.dialog.show_problem("\n".join(map(said, problems)))

    def foresee(self) -> None:
        """Measures in a process what the real model will take and do here; once."""
        link = Link("llavao1_gui.work.fetching", ["foresee", ""], self.app.window)
        self.looking[""] = link

        def receive(message: m.Message) -> None:
            if isinstance(message, m.Foreseen):
                self.dialog.show_foresight(message)
            elif isinstance(message, m.Failed):
                self.dialog.real_facts.setText(said(message.message))

        def finish() -> None:
            self.looking.pop("", None)
            link.deleteLater()

        def end(how: str) -> None:
            text = QCoreApplication.translate("Dialogs", "This computer could not be measured: {0}")
            self.dialog.real_facts.setText(text.format(how))

        link.received.connect(receive)
        link.ended.connect(end)
        link.finished.connect(finish)
        link.start()

    def use(self, name: str) -> None:
        self.app.change(model=name)
        self.show_models()

    def remove(self, name: str) -> None:
        from llavao1_edge.store.catalogue import Store

        try:
            Store().remove(name)
        except LlavaError as error:
            self.dialog.show_problem(told(error))
        self.show_models()

    def look(self, name: str) -> None:
        """Reads what a model is and needs, in a process; once at a time for each."""
        if name in self.looking:
            return
        if is_server(name):
            found = self.dialog.rows[name]
            self.dialog.show_details(replace(found, known=True, in_use=self._in_use(name)))
            return
        link = Link("llavao1_gui.work.fetching", ["describe", name], self.app.window)
        self.looking[name] = link

        def receive(message: m.Message) -> None:
            found = self.dialog.rows.get(name)
            if found is None:
                return
            if isinstance(message, m.Described):
                known = replace(found, known=True, details=message.details)
                needs = replace(known, needed=message.needed, free=message.free)
                self.dialog.show_details(replace(needs, in_use=self._in_use(name)))
            elif isinstance(message, m.Failed):
                details = (message.message, message.hint)
                self.dialog.show_details(replace(found, known=True, details=details))

        def finish() -> None:
            self.looking.pop(name, None)
            link.deleteLater()

        link.received.connect(receive)
        link.finished.connect(finish)
        link.start()

    def _in_use(self, name: str) -> tuple[str, ...]:
        """Where the open model runs, and what of it on a GPU."""
        loaded = self.app.loaded
        if loaded is None or loaded.model != name:
            return ()
        text = QCoreApplication.translate("Dialogs", "In use on {0}:")
        return (text.format(loaded.device), *loaded.memory)

    def work(self, kind: str, source: str, quant: str) -> None:
        """One piece of work at a time; a stopped one goes on where it was."""
        if self.working is not None:
            return
        arguments = [kind, source, *([quant] if quant else [])]
        link = self.working = Link("llavao1_gui.work.fetching", arguments, self.app.window)
        self._came = ("", False)
        self.dialog.begin_work(source)
        link.received.connect(self._receive)
        link.ended.connect(lambda how: self._say(how, bad=True))
        link.finished.connect(self._finished)
        link.start()

    def cancel(self) -> None:
        if self.working is not None:
            self.working.send(m.Stop(0))

    def _receive(self, message: m.Message) -> None:
        if isinstance(message, m.Progress):
            self.dialog.show_progress(message)
            self.app.taskbar.show("models", message.done / message.total if message.total else 0.0)
        elif isinstance(message, m.Done):
            text = QCoreApplication.translate("Dialogs", "{0} is ready.").format(message.name)
            self._say("\n".join([text, *map(said, message.notes)]), bad=False)
        elif isinstance(message, m.Failed):
            self._say(said(message.sentence), bad=not message.stopped)

    def _say(self, text: str, *, bad: bool) -> None:
        """What came of the work; shown when its process is gone and another may begin."""
        self._came = (text, bad)

    def _finished(self) -> None:
        if self.working is not None:
            self.working.deleteLater()
        self.working = None
        self.app.taskbar.show("models", None)
        self.dialog.end_work()
        self.show_models()
        text, bad = self._came
        if text:
            self.dialog.show_problem(text, bad=bad)

    def close(self) -> None:
        for link in [*self.looking.values(), *([self.working] if self.working else [])]:
            with contextlib.suppress(RuntimeError):
                link.close()


def models(app: Shell) -> ModelsDesk:
    if app.models_desk is None:
        app.models_desk = ModelsDesk(app)
    else:
        app.models_desk.show_models()
    app.models_desk.dialog.show()
    app.models_desk.dialog.raise_()
    return app.models_desk


# --- many pictures --------------------------------------------------------------------------------
class BatchDesk:
    """The dialog for many pictures with its run, which goes on when the dialog is closed."""

    def __init__(self, app: Shell) -> None:
        self.app = app
        self.dialog = BatchDialog(app.window)
        self.run = BatchRun(app.link, app.window)
        self.dialog.started.connect(self.start)
        self.dialog.paused.connect(self._toggle_pause)
        self.dialog.stopped.connect(self.run.stop)
        self.run.added.connect(self.dialog.add)
        self.run.changed.connect(self._show)
        self.run.problem.connect(self.dialog.show_problem)

    def offer(self, folder: Path) -> None:
        """A folder that was dropped: what is missing is the question."""
        if not self.run.running:
            self.dialog.source.setText(str(folder))
            self.dialog.out.setText(str(folder.with_name(f"{folder.name} answers.jsonl")))
        self.dialog.question.setFocus()

    def start(self, source: str, question: str, out: str) -> None:
        self.dialog.show_problem("")
        try:
            self.run.start(source, question, out, self.app.conversations.composer.settings())
        except LlavaError as error:
            self.dialog.show_problem(told(error))

    def _toggle_pause(self) -> None:
        self.dialog.show_problem("")
        self.run.toggle_pause()

    def _show(self) -> None:
        run = self.run
        self.dialog.set_running(run.running, paused=run.paused)
        self.dialog.show_progress(run.done, len(run.rows), run.failed)
        self.app.taskbar.show("batch", run.done / max(1, len(run.rows)) if run.running else None)


def batch(app: Shell) -> BatchDesk:
    if app.batch_desk is None:
        app.batch_desk = BatchDesk(app)
    app.batch_desk.dialog.show()
    app.batch_desk.dialog.raise_()
    return app.batch_desk
