"""The whole program: real engine's process, demo model, kills, start-up, a window never frozen."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from llavao1_edge import demo, system
from llavao1_gui.state.history import History
from tests.devices.conftest import Server, rpc_plugin, serve  # noqa: F401 (fixtures)
from tests.gui.conftest import OTHER, SCHEDSTAT, SHAPES, Window
from tests.native_models import pair
from tests.patience import PATIENCE_S
from tests.shapes import SAMPLES

Make = Callable[..., Window]


def test_the_demo_model_answers_the_sample_questions(make_window: Make) -> None:
    window = make_window(None)
    for number, sample in enumerate(demo.samples()):
        window.window.picture.empty.sample.emit(number)
        window.wait(lambda n=number: window.pictures.at == n)  # type: ignore[misc]
        field = window.window.answers.box.field
        assert field.toPlainText() == sample.question
        found = window.ask("")
        assert (found.status, found.conclusion) == ("answered", sample.answer)
    assert "CPU" in window.window.model_label.text()
    follow = window.ask("How many red objects are there?")
    assert follow.request["reused"] is True
    assert follow.conclusion == demo.UNKNOWN  # the last sample is a photograph
    assert "simple charts" in window.banner


def test_the_engine_killed_in_the_middle_of_an_answer(make_window: Make) -> None:
    window = make_window(None)
    window.app.change(preset="thorough")
    window.open(SHAPES)
    window.ask("How many circles are there?")
    window.type("How many small circles do you see?")
    window.wait(lambda: window.talk.live is not None and window.talk.live.tokens > 5)
    os.kill(window.app.link.pid, signal.SIGKILL)
    window.wait(lambda: not window.talk.busy)
    assert "perhaps memory ran out" in window.talk.exchanges[-1].error
    again = window.ask(SAMPLES[0].question)
    assert again.conclusion == SAMPLES[0].answer


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="told by Linux only")
def test_the_engine_never_hears_ctrl_c(make_window: Make) -> None:
    """It is the window's to answer, also while Python starts: the process is looked at at once."""
    before = signal.getsignal(signal.SIGINT)
    window = make_window(None)
    window.app.link.start()
    status = Path(f"/proc/{window.app.link.pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    assert int(ignored.split()[1], 16) >> (signal.SIGINT - 1) & 1
    assert signal.getsignal(signal.SIGINT) is before


def test_another_turn_after_a_restart_knows_the_earlier_ones(make_window: Make) -> None:
    """The conversation is told again to a new engine, and the answer is the same."""
    window = make_window(None)
    window.app.change(preset="fast", groups={"sampling": {"temperature": 0}})
    window.open(OTHER)
    window.ask("How many squares are there?")
    first = window.ask("Is there a blue circle?")
    window.talk.exchanges.pop()
    window.app.link.close()
    second = window.ask("Is there a blue circle?")
    assert second.stages == first.stages


def test_stop_is_within_one_token_of_the_real_engine(make_window: Make) -> None:
    window = make_window(None)
    window.app.change(preset="expert", strategy="stage-beam", groups={"search": {"candidates": 32}})
    window.open(SHAPES)
    window.type("How many small circles do you see?")
    window.wait(lambda: window.talk.live is not None and window.talk.live.tokens > 20)
    window.app.act("stop")
    window.wait(lambda: not window.talk.busy)
    assert window.talk.exchanges[-1].status in ("stopped", "answered")
    assert window.ask("How many circles are there?").status == "answered"


@pytest.mark.parametrize("script", [{"token_s": 0.002}, None], ids=["scripted", "demo"])
def test_the_window_is_never_frozen(make_window: Make, script: dict[str, float] | None) -> None:
    """50 ms on a machine that draws the window in 0.7 ms (12 to 25 drawings were measured)."""
    window = make_window(script)
    window.open(SHAPES)
    window.ask("Is there a blue circle?")  # fonts, formulas and the engine are warm
    assert window.longest_turn("How many small circles do you see", enough=70) < 70


@pytest.mark.skipif(not SCHEDSTAT.exists(), reason="the measure sees no waiting here")
def test_a_frozen_window_would_be_found(make_window: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure above sees what waits as well as what computes."""
    window = make_window({"token_s": 0.002})
    window.open(SHAPES)
    refresh, long = window.talk._refresh, 100 * window.drawing_s()

    def slow(job: object) -> None:
        time.sleep(long)
        refresh(job)  # type: ignore[arg-type]

    monkeypatch.setattr(window.talk, "_refresh", slow)
    assert window.longest_turn("How many", enough=1e9) > 70


ENVIRONMENT = os.environ | {"QT_QPA_PLATFORM": "offscreen", "LLAVAO1_LOG": ""}


def test_the_whole_app_killed_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    """What was written is found after a restart; the engine's process does not stay behind."""
    script = tmp_path / "script.json"
    script.write_text('{"token_s": 0.05}')
    code = f"""
from PySide6.QtCore import QTimer
from pathlib import Path
from llavao1_gui.app import start
app = start(["--data", {str(tmp_path)!r}, "--config", {str(tmp_path)!r},
             "--script", {str(script)!r}, {str(SHAPES)!r}])
def ask():
    app.conversations.ask("Half of this is kept?")
    QTimer.singleShot(0, say)
def say():
    live = app.conversations.live
    if live.stages.get("caption"):
        print("engine", app.link.pid, flush=True)
    else:
        QTimer.singleShot(20, say)
app.pictures.changed.connect(ask)
app.application.exec()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        engine = int(process.stdout.readline().split()[1])
        process.kill()
    with History(tmp_path) as history:
        (talk,) = history.conversations()
        (found,) = history.exchanges(talk.id)
        assert (found.question, found.status) == ("Half of this is kept?", "asked")
        assert found.stages["summary"]
        assert found.stages["caption"]
        assert history.picture_path(str(talk.picture)).is_file()
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and _alive(engine):
        time.sleep(0.05)
    assert not _alive(engine)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_start_is_quick_small_and_loads_nothing_native(tmp_path: Path) -> None:
    """To the first frame, with a warm cache: in proportion to what the plainest window takes."""
    code = f"""
import time, sys
began = time.perf_counter()
from llavao1_gui.app import start
app = start(["--data", {str(tmp_path)!r}, "--config", {str(tmp_path)!r}])
app.application.processEvents()
app.window.grab()
seconds = time.perf_counter() - began
import psutil
megabytes = psutil.Process().memory_info().rss / 1e6
print(seconds, megabytes, "llama_cpp" in sys.modules)
app.window.close()
"""
    plain = """
import time
began = time.perf_counter()
import numpy
from PySide6.QtWidgets import QApplication, QLabel
application = QApplication([])
label = QLabel("x")
label.show()
label.grab()
print(time.perf_counter() - began)
"""
    times, plainest = [], []
    for _ in range(3):
        shown = subprocess.run(
            [sys.executable, "-c", plain],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=True,
        )
        plainest.append(float(shown.stdout))
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=True,
        )
        seconds, megabytes, native = done.stdout.split()
        times.append(float(seconds))
        assert float(megabytes) < 200
        assert native == "False"
    print(f"seconds to the first frame: {times}, of a plain window: {plainest}")
    assert min(times) < 8 * min(plainest)


def test_the_command_opens_the_window(tmp_path: Path) -> None:
    """`llavao1-edge gui` through the real `main`, ended as Ctrl-C ends it."""
    code = (
        "import sys, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from llavao1_edge.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "gui", str(SHAPES)]
    command += ["--data", str(tmp_path), "--config", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        end = time.monotonic() + PATIENCE_S
        while not list(tmp_path.glob("pictures/*")) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    helped = subprocess.run(
        [sys.executable, "-m", "llavao1_edge.cli.main", "gui", "--help"],
        capture_output=True, text=True, env=ENVIRONMENT, check=True,
    )  # fmt: skip
    assert "--data" in helped.stdout


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal in this Python")
def test_this_qt_binding_keeps_count_of_references() -> None:
    """6.12.0 lost one to None with every slot that was called (docs/adr/0011)."""
    from PySide6.QtCore import QObject, Signal

    class Source(QObject):
        told = Signal(bool)

    source = Source()
    source.told.connect(lambda _: None)
    before = sys.getrefcount(None), sys.getrefcount(True)
    for _ in range(200):
        source.told.emit(True)
    after = sys.getrefcount(None), sys.getrefcount(True)
    assert after[0] > before[0] - 100
    assert after[1] > before[1] - 100


# --- a real display -------------------------------------------------------------------------------
TOOLS = [name for name in ("Xvfb", "xdotool") if shutil.which(name) is None]
TOOLS += [requirement.name for requirement in system.missing(["window"])]
ON_X = """
import sys
from pathlib import Path
from PySide6.QtCore import QMimeData, QTimer, QUrl, Qt
from PySide6.QtGui import QDrag, QGuiApplication, QImage
from PySide6.QtWidgets import QLabel
from llavao1_gui.app import start
home, picture = sys.argv[1:3]
app = start(["--data", home, "--config", home])
app.window.setGeometry(0, 0, 900, 600)
class Source(QLabel):
    def mouseMoveEvent(self, event):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(picture)])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)
