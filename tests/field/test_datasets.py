"""Data sets as people have them: a bad row costs that row, and never a picture without a word."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import demo
from llavao1_edge.cli.main import main
from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation.datasets import read_dataset
from llavao1_edge.evaluation.items import CHOICE, Item, Malformed
from llavao1_edge.evaluation.rows import Rows
from llavao1_edge.evaluation.tables import LONGEST_ROW

SAMPLE = demo.samples()[0]


def rows(tmp_path: Path, *lines: Any) -> list[Item | Malformed]:
    file = tmp_path / "x.jsonl"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("\n".join(texts) + "\n", encoding="utf-8", errors="surrogatepass")
    return list(read_dataset(file))


@pytest.mark.parametrize("key", ["picture", "image", "images", "img", "image_path"])
def test_a_picture_under_any_usual_name(key: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(SAMPLE.picture.read_bytes())
    for value in ("a.png", ["a.png"], {"path": "a.png"}):
        (found,) = rows(tmp_path, {"question": "q", "answer": "2", key: value})
        assert isinstance(found, Item)
        assert found.picture == tmp_path / "a.png"


@pytest.mark.parametrize("key", ["image_file", "photo", "Picture", "figure_name", "img_src"])
def test_a_picture_under_another_name_is_an_error(key: str, tmp_path: Path) -> None:
    (found,) = rows(tmp_path, {"question": "q", "answer": "2", key: "a.png"})
    assert isinstance(found, Malformed)
    assert repr(key) in found.problem


def test_a_row_without_a_picture_must_say_so(tmp_path: Path) -> None:
    found = rows(tmp_path, {"question": "q", "answer": "2"}, {"question": "q", "picture": None})
    assert isinstance(found[0], Malformed)
    assert '"picture": null' in found[0].problem
    assert isinstance(found[1], Item)
    assert found[1].picture is None


def test_answers_of_other_kinds(tmp_path: Path) -> None:
    base = {"question": "q", "picture": None}
    found = rows(
        tmp_path, {**base, "answer": True}, {**base, "answer": ["a", "b"]}, {**base, "answer": 3.5}
    )
    assert [each.answers for each in found if isinstance(each, Item)] == [
        ("yes",), ("a", "b"), ("3.5",)
    ]  # fmt: skip


def test_a_letter_that_is_no_option_is_named(tmp_path: Path) -> None:
    base = {"question": "q", "picture": None, "options": ["x", "y"]}
    bad, letter, words = rows(
        tmp_path, {**base, "answer": "F"}, {**base, "answer": "B"}, {**base, "answer": "Y"}
    )
    assert isinstance(bad, Malformed)
    assert "'F' is none of the options A, B" in bad.problem
    assert isinstance(letter, Item)
    assert letter.kind == CHOICE
    assert isinstance(words, Item)


@pytest.mark.parametrize(
    "line",
    [
        {"question": "q", "picture": None, "tolerance": [1]},
        {"question": "q", "picture": None, "tolerance": "inf"},
        {"question": "q", "picture": None, "tolerance": True},
        '{"question": "a\\ud83d", "picture": null}',
        '{"question": "q", "picture": null, "category": "\\udcff"}',
        '{"question": "q", "picture": null, "id": "\\ud800"}',
        {"question": "q", "picture": "x" * 5000},
        {"question": "q", "picture": "a\0b"},
        {"question": "q", "picture": 5},
        {"question": "q", "picture": ["a", "b"]},
        "[" * 100_000,
        '{"question": "q", "picture": null, "tolerance": ' + "9" * 5000 + "}",
    ],
)
def test_a_bad_row_costs_one_row(line: Any, tmp_path: Path) -> None:
    good = {"question": "q", "answer": "a", "picture": None}
    found = rows(tmp_path, good, line, good)
    assert [isinstance(each, Malformed) for each in found] == [False, True, False]


def test_a_line_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llavao1_edge.evaluation import plain

    assert LONGEST_ROW >= 1 << 20
    monkeypatch.setattr(plain, "LONGEST_ROW", 1000)
    good = {"question": "q", "answer": "a", "picture": None}
    found = rows(tmp_path, good, {"question": "x" * 5000, "picture": None}, good)
    assert [isinstance(each, Malformed) for each in found] == [False, True, False]
    assert [each.line for each in found] == [1, 2, 3]


def tsv(tmp_path: Path, *lines: list[str]) -> list[Item | Malformed]:
    file = tmp_path / "x.tsv"
    table = [["index", "question", "answer", "image"], *lines]
    file.write_text("\n".join("\t".join(line) for line in table) + "\n", encoding="utf-8")
    return list(read_dataset(file))


def test_base64_in_lines_and_references_to_later_rows(tmp_path: Path) -> None:
    data = SAMPLE.picture.read_bytes()
    wrapped = '"' + base64.encodebytes(data).decode() + '"'
    first, second, third = tsv(
        tmp_path, ["1", "q", "2", "7"], ["7", "q", "2", wrapped], ["8", "q", "2", "99"]
    )
    assert isinstance(first, Item)
    assert isinstance(second, Item)
    assert first.picture_bytes() == second.picture_bytes() == data
    assert isinstance(third, Malformed)
    assert "'99'" in third.problem


def test_where_all_rows_are_bad_the_reasons_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows(tmp_path, {"question": "q"}, {"question": ""})
    assert main(["eval", str(tmp_path / "x.jsonl"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "line 1: no picture" in said
    assert "line 2: no question" in said


# --- the file of rows -----------------------------------------------------------------------------
def row_of(number: int, **other: Any) -> dict[str, Any]:
    made = {"stage": "summary", "text": "a", "score": None, "mean_logprob": -1, "chosen": True}
    return {
        "answered": "2", "id": f"id{number}", "question": str(number), "pair": "demo",
        "cell": "staged", "category": "", "group": "g", "conclusion": "2", "error": None,
        "right": True, "seconds": 1.5, "picture_seconds": 0, "sampled_tokens": 9,
        "judge_tokens": 0, "comparisons": 0, "undecided": 0, "budget_hit": False,
        "stages": {"summary": "a", "caption": None}, "candidates": [made], **other,
    }  # fmt: skip


def row(number: int) -> str:
    return json.dumps(row_of(number))


def test_a_damaged_line_takes_no_other_with_it(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{row(1)}\n{row(2)[:20]}\xff\n{row(3)}\n{row(4)[:9]}", encoding="latin-1")
    opened = Rows(file)
    assert list(opened.known) == ["id1", "id3"]
    assert opened.damaged == 1
    opened.close()
    assert file.read_text() == f"{row(1)}\n{row(3)}\n"
    (aside,) = tmp_path.glob("rows.damaged-*.jsonl")
    assert aside.read_bytes() == f"{row(2)[:20]}\xff\n".encode("latin-1")


@pytest.mark.parametrize(
    "other",
    [
        {"right": "yes"},
        {"seconds": "x"},
        {"sampled_tokens": 10**400},
        {"error": 5},
        {"stages": []},
        {"stages": {"summary": 5}},
        {"candidates": [{}]},
        {"candidates": [5]},
        {"group": None},
    ],
)
def test_a_row_with_other_values_is_damaged(other: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{row(1)}\n{json.dumps(row_of(2, **other))}\n")
    opened = Rows(file)
    assert list(opened.known) == ["id1"]
    assert opened.damaged == 1
    opened.close()


def test_a_row_of_an_error_needs_no_more(tmp_path: Path) -> None:
    names = ("id", "question", "pair", "cell", "category", "group", "conclusion")
    short = dict.fromkeys(names, "a") | {"right": False, "answered": None, "error": "no picture"}
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(short)}\n")
    opened = Rows(file)
    assert list(opened.known) == ["a"]
    opened.close()


@pytest.mark.parametrize("content", ["my notes\nof today\n", '{"id": 5}\n', "\x00" * 100 + "\n"])
def test_a_foreign_file_is_left_alone(content: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    with pytest.raises(UsageError, match="is not a file of rows"):
        Rows(file)
    assert file.read_text() == content


def test_one_run_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    first = Rows(tmp_path / "rows.jsonl")
    code = (
        "import sys; from pathlib import Path; from llavao1_edge.evaluation.rows import Rows; "
        "Rows(Path(sys.argv[1]))"
    )
    other = [sys.executable, "-c", code, str(tmp_path / "rows.jsonl")]
    done = subprocess.run(other, capture_output=True, text=True)
    assert "another run is writing into" in done.stderr
    first.close()
    assert subprocess.run(other, capture_output=True).returncode == 0


# --- spreadsheets ---------------------------------------------------------------------------------
def test_no_cell_of_an_export_is_a_formula_or_breaks_it(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from llavao1_edge.evaluation.output import _save_xlsx

    texts = ["=1+1", "@SUM(1)", "+1", "-2", "a\x1b[31m\x00b", "x" * 40_000, "12", "٣", "²"]
    _save_xlsx([["text"], *([text] for text in texts)], tmp_path / "x.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "x.xlsx").active
    cells = [line[0] for line in sheet.iter_rows(min_row=2)]
    assert all(cell.data_type in ("s", "n", "inlineStr") for cell in cells)
    assert cells[0].value == "=1+1"
    assert cells[6].value == 12
    assert len(cells[5].value) == 32_767
    assert os.path.getsize(tmp_path / "x.xlsx") > 0  # noqa: PTH202
