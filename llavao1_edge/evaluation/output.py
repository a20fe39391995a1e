"""What a run leaves in its folder: tables, plots, a page per wrong answer, predictions."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation.items import Item
from llavao1_edge.evaluation.report import Report, markdown, timing
from llavao1_edge.files import write_whole

Row = Mapping[str, Any]
MOST_PAGES = 500
TITLE = "# Wrong answers"
REPORTS = ("report.md", "report.json", "timing.md", "accuracy.png", "compute.png")
LONGEST_CELL = 32_767  # of a spreadsheet


def check_folder(folder: Path, *, is_known: bool) -> None:
    """Raises UsageError where a report would be written over files of somebody else. is_known:
    whether an evaluation wrote there before."""
    index = folder / "wrong" / "README.md"
    foreign = [index] if index.is_file() and not _is_ours(index) else []
    if not is_known:
        names = [*(folder / name for name in REPORTS), folder / "wrong", folder / "predictions"]
        foreign += [path for path in names if path.exists()]
    if foreign:
        raise UsageError(
            f"{foreign[0]} would be written over",
            hint="Choose another folder with --out, or remove it.",
        )


def _is_ours(index: Path) -> bool:
    with index.open("rb") as file:
        return file.read(len(TITLE)) == TITLE.encode()


def write_report(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.md", markdown(report))
    text = json.dumps(report.as_dict(), ensure_ascii=False, indent=1, sort_keys=True)
    write_whole(folder / "report.json", text + "\n")
    write_whole(folder / "timing.md", timing(report))


def write_plots(report: Report, folder: Path) -> bool:
    """Accuracy, and accuracy against compute; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    lines = report.lines
    figure = Figure(figsize=(8, 1 + 0.4 * len(lines)), layout="constrained")
    axes = figure.subplots()
    names = [f"{line.pair} {line.cell}" for line in lines]
    errors = [
        [100 * max(0.0, line.accuracy - line.low) for line in lines],
        [100 * max(0.0, line.high - line.accuracy) for line in lines],
    ]
    axes.errorbar(
        [100 * line.accuracy for line in lines], range(len(lines)), xerr=errors, fmt="o", capsize=3
    )
    axes.set_yticks(range(len(lines)), names)
    axes.invert_yaxis()
    axes.set_xlabel("right, % (95 % interval)")
    _save_figure(figure, folder / "accuracy.png")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for line, name in zip(lines, names, strict=True):
        tokens = max(1.0, line.sampled_tokens + line.judge_tokens)
        axes.plot(tokens, 100 * line.accuracy, "o")
        axes.annotate(name, (tokens, 100 * line.accuracy), fontsize=8,
                      xytext=(4, 4), textcoords="offset points")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("tokens sampled and judged, per question")
    axes.set_ylabel("right, %")
    _save_figure(figure, folder / "compute.png")
    return True


def _save_figure(figure: Any, path: Path) -> None:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    write_whole(path, data.getvalue())


def write_pages(rows: Sequence[Row], items: Mapping[str, Item], folder: Path) -> int:
    """A page for every wrong answer, with the picture and all that was weighed."""
    wrong = [row for row in rows if row["right"] is False][:MOST_PAGES]
    pages = folder / "wrong"
    _clear(pages)
    if not wrong:
        return 0
    pages.mkdir(parents=True, exist_ok=True)
    index = [TITLE, ""]
    for row in wrong:
        item = items[row["question"]]
        picture = _save_picture(item, pages)
        write_whole(pages / f"{row['id']}.md", _page(row, item, picture))
        said = row["answered"] if row["answered"] is not None else row["error"] or "nothing usable"
        index.append(
            f"- [{item.key}]({row['id']}.md) {row['pair']} {row['cell']}: {_short(said)!r}, "
            f"wanted {' or '.join(item.answers)!r}"
        )
    write_whole(pages / "README.md", "\n".join(index) + "\n")
    return len(wrong)


