"""Promises of docs/install.md that can be checked without installing anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llavao1_edge.cli.main import build_parser
from llavao1_edge.ggml import plugins

ROOT = Path(__file__).parent.parent.parent
PAGES = ("README.md", "docs/install.md")


def commands() -> list[tuple[str, str]]:
    """(page, command) of every `llavao1-edge …` in a block of code."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                line = line.removeprefix("$ ").split("#")[0].strip()
                if line.startswith("llavao1-edge ") and "…" not in line:
                    found.append((page, line))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_is_one_that_the_program_takes(page: str, line: str) -> None:
    import shlex

    words = shlex.split(line.split(" > ")[0])[1:]
    if words[0] != "gui":  # its own options are read by the app
        build_parser().parse_args(words)


def test_every_verb_of_make_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z -]*):", makefile, re.MULTILINE))
    known = {word for target in targets for word in target.split()}
    known |= {f"plugin-{name}" for name in plugins.NAMES}
    for page in (*PAGES, "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for verb in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
            assert verb in known, f"{page}: make {verb}"


def test_files_that_the_page_names_are_there() -> None:
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(packaging/[a-z/._-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_desktop_entry_is_valid() -> None:
    if shutil.which("desktop-file-validate") is None:
        pytest.skip("desktop-file-validate is not installed")
    entry = ROOT / "gui/llavao1_gui/resources/llavao1-edge.desktop"
    done = subprocess.run(["desktop-file-validate", str(entry)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_program_and_the_window_ask_for_the_same_model() -> None:
    from llavao1_edge.bench import foresight

    text = (ROOT / "gui/llavao1_gui/widgets/models_dialog.py").read_text(encoding="utf-8")
    assert f'REAL_MODEL = "{foresight.REPOSITORY}"' in text
