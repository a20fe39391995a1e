"""`eval` from the command line, on the demo model: every format, killed runs, reports."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import RuntimeSettings
from llavao1_edge.cli.main import main
from llavao1_edge.evaluation.plan import Plan, Variant, row_id
from llavao1_edge.evaluation.runs import questions
from tests import benchmark_files as files
from tests.shapes import SAMPLES

QUICK = ["--gpu-layers", "0", "--context", "1024", "--temperature", "0"]


def evaluate(path: Path, out: Path, *more: str) -> dict[str, Any]:
    assert main(["eval", str(path), "--out", str(out), *QUICK, *more]) == 0
    found: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("make", files.FILES, ids=lambda make: make.__name__)
def test_every_format_end_to_end(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    report = evaluate(path, tmp_path / "out", "--export", "tsv")
    (line,) = report["lines"]
    assert line["questions"] >= 1
    assert line["errors"] == 0
    exported = tmp_path / "out" / "predictions" / "demo_staged.tsv"
    with exported.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == line["questions"]
    assert all(row["prediction"] for row in rows)
    if path.suffix == ".tsv":
        assert {"index", "question", "answer"} <= rows[0].keys()


def test_what_the_demo_knows_is_right(tmp_path: Path) -> None:
    report = evaluate(files.jsonl(tmp_path), tmp_path / "out")
    (line,) = report["lines"]
    assert (line["right"], line["counted"]) == (6, 6)
    assert report["categories"]["even"]["demo staged"] == [1.0, 3]
    assert not (tmp_path / "out" / "wrong").exists()
    assert (tmp_path / "out" / "accuracy.png").stat().st_size > 1000
    assert (tmp_path / "out" / "compute.png").stat().st_size > 1000
    assert "**100.0%**" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_several_questions_at_a_time_are_the_same_texts(tmp_path: Path) -> None:
    """In the same batches of one engine, which round the last digits in another way."""

    def texts(out: Path, *more: str) -> dict[str, Any]:
        evaluate(files.jsonl(tmp_path), out, "--strategy", "stage-beam", "--candidates", "2", *more)
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
        return {
            row["id"]: (row["right"], [(one["text"], one["chosen"]) for one in row["candidates"]])
            for row in rows
        }

    found = texts(tmp_path / "many", "--parallel", "3")
    assert found == texts(tmp_path / "one")
    assert len(found) == 6


def test_strategies_scorers_and_candidates_in_one_call(tmp_path: Path) -> None:
    report = evaluate(
        files.jsonl(tmp_path, 2), tmp_path / "out", "--strategy", "direct", "--strategy",
        "stage-beam", "--candidates", "2", "--candidates", "3", "--scorer", "combined", "--scorer",
        "judge", "--greedy", "--token-budget", "400",
    )  # fmt: skip
    cells = [line["cell"] for line in report["lines"]]
    assert cells == ["direct", "direct/greedy", "stage-beam/2/combined", "stage-beam/2/judge",
                     "stage-beam/3/combined", "stage-beam/3/judge"]  # fmt: skip
    assert report["lines"][0]["gain"] is None
    assert len(report["lines"][2]["gain"]) == 3
    assert report["agreement"]


def test_a_page_for_every_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    row = {"picture": str(files.COUNT.picture), "question": files.COUNT.question, "answer": "99"}
    missing = {"picture": "no.png", "question": "q", "answer": "1"}
    path.write_text(f"{json.dumps(row)}\n{json.dumps(missing)}\n", encoding="utf-8")
    report = evaluate(path, tmp_path / "out")
    assert (report["lines"][0]["right"], report["lines"][0]["errors"]) == (0, 1)
    wrong = tmp_path / "out" / "wrong"
    pages = sorted(wrong.glob("[0-9a-f]*.md"))
    assert len(pages) == 2
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert "## Reasoning" in text
    assert "Wanted: 99" in text
    assert "no.png" in text
    assert len(list(wrong.glob("*.png"))) == 1
    (wrong / "mine.txt").write_text("mine", encoding="utf-8")
    report = evaluate(path, tmp_path / "out")
    assert sorted(wrong.glob("[0-9a-f]*.md")) == pages
    assert (wrong / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert str(files.COUNT.answer) in (wrong / "README.md").read_text(encoding="utf-8")


def test_circular_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = evaluate(files.mmbench(tmp_path), tmp_path / "out")
    assert report["lines"][0]["circular"] in (0.0, 1.0)
    made = evaluate(files.mmstar(tmp_path), tmp_path / "o2", "--circular", "--limit", "1")
    assert made["lines"][0]["questions"] == 4


def test_a_killed_run_goes_on_to_the_same_report(tmp_path: Path) -> None:
    path = files.jsonl(tmp_path)
    more = ["--strategy", "stage-beam", "--candidates", "4", "--temperature", "0.8"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "llavao1_edge.cli.main", "eval", str(path), *QUICK, *more]
    process = subprocess.Popen(
        [*command, "--out", str(killed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    rows = killed / "rows.jsonl"
    while process.poll() is None and not (rows.exists() and rows.read_bytes().count(b"\n") >= 2):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    n = rows.read_bytes().count(b"\n")
    assert 2 <= n < 6
    with rows.open("ab") as file:
        file.write(b'{"id": "half a ro')
    first = rows.read_bytes().splitlines()[:n]
    for out in (killed, whole):
        subprocess.run([*command, "--out", str(out)], check=True, capture_output=True)
    assert rows.read_bytes().splitlines()[:n] == first  # nothing repeated
    ids = [json.loads(line)["id"] for line in rows.read_text(encoding="utf-8").splitlines()]
    assert len(ids) == len(set(ids)) == 6
    for name in ("report.md", "report.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert "| demo stage-beam/4 |" in (whole / "timing.md").read_text()
    again = (killed / "report.md").read_bytes(), (killed / "report.json").read_bytes()
    subprocess.run([*command, "--out", str(killed)], check=True, capture_output=True)
    assert again == ((killed / "report.md").read_bytes(), (killed / "report.json").read_bytes())


def test_ctrl_c_writes_the_report_of_what_is_done(tmp_path: Path) -> None:
    path = files.jsonl(tmp_path)
    code = """
