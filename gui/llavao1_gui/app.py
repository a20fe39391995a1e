"""Starts the window and connects everything. `main` is what `llavao1-edge gui` calls."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QGuiApplication,
)
from PySide6.QtWidgets import QApplication, QMessageBox

from llavao1_edge.errors import LlavaError
from llavao1_gui import dialogs
from llavao1_gui.application import make_application, samples, show_failure
from llavao1_gui.choosing import ModelChoice
from llavao1_gui.conversations import Conversations
from llavao1_gui.exporting import Exporter
from llavao1_gui.impossible import impossible
from llavao1_gui.instance import Door, hand_over
from llavao1_gui.kept import Kept
from llavao1_gui.opening import choose_pictures
from llavao1_gui.options import CONFIG, DATA, build_parser, folder
from llavao1_gui.picture_menu import PictureMenu
from llavao1_gui.pictures import Pictures
from llavao1_gui.replacing import Replacing
from llavao1_gui.state import messages as m
from llavao1_gui.state import preferences as stored
from llavao1_gui.state.history import Exchange, History
from llavao1_gui.taskbar import TaskbarIcon
from llavao1_gui.telling import Teller, Topic
from llavao1_gui.translate import Language
from llavao1_gui.widgets import theme
from llavao1_gui.widgets.rich_text import RichText
from llavao1_gui.widgets.texts import said, told
from llavao1_gui.widgets.window import MainWindow
from llavao1_gui.work.formulas import Formulas
from llavao1_gui.work.link import Link

CLOSE_S = 2.0  # how long the end waits for another window's writing


class App(QObject):
    """One window with its history, its engine and its settings."""

    def __init__(self, application: QApplication, options: argparse.Namespace) -> None:
        super().__init__()
        self.application = application
        self.settings_path = folder(options.config, CONFIG, "config") / "settings.json"
        self.preferences, problems = stored.read(self.settings_path)
        if options.model:
            self.preferences = replace(self.preferences, model=options.model)
        self.language = Language(application)
        self.language.use(self.preferences.language)
        theme.apply(self.preferences.theme)
        self.history = History(folder(options.data, DATA, "data"))
        self.door = Door(self.history.folder, self)
        self.formulas = Formulas(self)
        RichText.formulas = self.formulas
        self.window = MainWindow(samples(), self.preferences.shortcuts)
        self.window.place(self.preferences.layout)
        thumbnail = self.history.shelf.thumbnail
        self.window.sidebar.model.path_of = thumbnail
        script = ["--script", str(options.script)] if options.script else []
        self.link = Link("llavao1_gui.work.answering", script, self)
        self.pictures = Pictures(self.window, self.history, self)
        self.conversations = Conversations(
            self.window, self.pictures, self.history, self.link, lambda: self.preferences, self
        )
        self.models_desk: dialogs.ModelsDesk | None = None
        self.batch_desk: dialogs.BatchDesk | None = None
        self.loaded: m.Loaded | None = None
        self.teller = Teller(self.window.answers.banner, self)
        self.kept, self.exporter, self.taskbar = Kept(self), Exporter(self, self), TaskbarIcon()
        self.choice, self.picture_menu = ModelChoice(self, self), PictureMenu(self, self)
        self.replacing = Replacing(self.conversations)
        self._connect()
        self._show_model()
        self.refresh_history()
        self.window.answers.box.set_preset(self.preferences.preset)
        if self.history.set_aside is not None:
            text = self.tr("The history could not be read and was set aside as {0}.")
            problems.append(text.format(self.history.set_aside))
        if problems:
            self.tell("\n".join(map(said, problems)), bad=True)

    def _connect(self) -> None:
        window, talk = self.window, self.conversations
        window.triggered.connect(self.act)
        window.dropped.connect(self._take)
        window.refused.connect(self._refuse)
        window.folder_dropped.connect(lambda folder: dialogs.batch(self).offer(folder))
        window.may_close = self.may_close
        window.impossible = lambda: impossible(self)
        window.closing.connect(self.close)
        window.picture.opened.connect(self.open_pictures)
        window.picture.pasted.connect(self.paste)
        window.picture.screenshot.connect(lambda: self.pictures.screenshot(region=False))
        window.picture.empty.sample.connect(self.try_sample)
        window.picture.empty.models_wanted.connect(lambda: self.act("models"))
        window.sidebar.opened.connect(talk.open)
        window.sidebar.deleted.connect(self.kept.delete)
        window.sidebar.renamed.connect(talk.rename)
        window.sidebar.searched.connect(lambda _: self.refresh_history())
        window.sidebar.started.connect(talk.new)
        box = window.answers.box
        box.asked.connect(self.ask)
        box.stopped.connect(talk.stop)
        box.field.picture_given.connect(window.take)
        box.preset_chosen.connect(lambda name: self.change(preset=name))
        box.part_dropped.connect(lambda: self.pictures.set_part(None))
        self.pictures.failed.connect(self.teller.picture_failed)
        self.pictures.changed.connect(self._picture_changed)
        problem = self.teller.problem
        talk.problem.connect(lambda text, hint: problem(text, hint, Topic.QUESTION))
        talk.saver.problem.connect(lambda text, hint: problem(text, hint, Topic.SAVING))
        talk.saver.recovered.connect(lambda: self.teller.no_news(Topic.SAVING))
        talk.answered.connect(self._answered)
        talk.listed.connect(self.refresh_history)
        talk.told.connect(self._told)
        talk.copied.connect(self.copy)
        talk.candidates.connect(self.show_candidates)
        talk.busy_changed.connect(self._show_busy)
        self.link.ended.connect(self._unloaded)
        self.door.opened.connect(self._come_forward)
        self.application.styleHints().colorSchemeChanged.connect(self._scheme_changed)

    # --- what the user does -------------------------------------------------------------------
    def act(self, name: str) -> None:
        """An action of the table (`widgets.actions`)."""
        window, talk = self.window, self.conversations
        actions: dict[str, Callable[[], object]] = {
            "open": self.open_pictures,
            "paste": self.paste,
            "screenshot": lambda: self.pictures.screenshot(region=False),
            "region": lambda: self.pictures.screenshot(region=True),
            "new": talk.new,
            "export": self.exporter.ask,
            "quit": window.close,
            "part": lambda: window.picture.crop_button.toggle(),
            "close_all": self.pictures.remove_all,
            "whole": lambda: self.pictures.set_part(None),
            "sight": lambda: window.picture.eye_button.toggle(),
            "next_picture": lambda: self.pictures.step(1),
            "previous_picture": lambda: self.pictures.step(-1),
            "question": window.answers.box.field.setFocus,
            "stop": talk.stop,
            "again": lambda: self._last(talk.again),
            "instead": lambda: self._last(self.replacing.again),
            "edit": lambda: self._last(talk.edit),
            "copy": lambda: self._last(self.copy),
            "candidates": lambda: self._last(self.show_candidates),
            "compare": lambda: dialogs.compare(self),
            "search": self._search,
            "sidebar": lambda: window.set_sidebar(window.actions_by_name["sidebar"].isChecked()),
            "rename": self._rename,
            "delete": self._delete,
            "undo": self.kept.undo,
            "deleted": self.kept.show,
            "batch": lambda: dialogs.batch(self),
            "models": lambda: dialogs.models(self),
            "settings": lambda: dialogs.settings(self),
            "shortcuts": lambda: dialogs.keys(self),
            "about": lambda: dialogs.about(self),
        }
        actions[name]()

    def open_pictures(self) -> None:
        """From the folder of last time."""
        paths = choose_pictures(self.window, self.preferences.layout.get("folder", ""))
        if paths:
            layout = {**self.preferences.layout, "folder": str(paths[0].parent)}
            self.preferences = replace(self.preferences, layout=layout)
        self.pictures.add([*paths])

    def paste(self) -> None:
        """A picture; where there is none but text, the text goes into the question."""
        data = QGuiApplication.clipboard().mimeData()
        if data is None or not self.window.take(data):
            field = self.window.answers.box.field
            if data is not None and data.hasText() and self.pictures.active is not None:
                field.insertFromMimeData(data)
                field.setFocus()
            else:
                self.tell(self.tr("There is no picture in the clipboard."))

    def try_sample(self, number: int) -> None:
        from llavao1_edge import demo

        self.conversations.new()
        sample = demo.samples()[number]
        self.pictures.add([sample.picture])
        self.window.answers.box.set_text(sample.question)
        self.window.answers.box.field.setFocus()

    def ask(self, question: str) -> None:
        box = self.window.answers.box
        self.teller.clear()
        if self.conversations.ask(question, form=box.form):
            box.set_text("")

    def copy(self, exchange: Exchange) -> None:
        QGuiApplication.clipboard().setText(
            exchange.conclusion or "\n\n".join(exchange.stages.values())
        )
        self.window.statusBar().showMessage(self.tr("Copied"), 2000)

    def show_candidates(self, exchange: Exchange) -> None:
        dialogs.candidates(self, exchange)

    def _last(self, act: Callable[[Exchange], object]) -> None:
        if self.conversations.exchanges:
            act(self.conversations.exchanges[-1])

    def _delete(self) -> None:
        found = self.conversations.current
        if found is not None and found.id:
            self.kept.delete(found.id)

    def _search(self) -> None:
        self.window.set_sidebar(True)
        self.window.sidebar.search.setFocus()

    def _rename(self) -> None:
        found = self.window.sidebar.chosen() or self.conversations.current
        if found is not None and found.id:
            self.window.sidebar.rename(found)

    # --- what is shown ------------------------------------------------------------------------
    def tell(
        self, text: str, *, bad: bool = False, action: str = "",
        acted: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """A sentence that stays until it is closed."""
        self.teller.tell(text, bad=bad, action=action, acted=acted)

    def refresh_history(self) -> None:
        try:
            found = self.history.conversations(self.window.sidebar.search.text().strip())
        except LlavaError as error:
            self.tell(told(error), bad=True)
            return
        current = self.conversations.current
        self.window.sidebar.show_conversations(
            found, current.id if current else None, self.conversations.running
        )

    def _answered(self, exchange: Exchange) -> None:
        """Said aloud for those who do not see it."""
        self.teller.no_news(Topic.QUESTION)
        self.choice.tell_limits(exchange)
        if not self.window.isActiveWindow():
            self.application.alert(self.window)
        said = QAccessibleAnnouncementEvent(
            self.window, self.tr("The answer: {0}").format(exchange.conclusion)
        )
        QAccessible.updateAccessibility(said)

    def _come_forward(self, paths: list[Path]) -> None:
        """Somebody started the program again."""
        self.window.setWindowState(self.window.windowState() & ~Qt.WindowState.WindowMinimized)
        self.window.raise_()
        self.window.activateWindow()
        self._take(list(paths))

    def _take(self, sources: list[Path | bytes]) -> None:
        """New pictures: what was said about earlier ones is no news any more."""
        self.teller.no_news(Topic.PICTURES)
        self.pictures.add(sources)

    def _refuse(self, what: str) -> None:
        """Empty: what was dragged is gone, or holds nothing."""
        text = self.tr("{0} is not on this computer. Save the picture, or copy and paste it.")
        if not what:
            text = self.tr("Nothing came with that. Save the picture, or copy and paste it.")
        self.teller.tell(text.format(what), bad=True, topic=Topic.PICTURES)

    def _told(self, message: m.Message) -> None:
        if isinstance(message, m.Loaded):
            self.loaded = message
            self.pictures.set_tiling(message.tile, message.max_tiles)
            self.window.picture.set_several(message.several)
            self._show_model()
        elif isinstance(message, m.Seen) and self.conversations.shows(message.number):
            self.pictures.set_looks(message)

    def _unloaded(self, _: str) -> None:
        self.loaded = None
        self._show_model()

    def _show_model(self) -> None:
        self.choice.show()
        self._show_busy(self.conversations.busy)

    def _show_busy(self, busy: bool) -> None:
        self.window.state_label.setText(self.tr("Answering…") if busy else self.tr("Ready"))

    def _picture_changed(self) -> None:
        if self.pictures.active is not None:
            self.teller.no_news(Topic.QUESTION)  # such as that there was no picture yet
        self.teller.no_news(Topic.WORLD)
        self._load_ahead()
        if self.pictures.active is not None and not self.window.picture.view.hasFocus():
            self.window.answers.box.field.setFocus()

    def _load_ahead(self) -> None:
        """The model is opened while the question is still being written; not while a run over many
        pictures has its own open."""
        running = self.batch_desk is not None and self.batch_desk.run.running
        if self.pictures.active is not None and not self.conversations.busy and not running:
            self.link.send(m.Load(self.preferences.model, self.preferences.group("runtime")))

    # --- settings -----------------------------------------------------------------------------
    def change(self, **values: Any) -> None:
        """Changes preferences, keeps them, and shows what follows from them."""
        before, self.preferences = self.preferences, replace(self.preferences, **values)
        after = self.preferences
        try:
            stored.write(self.settings_path, after)
        except LlavaError as error:
            self.tell(told(error), bad=True)
        if after.language != before.language:
            self.language.use(after.language)
        if after.theme != before.theme:
            theme.apply(after.theme)
            self.window.recolour()
        if after.shortcuts != before.shortcuts:
            self.window.set_shortcuts(after.shortcuts)
        self.window.answers.box.set_preset(after.preset)
        if (after.model, after.groups) != (before.model, before.groups):
            self._load_ahead()
        self._show_model()

    def _remember_place(self) -> None:
        layout = {**self.preferences.layout, **self.window.layout_now()}
        with suppress(LlavaError):  # a place on the screen is not worth a word at the end
            stored.write_layout(self.settings_path, layout)

    def _scheme_changed(self, *_: object) -> None:
        if self.preferences.theme == "system":
            theme.apply("system")
            self.window.recolour()

    def may_close(self) -> bool:
        """What cannot be saved now would be lost: that is for the user to decide."""
        if self.conversations.save_for(CLOSE_S):
            return True
        asked = QMessageBox(self.window)
        asked.setIcon(QMessageBox.Icon.Warning)
        asked.setText(self.tr("Some answers could not be saved. Close all the same?"))
        asked.setInformativeText(self.tr("They are in this window only. Free some space first."))
        lose = asked.addButton(self.tr("Close"), QMessageBox.ButtonRole.DestructiveRole)
        asked.addButton(self.tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        asked.exec()
        return asked.clickedButton() is lose

    def close(self) -> None:
        """Ends the engine."""
        self.door.close()  # from here on a second start is another window
        self._remember_place()
        self.window.hide()
        if self.batch_desk is not None:
            self.batch_desk.run.stop()
        self.conversations.stop()
        self.conversations.close()
        self.pictures.loader.close()
        self.formulas.close()
        self.exporter.close()
        self.taskbar.close()
        self.picture_menu.close()
        if self.models_desk is not None:
            self.models_desk.close()
        self.link.close()
        self.history.close()
        RichText.formulas = None


def start(argv: Sequence[str]) -> App:
    """The app with its window shown, without running the event loop. Raises LlavaError."""
    options = build_parser().parse_args(list(argv))
    app = App(make_application(), options)
    app.window.show()
    app.window.picture.empty.open_button.setFocus()
    pictures = [path.absolute() for path in options.pictures]
    QTimer.singleShot(0, app, lambda: app.pictures.add(list(pictures)))
    return app


def main(argv: Sequence[str]) -> int:
    """Runs until the window is closed, or hands its pictures to a window that is open already; the
    exit code."""
    options = build_parser().parse_args(list(argv))
    application = make_application()
    pictures = [path.absolute() for path in options.pictures]
    if not options.model and hand_over(folder(options.data, DATA, "data"), pictures):
        return 0
    try:
        app = start(argv)
    except LlavaError as error:
        show_failure(error)
        return error.exit_code
    # Python sees Ctrl-C only when it runs: a timer lets it, twice a second.
    signal.signal(signal.SIGINT, lambda *_: app.window.close())
    ticking = QTimer(app)
    ticking.timeout.connect(lambda: None)
    ticking.start(500)
    return application.exec()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
