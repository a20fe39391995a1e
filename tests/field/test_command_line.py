"""What people and scripts give to a command: endless numbers, variables that were never set, folders
with files of their own, Ctrl-C before anything began."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import demo
from llavao1_edge.cli.main import main
from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation import output
from llavao1_edge.evaluation.datasets import read_dataset
from llavao1_edge.evaluation.items import Item, Malformed

NINES = "9" * 5000
SAMPLE = str(demo.samples()[0].picture)
Said = pytest.CaptureFixture[str]


def refused(argv: list[str], capsys: Said) -> str:
    """What is said; the exit code is 2."""
    try:
        code = main(argv)
    except SystemExit as ended:  # of argparse
        code = int(str(ended.code))
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "bug" not in said.err
    return said.err


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": "a", "picture": null, "question": "Why?", "answer": "4"}\n')
    return path


# --- values ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "argv",
    [
        ["ask", SAMPLE, "q", "--threads", NINES],
        ["ask", SAMPLE, "q", "--seed", NINES],
        ["ask", SAMPLE, "q", "--rpc", f"host:{NINES}"],
        ["serve", "--port", NINES],
        ["serve", "--queue", NINES],
        ["serve", "--parallel", NINES],
        ["bench", "--rounds", NINES],
        ["eval", "QUESTIONS", "--shard", f"1/{NINES}", "--limit", "1"],
        ["eval", "QUESTIONS", "--limit", NINES],
        ["eval", "QUESTIONS", "--parallel", NINES],
        ["eval", "QUESTIONS", "--strategy", "stage-beam", "--candidates", NINES],
    ],
    ids=lambda argv: " ".join(argv[:1] + [word for word in argv if word.startswith("--")]),
)
def test_a_number_without_end(argv: list[str], questions: Path, capsys: Said) -> None:
    argv = [str(questions) if word == "QUESTIONS" else word for word in argv]
    assert len(refused(argv, capsys)) < 3000


@pytest.mark.parametrize(
    ("option", "value"),
    [("--threads", "100000"), ("--context", "4294967297"), ("--gpu-layers", "3000000000")],
)
def test_more_than_any_machine_has(option: str, value: str, capsys: Said) -> None:
    """In native code these were the end of the process."""
    said = refused(["ask", SAMPLE, "q", option, value, "--memory-check", "off"], capsys)
    assert f"is {value}" in said
    assert "It must be between" in said


@pytest.mark.parametrize(
    "argv",
    [
        ["ask", "none", "q", "--json-schema", ""],
        ["ask", "none", "q", "--grammar="],
        ["ask", "none", "q", "--model", ""],
        ["ask", "none", "q", "--server", ""],
        ["convert", "x", "--name", ""],
        ["convert", "x", "--out", ""],
        ["convert", ""],
        ["eval", "x.jsonl", "--out", ""],
        ["eval", ""],
        ["serve", "--host", ""],
    ],
    ids=" ".join,
)
def test_a_variable_that_was_never_set(argv: list[str], capsys: Said) -> None:
    assert "it is empty" in refused(argv, capsys)


@pytest.mark.parametrize("option", [["--candidates", "4"], ["--scorer", "judge"]])
def test_what_no_strategy_has(option: list[str], questions: Path, capsys: Said) -> None:
    said = refused(["eval", str(questions), *option], capsys)
    assert f"the strategy staged has no option {option[0][2:]}" in said


def test_a_schema_without_a_bottom(tmp_path: Path, capsys: Said) -> None:
    schema: Any = {}
    for _ in range(300):
        schema = {"anything": [schema]}
    path = tmp_path / "deep.json"
    path.write_text(json.dumps({"type": "object", "x": schema}))
    assert "nested too deeply" in refused(["ask", "none", "q", "--json-schema", str(path)], capsys)


@pytest.mark.parametrize(
    "phase",
    [{}, {"name": [1]}, {"name": None}, {"name": "a", "median_ms": 10**400}, {"name": "a"}],
)
def test_a_comparison_with_something_else(
    phase: dict[str, Any], tmp_path: Path, capsys: Said
) -> None:
    from llavao1_edge.cli.bench import FORMAT

    whole = {"median_ms": 1.0, "low_ms": 1.0, "high_ms": 1.0} if len(phase) < 2 else {}
    phases = [phase | whole] if phase != {"name": "a"} else [phase]
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    paths[0].write_text(json.dumps({"format": FORMAT, "phases": []}))
    paths[1].write_text(json.dumps({"format": FORMAT, "phases": phases}))
    said = refused(["bench", "--compare", *map(str, paths)], capsys)
    assert "is not a result of `bench --json`" in said
    paths[1].write_text("[" * 100_000)
    assert "is not a result" in refused(["bench", "--compare", *map(str, paths)], capsys)


# --- files of somebody else -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    ["report.md", "report.json", "timing.md", "accuracy.png", "wrong/README.md", "predictions/a"],
)
def test_a_report_is_not_written_over_other_files(
    name: str, questions: Path, tmp_path: Path, capsys: Said
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    said = refused(["eval", str(questions), "--out", str(tmp_path / "out")], capsys)
    assert "would be written over" in said
    assert mine.read_text() == "precious"
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_pages_of_somebody_else_beside_rows(tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/README.md").write_text("my own notes")
    with pytest.raises(UsageError, match="would be written over"):
        output.check_folder(tmp_path, is_known=True)
    (tmp_path / "wrong/README.md").write_text(f"{output.TITLE}\n")
    output.check_folder(tmp_path, is_known=True)


def test_a_full_disk_keeps_the_earlier_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tsv"
    output._save_tsv([["a"]], path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        output._save_tsv([["b" * 99]], path)
    assert path.read_text() == "a\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_id_twice(tmp_path: Path) -> None:
    """Answers, pages and exports are found by it."""
    rows = [{"id": "a", "picture": None, "question": f"q{i}"} for i in range(2)]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_dataset(path)
    assert isinstance(first, Item)
    assert second == Malformed(2, "the id 'a' is there twice")


def test_a_conversion_is_not_written_over_another(
    tmp_path: Path, checkpoint_of: Callable[[str], Path], capsys: Said
) -> None:
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path), "--name", "X"]
    assert main(argv) == 0
    capsys.readouterr()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert "is there already" in refused(argv, capsys)
    for path in before:  # any of them: a card, or half of a pair
        if path.suffix in (".md", ".gguf"):
            for other in before:
                other.unlink()
            path.write_text("precious")
            assert f"{path} is there already" in refused(argv, capsys)
            assert [path.read_text()] == ["precious"] and list(tmp_path.iterdir()) == [path]  # noqa: PT018
            path.unlink()
            for other, data in before.items():
                other.write_bytes(data)
    assert main([*argv, "--overwrite"]) == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_only_a_run_that_goes_on_writes_over(
    tmp_path: Path, checkpoint_of: Callable[[str], Path], capsys: Said
) -> None:
    """Another conversion that was stopped left its folder."""
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path), "--name", "X"]
    assert main(argv) == 0
    left = tmp_path / ".X-Q4_K_M.partial"
    left.mkdir()
    (left / "journal.jsonl").write_text('{"key": "another"}\n')
    capsys.readouterr()
    assert "is there already" in refused(argv, capsys)


def test_sums_of_other_files_stay_as_they_are(
    tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    sums = tmp_path / "SHA256SUMS"
    others = f"{'b' * 64} *z.bin\n{'a' * 64}  \udcffa.bin\n".encode("utf-8", "surrogateescape")
    sums.write_bytes(others)
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path), "--name", "X"]
    assert main(argv) == 0
    assert main([*argv, "--overwrite"]) == 0
    assert sums.read_bytes().startswith(others)
    assert sums.read_bytes().count(b"\n") == 4


# --- the beginning --------------------------------------------------------------------------------
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_while_the_program_is_read_in() -> None:
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
class Finder:
    def find_spec(self, name, *_):
        if name == "llavao1_edge.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from llavao1_edge.start import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code, "devices"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
def test_a_conversation_without_standard_input() -> None:
    command = [sys.executable, "-m", "llavao1_edge.start", "chat", "none"]
    done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, "bug" in done.stderr) == (0, False), done.stderr
