"""Values inside a structurally valid model file: refused by name, never an abort."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llavao1_edge import demo
from llavao1_edge.contract.pair import read_pair
from llavao1_edge.errors import ModelFileError

gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")


def changed(tmp_path: Path, change: Callable[[Any], None]) -> Path:
    """The demo's text file with something changed in place."""
    path = tmp_path / "text.gguf"
    shutil.copy(demo.text_path(), path)
    reader = gguf.GGUFReader(path, "r+")
    change(reader)
    reader.data.flush()
    del reader
    return path


def value(name: str, to: Any) -> Callable[[Any], None]:
    def change(reader: Any) -> None:
        field = reader.fields[name]
        field.parts[field.data[0]][:] = to

    return change


def kind(name: str, to: int) -> Callable[[Any], None]:
    def change(reader: Any) -> None:
        tensor = next(each for each in reader.tensors if each.name == name)
        tensor.field.parts[4][:] = to  # length, name, dimensions, shape, type, offset

    return change


def token_twice(reader: Any) -> None:
    field = reader.fields["tokenizer.ggml.tokens"]
    parts = [field.parts[at] for at in field.data]
    first, second = next(
        (a, b)
        for number, a in enumerate(parts)
        for b in parts[number + 1 :]
        if len(a) == len(b) and bytes(a) != bytes(b)
    )
    second[:] = first


def renamed(name: str, to: bytes) -> Callable[[Any], None]:
    def change(reader: Any) -> None:
        field = reader.fields[name]
        field.parts[1][: len(to)] = np.frombuffer(to, dtype=np.uint8)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (kind("output_norm.weight", 1), "it must be F32|does not fit|overlap|beyond|bytes"),
        (token_twice, "is there twice"),
        (value("llama.context_length", 16), "llama.context_length is 16"),
        (value("llama.attention.head_count", 3), "does not divide into 3"),
        (value("llama.attention.head_count_kv", 3), "does not divide into 4 and 3"),
        (value("llama.attention.layer_norm_rms_epsilon", 0), "epsilon is 0"),
        (value("llama.attention.layer_norm_rms_epsilon", -1), "epsilon is -1"),
        (value("llama.attention.layer_norm_rms_epsilon", np.nan), "epsilon is nan"),
        (value("llama.rope.freq_base", 0), "freq_base is 0"),
        (value("llama.rope.dimension_count", 31), "dimension_count is 31"),
        (value("llama.block_count", 7), r"blk\.\d|layers"),
        (value("tokenizer.ggml.bos_token_id", 10**6), "bos_token_id is 1000000"),
        (
            value("tokenizer.ggml.model", np.frombuffer(b"bert", dtype=np.uint8)),
            "it must be 'gpt2'",
        ),
        (value("tokenizer.ggml.pre", np.frombuffer(b"gpt-4", dtype=np.uint8)), "it must be"),
        (renamed("llama.rope.freq_base", b"llama.rope.scal_base"), "does not belong|freq_base"),
        (
            renamed("llama.context_length", b"llama.expert_count__"),
            "does not belong|context_length",
        ),
    ],
)
def test_what_llama_cpp_would_assert_on_is_refused_by_name(
    change: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(ModelFileError, match=said):
        read_pair(path, demo.mmproj_path())


OPEN = """
import sys
from pathlib import Path
from llavao1_edge import Engine, RuntimeSettings, demo
from llavao1_edge.errors import LlavaError
settings = RuntimeSettings(device="cpu", memory_check="off", context=256)
for path in sys.argv[1:]:
    print(path, end=" ", flush=True)
    try:
        with Engine.open(text=path, mmproj=demo.mmproj_path(), settings=settings) as engine:
            engine.prompt_logits(demo.samples()[0].picture, "How many?")
        print("opened", flush=True)
    except LlavaError as error:
        print("refused:", error.message[:90].replace(chr(10), " "), flush=True)
"""
N_FUZZED = int(os.environ.get("LLAVAO1_FUZZ_PAIRS", "200"))  # 2000 in a night
WHOLE = [0, 1, 2, 3, 5, 7, 64, 255, 4096, 10**6, 2**31 - 1, 2**32 - 1]
FRACTION = [0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), 0.5]


def anything(reader: Any, rng: random.Random) -> None:
    """One or two values anywhere: numbers, types and shapes of tensors, bytes of names and tokens."""
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.5:
            field = rng.choice([each for each in reader.fields.values() if each.data])
            part = field.parts[rng.choice(list(field.data)[:2000])]
            if part.dtype.kind == "f":
                part[:] = rng.choice(FRACTION)
            elif part.dtype == np.uint8:
                part[rng.randrange(len(part)) if len(part) else slice(0)] = rng.randrange(256)
            else:
                part[:] = np.array(rng.choice(WHOLE)).astype(part.dtype)
        else:
            tensor = rng.choice(reader.tensors)
            part = tensor.field.parts[rng.choice((1, 3, 4, 5))]
            at = rng.randrange(len(part))
            part[at] = np.array(rng.choice(WHOLE)).astype(part.dtype)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_two_hundred_files_with_wrong_values_end_no_process(tmp_path: Path) -> None:
    paths = []
    for number in range(N_FUZZED):
        folder = tmp_path / str(number)
        folder.mkdir()
        rng = random.Random(number)
        paths.append(str(changed(folder, lambda reader, rng=rng: anything(reader, rng))))  # type: ignore[misc]
    for start in range(0, len(paths), 100):
        part = paths[start : start + 100]
        done = subprocess.run([sys.executable, "-c", OPEN, *part], capture_output=True, text=True)
        lines = done.stdout.splitlines()
        assert done.returncode == 0, (done.returncode, lines[-1], done.stderr[-600:])
        assert len(lines) == len(part)
        assert any("refused" in line for line in lines)


def test_an_abort_all_the_same_is_a_sentence(tmp_path: Path) -> None:
    """A process that ends by a signal while it works with a file of somebody's."""
    code = (
        "import os, signal, sys; from llavao1_edge.cli import child, main; "
        "child._start = lambda _: -signal.SIGABRT; "
        "sys.exit(main.main())"
    )
    words = ["ask", str(demo.samples()[0].picture), "Why?", "--model", str(demo.text_path())]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "llama.cpp ended the process while it worked with this model" in done.stderr
