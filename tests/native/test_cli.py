"""The command line on the embedded demo model, in this process and as a real one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llavao1_edge import demo
from llavao1_edge.cli.main import main
from tests.patience import PATIENCE_S

SAMPLE = demo.samples()[0]
GREEDY = ["--temperature", "0"]
Say = pytest.CaptureFixture[str]


def test_ask_prints_the_conclusion_alone(capsys: Say) -> None:
    assert main(["ask", str(SAMPLE.picture), SAMPLE.question, *GREEDY]) == 0
    said = capsys.readouterr()
    assert said.out == f"{SAMPLE.answer}\n"
    assert said.err == ""


def test_show_stages(capsys: Say) -> None:
    assert main(["ask", str(SAMPLE.picture), SAMPLE.question, "--show-stages", *GREEDY]) == 0
    out = capsys.readouterr().out
    places = [out.index(name) for name in ("Summary\n", "Caption\n", "Reasoning\n", "Conclusion\n")]
    assert places == sorted(places)
    assert out.endswith(f"Conclusion\n{SAMPLE.answer}\n")


def test_json(capsys: Say) -> None:
    assert main(["ask", str(SAMPLE.picture), SAMPLE.question, "--json", "--seed", "3"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["stages"]) == ["summary", "caption", "reasoning", "conclusion"]
    assert answer["conclusion"] == answer["stages"]["conclusion"]
    assert answer["trace"]["seed"] == 3
    assert answer["trace"]["counters"]["vision_passes"] == 1
    assert answer["trace"]["counters"]["sampled_tokens"] > 20
    assert answer["notes"] == []


@pytest.mark.parametrize("strategy", ["direct", "free"])
def test_other_strategies(strategy: str, capsys: Say) -> None:
    argv = ["ask", str(SAMPLE.picture), SAMPLE.question, "--strategy", strategy, "--json", *GREEDY]
    assert main(argv) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["conclusion"]
    assert (answer["stages"]["summary"] is None) == (strategy == "direct")


def test_picture_from_stdin(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(SAMPLE.picture.read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert main(["ask", "-", SAMPLE.question, *GREEDY]) == 0
    assert capsys.readouterr().out == f"{SAMPLE.answer}\n"


def test_chat_reads_the_picture_once(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [SAMPLE.question, "", "/stages", SAMPLE.question, "/picture other.png", "/quit", "no"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    assert main(["chat", str(SAMPLE.picture), *GREEDY]) == 1  # /picture failed
    said = capsys.readouterr()
    assert said.out.startswith(f"{SAMPLE.answer}\nSummary\n")
    assert "has one picture" in said.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pasted_path_of_another_picture_offers_a_new_conversation(
    capsys: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "two words.png"
    other.write_bytes(SAMPLE.picture.read_bytes())
    pasted = [f"'{other}'", other.as_uri(), str(other).replace(" ", "\\ ")]
    for line in pasted:
        said = "\n".join([SAMPLE.question, line, "/quit"])
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        assert main(["chat", str(SAMPLE.picture), *GREEDY]) == 1
        assert f"another chat: llavao1-edge chat '{other}'" in capsys.readouterr().err
    for answered, n_answers in (("y", 2), ("n", 2)):
        lines = [SAMPLE.question, pasted[0], answered, "/stages", SAMPLE.question]
        monkeypatch.setattr(sys, "stdin", Terminal("\n".join(lines)))
        assert main(["chat", str(SAMPLE.picture), *GREEDY]) == 0
        found = capsys.readouterr()
        assert found.out.splitlines().count(SAMPLE.answer) >= n_answers
        assert ("A new conversation, about two words.png" in found.err) == (answered == "y")
        assert ("there is no answer yet" in found.err) == (answered == "y")
    missing = "\n".join(["/no/such/file.png", "What is in /etc/hostname?"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(missing))
    main(["chat", str(SAMPLE.picture), *GREEDY])
    assert "unknown command /no/such/file.png" in capsys.readouterr().err


def test_doctor(capsys: Say) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["hooks"] == 4
    assert report["versions"]["llama-cpp-python"].startswith("0.3.")
    assert report["devices"]
    assert main(["doctor"]) == 0
    assert "result             ok" in capsys.readouterr().out


def test_convert_prints_both_paths(
    tmp_path: Path, capsys: Say, checkpoint_of: Callable[[str], Path]
) -> None:
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path), "--quant", "f16"]
    assert main([*argv, "--name", "T"]) == 0
    printed = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [tmp_path / "T-F16.gguf", tmp_path / "mmproj-T-F16-Q8_0.gguf"]
    assert all(path.is_file() for path in printed)
    assert main(["ask", str(SAMPLE.picture), "Hi?", "--model", str(printed[0]),
                 "--max-tokens", "8", "--strategy", "direct"]) == 0  # fmt: skip


def test_help_has_examples(capsys: Say) -> None:
    for command in ("ask", "chat", "convert", "doctor"):
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        assert "example" in capsys.readouterr().out


def start(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "llavao1_edge.cli.main", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_a_cold_start_costs_a_few_times_what_its_libraries_cost() -> None:
    """The share of the libraries, in the same rounds: 0.4 on an idle machine."""
    code = "import llama_cpp, numpy, PIL.Image"
    times, libraries = [], []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True)
        libraries.append(time.monotonic() - started)
        started = time.monotonic()
        process = start("ask", str(SAMPLE.picture), SAMPLE.question, *GREEDY)
        out, err = process.communicate(timeout=PATIENCE_S)
        times.append(time.monotonic() - started)
        assert (process.returncode, out, err) == (0, f"{SAMPLE.answer}\n", "")
    assert min(times) < 8 * min(libraries)


def test_ctrl_c_while_answering_exits_with_130() -> None:
    code = """