def _clear(pages: Path) -> None:
    """Pages of an earlier report; nothing else that somebody keeps in a folder of this name."""
    index = pages / "README.md"
    if not index.is_file() or not _is_ours(index):
        return
    for path in pages.iterdir():
        if re.fullmatch(r"[0-9a-f]{16}\.png|[0-9a-f]{24}\.md", path.name):
            path.unlink()
    index.unlink()
    with contextlib.suppress(OSError):
        pages.rmdir()


def _save_picture(item: Item, pages: Path) -> str | None:
    """A copy as PNG beside the pages; one for all searches."""
    import hashlib

    from llavao1_edge.errors import LlavaError
    from llavao1_edge.images import open_picture

    name = f"{hashlib.sha256(item.key.encode()).hexdigest()[:16]}.png"
    if not (pages / name).exists():
        try:
            source = item.picture_bytes()
            if source is None:
                return None
            image = open_picture(source).image
        except LlavaError:
            return None
        data = io.BytesIO()
        image.save(data, "PNG")
        write_whole(pages / name, data.getvalue())
    return name


def _short(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= 80 else f"{line[:79]}…"


def _page(row: Row, item: Item, picture: str | None) -> str:
    parts = [f"# {item.key}", "", f"{row['pair']}, {row['cell']}", ""]
    if picture:
        parts += [f"![the picture]({picture})", ""]
    parts += ["```", item.prompt(), "```", "", f"Wanted: {' or '.join(item.answers)}", ""]
    if row["error"]:
        parts += [f"Error: {row['error']}", ""]
        return "\n".join(parts)
    for name, text in row["stages"].items():
        parts += [f"## {name.capitalize()}", "", text or "(missing)", ""]
    parts += ["## All candidates", ""]
    for made in row["candidates"]:
        mark = "**>**" if made["chosen"] else "-"
        score = "" if made["score"] is None else f", score {made['score']:.3f}"
        stage, chance = made["stage"] or "answer", f"log-probability {made['mean_logprob']:.3f}"
        parts.append(f"{mark} {stage} ({chance}{score}): {_short(made['text'])}\n")
    return "\n".join(parts)


def write_predictions(
    rows: Sequence[Row], items: Mapping[str, Item], folder: Path, *, kind: str
) -> list[Path]:
    """A file per pair and search in VLMEvalKit's form: the data set's columns and `prediction`.

    kind: `tsv`, or `xlsx` (needs openpyxl). Raises UsageError.
    """
    by_cell: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        by_cell.setdefault((row["pair"], row["cell"]), []).append(row)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for (pair, cell), mine in by_cell.items():
        columns = list(dict.fromkeys(name for r in mine for name in items[r["question"]].columns))
        table = [[*columns, "prediction"]]
        for row in mine:
            given = items[row["question"]].columns
            table.append([*(given.get(name, "") for name in columns), row["conclusion"]])
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in f"{pair}_{cell}")
        path = folder / f"{name}.{kind}"
        (_save_xlsx if kind == "xlsx" else _save_tsv)(table, path)
        written.append(path)
    return written


def _save_tsv(table: list[list[str]], path: Path) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(table)
    write_whole(path, text.getvalue())


def _save_xlsx(table: list[list[str]], path: Path) -> None:
    try:
        from openpyxl import Workbook
    except ImportError:
        raise UsageError(
            "openpyxl is not installed", hint="pip install openpyxl, or export tsv."
        ) from None
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in table:
        sheet.append([_xlsx_cell(sheet, value) for value in row])
    data = io.BytesIO()
    book.save(data)
    write_whole(path, data.getvalue())


def _xlsx_cell(sheet: Any, text: str) -> Any:
    """A number, or a text that no spreadsheet takes for a formula, without control characters."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if text.isascii() and text.isdigit() and len(text) < 15:
        return int(text)
    cell = WriteOnlyCell(sheet, value=ILLEGAL_CHARACTERS_RE.sub("\ufffd", text)[:LONGEST_CELL])
    cell.data_type = "s"
    return cell
