"""JSON lines that were cut off, and appending that leaves no half line."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import files
from llavao1_edge.files import append_line, read_lines


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'{"a": 1}\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        (b'{"a": 1}\n{"b": 2}', [{"a": 1}, None]),  # JSON, but who knows what was to follow
        (b'{"a": 1}\n{"b": ', [{"a": 1}, None]),
        (b'{"a": 1}\nno json\n[]\n', [{"a": 1}, None, []]),
        (b"\xff\xfe\n", [None]),
        (b"[" * 100_000 + b"\n", [None]),
        (b"", []),
    ],
)
def test_lines(data: bytes, values: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(data)
    lines = read_lines(path)
    assert [line.value for line in lines] == values
    assert b"".join(line.data for line in lines) == data


def test_no_file_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, b'{"a": 1}\n')

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:4])

    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode, buffering: Full(path, mode.replace("b", "")),  # noqa: ARG005
    )
    with pytest.raises(OSError, match="No space left") as caught:
        append_line(path, b'{"b": 2}\n')
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b'{"a": 1}\n'
    assert files.read_lines(path)[0].value == {"a": 1}
