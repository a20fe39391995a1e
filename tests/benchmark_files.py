"""Small files in exactly the forms that VLMEvalKit's data sets have, on pictures of shapes."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

from tests.shapes import SAMPLES


def picture(number: int) -> str:
    return base64.b64encode(SAMPLES[number].picture.read_bytes()).decode()


def tsv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """As pandas writes it: tabs, quotes where needed, empty for what is missing."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


COUNT, EXISTS, CHOICE = SAMPLES[0], SAMPLES[1], SAMPLES[5]


def mmstar(folder: Path) -> Path:
    rows = [
        {"index": 0, "question": COUNT.question, "image": picture(0), "A": "1", "B": "2", "C": "3",
         "D": "4", "answer": "B", "category": "math", "l2_category": "counting"},
        {"index": 1, "question": "Which\tone\n\"is\" it?", "image": picture(1), "A": "circle",
         "B": "square", "C": "", "D": "", "answer": "A", "category": "coarse perception"},
    ]  # fmt: skip
    return tsv(folder / "MMStar.tsv", rows)


def mmbench(folder: Path) -> Path:
    """Circular copies, numbered by millions, refer to the first row's picture."""
    base = {"question": COUNT.question, "hint": "Look closely.", "category": "object_localization",
            "l2-category": "finegrained_perception", "split": "dev"}  # fmt: skip
    texts = ["1", "2", "3", "4"]
    rows: list[dict[str, Any]] = []
    for turn in range(4):
        moved = texts[turn:] + texts[:turn]
        options = dict(zip("ABCD", moved, strict=True))
        answer = next(letter for letter, text in options.items() if text == COUNT.answer)
        image = picture(0) if not turn else "7"
        rows.append({"index": 7 + 1_000_000 * turn, **base, **options, "image": image,
                     "answer": answer})  # fmt: skip
    return tsv(folder / "MMBench_DEV_EN.tsv", rows)


def ai2d(folder: Path) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    target = folder / "images" / "0.png"
    target.write_bytes(SAMPLES[0].picture.read_bytes())
    rows = [{"index": 0, "image_path": "0.png", "question": COUNT.question, "A": "2", "B": "5",
             "answer": "A", "category": "counting"},
            {"index": 1, "image_path": "['0.png']", "question": COUNT.question, "A": "5", "B": "2",
             "answer": "B", "category": "counting"}]  # fmt: skip
    return tsv(folder / "AI2D_TEST.tsv", rows)


def hallusionbench(folder: Path) -> Path:
    rows = [{"index": 0, "category": "VD", "subcategory": "figure", "set_id": 0, "figure_id": 1,
             "question_id": 0, "question": EXISTS.question, "answer": EXISTS.answer.capitalize(),
             "image": picture(1)}]  # fmt: skip
    return tsv(folder / "HallusionBench.tsv", rows)


def mathvista(folder: Path) -> Path:
    rows = [{"index": 1, "image": picture(0), "question": COUNT.question,
             "answer": f"{COUNT.answer}.0", "question_type": "free_form", "answer_type": "float",
             "precision": "1.0", "choices": "", "answer_option": "", "task": "figure QA"},
            {"index": 2, "image": picture(0), "question": COUNT.question, "answer": "2",
             "question_type": "multi_choice", "answer_type": "text", "precision": "",
             "choices": "['1', '2', \"3's\"]", "answer_option": "B",
             "task": "geometry"}]  # fmt: skip
    return tsv(folder / "MathVista_MINI.tsv", rows)


def mmvet(folder: Path) -> Path:
    rows = [{"index": 0, "image": picture(0), "question": COUNT.question,
             "answer": "two<OR>2", "capability": "rec,math"}]  # fmt: skip
    return tsv(folder / "MMVet.tsv", rows)


def jsonl(folder: Path, n: int | None = None) -> Path:
    path = folder / "mine.jsonl"
    rows = [{"id": f"q{i}", "picture": str(s.picture), "question": s.question, "answer": s.answer,
             "category": "even" if i % 2 == 0 else "odd", "kind": "text"}
            for i, s in enumerate(SAMPLES[:n])]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def plain_csv(folder: Path) -> Path:
    path = folder / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "question", "answer", "options", "kind"])
        writer.writerow([COUNT.picture, COUNT.question, COUNT.answer, "", "number"])
        writer.writerow([COUNT.picture, COUNT.question, "B", "1|2|3", ""])
    return path


FILES = (mmstar, mmbench, ai2d, hallusionbench, mathvista, mmvet, jsonl, plain_csv)
