"""VLMEvalKit's `.tsv` files."""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from llavao1_edge.errors import UsageError
from llavao1_edge.evaluation.items import CHOICE, Item, Malformed, Row, kind_of
from llavao1_edge.evaluation.row_pictures import beside, decoded, fetched, listed, listed_path
from llavao1_edge.evaluation.tables import Table, by_name, header_of

CIRCULAR = 1_000_000  # VLMEvalKit numbers rotated copies of a question with multiples of this
REFERENCE = 64  # picture fields this short are the index of the row that holds the picture


def read_tsv(path: Path) -> Iterator[Row]:
    """VLMEvalKit's files: index, image or image_path, question, and what the benchmark adds."""
    table = Table(path, "\t")
    header = header_of(path, table, ("index", "question"))
    if "image" not in header and "image_path" not in header:
        raise UsageError(f"{path.name} has no column 'image' or 'image_path'", hint="See the docs.")
    places: dict[str, int] = {}
    for line, offset, fields in itertools.islice(table.rows(), 1, None):
        named = by_name(header, fields)
        if isinstance(named, str):
            yield Malformed(line, named)
            continue
        key = named["index"].strip()
        if not key:
            yield Malformed(line, "the index is missing")
            continue
        if len(named.get("image", "")) > REFERENCE:
            places.setdefault(key, offset)
        try:
            yield _tsv_item(table, header, named, (line, offset), places)
        except ValueError as error:
            yield Malformed(line, str(error))


def _tsv_item(
    table: Table,
    header: list[str],
    row: dict[str, str],
    place: tuple[int, int],
    places: dict[str, int],
) -> Item:
    """place: (line, offset) of the row; places: offsets of the rows that hold a picture."""
    line, own = place
    key = row["index"].strip()
    options = {
        letter: row[letter].strip()
        for letter in string.ascii_uppercase
        if row.get(letter, "").strip() and row[letter].strip().lower() != "nan"
    }
    if row.get("choices", "").startswith("[") and not options:  # MathVista
        options = dict(zip(string.ascii_uppercase, listed(row["choices"]), strict=False))
    answer = row.get("answer", "").strip()
    kind = kind_of(row, options, answer)
    if kind == CHOICE and row.get("answer_option", "").strip() in options:
        answer = row["answer_option"].strip()
    number = int(key) if key.isdigit() else None
    return Item(
        key=key,
        line=line,
        question=_required(row, "question"),
        answers=(answer,) if answer else (),
        kind=kind,
        picture=_tsv_picture(table, header, row, own, places),
        options=options,
        hint=_given(row, "hint"),
        category=_given(row, "category") or _given(row, "capability") or _given(row, "task"),
        group=str(number % CIRCULAR) if number is not None and number >= CIRCULAR else key,
        tolerance=_tolerance(row),
        columns={k: v for k, v in row.items() if k not in ("image", "image_path")},
    )


def _tolerance(row: Mapping[str, str]) -> float | None:
    """Half of the last digit that counts (MathVista's `precision`)."""
    try:
        digits = float(row.get("precision", ""))
    except ValueError:
        return None
    return 0.5 * 10.0**-digits if 0 <= digits <= 12 else None


def _required(row: Mapping[str, str], name: str) -> str:
    value = row.get(name, "").strip()
    if not value:
        raise ValueError(f"no {name}")
    return value


def _given(row: Mapping[str, str], name: str) -> str:
    value = row.get(name, "").strip()
    return "" if value.lower() == "nan" else value


def _tsv_picture(
    table: Table, header: list[str], row: dict[str, str], own: int, places: dict[str, int]
) -> bytes | Path | Callable[[], bytes]:
    image = row.get("image", "").strip()
    if not image:
        return beside(table.path, listed_path(_required(row, "image_path")))
    if len(image) > REFERENCE:
        decoded(image)  # a bad one is told at once
        image, offset = row["index"].strip(), own
    else:
        if image not in places:  # it may stand in a later row: look at all of them, once
            found = _places(table, header)
            places.update({key: at for key, at in found.items() if key not in places})
        if image not in places:
            raise ValueError(f"the picture is said to be in row {image!r}, which has none")
        offset = places[image]

    return fetched(lambda: table.named_at(header, offset)["image"], f"row {image!r}")


def _places(table: Table, header: list[str]) -> dict[str, int]:
    """Where the rows that hold a picture begin, by their index."""
    found: dict[str, int] = {}
    for _, offset, fields in itertools.islice(table.rows(), 1, None):
        named = by_name(header, fields)
        if not isinstance(named, str) and len(named.get("image", "")) > REFERENCE:
            found.setdefault(named["index"].strip(), offset)
    return found
