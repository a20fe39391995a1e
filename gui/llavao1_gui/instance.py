"""One window for each data folder: a second start hands its pictures to the first.

Through a Unix socket in the folder, which only its owner can enter; Qt's own way needs one more
system library. Where there are no such sockets (Python on Windows), each start has its window.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QSocketNotifier, Signal

WAIT_S = 2.0  # for a window that is busy; one that does not answer is left alone
LONGEST = 1 << 20  # bytes of a message
LONGEST_PATH = 100  # characters: what the system takes for a socket


def _path(data: Path) -> str | None:
    """The door of the window that has this data folder open."""
    path = str(data.absolute() / "window.socket")
    return path if hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) < LONGEST_PATH else None


def _is_open(path: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(WAIT_S)
        try:
            door.connect(path)
        except OSError:
            return False
        return True


def hand_over(data: Path, pictures: Sequence[Path]) -> bool:
    """Whether a window is open already and has taken the pictures."""
    path = _path(data)
    if path is None:
        return False
    message = json.dumps([str(picture) for picture in pictures]).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(WAIT_S)
            door.connect(path)
            door.sendall(message)
            return door.recv(8) == b"ok\n"
    except OSError:  # nobody is there, or nobody answers
        return False


class Door(QObject):
    """Where later starts knock. opened: the paths that one of them was given."""

    opened = Signal(list)

    def __init__(self, data: Path, parent: QObject) -> None:
        super().__init__(parent)
        self._path = _path(data)
        self._socket: socket.socket | None = None
        self._callers: dict[int, _Caller] = {}
        if self._path is None:
            return
        made = socket.socket(socket.AF_UNIX)
        try:
            if _is_open(self._path):  # another window keeps it: this one was asked for by name
                made.close()
                return
            with contextlib.suppress(FileNotFoundError):  # left behind by a window that was killed
                Path(self._path).unlink()
            made.bind(self._path)
            made.listen(8)
            made.setblocking(False)
        except OSError:  # a file system without sockets: each start then has its own window
            made.close()
            return
        self._socket, self._inode = made, Path(self._path).stat().st_ino
        self._notifier = QSocketNotifier(made.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(self._come_in)

    def _come_in(self, *_: object) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            caller, _address = self._socket.accept()
            caller.setblocking(False)
            self._callers[caller.fileno()] = _Caller(caller, self)

    def done(self, caller: _Caller, paths: list[Path] | None) -> None:
        """paths: None for one that said nothing sensible."""
        self._callers.pop(caller.number, None)
        caller.close()
        if paths is not None:
            self.opened.emit(paths)

    def close(self) -> None:
        for caller in self._callers.values():
            caller.close()
        self._callers.clear()
        if self._socket is not None and self._path is not None:
            self._notifier.setEnabled(False)
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                if Path(self._path).stat().st_ino == self._inode:
                    Path(self._path).unlink()


class _Caller:
    """One start that is telling its pictures."""

    def __init__(self, caller: socket.socket, door: Door) -> None:
        self._socket, self._door, self._said = caller, door, b""
        self.number = caller.fileno()
        self._notifier = QSocketNotifier(self.number, QSocketNotifier.Type.Read, door)
        self._notifier.activated.connect(self._read)

    def _read(self, *_: object) -> None:
        try:
            said = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._said += said
        line, end, _rest = self._said.partition(b"\n")
        if not end and said and len(self._said) <= LONGEST:
            return
        self._door.done(self, self._paths(line) if end else None)

    def _paths(self, line: bytes) -> list[Path] | None:
        try:
            told = json.loads(line)
        except ValueError:
            return None
        if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
            return None
        with contextlib.suppress(OSError):
            self._socket.sendall(b"ok\n")
        return [Path(one) for one in told]

    def close(self) -> None:
        self._notifier.setEnabled(False)
        self._notifier.deleteLater()
        self._socket.close()
