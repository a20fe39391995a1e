"""Takes a picture of every state of the window, with the demo model.

    python -m tests.gui.screenshots docs/images            all of them
    python -m tests.gui.screenshots FOLDER --theme dark --language ko --scale 2

Looking at them is the test that no program can do.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.patience import PATIENCE_S

VARIANTS = (("light", "en", 1), ("dark", "en", 1), ("light", "ko", 1), ("dark", "ko", 2))


def take(folder: Path, theme: str, language: str, scale: int) -> None:
    from dataclasses import replace

    from PIL import Image
    from PySide6.QtGui import QImage
    from PySide6.QtWidgets import QWidget

    from llavao1_edge import demo
    from llavao1_gui import dialogs
    from llavao1_gui.app import start
    from llavao1_gui.state import messages as m
    from llavao1_gui.state import preferences
    from llavao1_gui.state.batch import Row

    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp())
    os.environ["LLAVAO1_MODELS"] = str(home / "models")
    chosen = replace(preferences.Preferences(), theme=theme, language=language)
    preferences.write(home / "settings.json", chosen)
    app = start(["--data", str(home), "--config", str(home)])
    window, talk = app.window, app.conversations
    suffix = "" if (theme, language, scale) == ("light", "en", 1) else f"-{theme}-{language}"
    suffix += f"-{100 * scale}" if scale > 1 else ""

    def wait(until: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "it did not come"
            app.application.processEvents()
            time.sleep(0.002)

    def settle() -> None:
        end = time.monotonic() + 0.25
        wait(lambda: time.monotonic() > end)

    def shoot(name: str, widget: QWidget | None = None) -> None:
        settle()
        path = folder / f"{name}{suffix}.png"
        (widget or window).grab().save(str(path))
        with Image.open(path) as taken:
            small = taken.convert("RGB").quantize(255)
        small.save(path, optimize=True)
        print(path)

    def ask(question: str, until: Callable[[], bool] = lambda: not talk.busy) -> None:
        window.answers.box.set_text(question)
        app.ask(question)
        wait(until)

    settle()
    shoot("empty")
    app.pictures.add([sample.picture for sample in demo.samples()[:6]])
    wait(lambda: len(app.pictures.pictures) == 6)
    app.pictures.activate(0)
    for preset, question in (
        ("thorough", demo.samples()[0].question),
        ("careful", "How much larger is Oct than Dec?"),
    ):
        app.change(preset=preset)
        ask(question)
    window.answers.all_cards()[-1].fold.setChecked(True)
    shoot("answer")
    app.pictures.activate(2)
    shown = app.pictures.pictures[2]
    window.picture.view.choose_part((0, 0, shown.width, shown.height // 2))
    shoot("part")
    window.picture.eye_button.setChecked(True)
    shoot("sight")
    window.picture.eye_button.setChecked(False)
    wide = QImage(str(demo.samples()[0].picture)).scaled(900, 500)
    wide.save(str(home / "wide.png"))
    app.pictures.add([home / "wide.png"])
    wait(lambda: len(app.pictures.pictures) == 7)
    window.picture.eye_button.setChecked(True)
    shoot("sight-wide")
    talk.open(app.history.conversations()[-1].id)
    wait(lambda: bool(window.answers.all_cards()))
    groups = {"sampling": {"temperature": 1.8}, "search": {"candidates": 5}}
    app.change(preset="expert", strategy="stage-beam", groups=groups)
    app.pictures.activate(0)
    ask("Which has the largest value?")
    dialog = dialogs.candidates(app, talk.exchanges[-1])
    assert dialog is not None
    shoot("candidates", dialog)
    dialog.close()
    app.change(groups={})
    (home / "broken.jpg").write_bytes(b"no picture")
    app.pictures.add([home / "broken.jpg"])
    wait(lambda: window.answers.banner.isVisible())
    talk._engine_ended(app.link.tr("it crashed"))
    shoot("error")
    window.answers.banner.hide()
    settings = dialogs.settings(app)
    shoot("settings", settings)
    settings.tabs.setCurrentIndex(1)
    shoot("settings-search", settings)
    settings.reject()
    desk = dialogs.models(app)
    wait(lambda: bool(desk.dialog.rows["demo"].details) and desk.dialog.foreseen is not None)
    shoot("models", desk.dialog)
    desk.dialog.begin_work("Xkev/Llama-3.2V-11B-cot")
    desk.dialog.show_progress(m.Progress(0, 7_800_000_000, "model-00001-of-00005.safetensors"))
    time.sleep(1)
    desk.dialog.show_progress(
        m.Progress(61_000_000, 7_800_000_000, "model-00001-of-00005.safetensors")
    )
    shoot("models-fetching", desk.dialog)
    desk.dialog.close()
    batch = dialogs.batch(app)
    (home / "some pictures").mkdir()
    table = home / "some pictures" / "questions.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", "question"])
        for sample in demo.samples():
            shutil.copy(sample.picture, table.parent)
            rows.writerow([sample.picture.name, sample.question])
    batch.dialog.source.setText(str(table))
    batch.dialog.out.setText(str(home / "results.jsonl"))
    batch.start(batch.dialog.source.text(), batch.dialog.question.text(), batch.dialog.out.text())
    wait(lambda: not batch.run.running)
    error = batch.run.tr("no conclusion")
    batch.dialog.add(Row("gone.png", "How many?"), {"error": str(error)})
    shoot("batch", batch.dialog)
    batch.dialog.close()
    for name, made in (("shortcuts", dialogs.shortcuts(app)), ("about", dialogs.about(app))):
        shoot(name, made)
        made.reject()
    app.pictures.activate(5)
    app.change(preset="expert", groups={"search": {"candidates": 64}})
    question = demo.samples()[5].question
    ask(question, lambda: talk.live is not None and talk.live.stage == "caption")
    window.answers.all_cards()[0].fold.setChecked(True)
    wait(lambda: talk.live is not None and talk.live.stage == "reasoning")
    shoot("thinking")
    wait(lambda: not talk.busy)
    window.resize(900, 600)
    shoot("small")
    window.close()
    slow = home / "slow.json"
    slow.write_text(json.dumps({"token_s": 0.03, "load_s": 1.5}))
    app = start(["--data", str(home / "slow"), "--config", str(home), "--script", str(slow)])
    window, talk = app.window, app.conversations
    app.pictures.add([demo.samples()[0].picture])
    wait(lambda: app.pictures.active is not None)
    ask(
        "How many shapes are there?", lambda: talk.live is not None and talk.live.phase == "loading"
    )
    shoot("loading", window)
    window.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--theme", choices=("light", "dark"))
    parser.add_argument("--language", choices=("en", "ko"), default="en")
    parser.add_argument("--scale", type=int, default=1)
    options = parser.parse_args()
    if options.theme:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        take(options.folder, options.theme, options.language, options.scale)
        return
    config = Path(tempfile.mkdtemp()) / "screen.json"
    for theme, language, scale in VARIANTS:
        # A laptop's screen; scaled by two it is as large in points.
        size = {"width": 1440 * scale, "height": 900 * scale}
        screen = {"name": "one", "x": 0, "y": 0, "dpr": 1, "logicalDpi": 96, **size}
        config.write_text(json.dumps({"screens": [screen]}))
        platform = os.environ.get("QT_QPA_PLATFORM", f"offscreen:configfile={config}")
        command = [sys.executable, "-m", "tests.gui.screenshots", str(options.folder)]
        command += ["--theme", theme, "--language", language, "--scale", str(scale)]
        subprocess.run(
            command,
            check=True,
            env=os.environ | {"QT_SCALE_FACTOR": str(scale), "QT_QPA_PLATFORM": platform},
        )


if __name__ == "__main__":
    main()