import os, signal, sys
from llavao1_edge.evaluation.rows import Rows
from llavao1_edge.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
add = Rows.add
def counting(self, row):
    add(self, row)
    if len(self.known) == 3:
        os.kill(os.getpid(), signal.SIGINT)
Rows.add = counting
sys.exit(main(sys.argv[1:]))
"""
    argv = ["eval", str(path), "--out", str(tmp_path / "out"), *QUICK]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert "the same command resumes" in done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["lines"][0]["questions"] == 3


def test_shards_make_one_whole(tmp_path: Path) -> None:
    path = files.jsonl(tmp_path)
    n = 0
    for part in ("1/2", "2/2"):
        argv = ["eval", str(path), "--out", str(tmp_path / part[0]), *QUICK, "--shard", part]
        assert main(argv) in (0, 2)  # a part may be empty
        rows = tmp_path / part[0] / "rows.jsonl"
        n += rows.read_bytes().count(b"\n") if rows.exists() else 0
    assert n == 6


def test_merged_shards_are_the_run_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same report, byte for byte, but for the times of this machine."""
    path = files.jsonl(tmp_path)
    parts = [str(tmp_path / name) for name in "ab"]
    for part, folder in zip(("1/2", "2/2"), parts, strict=True):
        main(["eval", str(path), "--out", folder, *QUICK, "--shard", part])
    for folder in parts:
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "rows.jsonl").touch()
    whole, merged = tmp_path / "whole", tmp_path / "merged"
    assert main(["eval", str(path), "--out", str(whole), *QUICK]) == 0
    capsys.readouterr()
    assert main(["eval", str(path), "--out", str(merged), *QUICK, "--merge", *parts]) == 0
    assert f"rows of {parts[0]}" in capsys.readouterr().err
    assert main(["eval", str(path), "--out", str(merged), *QUICK, "--merge", *parts[::-1]]) == 0
    first, second = ((folder / "report.md").read_bytes() for folder in (whole, merged))
    assert first == second
    assert main(["eval", str(path), "--out", str(merged), "--merge", str(tmp_path / "no")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_another_prompt_is_another_answer(tmp_path: Path) -> None:
    """Settings that change what the model reads; rows of earlier runs keep their names."""
    plan = Plan(path := files.jsonl(tmp_path), (), (Variant("staged"),))
    item = questions(plan).items[0]
    asked = replace(plan, runtime=RuntimeSettings(stage_prompt="on"))
    small = replace(plan, runtime=RuntimeSettings(picture_tokens=64, threads=1))
    names = {row_id(item, plan.cells[0], "pair", one) for one in (plan, asked, small)}
    assert len(names) == 3
    same = replace(plan, runtime=RuntimeSettings(threads=1))
    assert row_id(item, plan.cells[0], "pair", same) in names
    assert path.is_file()


def test_runs_of_one_folder_are_not_mixed(tmp_path: Path) -> None:
    """Another seed is another run: its report is of its own rows, and both are kept."""
    path, out = files.jsonl(tmp_path), tmp_path / "out"
    counts = []
    for seed in ("0", "1", "0"):
        (line,) = evaluate(path, out, "--seed", seed)["lines"]
        counts.append(line["questions"])
    assert counts[0] == counts[1] == counts[2]
    assert len((out / "rows.jsonl").read_text().splitlines()) == 2 * counts[0]


@pytest.mark.parametrize("form", ["path", "in the row", "in another row"])
def test_another_picture_is_another_question(form: str, tmp_path: Path) -> None:
    """Under the same number and the same words: another data set of this name, or a better
    picture."""

    question, out = {"question": SAMPLES[0].question, "A": "2", "B": "5"}, tmp_path / "out"

    def ask(picture: int, n_rows: int) -> Path | None:
        """n_rows: of the whole file afterwards, of all pictures."""
        image = files.picture(picture)
        asked: list[dict[str, Any]] = [{"index": 7, "image": image}]
        held = None
        if form == "path":
            held = tmp_path / "one.png"
            held.write_bytes(SAMPLES[picture].picture.read_bytes())
            asked = [{"index": 7, "image_path": str(held)}]
        elif form == "in another row":
            asked.append({"index": 8, "image": "7"})
        path = files.tsv(tmp_path / "set.tsv", [{**row, **question} for row in asked])
        (line,) = evaluate(path, out)["lines"]
        assert line["questions"] == len(asked)
        rows = [json.loads(row) for row in (out / "rows.jsonl").read_text().splitlines()]
        assert len(rows) == n_rows * len(asked)
        return held

    ask(0, 1)
    ask(1, 2)  # the same question about another picture
    held = ask(1, 2)
    if held is not None:  # where the pictures are not, the answers count: as with --merge
        held.unlink()
        (line,) = evaluate(tmp_path / "set.tsv", out)["lines"]
        assert (line["questions"], line["errors"]) == (1, 0)


@pytest.mark.parametrize(
    "more",
    [["--shard", "3/2"], ["--shard", "x"], ["--limit", "0"], ["--candidates", "two"],
     ["--model", "nowhere"], ["--model", "demo", "--model", "demo"]],
)  # fmt: skip
def test_wrong_requests(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["eval", str(files.jsonl(tmp_path, 1)), "--out", str(tmp_path / "o"), *more]
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "o").exists()


def test_malformed_rows_are_reported_or_fatal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files.jsonl(tmp_path, 1)
    with path.open("a", encoding="utf-8") as file:
        file.write("{nonsense\n")
    report = evaluate(path, tmp_path / "out")
    assert report["malformed"][0]["line"] == 2
    assert "left out: line 2" in capsys.readouterr().err
    assert main(["eval", str(path), "--out", str(tmp_path / "o2"), "--strict"]) == 2
    assert "line 2" in capsys.readouterr().err


def test_exporting_to_a_workbook(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    evaluate(files.mmvet(tmp_path), tmp_path / "out", "--export", "xlsx")
    book = openpyxl.load_workbook(tmp_path / "out" / "predictions" / "demo_staged.xlsx")
    header, row = list(book.active.values)
    assert header[-1] == "prediction"
    assert row[header.index("answer")] == "two<OR>2"
    book.close()
