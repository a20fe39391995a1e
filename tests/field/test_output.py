"""What leaves the program: full disks, closed pipes, control characters, spreadsheets."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from llavao1_edge import demo
from llavao1_edge.cli.streams import harmless

SAMPLE = demo.samples()[0]
CLI = [sys.executable, "-m", "llavao1_edge.cli.main"]
COMMANDS = [
    ["ask", str(SAMPLE.picture), "How many?"],
    ["ask", str(SAMPLE.picture), "How many?", "--json"],
    ["models", "list"],
    ["devices"],
    ["doctor"],
]
needs_posix = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full")


@needs_posix
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[::2])[:24])
def test_a_full_disk_and_a_closed_stdout_are_a_sentence(command: list[str]) -> None:
    for to, said in ((">/dev/full", "the disk is full"), (">&-", "standard output is closed")):
        done = subprocess.run(
            ["sh", "-c", f'"$@" {to}', "sh", *CLI, *command], capture_output=True, text=True
        )
        assert done.returncode == 1, to
        assert said in done.stderr
        assert "bug" not in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


@needs_posix
@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-"])
def test_without_stderr_the_answer_still_comes(to: str) -> None:
    words = ["sh", "-c", f'"$@" {to}', "sh", *CLI, *COMMANDS[0], "--temperature", "0"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, bool(done.stdout.strip())) == (0, True)
    words = ["sh", "-c", f'"$@" {to}', "sh", *CLI, "ask", "nowhere.png", "Why?"]
    assert subprocess.run(words, capture_output=True, text=True).returncode == 1


@needs_posix
def test_a_reader_that_went_away_is_no_bug() -> None:
    with subprocess.Popen(
        [*CLI, *COMMANDS[1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1


@needs_posix
def test_no_memory_is_a_sentence() -> None:
    """`ulimit -v`: whatever asks for it first."""
    script = 'ulimit -v 900000; exec "$@"'
    words = ["sh", "-c", script, "sh", *CLI, *COMMANDS[0], "--context", "2000000"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "bug" not in done.stderr
    assert "memory" in done.stderr.lower() or "context" in done.stderr


# --- a terminal -----------------------------------------------------------------------------------
def on_terminal(command: list[str]) -> str:
    """All that a command sends to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    data = b""
    try:
        while piece := os.read(ours, 65536):
            data += piece
    except OSError:  # the other end is gone
        pass
    process.wait()
    os.close(ours)
    return data.decode(errors="replace")


EVIL = "\x1b]0;title\x07\x9b2J\x1b[31mred\u202e"


@needs_posix
def test_names_and_texts_send_no_control_characters_to_a_terminal(tmp_path: Path) -> None:
    picture = tmp_path / f"{EVIL}.png"
    said = on_terminal([*CLI, "ask", str(picture), "Why?"])
    assert "\\u001b]0;title\\u0007" in said
    assert "\\u009b2J" in said
    assert not set(said) & set("\x07\x9b\u202e")
    assert "\x1b]" not in said
    assert "\x1b[31m" not in said


@needs_posix
def test_json_on_a_terminal_stays_json(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    said = on_terminal(
        [*CLI, "ask", str(SAMPLE.picture), f"{EVIL} How many?", "--json", "--temperature", "0"]
    )
    start = said.index("{")
    record = json.loads(said[start : said.rindex("}") + 1])
    assert record["request"]["question"].startswith("\x1b]0;title")
    assert not folder.exists()


def test_what_is_harmless_stays_as_it_is() -> None:
    for text in ("a\tb\nc", "한국어 é 🙂", ""):
        assert harmless(text) == text
    assert harmless("\r\x1b\x7f\x85") == "\\u000d\\u001b\\u007f\\u0085"
