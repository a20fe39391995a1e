"""The model beside the question: which one answers, and the way to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QCoreApplication, QObject
from PySide6.QtGui import QAction

from llavao1_edge import demo
from llavao1_edge.errors import LlavaError
from llavao1_gui.state import messages as m
from llavao1_gui.state.history import Exchange
from llavao1_gui.state.preferences import Preferences
from llavao1_gui.state.servers import host, is_server
from llavao1_gui.telling import Teller, Topic
from llavao1_gui.widgets.layouts import set_tip
from llavao1_gui.widgets.texts import said, told
from llavao1_gui.widgets.window import MainWindow

DEMO = "demo"


class Shell(Protocol):
    """What it needs of the application."""

    window: MainWindow
    preferences: Preferences
    loaded: m.Loaded | None
    teller: Teller

    def change(self, **values: Any) -> None: ...

    def act(self, name: str) -> None: ...


class ModelChoice(QObject):
    def __init__(self, app: Shell, parent: QObject) -> None:
        super().__init__(parent)
        self.app = app
        app.window.answers.box.models.aboutToShow.connect(self._fill)

    def show(self) -> None:
        """The model in use, in the status bar and beside the question."""
        window, name, loaded = self.app.window, self.app.preferences.model, self.app.loaded
        known = loaded if loaded is not None and loaded.model == name else None
        long = _long_name(name)
        window.model_label.setText(f"{long} · {known.device}" if known else long)
        set_tip(window.model_label, "\n".join(map(said, known.memory)) if known else "")
        short = self.tr("Demo: simple pictures") if name == DEMO else _long_name(name)
        window.picture.empty.set_private(not is_server(name))
        window.answers.box.set_model(short, known.device if known else "")
        if name != DEMO:
            self.app.teller.no_news(Topic.WORLD)

    def tell_limits(self, exchange: Exchange) -> None:
        """Where the demo model does not know what it was shown: what it knows, and where to find a
        model that knows more."""
        unknown = exchange.request.get("model") == DEMO and exchange.conclusion == demo.UNKNOWN
        if not (unknown and self.app.teller.is_free):
            return
        self.app.teller.tell(
            self.tr(
                "The demo model knows simple charts, geometry, tables, print, icons and shapes."
            ),
            action=self.tr("Get the real model…"),
            acted=lambda: self.app.act("models"),
            topic=Topic.WORLD,
        )

    def _fill(self) -> None:
        """What is on this computer now."""
        from llavao1_edge.store.catalogue import Store

        menu, current = self.app.window.answers.box.models, self.app.preferences.model
        menu.clear()
        names = [DEMO]
        try:
            names += [entry.name for entry in Store().entries()]
        except LlavaError as error:
            self.app.teller.tell(told(error), bad=True)
        if current not in names:
            names.append(current)
        for name in names:
            made = self._add(_long_name(name), lambda name=name: self.app.change(model=name))  # type: ignore[misc]
            made.setCheckable(True)
            made.setChecked(name == current)
        menu.addSeparator()
        if names == [DEMO]:
            self._add(self.tr("Get the real model…"), lambda: self.app.act("models"))
        self._add(self.tr("Models…"), lambda: self.app.act("models"))

    def _add(self, text: str, chosen: Callable[[], object]) -> QAction:
        made = QAction(text, self.app.window.answers.box.models)
        made.triggered.connect(lambda: chosen())
        self.app.window.answers.box.models.addAction(made)
        return made


def _long_name(name: str) -> str:
    translate = QCoreApplication.translate
    if is_server(name):
        return translate("ModelChoice", "Pictures are sent to {0}").format(host(name))
    if name == DEMO:
        return translate("ModelChoice", "Demo model")
    return Path(name).stem if name.endswith(".gguf") else name
