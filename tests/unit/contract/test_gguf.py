"""The reader accepts what our writer and llama.cpp's library write, and nothing broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
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
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.contract.gguf import GgufHeader, read_header
from llavao1_edge.engine import runtime
from llavao1_edge.errors import ModelFileError
from llavao1_edge.ggml.types import F16, F32, Q8_0
from tests.corpus import make_gguf as gg
from tests.corpus.make_gguf import ARRAY, FOLDER, STRING, cases, entry, file, text, u64

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


EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def test_the_corpus_is_what_its_script_makes() -> None:
    made = {bad.name: bad for bad in cases()}
    assert len(made) >= 60
    assert {path.stem for path in FOLDER.glob("*.gguf")} == set(made) == set(EXPECTED)
    for name, bad in made.items():
        assert (FOLDER / f"{name}.gguf").read_bytes() == bad.content
        assert EXPECTED[name] == {"message": bad.message, "offset": bad.offset}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_bad_file_has_its_error(name: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        read_header(FOLDER / f"{name}.gguf")
    assert EXPECTED[name]["message"] in caught.value.message
    assert caught.value.offset == EXPECTED[name]["offset"]
    assert f"{name}.gguf" in caught.value.message
    assert caught.value.hint


def test_hostile_files_are_refused_quickly_and_in_little_memory(tmp_path: Path) -> None:
    """Each as dear as the limits allow: a million strings, millions of numbers, long texts."""
    code = f"""
import resource, sys, time
from pathlib import Path
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.contract.gguf import GgufHeader, read_header
from llavao1_edge.engine import runtime
from llavao1_edge.errors import ModelFileError
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def plain_loop():  # how fast this machine runs Python just now
    started = time.process_time()
    for i in range(1 << 20):
        str(i).encode()
    return time.process_time() - started
for path in sorted(Path({str(tmp_path)!r}).glob("*.gguf")):
    before, loop, started = peak(), plain_loop(), time.process_time()
    try:
        read_header(path)
    except ModelFileError:
        pass
    seconds, grown = time.process_time() - started, peak() - before
    loops = seconds / max(loop, plain_loop())
    print(path.name, round(loops, 2), grown - path.stat().st_size, flush=True)
"""
    wide = text("é" * (1 << 20)) + gg.u32(STRING) + text("x")  # a key of two megabytes
    dear = {
        "strings": entry("k", ARRAY, gg.u32(STRING) + u64(1 << 20) + text("ab") * (1 << 20)),
        "numbers": entry("k", ARRAY, gg.u32(0) + u64(16 << 20) + bytes(16 << 20)),
        "text": entry("k", STRING, text("a" * ((8 << 20) - 4) + "😀")),
        "key": wide,
    }
    for name, made in dear.items():
        (tmp_path / f"{name}.gguf").write_bytes(file((made,)))
    many = tuple(entry(f"k{i}", STRING, text("x" * 900)) for i in range(4096))
    (tmp_path / "entries.gguf").write_bytes(file(many))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 5
    for name, loops, beyond in lines:  # a million strings: eight of them here
        print(name, loops, beyond)
        assert float(loops) < 20, (name, loops)
        assert int(beyond) < 50 << 20, (name, beyond)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = {"folder": tmp_path, "pipe": tmp_path / "pipe", "device": Path(os.devnull)}[kind]
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes in folders here")
        os.mkfifo(path)
    with pytest.raises(ModelFileError, match="folder" if kind == "folder" else "regular file"):
        read_header(path)


def test_the_file_that_was_checked_is_the_one_that_is_loaded(
    pair_of: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    """Another file under the same path, a moment later, changes nothing."""
    text_path, mmproj_path = pair_of("base")
    paths = []
    for path in (text_path, mmproj_path):
        paths.append(tmp_path / path.name)
        paths[-1].write_bytes(path.read_bytes())
    original = runtime.read_pair

    def swapped(*arguments: Path) -> tuple[GgufHeader, GgufHeader]:
        headers = original(*arguments)
        for path in paths:
            path.unlink()
            path.write_bytes(b"GGUF" + bytes(400))
        return headers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "read_pair", swapped)
        settings = RuntimeSettings(gpu_layers=0, context=256)
        with Engine.open(text=paths[0], mmproj=paths[1], settings=settings) as engine:
            logits = engine.prompt_logits(None, "Hi?").logits
    assert np.isfinite(logits).all()
