"""Small tables and printed words and numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from train.world.canvas import Drawn, mark, new_sheet, shade
from train.world.task import Scene, Task, ask, choices
from train.world.words import GROUPS, MOST, WORDS


@dataclass(frozen=True)
class Table:
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]

    @property
    def caption(self) -> str:
        lines = (
            ", ".join(
                f"{row} {name} {value}" for name, value in zip(self.columns, cells, strict=True)
            )
            for row, cells in zip(self.rows, self.cells, strict=True)
        )
        return f"Table: {'; '.join(lines)}."


def draw_table(rng: random.Random) -> Scene:
    across, down = rng.sample(list(GROUPS.values()), 2)
    rows = tuple(rng.sample(down, rng.randint(2, 4)))
    columns = tuple(rng.sample(across, rng.randint(1, 3)))
    cells = tuple(tuple(rng.randint(1, 30) for _ in columns) for _ in rows)
    table = Table(rows, columns, cells)
    return Scene("table", _draw_table(table, rng), lambda luck: _table_task(table, luck))


def _draw_table(table: Table, rng: random.Random) -> Drawn:
    sheet = new_sheet(rng, ratio=rng.choice(((4, 3), (3, 2), (1, 1))))
    n_rows, n_columns = len(table.rows) + 1, len(table.columns) + 1
    left, right = sheet.width * 0.05, sheet.width * 0.95
    high = min(sheet.height * 0.9 / n_rows, sheet.height * 0.22)
    top = (sheet.height - high * n_rows) / 2
    wide = (right - left) / n_columns
    size = min(high * 0.5, wide * 0.3, sheet.height * 0.095)
    ink, pale = shade(rng, (35, 35, 35), by=25), shade(rng, (170, 170, 180), by=20)
    heading = shade(rng, rng.choice(((215, 225, 245), (225, 225, 225), (220, 240, 220))), by=8)
    if rng.random() < 0.6:
        sheet.rectangle((left, top, right, top + high), heading)
    lines = rng.choice(("all", "rows", "none"))
    for row in range(n_rows + 1):
        if lines != "none" or row == 1:
            sheet.line([(left, top + row * high), (right, top + row * high)], pale)
    for column in range(n_columns + 1):
        if lines == "all":
            x = left + column * wide
            sheet.line([(x, top), (x, top + n_rows * high)], pale)
    for row in range(n_rows):
        for column in range(n_columns):
            x, y = left + (column + 0.5) * wide, top + (row + 0.5) * high
            about = {"row": row, "column": column}
            if row and column:
                value = table.cells[row - 1][column - 1]
                text, found = str(value), mark("text", number=value, **about)
            elif row or column:
                text = table.rows[row - 1] if row else table.columns[column - 1]
                found = mark("text", word=text, **about)
            else:
                continue
            sheet.text(text, x, y, size=size, colour=ink, mark=found)
    return sheet.done()


def _table_task(table: Table, rng: random.Random) -> Task:
    makers = [_cell, _cell, _sum_column, _largest_row, _subtract]
    if len(table.columns) > 1:
        makers += [_sum_row, _sum_row]
    task = replace(rng.choice(makers)(table, rng), caption=table.caption)
    if rng.random() < 0.12:
        return choices(rng, task, table.rows)
    return task


def _pick(table: Table, rng: random.Random) -> tuple[str, str, int]:
    row, column = rng.randrange(len(table.rows)), rng.randrange(len(table.columns))
    return table.rows[row], table.columns[column], table.cells[row][column]


def _cell(table: Table, rng: random.Random) -> Task:
    row, column, value = _pick(table, rng)
    wordings = ("What is the {c} value of {r}?", "How much {c} has {r}?", "Read {c} for {r}.",
                "What does the table show for {r} under {c}?")  # fmt: skip
    return ask(rng, "cell", wordings, r=row, c=column, summary=f"Read {row} {column}.",
               reasoning=f"{row} {column} {value}.", conclusion=str(value))  # fmt: skip


def _running(cells: list[tuple[str, int]]) -> str:
    """cells: name and value of each."""
    steps, total = [], 0
    for name, value in cells:
        total += value
        steps.append(f"{name} {value}, sum {total};")
    return " ".join(steps)


def _sum_row(table: Table, rng: random.Random) -> Task:
    at = rng.randrange(len(table.rows))
    row, values = table.rows[at], table.cells[at]
    cells = [(f"{row} {name}", value) for name, value in zip(table.columns, values, strict=True)]
    wordings = ("What is the sum of the row {r}?", "How much is {r} in all?", "Add the row {r}.")
    return ask(rng, "row sum", wordings, r=row, summary=f"Add the row {row}.",
               reasoning=_running(cells), conclusion=str(sum(values)))  # fmt: skip


def _sum_column(table: Table, rng: random.Random) -> Task:
    at = rng.randrange(len(table.columns))
    column, values = table.columns[at], [cells[at] for cells in table.cells]
    cells = [(f"{name} {column}", value) for name, value in zip(table.rows, values, strict=True)]
    wordings = ("What is the sum of the column {c}?", "How much {c} is there in all?",
                "Add the column {c}.")  # fmt: skip
    return ask(rng, "column sum", wordings, c=column, summary=f"Add the column {column}.",
               reasoning=_running(cells), conclusion=str(sum(values)))  # fmt: skip


def _largest_row(table: Table, rng: random.Random) -> Task:
    at = rng.randrange(len(table.columns))
    column, best, steps = table.columns[at], None, []
    for row, cells in zip(table.rows, table.cells, strict=True):
        if best is None or cells[at] > best[1]:
            best = (row, cells[at])
        steps.append(f"{row} {column} {cells[at]}, best {best[0]} {best[1]};")
    assert best is not None
    if [cells[at] for cells in table.cells].count(best[1]) > 1:
        return _cell(table, rng)
    wordings = ("Who has the most {c}?", "Which row has the largest {c}?",
                "Where is {c} largest?")  # fmt: skip
    return ask(rng, "largest", wordings, c=column,
               summary=f"Go through all of {column}. Keep the largest.",
               reasoning=" ".join(steps), conclusion=best[0])  # fmt: skip


def _subtract(table: Table, rng: random.Random) -> Task:
    at = rng.randrange(len(table.columns))
    column = table.columns[at]
    first, second = rng.sample(range(len(table.rows)), 2)
    (a, x), (b, y) = sorted(
        ((table.rows[row], table.cells[row][at]) for row in (first, second)),
        key=lambda item: -item[1],
    )
    wordings = ("How much more {c} has {a} than {b}?",
                "What is the difference in {c} between {a} and {b}?")  # fmt: skip
    return ask(rng, "difference", wordings, a=a, b=b, c=column,
               summary=f"Read {a} and {b} under {column}. Then subtract.",
               reasoning=f"{a} {column} {x}. {b} {column} {y}. {x} - {y} = {x - y}.",
               conclusion=str(x - y))  # fmt: skip


# --- printed words and numbers --------------------------------------------------------------------


ORDER = ("first", "second", "third")


def draw_print(rng: random.Random) -> Scene:
    n = rng.choice((1, 1, 2, 3))
    texts = tuple(
        rng.choice(WORDS) if rng.random() < 0.5 else str(rng.randint(0, rng.choice((30, MOST))))
        for _ in range(n)
    )
    sheet = new_sheet(rng)
    side = min(sheet.width, sheet.height)
    size = side * rng.uniform(0.09, {1: 0.2, 2: 0.18, 3: 0.16}[n])
    ink = shade(rng, rng.choice(((40, 40, 40), (40, 60, 150), (150, 40, 40))), by=25)
    slack = (sheet.height / n - size * 1.2) / 2
    for at, text in enumerate(texts):
        fit = min(size, size * sheet.width * 0.9 / max(1.0, sheet.text_size(text, size)[0]))
        room = max(0.0, (sheet.width * 0.95 - sheet.text_size(text, fit)[0]) / 2)
        x = sheet.width / 2 + rng.uniform(-room, room)
        y = sheet.height * (at + 0.5) / n + rng.uniform(-1, 1) * max(0.0, slack * 0.6)
        number = int(text) if text.isdigit() else None
        word = None if text.isdigit() else text
        sheet.text(text, x, y, size=fit, colour=ink,
                   mark=mark("text", word=word, number=number, row=at + 1))  # fmt: skip
    return Scene("print", sheet.done(), lambda luck: _print_task(texts, luck))


def _print_task(texts: tuple[str, ...], rng: random.Random) -> Task:
    caption = f"Print: {', '.join(texts)}."
    if len(texts) == 1:
        word = "number" if texts[0].isdigit() else "word"
        wordings: tuple[str, ...] = ("What is written here?", "Read the {w}.",
                                     "Which {w} is printed?", "What {w} do you see?")  # fmt: skip
        task = ask(rng, "read", wordings, w=word, summary="Read what is printed.",
                   reasoning=f"It says {texts[0]}.", conclusion=texts[0])  # fmt: skip
    else:
        at = rng.randrange(len(texts))
        wordings = ("What is written in line {n}?", "Read the {o} line.",
                    "What does the {o} line say?")  # fmt: skip
        task = ask(rng, "line", wordings, n=str(at + 1), o=ORDER[at],
                   summary=f"Read the {ORDER[at]} line.",
                   reasoning=f"The {ORDER[at]} line says {texts[at]}.",
                   conclusion=texts[at])  # fmt: skip
    task = replace(task, caption=caption)
    if rng.random() < 0.08:
        return choices(rng, task, rng.sample(WORDS, 6))
    return task
