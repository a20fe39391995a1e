"""Our mixtures and bytes against llama.cpp's own quantiser, on the same F32 text file."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from numpy.typing import NDArray

from llavao1_convert.conversion import run
from llavao1_convert.imatrix import read_imatrix
from llavao1_convert.planning import plan_conversion
from llavao1_convert.storage import QUANTISATIONS
from llavao1_edge import Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.contract.gguf import GgufHeader, read_header
from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.quantise import dequantise, quantise
from llavao1_edge.ggml.types import WRITTEN
from llavao1_edge.llama.log import route_logs
from tests.configurations import CONFIGURATIONS, noise
from tests.tiny import Tiny, save

WIDE = Tiny(hidden=256, heads=8, kv_heads=2, ffn=512, layers=18, cross=(3, 8), seed=20)
# As in the 90B model: eighty text layers, for which llama.cpp has a rule of its own.
DEEP = Tiny(hidden=256, heads=8, kv_heads=1, ffn=256, layers=82, cross=(3, 8), seed=21)
SHAPES = {"wide": WIDE, "narrow": CONFIGURATIONS["base"], "deep": DEEP}
Importance = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = save(SHAPES[name], tmp_path_factory.mktemp(name) / "tiny")
        return made[name]

    return make


def text_file(folder: Path, out: Path, quantisation: str, imatrix: Path | None = None) -> Path:
    plan = plan_conversion(
        folder, out, text_quantisation=quantisation, vision_quantisation="F32", imatrix=imatrix
    )
    for _ in run(plan):
        pass
    return plan.text.path


def by_llama_cpp(
    source: Path, target: Path, quantisation: str, importance: Importance | None = None
) -> GgufHeader:
    from llama_cpp import llama_cpp

    route_logs()
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype = 2, QUANTISATIONS[quantisation].file_type
    kept = []
    if importance:
        entries = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
        for entry, (name, values) in zip(entries, importance.items(), strict=False):
            kept.append((name.encode(), np.ascontiguousarray(values)))
            entry.name = kept[-1][0]
            entry.data = kept[-1][1].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            entry.size = len(values)
        params.imatrix = entries
    status = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    assert status == 0
    return read_header(target)


def contents(header: GgufHeader) -> dict[str, tuple[str, bytes]]:
    return {
        name: (info.kind.name, header.data[info.offset : info.offset + info.n_bytes])
        for name, info in header.tensors.items()
    }


def assert_equal(ours: GgufHeader, theirs: GgufHeader) -> None:
    mine, other = contents(ours), contents(theirs)
    assert {n: kind for n, (kind, _) in mine.items()} == {n: kind for n, (kind, _) in other.items()}
    assert [name for name in mine if mine[name] != other[name]] == []


@pytest.mark.parametrize("shape", ["wide", "narrow"])
@pytest.mark.parametrize("quantisation", [name for name in QUANTISATIONS if name != "F32"])
def test_the_text_file_is_what_llama_cpp_makes_of_it(
    shape: str, quantisation: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    plain = text_file(folder_of(shape), tmp_path, "F32")
    ours = read_header(text_file(folder_of(shape), tmp_path, quantisation))
    theirs = by_llama_cpp(plain, tmp_path / "theirs.gguf", quantisation)
    assert_equal(ours, theirs)
    assert ours.integer("general.file_type") == theirs.integer("general.file_type")


@pytest.mark.parametrize("quantisation", ["Q4_K_M", "IQ4_XS"])
def test_eighty_layers(quantisation: str, folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    plain = text_file(folder_of("deep"), tmp_path, "F32")
    ours = read_header(text_file(folder_of("deep"), tmp_path, quantisation))
    assert_equal(ours, by_llama_cpp(plain, tmp_path / "theirs.gguf", quantisation))


def importance_of(text: Path) -> Importance:
    rng = np.random.default_rng(3)
    return {
        name: (rng.random(info.shape[0], dtype=np.float32) ** 4 + np.float32(0.01))
        for name, info in read_header(text).tensors.items()
        if len(info.shape) == 2 and name.startswith("blk.")
    }


def save_gguf(importance: Importance, path: Path, *, chunks: int) -> Path:
    writer = GGUFWriter(path, arch="llama")
    writer.add_type("imatrix")
    for name, values in importance.items():
        writer.add_tensor(f"{name}.in_sum2", values * np.float32(chunks))
        writer.add_tensor(f"{name}.counts", np.array([chunks], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def save_dat(importance: Importance, path: Path, *, chunks: int) -> Path:
    parts = [struct.pack("<i", len(importance))]
    for name, values in importance.items():
        parts.append(struct.pack("<i", len(name)) + name.encode())
        parts.append(struct.pack("<ii", chunks, len(values)))
        parts.append((values * np.float32(chunks)).tobytes())
    path.write_bytes(b"".join(parts) + struct.pack("<i", 1))
    return path


@pytest.mark.parametrize("form", [save_gguf, save_dat])
@pytest.mark.parametrize("quantisation", ["Q4_K_M", "Q4_0", "IQ4_XS"])
def test_with_an_importance_matrix(
    quantisation: str,
    form: Callable[..., Path],
    folder_of: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    plain = text_file(folder_of("wide"), tmp_path, "F32")
    importance = importance_of(plain)
    path = form(importance, tmp_path / "imatrix", chunks=4)
    assert read_imatrix(path).keys() == importance.keys()
    without = read_header(text_file(folder_of("wide"), tmp_path / "x", quantisation))
    ours = read_header(text_file(folder_of("wide"), tmp_path, quantisation, path))
    assert contents(ours) != contents(without)
    assert_equal(ours, by_llama_cpp(plain, tmp_path / "t.gguf", quantisation, importance))


def test_an_importance_matrix_of_another_model(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    path = save_dat({"blk.0.attn_q.weight": np.ones(7, np.float32)}, tmp_path / "i", chunks=1)
    with pytest.raises(CheckpointError, match="7 columns"):
        text_file(folder_of("wide"), tmp_path, "Q4_K_M", path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"GGUF" + bytes(40), b"\xff" * 64])
def test_no_importance_matrix_at_all(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(content)
    with pytest.raises(CheckpointError):
        read_imatrix(tmp_path / "i")


@pytest.mark.parametrize("quantisation", [*QUANTISATIONS])
def test_every_quantisation_answers(
    quantisation: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    plan = plan_conversion(
        folder_of("wide"),
        tmp_path,
        text_quantisation=quantisation,
        vision_quantisation=quantisation,
    )
    for _ in run(plan):
        pass
    with Engine.open(
        text=plan.text.path,
        mmproj=plan.mmproj.path,
        settings=RuntimeSettings(gpu_layers=0, context=512),
    ) as engine:
        session = engine.session(engine_picture())
        answer = session.ask("Hi?", sampling=SamplingSettings(temperature=0, max_tokens=12))
    assert answer.trace.counters.vision_passes == 1


def engine_picture() -> bytes:
    import io

    buffer = io.BytesIO()
    noise(90, 70, seed=1).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.name)
def test_dequantising_agrees_with_an_independent_library(kind: object) -> None:
    from gguf import GGMLQuantizationType, quants

    from llavao1_edge.ggml.types import StorageType

    assert isinstance(kind, StorageType)
    rows = np.random.default_rng(1).standard_normal((8, 512)).astype(np.float32)
    stored = quantise(rows, kind)
    theirs = quants.dequantize(stored, GGMLQuantizationType(kind.number))
    np.testing.assert_allclose(dequantise(stored, kind, 512), theirs, rtol=1e-6, atol=1e-7)
