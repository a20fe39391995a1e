"""A process behind the window, as an object with signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from llavao1_edge.errors import LlavaError
from llavao1_edge.program import command, import_path
from llavao1_gui.state.messages import Message, encode
from llavao1_gui.state.messages import decode as decode_line

LAST_WORDS = 2000  # bytes of standard error that are kept


class Link(QObject):
    """Runs `python -m module arguments`, started with the first message, again after an end.

    received: a message came. ended: it is gone without being asked to (a sentence says how).
    finished: it is gone, in whatever way, or could not be started.
    """

    received = Signal(object)
    ended = Signal(str)
    finished = Signal()

    def __init__(self, module: str, arguments: Sequence[str], parent: QObject) -> None:
        super().__init__(parent)
        self._module, self._arguments = module, list(arguments)
        self._process: QProcess | None = None
        self._rest = b""
        self._last_words = b""
        self._closing = False

    @property
    def pid(self) -> int:
        """0 where no process runs."""
        return 0 if self._process is None else int(self._process.processId())

    def start(self) -> None:
        if self._process is not None:
            return
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        # The engine's process has no window; a copy of the window's own import path is all it needs
        environment.insert("PYTHONPATH", import_path())
        environment.insert("PYTHONSAFEPATH", "1")  # not from the folder the window was started in
        process.setProcessEnvironment(environment)
        program, *arguments = command(self._module, *self._arguments)
        process.setProgram(program)
        process.setArguments(arguments)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._hear)
        process.finished.connect(self._finish)
        process.errorOccurred.connect(self._fail)
        self._process, self._rest, self._last_words = process, b"", b""
        # What is ignored here is ignored there (not on Windows), while Python starts too: Ctrl-C in
        # the terminal is the window's to answer.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before or signal.SIG_DFL)

    def send(self, message: Message) -> None:
        self.start()
        assert self._process is not None
        self._process.write(encode(message))

    def kill(self) -> None:
        """Ends a process that does not react; `ended` tells as after any other sudden end."""
        if self._process is not None:
            self._process.kill()

    def close(self, wait_ms: int = 3000) -> None:
        """Ends the process: by closing its input, then by force."""
        process = self._process
        if process is None:
            return
        self._closing = True
        process.closeWriteChannel()
        if not process.waitForFinished(wait_ms):
            process.kill()
            process.waitForFinished(wait_ms)

    def _read(self) -> None:
        if self._process is None:
            return
        data = self._rest + bytes(self._process.readAllStandardOutput().data())
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            try:
                message = decode_line(line)
            except LlavaError:
                continue
            self.received.emit(message)

    def _hear(self) -> None:
        if self._process is not None:
            said = bytes(self._process.readAllStandardError().data())
            if os.environ.get("LLAVAO1_LOG"):
                sys.stderr.write(said.decode(errors="replace"))
            self._last_words = (self._last_words + said)[-LAST_WORDS:]

    def _finish(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        process, self._process = self._process, None
        if process is not None:
            process.deleteLater()
        crashed = status is QProcess.ExitStatus.CrashExit or code != 0
        if crashed and not self._closing:
            self.ended.emit(self._words(code, status))
        self._closing = False
        self.finished.emit()

    def _fail(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart and self._process is not None:
            process, self._process = self._process, None
            self.ended.emit(process.errorString())
            process.deleteLater()
            self.finished.emit()

    def _words(self, code: int, status: QProcess.ExitStatus) -> str:
        lines = self._last_words.decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else ""
        if status is not QProcess.ExitStatus.CrashExit:
            how = self.tr("exit code {0}").format(code)
        elif code == signal.Signals.SIGTERM or code == getattr(signal, "SIGKILL", 9):
            how = self.tr("something ended it; perhaps memory ran out")
        else:
            how = self.tr("it crashed")
        return f"{how}{': ' + said if said else ''}"
