"""`docs/file-format.md` is printed from the tables in `contract`."""

from __future__ import annotations

from pathlib import Path

from tests.file_format import page


def test_the_page_is_current() -> None:
    path = Path(__file__).parents[3] / "docs" / "file-format.md"
    assert path.read_text(encoding="utf-8") == page(), "run: python -m tests.file_format"
