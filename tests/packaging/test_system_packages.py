"""One list of system packages: the README, CI, make and the errors all read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llavao1_edge import system

ROOT = Path(__file__).parent.parent.parent
INSTALL = re.compile(r"apt-get install (.+)")


def words(line: str) -> list[str]:
    return [word for word in line.split() if not word.startswith("-")]


def test_the_readme_has_the_two_lines_of_the_list() -> None:
    lines = INSTALL.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [words(line) for line in lines] == [
        system.packages(["ask"]),
        system.packages(["window"]),
    ]


@pytest.mark.parametrize("file", sorted((ROOT / "docs").rglob("*.md")), ids=lambda file: file.name)
def test_no_document_has_a_list_of_its_own(file: Path) -> None:
    known = [system.packages([purpose]) for purpose in system.REQUIREMENTS]
    for line in INSTALL.findall(file.read_text(encoding="utf-8")):
        if not line.startswith("./"):  # a package of our own
            assert words(line.rstrip("`. ")) in known, f"{file.name}: {line}"


def test_scripts_name_no_package_themselves() -> None:
    for script in (ROOT / ".ci" / "run", *(ROOT / "packaging").glob("*.sh")):
        text = script.read_text(encoding="utf-8")
        named = set(re.findall(r"[a-z0-9.+-]+", text)) & set(system.packages(["window"]))
        assert not named, f"{script.name} names {named}"


def test_make_asks_before_it_installs() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = text.split("$(VENV)/installed:")[1].split("\n\n")[0]
    assert recipe.index("$(NEEDS) ask") < recipe.index("-m venv")


def test_what_is_missing_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"apt-get": "/usr/bin/apt-get", "python3": "/usr/bin/python3"}
    monkeypatch.setattr(shutil, "which", there.get)
    monkeypatch.setattr(sys, "platform", "linux")
    assert system.advice(["ask"]) == (
        "this machine lacks make, c++ (to install and to ask)\n  sudo apt-get install make g++"
    )
    del there["apt-get"]
    assert system.advice(["ask"]).endswith("Debian calls them: make g++")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert system.advice(["ask"]).endswith("xcode-select --install")
    monkeypatch.setattr(sys, "platform", "win32")
    assert "libGL" not in system.advice(["window"])


def test_it_runs_as_a_file_with_nothing_installed(tmp_path: Path) -> None:
    """As make does: isolated, from another folder, without the package on the path."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = ROOT / "llavao1_edge" / "system.py"
        command = [sys.executable, "-I", "-S", str(script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    assert run("--packages", "ask").stdout.split() == system.packages(["ask"])
    wrong = run("nonsense")
    assert (wrong.returncode, wrong.stderr.startswith("error: nonsense")) == (2, True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Qt says it elsewhere")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "there is no display"),
        ({"QT_QPA_PLATFORM": "xcb"}, "there is no display"),
        ({"DISPLAY": ":61234"}, "the display :61234 cannot be opened"),
        ({"DISPLAY": "nowhere.invalid:0"}, "the display nowhere.invalid:0 cannot be opened"),
    ],
)
def test_a_window_without_a_display_is_one_sentence(environment: dict[str, str], said: str) -> None:
    if system.missing(["window"]):
        said = "this machine lacks"
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    base = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-m", "llavao1_edge.cli.main", "gui"],
        capture_output=True,
        text=True,
        env=base | environment,
    )
    assert done.returncode in (1, 2)  # 2: without PySide6
    assert said in done.stderr or "PySide6" in done.stderr
    assert "Traceback" not in done.stderr
