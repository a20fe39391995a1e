"""Every form of file is read as it is meant; a bad row is named and costs nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llavao1_edge.errors import PictureError, UsageError
from llavao1_edge.evaluation.datasets import read_dataset
from llavao1_edge.evaluation.items import (
    CHOICE,
    NUMBER,
    OUTSIDE,
    TEXT,
    YES_NO,
    Item,
    Malformed,
    shard_of,
)
from llavao1_edge.evaluation.row_pictures import beside
from llavao1_edge.images import open_picture
from tests import benchmark_files as files


def items(path: Path) -> list[Item]:
    rows = list(read_dataset(path))
    assert not [row for row in rows if isinstance(row, Malformed)], rows
    return [row for row in rows if isinstance(row, Item)]


@pytest.mark.parametrize("make", files.FILES, ids=lambda make: make.__name__)
def test_every_picture_opens_and_every_question_is_asked(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    for item in items(make(tmp_path)):
        source = item.picture_bytes()
        assert source is not None
        assert open_picture(source).width > 0
        assert item.question in item.prompt()
        assert item.line >= 1


def test_mmstar(tmp_path: Path) -> None:
    first, second = items(files.mmstar(tmp_path))
    assert (first.kind, first.answers, first.category) == (CHOICE, ("B",), "math")
    assert first.options == {"A": "1", "B": "2", "C": "3", "D": "4"}
    assert second.options == {"A": "circle", "B": "square"}
    assert second.question == 'Which\tone\n"is" it?'
    assert (first.line, second.line) == (2, 3)
    assert (
        first.prompt().splitlines()[-1]
        == "Please select the correct answer from the options above."
    )


def test_mmbench_copies_share_a_picture_and_a_group(tmp_path: Path) -> None:
    rows = items(files.mmbench(tmp_path))
    assert [row.key for row in rows] == ["7", "1000007", "2000007", "3000007"]
    assert {row.group for row in rows} == {"7"}
    assert len({row.picture_bytes() for row in rows}) == 1
    assert {row.options[row.answers[0]] for row in rows} == {files.COUNT.answer}
    assert rows[0].prompt().startswith("Hint: Look closely.\nQuestion:")


def test_the_others(tmp_path: Path) -> None:
    assert [item.kind for item in items(files.ai2d(tmp_path))] == [CHOICE, CHOICE]
    (yes,) = items(files.hallusionbench(tmp_path))
    assert (yes.kind, yes.category) == (YES_NO, "VD")
    number, chosen = items(files.mathvista(tmp_path))
    assert (number.kind, number.tolerance, number.category) == (NUMBER, 0.05, "figure QA")
    assert (chosen.kind, chosen.answers, chosen.options["C"]) == (CHOICE, ("B",), "3's")
    (vet,) = items(files.mmvet(tmp_path))
    assert (vet.kind, vet.category, vet.columns["answer"]) == (OUTSIDE, "rec,math", "two<OR>2")
    assert "image" not in vet.columns
    assert {item.kind for item in items(files.jsonl(tmp_path))} == {TEXT}
    number, chosen = items(files.plain_csv(tmp_path))
    assert (number.kind, chosen.kind) == (NUMBER, CHOICE)


def test_malformed_rows_are_named_by_line(tmp_path: Path) -> None:
    path = files.mmstar(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    bad = [
        "3\tno picture\n",  # too few columns
        "4\tq\tnot base64 " + "!" * 70 + "\tx\ty\t\t\tA\tc\t\n",
        "5\tq\t999\tx\ty\t\t\tA\tc\t\n",  # a picture of a row that is not there
        "\tq\t999\tx\ty\t\t\tA\tc\t\n",  # no index
    ]
    path.write_text("".join([*lines, *bad]), encoding="utf-8")
    rows = list(read_dataset(path))
    assert [isinstance(row, Malformed) for row in rows] == [False, False, True, True, True, True]
    assert [row.line for row in rows[2:]] == [5, 6, 7, 8]  # the second question has two lines
    problems = [row.problem for row in rows[2:] if isinstance(row, Malformed)]
    for part, problem in zip(("columns", "base64", "'999'", "missing"), problems, strict=True):
        assert part in problem


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '{"question": ""}', '{"question": 5}', '{"question": "q", "options": 3}',
     '{"question": "q", "kind": "poem"}', '{"question": "q", "tolerance": "x"}',
     '{"question": "q", "answer": {"a": 1}}', '{"question": "q", "tolerance": 1' + "0" * 400 + "}"],
)  # fmt: skip
def test_malformed_json_lines(line: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    good = json.dumps({"question": "q", "answer": "a", "picture": None})
    path.write_text(f"{good}\n{line}\n\n{good}\n", encoding="utf-8")
    rows = list(read_dataset(path))
    assert [isinstance(row, Item) for row in rows] == [True, False, True]
    assert rows[1].line == 2


def test_what_is_null_is_not_there(tmp_path: Path) -> None:
    names = ("id", "group", "hint", "category", "kind", "tolerance", "answer", "answers")
    row = {"picture": None, "question": "q", "options": []} | dict.fromkeys(names)
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(row)}\n{json.dumps(row | {'answer': '4'})}\n", encoding="utf-8")
    first, second = items(path)
    assert (first.key, first.group, first.hint, first.category) == ("1", "1", "", "")
    assert (first.kind, first.answers, first.options) == (OUTSIDE, (), {})
    assert first.prompt() == "q"
    assert (second.kind, second.answers) == (NUMBER, ("4",))


def test_a_row_has_its_own_picture_and_no_other(tmp_path: Path) -> None:
    """Also where a bad row before it has the same index."""
    own, other = (base64.b64encode(text * 30).decode() for text in (b"own", b"other"))
    path = tmp_path / "x.tsv"
    rows = ["index\timage\tquestion\tanswer", f"1\t{other}\t\ta", f"1\t{own}\tq\ta", "2\t1\tq\ta"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    first, second, third = read_dataset(path)
    assert isinstance(first, Malformed)
    assert isinstance(second, Item)
    assert second.picture_bytes() == b"own" * 30
    assert isinstance(third, Item)
    assert third.picture_bytes() == b"other" * 30  # the first row of that index


def test_a_picture_travels_with_its_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.evaluation.cluster import _with_picture

    monkeypatch.chdir(tmp_path)
    path = Path("x.jsonl")
    path.write_text('{"picture": "data:image/png;base64,QUJD", "question": "q"}\n')
    (item,) = items(path)
    assert _with_picture(item).picture == b"ABC"
    path.unlink()
    assert _with_picture(item) is item


def test_a_table_divided_by_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("picture;question;answer\na.png;q;4\n", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        list(read_dataset(path))
    assert "divided by ','" in refused.value.hint


def test_a_picture_of_another_row_that_is_damaged(tmp_path: Path) -> None:
    path = files.mmstar(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write("8\tq\tnot base64 " + "!" * 70 + "\tx\ty\t\t\tA\tc\t\n")
        file.write("9\tq\t8\tx\ty\t\t\tA\tc\t\n")
    *_, last = read_dataset(path)
    assert isinstance(last, Item)
    with pytest.raises(PictureError, match="base64"):
        last.picture_bytes()


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300 + ".jsonl"), tmp_path / "folder.tsv"):
        if len(path.name) < 100:
            path.mkdir()
        with pytest.raises(UsageError):
            list(read_dataset(path))
    for name, content in (("x.txt", "a"), ("x.tsv", "a\tb\n1\t2\n"), ("x.csv", ""), ("y.tsv", "")):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(UsageError):
            list(read_dataset(tmp_path / name))
    with pytest.raises(UsageError, match="cannot read"):
        list(read_dataset(tmp_path / "missing.tsv"))


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("large.tsv", "index\timage\tquestion\tanswer\n", "{i}\t{blob}\tq\ta\n"),
        ("large.csv", "id,picture,question,answer\n", '{i},"data:image/png;base64,{blob}",q,a\n'),
        (
            "large.jsonl",
            "",
            '{{"id": "{i}", "picture": "data:image/png;base64,{blob}", "question": "q"}}\n',
        ),
    ],
)
def test_a_large_file_is_not_held_in_memory(
    name: str, header: str, row: str, tmp_path: Path
) -> None:
    """60 MB of pictures; all questions are kept, and each finds its picture again."""
    import tracemalloc

    path = tmp_path / name
    with path.open("w", encoding="utf-8") as file:
        file.write(header)
        for i in range(60):
            blob = base64.b64encode(i.to_bytes(3, "big") * (1 << 18)).decode()
            file.write(row.format(i=i, blob=blob))
    tracemalloc.start()
    found = items(path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 60
    assert held < 1 << 20
    assert peak < 16 << 20
    for i in (59, 0, 31):
        assert found[i].picture_bytes() == i.to_bytes(3, "big") * (1 << 18)


def test_a_file_that_changes_under_a_run(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    row = {"picture": "data:image/png;base64,QUJD", "question": "q"}
    path.write_text(f"{json.dumps(row)}\n", encoding="utf-8")
    (item,) = items(path)
    assert item.picture_bytes() == b"ABC"
    for text in ("", "[]\n", '{"question": "q"}\n'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(PictureError, match="the picture of line 1 cannot be read"):
            item.picture_bytes()
    path.unlink()
    with pytest.raises(PictureError, match="the picture of line 1 cannot be read"):
        item.picture_bytes()


def test_shards_are_disjoint_and_whole() -> None:
    keys = [str(i) for i in range(500)]
    parts = [{key for key in keys if shard_of(key, 4) == n} for n in range(4)]
    assert set.union(*parts) == set(keys)
    assert sum(map(len, parts)) == len(keys)
    assert min(map(len, parts)) > 80


def test_pictures_are_found_beside_the_file(tmp_path: Path) -> None:
    assert beside(tmp_path / "x.tsv", "/abs/p.png") == Path("/abs/p.png")
    assert beside(tmp_path / "x.tsv", "none.png") == tmp_path / "none.png"