source = Source("drag me")
source.setGeometry(950, 100, 200, 200)
source.show()
app.pictures.changed.connect(lambda: print("picture", app.pictures.active.name,
    app.pictures.active.width, flush=True))
image = QImage(33, 22, QImage.Format.Format_RGB32)
image.fill(Qt.GlobalColor.red)
QTimer.singleShot(0, lambda: QGuiApplication.clipboard().setImage(image))
QTimer.singleShot(1500, lambda: print("ready", flush=True))
app.application.exec()
"""


@pytest.mark.skipif(bool(TOOLS), reason=f"not installed: {' '.join(TOOLS)}")
def test_a_real_drag_between_windows_and_a_real_paste(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        stack.enter_context(server)
        stack.callback(server.terminate)
        assert server.stdout is not None
        display = ":" + server.stdout.readline().strip()
        environment = ENVIRONMENT | {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
        process = subprocess.Popen(
            [sys.executable, "-c", ON_X, str(tmp_path), str(SHAPES)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout is not None

        def do(*words: str) -> None:
            subprocess.run(["xdotool", *words], env=environment, check=True, timeout=PATIENCE_S)

        assert process.stdout.readline() == "ready\n"
        do("mousemove", "1050", "200", "mousedown", "1")
        for x in range(1040, 400, -40):
            do("mousemove", str(x), "300")
            time.sleep(0.03)
        time.sleep(0.3)
        do("mouseup", "1")
        assert process.stdout.readline() == f"picture {SHAPES.name} 480\n"
        do("mousemove", "300", "300", "click", "1")
        do("key", "--clearmodifiers", "ctrl+v")
        assert re.match(r"picture .* 33\n", process.stdout.readline())


# --- a device that is lost ------------------------------------------------------------------------
def test_the_window_outlives_a_device(
    make_window: Make,
    rpc_plugin: Path,  # noqa: F811
    serve: Callable[[], Server],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two servers share the layers; one dies in the middle of an answer."""
    monkeypatch.setenv("LLAVAO1_PLUGINS", str(rpc_plugin.parent))
    first, second = serve(), serve()
    window = make_window(None)
    servers = {"runtime": {"rpc": f"{first.address},{second.address}"}}
    window.app.change(preset="fast", groups=servers)
    window.open(SHAPES)
    sample = SAMPLES[0]
    assert window.ask(sample.question).conclusion == sample.answer
    assert "RPC" in window.window.model_label.text()
    window.app.change(preset="thorough", groups=servers)
    window.type("How many circles are there?")
    window.wait(lambda: window.talk.live is not None and window.talk.live.tokens > 5)
    os.kill(second.process.pid, signal.SIGKILL)
    window.wait(lambda: not window.talk.busy)
    assert window.talk.exchanges[-1].error
    window.app.change(preset="fast", groups={})
    assert window.ask(sample.question).conclusion == sample.answer
    assert "CPU" in window.window.model_label.text()


