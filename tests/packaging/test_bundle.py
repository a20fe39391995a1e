"""What a bundle does on systems that are not this one: quoting, paths, and who starts whom."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llavao1_edge import program

ROOT = Path(__file__).parent.parent.parent
BUNDLE = ROOT / "packaging" / "bundle"


def test_a_part_is_started_by_the_interpreter_or_by_the_bundle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = program.command("llavao1_gui.work.answering", "--script", "a b")
    assert own[1:] == ["-P", "-m", "llavao1_gui.work.answering", "--script", "a b"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", r"C:\Program Files\llavao1-edge\llavao1-edge.exe")
    assert program.command("llavao1_edge.cli.main", "ask") == [
        r"C:\Program Files\llavao1-edge\llavao1-edge.exe",
        "--run-module",
        "llavao1_edge.cli.main",
        "ask",
    ]


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The bundle's own program, run from its source."""
    command = [sys.executable, str(BUNDLE / "start.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_bundles_program_runs_our_parts_and_nothing_else() -> None:
    asked = start(program.MODULE_FLAG, "llavao1_edge.cli.main", "--version")
    assert (asked.returncode, asked.stdout.split()[0]) == (0, "llavao1-edge")
    for foreign in ("http.server", "os", "", "llavao1_edge_evil.x"):
        refused = start(program.MODULE_FLAG, foreign)
        assert (refused.returncode, "is no part of this program" in refused.stderr) == (2, True)
    assert start("--version").stdout == asked.stdout


def unquoted(line: str) -> list[str]:
    """The words of an Exec line, by the desktop entry specification."""
    text = re.sub(r"\\(.)", lambda found: {"s": " "}.get(found[1], found[1]), line)
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted).replace("%%", "%") or bare for quoted, bare in words]


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
@pytest.mark.parametrize(
    "name", ["plain", "with a space", 'qu"ote', "do$llar", "back\\slash", "50%"]
)
def test_the_menu_entry_starts_the_program_wherever_it_lies(name: str, tmp_path: Path) -> None:
    folder, home = tmp_path / name, tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    resources = ROOT / "gui" / "llavao1_gui" / "resources"
    for source in (BUNDLE / "install.sh", *resources.glob("llavao1-edge.*")):
        shutil.copy(source, folder)
    (folder / "llavao1-edge").write_text("#!/bin/sh\n")
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    subprocess.run(["sh", str(folder / "install.sh")], env=environment, check=True)
    entry = home / ".local/share/applications/llavao1-edge.desktop"
    (line,) = re.findall(r"^Exec=(.*)$", entry.read_text(encoding="utf-8"), re.MULTILINE)
    assert unquoted(line) == [str(folder / "llavao1-edge"), "gui", "%F"]
    assert (home / ".local/bin/llavao1-edge").resolve() == folder / "llavao1-edge"
    subprocess.run(["sh", str(folder / "install.sh"), "--remove"], env=environment, check=True)
    assert not entry.exists()
    assert (folder / "llavao1-edge").exists()


def test_recipes_that_were_never_run_say_so() -> None:
    for recipe in ("windows/llavao1-edge.iss", "windows/build.ps1", "macos/build.sh"):
        assert "UNPROVEN" in (ROOT / "packaging" / recipe).read_text(encoding="utf-8")
