"""Models on this computer: choose, fetch, convert, take in, remove."""

from __future__ import annotations

import time
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QProgressBar,
    QWidget,
)

from llavao1_gui.state.messages import Foreseen, Progress
from llavao1_gui.state.servers import host, is_server
from llavao1_gui.widgets.layouts import (
    Fold,
    RetranslatedDialog,
    button,
    card,
    column,
    label,
    name_choice,
    row,
    scrolled,
    set_role,
    set_tip,
)
from llavao1_gui.widgets.placing import open_dialog
from llavao1_gui.widgets.texts import duration_text, said, size_text

REAL_MODEL = "Xkev/Llama-3.2V-11B-cot"
QUANTS = ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q6_K", "Q8_0", "Q4_0", "IQ4_XS", "F16")


@dataclass(frozen=True)
class ModelRow:
    """known: whether the rest is. details: lines on what it is. in_use: where the loaded one runs.
    needed, free: bytes of memory; 0 for not known."""

    name: str
    n_bytes: int
    source: str
    known: bool = False
    details: tuple[str, ...] = ()
    in_use: tuple[str, ...] = ()
    needed: int = 0
    free: int = 0


class ModelsDialog(RetranslatedDialog):
    """work: (kind, source, quantisation) to be started; the app runs it and tells how it goes."""

    used = Signal(str)
    removed = Signal(str)
    looked = Signal(str)
    work = Signal(str, str, str)
    cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        open_dialog(self, 820, 600)
        self.rows: dict[str, ModelRow] = {}
        self.current = "demo"
        self._started, self._first = 0.0, 0
        self.list = QListWidget()
        self.name = label(role="question", wrap=True)
        self.about_it = label(role="faint", wrap=True)
        self.details = label(role="faint", wrap=True, select=True)
        self.more = Fold(self.details)
        self.memory = label(wrap=True)
        self.use_button = button(clicked=self._use, main=True)
        self.remove_button = button(clicked=self._remove)
        chosen = card()
        chosen.setLayout(
            column(
                self.name, self.about_it, self.memory, self.more, None,
                row(self.use_button, self.remove_button, None), margin=14,
            )
        )  # fmt: skip
        top = row(self.list, chosen, gap=12)
        top.setStretch(0, 2)
        top.setStretch(1, 3)
        self.list.setMinimumSize(120, 120)
        self.problem = label(role="bad", wrap=True, select=True)
        self.problem.hide()
        self.here = label(role="section")
        self.another, self.elsewhere = Fold(self._getting()), Fold(self._server())
        inside = QWidget()
        inside.setLayout(
            column(
                self._real_model(), self.here, top, self.another, self.elsewhere, None,
                margin=16, gap=10,
            )
        )  # fmt: skip
        end = column(self._progress(), self.problem, gap=6)
        end.setContentsMargins(16, 0, 16, 10)
        self.setLayout(column(scrolled(inside), end, gap=0))
        self.list.currentRowChanged.connect(self._show)
        self.list.itemActivated.connect(lambda _: self._use())
        self.retranslate()

    def _real_model(self) -> QWidget:
        """What LLaVA-o1 itself takes and does here, and one button to get it."""
        self.real_name = label(role="question")
        self.real_facts = label(wrap=True, select=True)
        self.get_button = button(clicked=self._get, main=True)
        self.get_button.setAutoDefault(False)  # Return in a field must not fetch 21 GB
        self.foreseen: Foreseen | None = None
        made = card()
        inside = row(column(self.real_name, self.real_facts, gap=4), self.get_button, gap=12)
        inside.setStretch(0, 1)
        inside.setContentsMargins(14, 12, 14, 12)
        made.setLayout(inside)
        return made

    def show_foresight(self, found: Foreseen) -> None:
        self.foreseen = found
        self._show_real_model()

    def _show_real_model(self) -> None:
        self.real_name.setText(self.tr("LLaVA-o1 11B: for any picture"))
        self.get_button.setText(self.tr("Get the real model"))
        found = self.foreseen
        if found is None:
            self.real_facts.setText(self.tr("Looking at this computer…"))
            return
        fits = found.needed <= found.free and found.kept <= found.disk_free
        memory = self.tr("Needs {0} of memory; {1} are free.").format(
            size_text(found.needed), size_text(found.free)
        )
        disk = self.tr("Downloads {0} and keeps {1}; {2} are free on the disk.").format(
            size_text(found.download), size_text(found.kept), size_text(found.disk_free)
        )
        speed = self.tr(
            "Expect about {0} to read a picture on this processor, then {1} tokens a second."
        ).format(duration_text(found.picture_seconds), f"{found.tokens_per_second:.2g}")
        end = "" if fits else self.tr("It does not fit here now: free some memory or disk first.")
        self.real_facts.setText("\n".join(filter(None, (disk, memory, speed, end))))
        set_role(self.real_facts, "plain" if fits else "bad")

    def _get(self) -> None:
        self.work.emit("pull", REAL_MODEL, "")

    def _getting(self) -> QWidget:
        self.repo = QLineEdit()
        self.repo.setPlaceholderText("owner/name")
        self.quant = QComboBox()
        self.quant.addItem("", "")
        for name in QUANTS:
            self.quant.addItem(name, name)
        self.pull_button = button(clicked=self._pull)
        self.repo.returnPressed.connect(self._pull)
        self.folder_button = button(clicked=self._convert_folder)
        self.file_button = button(clicked=self._convert_file)
        self.import_button = button(clicked=self._import)
        self.ollama_button = button(clicked=self._convert_ollama)
        self.about = label(role="faint", wrap=True)
        made = QWidget()
        made.setLayout(
            column(
                row(self.repo, self.quant, self.pull_button),
                row(self.import_button, self.folder_button, None),
                row(self.file_button, self.ollama_button, None),
                self.about,
            )
        )
        return made

    def _server(self) -> QWidget:
        self.server = QLineEdit()
        self.server.setPlaceholderText("http://HOST:PORT")
        self.server_button = button(clicked=self._use_server)
        self.server.returnPressed.connect(self._use_server)
        made = QWidget()
        made.setLayout(row(self.server, self.server_button))
        return made

    def _progress(self) -> QWidget:
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.doing = label(role="faint", wrap=True)
        self.cancel_button = button(clicked=self.cancelled.emit)
        self.working = QWidget()
        inside = column(self.bar, self.doing, gap=4)
        layout = row(inside, self.cancel_button)
        layout.setStretch(0, 1)
        self.working.setLayout(layout)
        self.working.hide()
        return self.working

    def retranslate(self) -> None:
        self.setWindowTitle(self.tr("Models"))
        self.list.setAccessibleName(self.tr("Models on this computer"))
        self.use_button.setText(self.tr("Use this model"))
        self.remove_button.setText(self.tr("Remove…"))
        self.here.setText(self.tr("On this computer"))
        self.another.name(self.tr("Another model, or files that I have"))
        self.elsewhere.name(self.tr("A model on a server"))
        self.more.name(self.tr("Details"))
        self.repo.setAccessibleName(self.tr("Name on the hub"))
        self.quant.setItemText(0, self.tr("Automatic"))
        name_choice(self.quant, self.tr("Quantisation"))
        self.pull_button.setText(self.tr("Fetch from the hub"))
        self.folder_button.setText(self.tr("Convert a checkpoint folder…"))
        self.file_button.setText(self.tr("Convert an old GGUF file…"))
        self.import_button.setText(self.tr("Import model files…"))
        self.ollama_button.setText(self.tr("Convert from Ollama"))
        self.about.setText(
            self.tr(
                "Only fetching and a server use the network. The 11B model takes about 8 GB on "
                "disk (Q4_K_M) and as much memory."
            )
        )
        self.server.setAccessibleName(self.tr("Address of a server"))
        set_tip(
            self.server,
            (
                self.tr(
                    "A server of OpenAI's protocol: llama.cpp's, vLLM, SGLang, or llavao1-edge "
                    "serve. The search stays here. After # its model's name, where it has several. "
                    "A key is taken from LLAVAO1_SERVER_KEY."
                )
            ),
        )
        self.server_button.setText(self.tr("Use a server…"))
        self.cancel_button.setText(self.tr("Cancel"))
        self._show_real_model()
        self._show()

    # --- what is there ------------------------------------------------------------------------
    def show_models(self, rows: list[ModelRow], current: str) -> None:
        self.rows, self.current = {found.name: found for found in rows}, current
        self.list.clear()
        for found in rows:
            mark = "✓ " if found.name == current else ""
            size = size_text(found.n_bytes) if found.n_bytes else ""
            item = QListWidgetItem(f"{mark}{found.name}\n{size}")
            item.setData(Qt.ItemDataRole.UserRole, found.name)
            self.list.addItem(item)
        names = [found.name for found in rows]
        self.list.setCurrentRow(names.index(current) if current in names else 0)

    def chosen(self) -> ModelRow | None:
        item = self.list.currentItem()
        return None if item is None else self.rows.get(item.data(Qt.ItemDataRole.UserRole))

    def show_details(self, found: ModelRow) -> None:
        """More about a model, once it is known."""
        self.rows[found.name] = found
        if (now := self.chosen()) is not None and now.name == found.name:
            self._show()

    def _show(self, *_: object) -> None:
        found = self.chosen()
        if found is None:
            return
        if not found.known:
            self.looked.emit(found.name)
        self.name.setText(found.name)
        self.about_it.setText(found.source)
        self.details.setText("\n".join(map(said, (*found.details, *found.in_use))))
        self.more.setVisible(bool(self.details.text()))
        self.use_button.setEnabled(found.name != self.current)
        self.remove_button.setEnabled(found.name not in ("demo", self.current))
        fits = not found.needed or found.needed <= found.free
        # Of a model in use the plan says what it takes; a second total would only puzzle.
        self.memory.setVisible(bool(found.needed) and not found.in_use)
        text = (
            self.tr("Needs {0} of memory; {1} are free.")
            if fits
            else self.tr("Needs {0} of memory, only {1} are free: it will not fit.")
        )
        self.memory.setText(
            ("✓ " if fits else "✗ ") + text.format(size_text(found.needed), size_text(found.free))
        )
        set_role(self.memory, "good" if fits else "bad")

    def _use(self) -> None:
        found = self.chosen()
        if found is not None and found.name != self.current:
            self.used.emit(found.name)

    def _use_server(self) -> None:
        """Asked first: until now nothing has left this computer."""
        name = self.server.text().strip()
        if not is_server(name):
            self.show_problem(self.tr("A server's address is http://HOST:PORT or https://…"))
            return
        asked = QMessageBox(self)
        asked.setIcon(QMessageBox.Icon.Warning)
        text = self.tr("Your pictures and questions will be sent to {0}.")
        asked.setText(text.format(host(name)))
        yes = asked.addButton(self.tr("Send them there"), QMessageBox.ButtonRole.AcceptRole)
        asked.addButton(self.tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        asked.exec()
        if asked.clickedButton() is yes:
            self.server.clear()
            self.used.emit(name)

    def _remove(self) -> None:
        found = self.chosen()
        if found is None or not self.remove_button.isEnabled():
            return
        asked = QMessageBox(self)
        asked.setIcon(QMessageBox.Icon.Question)
        text = self.tr("Remove {0} and free {1}?")
        asked.setText(text.format(found.name, size_text(found.n_bytes)))
        yes = asked.addButton(self.tr("Remove"), QMessageBox.ButtonRole.DestructiveRole)
        asked.addButton(self.tr("Cancel"), QMessageBox.ButtonRole.RejectRole)
        asked.exec()
        if asked.clickedButton() is yes:
            self.removed.emit(found.name)

    # --- getting another ----------------------------------------------------------------------
    def _pull(self) -> None:
        if self.repo.text().strip():
            self.work.emit("pull", self.repo.text().strip(), self.quant.currentData())

    def _convert_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.tr("A checkpoint folder"))
        if folder:
            self.work.emit("convert", folder, self.quant.currentData())

    def _convert_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self.tr("An old GGUF file"), "", "*.gguf")
        if name:
            self.work.emit("convert", name, "")

    def _convert_ollama(self) -> None:
        self.work.emit("convert", "ollama:llama3.2-vision", "")

    def _import(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self.tr("The text file"), "", "*.gguf")
        if name:
            self.work.emit("import", name, "")

    # --- how it goes --------------------------------------------------------------------------
    def begin_work(self, what: str) -> None:
        self.problem.hide()
        self.bar.setRange(0, 0)
        self.doing.setText(what)
        self._started, self._first = time.monotonic(), -1
        self._set_working(True)

    def show_progress(self, progress: Progress) -> None:
        """Share, speed and time left."""
        if self._first < 0:
            self._first, self._started = progress.done, time.monotonic()
        seconds = max(0.5, time.monotonic() - self._started)
        speed = (progress.done - self._first) / seconds
        parts = [progress.what, self.tr("{0}/s").format(size_text(speed))]
        if progress.total:
            self.bar.setRange(0, 1000)
            self.bar.setValue(int(1000 * progress.done / progress.total))
            done = self.tr("{0} of {1}")
            parts.insert(1, done.format(size_text(progress.done), size_text(progress.total)))
            if speed > 0:
                left = (progress.total - progress.done) / speed
                parts.append(self.tr("{0} left").format(duration_text(left)))
        else:
            self.bar.setRange(0, 0)
        self.doing.setText(" · ".join(parts))

    def end_work(self) -> None:
        self._set_working(False)

    def show_problem(self, text: str, *, bad: bool = True) -> None:
        self.problem.setText(text)
        set_role(self.problem, "bad" if bad else "good")
        self.problem.setVisible(bool(text))

    def _set_working(self, working: bool) -> None:
        self.working.setVisible(working)
        for made in (self.get_button, self.pull_button, self.folder_button, self.file_button,
                     self.import_button, self.ollama_button):  # fmt: skip
            made.setEnabled(not working)
