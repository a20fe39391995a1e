"""How far long work is, on the program's icon in the taskbar (Linux: KDE, Ubuntu, Cinnamon).

They listen for a signal on the session's bus (`com.canonical.Unity.LauncherEntry`). Where nobody
listens, or there is no bus, nothing happens.
"""

from __future__ import annotations

import sys

DESKTOP_FILE = "application://llavao1-edge.desktop"
INTERFACE = "com.canonical.Unity.LauncherEntry"
STEP = 0.01  # smaller changes are not worth a message


class TaskbarIcon:
    def __init__(self) -> None:
        self._shares: dict[str, float] = {}
        self._last: float | None = None

    def show(self, work: str, share: float | None) -> None:
        """share of `work`, 0 to 1; None: it does not go on. Of several, the mean is shown."""
        if share is None:
            self._shares.pop(work, None)
        else:
            self._shares[work] = share
        n = len(self._shares)
        self._tell(sum(self._shares.values()) / n if n else None)

    def close(self) -> None:
        self._shares.clear()
        self._tell(None)

    def _tell(self, share: float | None) -> None:
        known = share is not None and self._last is not None and abs(share - self._last) < STEP
        if share == self._last or (known and share != 1):
            return
        self._last = share
        if sys.platform.startswith("linux"):
            self._send({"progress": share or 0.0, "progress-visible": share is not None})

    def _send(self, about: dict[str, object]) -> None:
        from PySide6.QtDBus import QDBusConnection, QDBusMessage

        bus = QDBusConnection.sessionBus()
        if bus.isConnected():
            signal = QDBusMessage.createSignal("/llavao1_edge", INTERFACE, "Update")
            signal.setArguments([DESKTOP_FILE, about])
            bus.send(signal)
