"""The window as a screen reader meets it: over AT-SPI, on a display and a session's bus of its own.

Everything is done by names, roles and actions: who cannot see the window can do the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llavao1_edge import demo

jeepney = pytest.importorskip("jeepney", reason="pip install jeepney")
from jeepney import DBusAddress, new_method_call  # noqa: E402
from jeepney.io.blocking import DBusConnection, open_dbus_connection  # noqa: E402

from tests.patience import PATIENCE_S  # noqa: E402

LAUNCHER = "/usr/libexec/at-spi-bus-launcher"
NEEDED = ("dbus-daemon", "Xvfb", LAUNCHER)
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason="dbus, xvfb or at-spi2-core is not installed"
)
Node = tuple[str, str]  # a program's name on the bus, and an object of it
ROOT: Node = ("org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root")
LIFELESS = {"filler", "panel", "splitter", "grip", "separator", "status bar", "menu bar", "frame",
            "popup menu", "layered pane", "scroll bar", "scroll pane", "viewport", "list",
            "application", "label", "tool tip", "dialog"}  # fmt: skip


class Reader:
    """What a screen reader asks for."""

    def __init__(self, bus: DBusConnection) -> None:
        self.bus = bus

    def call(self, node: Node, member: str, *given: object, signature: str = "") -> tuple:
        interface, name = member.split(".")
        address = DBusAddress(node[1], node[0], f"org.a11y.atspi.{interface}")
        message = new_method_call(address, name, signature or None, given)
        return self.bus.send_and_get_reply(message, timeout=PATIENCE_S).body

    def get(self, node: Node, name: str) -> str:
        address = DBusAddress(node[1], node[0], "org.freedesktop.DBus.Properties")
        message = new_method_call(address, "Get", "ss", ("org.a11y.atspi.Accessible", name))
        found = self.bus.send_and_get_reply(message, timeout=PATIENCE_S).body[0]
        return str(found[1])

    def role(self, node: Node) -> str:
        return str(self.call(node, "Accessible.GetRoleName")[0])

    def is_showing(self, node: Node) -> bool:
        low, _ = self.call(node, "Accessible.GetState")[0]
        return bool(low >> 25 & 1)

    def walk(self, node: Node = ROOT, depth: int = 0) -> Iterator[Node]:
        yield node
        if depth < 30:
            for child in self.call(node, "Accessible.GetChildren")[0]:
                yield from self.walk(tuple(child), depth + 1)

    def find(self, role: str, name: str) -> Node:
        """Waits for something that is shown and is called so, or begins so."""
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            for node in self.walk():
                called = self.get(node, "Name").startswith(name) and self.role(node) == role
                if called and self.is_showing(node):
                    return node
            time.sleep(0.2)
        seen = [(self.role(node), self.get(node, "Name")) for node in self.walk()]
        raise AssertionError(f"no {role} {name!r} among {[one for one in seen if one[1]]}")

    def press(self, role: str, name: str) -> None:
        self.call(self.find(role, name), "Action.DoAction", 0, signature="i")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Of a window with a picture, beside a scripted engine."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"logprobs": {"There are two shapes.": -0.1}}))
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb", "QT_LINUX_ACCESSIBILITY_ALWAYS_ON": "1",
                   "XDG_RUNTIME_DIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"),
                   "LLAVAO1_MODELS": str(tmp_path / "models"), "LANG": "C.UTF-8"}  # fmt: skip
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    started: list[subprocess.Popen] = []

    def start(*command: str, **options: object) -> subprocess.Popen:
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, env=environment, **(quiet | options)))  # type: ignore[call-overload]
        return started[-1]

    receiving, sending = os.pipe()
    try:
        start("Xvfb", "-displayfd", str(sending), "-screen", "0", "1280x900x24", pass_fds=[sending])
        environment["DISPLAY"] = ":" + os.read(receiving, 8).decode().strip()
        bus = start(
            "dbus-daemon", "--session", "--nofork", "--print-address", stdout=subprocess.PIPE
        )
        assert bus.stdout is not None
        environment["DBUS_SESSION_BUS_ADDRESS"] = bus.stdout.readline().decode().strip()
        start(LAUNCHER, "--launch-immediately")
        home = ["--data", str(tmp_path / "home"), "--config", str(tmp_path / "home")]
        program = [sys.executable, "-m", "llavao1_gui.app", *home, "--script", str(script)]
        window = start(*program, str(demo.samples()[0].picture))
        with _accessibility_bus(environment["DBUS_SESSION_BUS_ADDRESS"]) as connection:
            yield Reader(connection)
        assert window.poll() is None  # it lived to the end
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        os.close(receiving)
        os.close(sending)


def _accessibility_bus(session: str) -> DBusConnection:
    ends = time.monotonic() + PATIENCE_S
    address = DBusAddress("/org/a11y/bus", "org.a11y.Bus", "org.a11y.Bus")
    with open_dbus_connection(session) as bus:
        while True:
            found = bus.send_and_get_reply(new_method_call(address, "GetAddress")).body
            if found[0].startswith("unix:"):
                return open_dbus_connection(found[0])
            assert time.monotonic() < ends, found
            time.sleep(0.2)


def test_a_question_is_asked_and_its_candidates_are_read(reader: Reader) -> None:
    reader.find("graphic", f"Picture {demo.samples()[0].picture.name}")
    field = reader.find("text", "Question")
    text = "How many shapes are there?"
    reader.call(field, "EditableText.SetTextContents", text, signature="s")
    reader.press("push button", "Ask")
    reader.press("push button", "Candidates")
    reader.find("push button", "Caption, There are two shapes., 2 of 4 say this, part of the")


def test_everything_that_can_be_used_has_a_name(reader: Reader) -> None:
    reader.find("push button", "Ask")
    nameless = []
    for node in reader.walk():
        role, name = reader.role(node), reader.get(node, "Name")
        about = reader.get(node, "Description")
        assert "<" not in name + about, (role, name, about)
        if role not in LIFELESS and not name and reader.is_showing(node):
            nameless.append((role, about))
        if role == "combo box":  # its name is its value here: what it is for stands beside it
            assert about, name
    assert nameless == []