import os, signal, sys
from llavao1_edge.cli import progress
from llavao1_edge.cli.main import main
seen = []
def interrupt(self, event):
    seen.append(event)
    if len(seen) == 9:
        os.kill(os.getpid(), signal.SIGINT)
progress.Progress.show = interrupt
code = main(sys.argv[1:])
print(len(seen))
sys.exit(code)
"""
    argv = ["ask", str(SAMPLE.picture), SAMPLE.question, *GREEDY]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "note: stopped; this is the best there was\n"
    assert int(done.stdout) <= 13  # stopped within a token; the rest tells what there was


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal_and_wiped_at_the_end() -> None:
    import pty

    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "llavao1_edge.cli.main", "ask", str(SAMPLE.picture)]
    done = subprocess.run([*argv, SAMPLE.question, *GREEDY], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.stdout.decode() == f"{SAMPLE.answer}\n"
    assert "loading the model" in shown
    assert "picture     2x2 tiles" in shown
    assert "reasoning" in shown
    assert shown.endswith("\r\x1b[K")


def test_ctrl_c_while_converting_leaves_no_model_and_goes_on(
    tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    code = """
import os, signal, sys
from llavao1_convert.work import Work
from llavao1_edge.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
original = Work.finish
def slow(self, job):
    original(self, job)
    if job == "mmproj/v.class_embd":
        os.kill(os.getpid(), signal.SIGINT)
Work.finish = slow
sys.exit(main(sys.argv[1:]))
"""
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr == "stopped; the same command resumes\n"
    assert [path.suffix for path in (tmp_path / "out").iterdir()] == [".partial"]
    again = subprocess.run(
        [sys.executable, "-m", "llavao1_edge.cli.main", *argv], capture_output=True, text=True
    )
    assert again.returncode == 0
    assert all(Path(line).is_file() for line in again.stdout.splitlines())
    assert not list((tmp_path / "out").glob(".*"))


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m llavao1_edge.cli.main ask {SAMPLE.picture} 'Hi?' | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
