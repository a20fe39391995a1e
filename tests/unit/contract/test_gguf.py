"""The reader accepts what our writer and llama.cpp's library write, and nothing broken."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llavao1_convert.writer import (
    Entry,
    Planned,
    Slots,
    array,
    boolean,
    encode_header,
    f32,
    f64,
    string,
    u32,
)
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.errors import ModelFileError
from llavao1_edge.ggml.types import F16, F32, Q8_0

ENTRIES = [
    string("general.architecture", "llama"),
    u32("a.count", 7),
    f32("a.share", 0.5),
    f64("a.exact", 1 / 255),
    boolean("a.flag", True),
    array("a.numbers", "u32", [1, 2, 3]),
    array("a.words", "string", ["x", "äöü", ""]),
]
TENSORS = [Planned("one", (32, 2), Q8_0), Planned("two", (3,), F32), Planned("three", (2, 2), F16)]


def write(path: Path, entries: list[Entry] = ENTRIES, tensors: list[Planned] = TENSORS) -> Path:
    slots = Slots(path, encode_header(entries, tensors), tensors)
    for tensor in tensors[::-1]:
        slots.write(slots.offsets[tensor.name], bytes(range(tensor.n_bytes)))
    slots.close()
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    header = read_header(write(tmp_path / "a.gguf"))
    assert header.text("general.architecture") == "llama"
    assert header.integer("a.count") == 7
    assert header.number("a.exact") == 1 / 255
    assert header.integers("a.numbers") == (1, 2, 3)
    assert header.strings("a.words") == ["x", "äöü", ""]
    assert header.metadata["a.flag"] is True
    info = header.tensors["two"]
    assert (info.shape, info.kind, info.n_bytes) == ((3,), F32, 12)
    data = (tmp_path / "a.gguf").read_bytes()
    assert data[info.offset : info.offset + 12] == bytes(range(12))


def test_an_independent_library_reads_the_same(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    reader = gguf.GGUFReader(write(tmp_path / "a.gguf"))
    ours = read_header(tmp_path / "a.gguf")
    assert {tensor.name for tensor in reader.tensors} == set(ours.tensors)
    for tensor in reader.tensors:
        info = ours.tensors[tensor.name]
        assert int(tensor.data_offset) == info.offset
        assert tuple(int(n) for n in tensor.shape) == info.shape
        assert int(tensor.n_bytes) == info.n_bytes
    assert reader.fields["a.words"].contents() == ["x", "äöü", ""]


def test_what_an_independent_library_writes_is_read(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    writer = gguf.GGUFWriter(tmp_path / "b.gguf", "llama")
    writer.add_uint32("n", 3)
    writer.add_array("words", ["a", "b"])
    writer.add_tensor("t", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(tmp_path / "b.gguf")
    assert header.strings("words") == ["a", "b"]
    assert header.tensors["t"].shape == (3, 2)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_an_error_or_a_header_never_a_crash(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz") / "a.gguf")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        header = read_header(path)
    except ModelFileError as error:
        assert path.name in error.message
    else:
        for info in header.tensors.values():
            assert 0 <= info.offset <= info.offset + info.n_bytes <= len(content)


def broken(entries: bytes = b"", tensors: bytes = b"", counts: tuple[int, int] = (0, 0)) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, *counts) + entries + tensors + bytes(64)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


CASES = {
    "bad magic": (b"GGML" + bytes(60), "not a GGUF file"),
    "version": (b"GGUF" + struct.pack("<IQQ", 9, 0, 0) + bytes(40), "version 9"),
    "too many tensors": (broken(counts=(1 << 40, 0)), "more than the limit"),
    "long string": (broken(struct.pack("<Q", 1 << 60), counts=(0, 1)), "more than the limit"),
    "key twice": (
        broken((text("k") + struct.pack("<IB", 0, 1)) * 2, counts=(0, 2)),
        "stands twice",
    ),
    "unknown type": (broken(text("k") + struct.pack("<I", 77), counts=(0, 1)), "type 77"),
    "nested array": (broken(text("k") + struct.pack("<IIQ", 9, 9, 1), counts=(0, 1)), "type 9"),
    "huge array": (
        broken(text("k") + struct.pack("<IIQ", 9, 4, 1 << 23), counts=(0, 1)),
        "ends too early",
    ),
    "zero dimension": (
        broken(tensors=text("t") + struct.pack("<IQIQ", 1, 0, 0, 0), counts=(1, 0)),
        "impossible shape",
    ),
    "too many dimensions": (
        broken(tensors=text("t") + struct.pack("<I", 9), counts=(1, 0)),
        "9 dimensions",
    ),
    "unknown tensor type": (
        broken(tensors=text("t") + struct.pack("<IQIQ", 1, 4, 99, 0), counts=(1, 0)),
        "unknown type 99",
    ),
    "offset outside": (
        broken(tensors=text("t") + struct.pack("<IQIQ", 1, 4, 0, 1 << 50), counts=(1, 0)),
        "inside the file",
    ),
    "overflowing size": (
        broken(tensors=text("t") + struct.pack("<IQQIQ", 2, 1 << 62, 1 << 62, 0, 0), counts=(1, 0)),
        "too large",
    ),
    "odd alignment": (
        broken(text("general.alignment") + struct.pack("<II", 4, 33), counts=(0, 1)),
        "power of two",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_damage_has_its_message(case: str, tmp_path: Path) -> None:
    content, message = CASES[case]
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_header(path)