def test_a_model_that_llama_cpp_runs_itself(make_window: Make) -> None:
    window = make_window(None)
    groups = {"sampling": {"max_tokens": 60}, "budget": {"stage_tokens": 8}}
    window.app.change(model=str(pair("qwen2vl")[0]), groups=groups)
    window.open(SHAPES)
    window.app.act("sight")
    pane = window.window.picture
    window.wait(lambda: "once it has read it" in pane.sight_text.text())
    found = window.ask("What is this?")
    assert found.status == "answered", found.error
    assert set(found.stages) == {"summary", "caption", "reasoning", "conclusion"}
    assert re.search(r"reads it at \d+ × \d+ pixels: \d+ tokens", pane.sight_text.text())
    assert pane.view.sight is None
    again = window.ask("And now?")
    assert again.request["reused"] is True
    assert not pane.together.isVisible()
    window.open(OTHER)
    assert pane.together.isVisible()
    pane.together.setChecked(True)
    assert window.talk.exchanges == []
    both = window.ask("Which is larger?")
    assert both.status == "answered", both.error
    assert len(both.request["more"]) == 1
    assert both.trace is not None
    assert both.trace["counters"]["vision_passes"] >= 1
    follow = window.ask("Why?")  # the same pictures, whatever is chosen since
    assert follow.request["more"] == both.request["more"]
    assert follow.request["reused"] is True
    about_both = window.talk.current
    assert about_both is not None
    pane.eye_button.setChecked(True)
    window.app.change(model="demo")
    window.wait(lambda: "2 × 2 tiles" in pane.sight_text.text())
    assert not pane.together.isVisible()
    assert window.talk.exchanges == []  # what comes now is about one picture
    assert window.ask("How many circles are there?").status == "answered"
    window.talk.open(about_both.id)
    window.wait(lambda: not window.pictures.reopening)
    refused = window.ask("And now?")
    assert refused.status == "failed"
    assert "one picture" in refused.error
