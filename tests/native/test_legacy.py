"""Old files are rescued: the pair equals the one made from the checkpoint itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llavao1_convert.conversion import run
from llavao1_convert.legacy import Choices, raw_gate
from llavao1_convert.plan import Conversion
from llavao1_convert.planning import plan_conversion
from llavao1_convert.sources import Request, plan_source
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.cli.main import main
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.contract.pair import read_pair
from llavao1_edge.errors import CheckpointError, LlavaError, UsageError
from llavao1_edge.ggml.quantise import dequantise
from llavao1_edge.images import Picture, open_picture
from tests import legacy
from tests.configurations import CONFIGURATIONS, picture_for
from tests.legacy import LAYOUTS, Layout, bf16_weights
from tests.tiny import Tiny, save, save_safetensors

BASE = CONFIGURATIONS["base"]
WIDE = BASE.but(hidden=256, heads=8, ffn=512, seed=22)
BY_NAME = {layout.name: layout for layout in LAYOUTS}


def finish(plan: Conversion) -> Conversion:
    for _ in run(plan):
        pass
    return plan


def rescue(text: Path, projector: Path | None, out: Path, **options: Any) -> Conversion:
    request = Request(str(text), out, projector=projector, **options)
    return finish(plan_source(request))


def from_checkpoint(tiny: Tiny, folder: Path, quantisation: str, vision: str) -> Conversion:
    source = save(tiny, folder / "checkpoint")
    save_safetensors(bf16_weights(tiny), source / "model.safetensors", dtype="BF16")
    return finish(
        plan_conversion(
            source,
            folder / "wanted",
            text_quantisation=quantisation,
            vision_quantisation=vision,
            name="Wanted",
        )
    )


def contents(path: Path) -> dict[str, tuple[str, bytes]]:
    header = read_header(path)
    return {
        name: (info.kind.name, header.data[info.offset : info.offset + info.n_bytes])
        for name, info in header.tensors.items()
    }


def picture() -> Picture:
    return open_picture(picture_for(BASE, 1, 2))


def logits(plan: Conversion) -> np.ndarray[Any, np.dtype[np.float32]]:
    settings = RuntimeSettings(gpu_layers=0, context=256)
    with Engine.open(text=plan.text.path, mmproj=plan.mmproj.path, settings=settings) as engine:
        return engine.prompt_logits(picture(), "What is it?").logits


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_a_rescued_pair_equals_the_converted_one(layout: Layout, kind: str, tmp_path: Path) -> None:
    """Every tensor, bit by bit, and so every logit."""
    text, projector = legacy.write(BASE, layout, tmp_path / "old", text_kind=kind, vision_kind=kind)
    ours = rescue(text, projector, tmp_path / "out", name="Saved")
    wanted = from_checkpoint(BASE, tmp_path, kind, kind)
    for saved, made in ((ours.text, wanted.text), (ours.mmproj, wanted.mmproj)):
        a, b = contents(saved.path), contents(made.path)
        tables = {name for name in a if "tile_position" in name}  # F32 in all old files
        assert a.keys() == b.keys()
        assert [name for name in a if name not in tables and a[name] != b[name]] == []
    assert ours.text.path.name == f"Saved-{kind}.gguf"
    if kind == "F32":
        np.testing.assert_array_equal(logits(ours), logits(wanted))
    else:
        np.testing.assert_allclose(logits(ours), logits(wanted), atol=2e-3)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_quantised_tensors_are_carried_over(layout: Layout, kind: str, tmp_path: Path) -> None:
    """The pair holds exactly what the dequantised weights convert to; nothing is rounded twice."""
    text, projector = legacy.write(WIDE, layout, tmp_path / "old", text_kind=kind, vision_kind=kind)
    ours = rescue(text, projector, tmp_path / "out", name="Saved")
    old = read_header(text)
    dequantised = bf16_weights(WIDE)
    for name, info in old.tensors.items():
        source = _source_name(name)
        if source is None or info.kind.name != kind:
            continue
        stored = np.frombuffer(old.data, np.uint8, info.n_bytes, info.offset)
        rows = dequantise(stored.reshape(info.shape[1], -1), info.kind, info.shape[0])
        dequantised[source] = _moved_back(rows, name, layout)
    source = save(WIDE, tmp_path / "dequantised")
    save_safetensors(dequantised, source / "model.safetensors")
    plain = finish(
        plan_conversion(source, tmp_path / "p", text_quantisation="F32", vision_quantisation="F32")
    )
    for saved, made in ((ours.text, plain.text), (ours.mmproj, plain.mmproj)):
        header, wanted = read_header(saved.path), read_header(made.path)
        for name, info in header.tensors.items():
            if info.kind.name != kind:
                continue
            assert info.kind.name == kind
            stored = np.frombuffer(header.data, np.uint8, info.n_bytes, info.offset)
            rows = dequantise(stored.reshape(info.shape[1], -1), info.kind, info.shape[0])
            other = wanted.tensors[name]
            flat = np.frombuffer(wanted.data, "<f4", other.n_bytes // 4, other.offset)
            np.testing.assert_array_equal(rows.reshape(-1), flat, err_msg=name)
    assert sum(i.kind.name == kind for i in read_header(ours.mmproj.path).tensors.values()) >= 14
    np.testing.assert_allclose(logits(ours), logits(plain), atol=0.5)


def _source_name(name: str) -> str | None:
    simple = {
        "token_embd.weight": "language_model.model.embed_tokens.weight",
        "output.weight": "language_model.lm_head.weight",
    }
    if name in simple:
        return simple[name]
    if not name.startswith("blk.") or name.endswith(("_gate", "norm.weight")):
        return None
    _, layer, part, _ = name.split(".")
    prefix = f"language_model.model.layers.{layer}."
    if part.startswith("cross_attn_"):
        return f"{prefix}cross_attn.{part.removeprefix('cross_attn_')}.weight"
    if part.startswith("attn_"):
        return f"{prefix}self_attn.{part.removeprefix('attn_')[0]}_proj.weight"
    return f"{prefix}mlp.{part.removeprefix('ffn_')}_proj.weight"


def _moved_back(
    rows: np.ndarray[Any, np.dtype[np.float32]], name: str, layout: Layout
) -> np.ndarray[Any, np.dtype[np.float32]]:
    cross = layout.permuted and "cross_attn_" in name
    queries = name.endswith((".attn_q.weight", "cross_attn_q_proj.weight"))
    keys = name.endswith((".attn_k.weight", "cross_attn_k_proj.weight"))
    if not (queries or keys) or ("cross_attn" in name and not cross):
        return rows
    heads = WIDE.heads if queries else WIDE.kv_heads
    order = np.arange(len(rows)).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)
    return rows[np.argsort(order)]


def test_unquantised_old_files_can_be_quantised(tmp_path: Path) -> None:
    text, projector = legacy.write(
        WIDE, BY_NAME["A+B"], tmp_path / "old", text_kind="F16", vision_kind="F16"
    )
    ours = rescue(
        text, projector, tmp_path / "out", name="Saved", quant="Q4_K_M", vision_quant="Q8_0"
    )
    kinds = {i.kind.name for i in read_header(ours.text.path).tensors.values()}
    assert kinds == {"F32", "Q4_K", "Q6_K"}
    assert ours.text.path.name == "Saved-Q4_K_M.gguf"
    assert ours.mmproj.path.name == "mmproj-Saved-Q4_K_M-Q8_0.gguf"
    assert np.isfinite(logits(ours)).all()


def test_a_wrong_guess_about_the_rows_shows(tmp_path: Path) -> None:
    """The decision matters: told the opposite, the logits are others."""
    text, projector = legacy.write(BASE, BY_NAME["A+B"], tmp_path / "old")
    right = logits(rescue(text, projector, tmp_path / "a", name="A"))
    choices = Choices(cross_permuted=False)
    wrong = rescue(text, projector, tmp_path / "b", name="B", choices=choices)
    assert np.abs(right - logits(wrong)).max() > 0.01
    assert "as told" in " ".join(wrong.notes)


def test_another_choice_starts_afresh(tmp_path: Path) -> None:
    """An unfinished run with other rows must not be gone on with."""
    text, projector = legacy.write(BASE, BY_NAME["A+B"], tmp_path / "old")
    request = Request(str(text), tmp_path / "out", projector=projector, name="S")
    steps = run(plan_source(request), n_threads=1)
    for step in steps:
        if step.done > step.total * 0.7:
            break
    steps.close()  # type: ignore[attr-defined]
    choices = Choices(cross_permuted=False)
    found = rescue(text, projector, tmp_path / "out", name="S", choices=choices)
    wanted = rescue(text, projector, tmp_path / "w", name="S", choices=choices)
    assert contents(found.mmproj.path) == contents(wanted.mmproj.path)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_missing_rope_factors_are_computed(layout: Layout, tmp_path: Path) -> None:
    text, projector = legacy.write(
        BASE, layout, tmp_path / "old", leave_out=lambda name: name == "rope_freqs.weight"
    )
    ours = rescue(text, projector, tmp_path / "out", name="Saved")
    assert "rope_freqs.weight" in read_header(ours.text.path).tensors
    assert "RoPE" in " ".join(ours.notes)


def test_bos_is_always_added(tmp_path: Path) -> None:
    text, _ = legacy.write(BASE, BY_NAME["C 0.7.1"], tmp_path / "old")
    assert read_header(text).metadata["tokenizer.ggml.add_bos_token"] is False
    ours = rescue(text, None, tmp_path / "out", name="Saved")
    header, _ = read_pair(ours.text.path, ours.mmproj.path)
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert header.integer("tokenizer.ggml.bos_token_id") == 256


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"leave_out": lambda name: name == "blk.2.ffn_up.weight"}, "lacks"),
        ({"leave_out": lambda name: name == "v.blk.1.attn_q.weight"}, "lacks"),
        ({"leave_out": lambda name: name.startswith("v.blk.1.")}, "not complete"),
        ({"leave_out": lambda name: name == "output.weight"}, "head.weight"),
        ({"more": {"blk.0.surprise.weight": np.ones((4, 64), np.float32)}}, "surprise"),
        ({"more": {"v.enc.mmproj": np.ones((4, 64), np.float32)}}, "v.enc.mmproj"),
    ],
)
def test_what_does_not_fit_is_listed_and_refused(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    text, projector = legacy.write(BASE, BY_NAME["A+B"], tmp_path / "old", **changed)
    with pytest.raises(CheckpointError, match=message):
        rescue(text, projector, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_half_a_model_says_what_is_missing(tmp_path: Path) -> None:
    text, projector = legacy.write(BASE, BY_NAME["A+B"], tmp_path / "old")
    assert projector is not None
    with pytest.raises(CheckpointError, match="projector file is missing"):
        rescue(text, None, tmp_path / "out")
    with pytest.raises(CheckpointError, match="cannot speak"):
        rescue(projector, None, tmp_path / "out")
    swapped = rescue(projector, text, tmp_path / "out", name="Swapped")
    assert swapped.text.path.is_file()


def test_a_folder_with_both_old_files(tmp_path: Path) -> None:
    legacy.write(BASE, BY_NAME["A+B"], tmp_path / "old")
    ours = finish(plan_source(Request(str(tmp_path / "old"), tmp_path / "out")))
    assert ours.text.path.name == "old-text-F32.gguf"


def ollama(folder: Path, text: Path, projector: Path | None, name: str, tag: str) -> None:
    import hashlib

    layers = [{"mediaType": "application/vnd.ollama.image.license", "digest": "x", "size": 1}]
    for path, kind in ((text, "model"), (projector, "projector")):
        if path is None:
            continue
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / f"sha256-{digest}").write_bytes(data)
        layers.append(
            {
                "mediaType": f"application/vnd.ollama.image.{kind}",
                "digest": f"sha256:{digest}",
                "size": len(data),
            }
        )
    manifest = folder / "manifests" / "registry.ollama.ai" / name / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}), encoding="utf-8")


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_by_ollamas_name(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, projector = legacy.write(BASE, layout, tmp_path / "old")
    ollama(tmp_path / "models", text, projector, "library/llama3.2-vision", "latest")
    ollama(tmp_path / "models", text, projector, "someone/tuned", "11b")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "models").rglob("*"))
    out = tmp_path / "out"
    assert main(["convert", "ollama:llama3.2-vision", "--out", str(out)]) == 0
    assert (out / "llama3.2-vision-F32.gguf").is_file()
    assert main(["convert", "ollama:someone/tuned:11b", "--out", str(out)]) == 0
    assert (out / "tuned-11b-F32.gguf").is_file()
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "models").rglob("*"))


def test_names_that_ollama_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = legacy.write(BASE, BY_NAME["C 0.7.1"], tmp_path / "old")
    ollama(tmp_path / "models", text, None, "library/llama3.2-vision", "latest")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    with pytest.raises(CheckpointError, match="no model 'llama3'") as caught:
        plan_source(Request("ollama:llama3", tmp_path))
    assert "llama3.2-vision:latest" in caught.value.hint
    for name in ("../../etc", "a/b/c/d", "", "a:..", "a b"):
        with pytest.raises(UsageError):
            plan_source(Request(f"ollama:{name}", tmp_path))


@pytest.mark.parametrize(
    "layers",
    [None, [], [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../x"}],
     [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + "0" * 64}]],
)  # fmt: skip
def test_damaged_manifests(layers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifests/registry.ollama.ai/library/x/latest"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"layers": layers}), encoding="utf-8")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError):
        plan_source(Request("ollama:x", tmp_path / "out"))


def test_tanh_is_undone_exactly_for_bfloat16() -> None:
    from llavao1_edge.ggml.quantise import from_bf16, to_bf16

    raw = np.random.default_rng(0).normal(0, 0.8, 5000).astype(np.float32)
    raw = np.concatenate([raw, [0, 1, -1, 2.5, -3.0]]).astype(np.float32)
    coarse = from_bf16(to_bf16(raw))
    folded = np.tanh(coarse.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(raw_gate(folded), coarse)
    again = np.tanh(raw_gate(np.tanh(raw)).astype(np.float64))
    np.testing.assert_allclose(again, np.tanh(raw), rtol=3e-7)
    with pytest.raises(UsageError, match="cannot be a tanh"):
        raw_gate(np.array([1.5], np.float32))


def test_the_runtime_says_how_to_rescue_an_old_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, _ = legacy.write(BASE, BY_NAME["C 0.7.1"], tmp_path / "old")
    command = ["ask", "none", "Hi?", "--model", str(text), "--mmproj", str(text)]
    assert main(command) == 1
    assert "llavao1-edge convert" in capsys.readouterr().err


def test_any_damage_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutated metadata and tensor descriptions of all layouts."""
    rng = np.random.default_rng(4)
    escaped: list[str] = []
    for layout in LAYOUTS:
        text, projector = legacy.write(BASE, layout, tmp_path / layout.name)
        original = text.read_bytes()
        end = min(info.offset for info in read_header(text).tensors.values())
        bad = tmp_path / "bad.gguf"
        for _ in range(150):
            content = bytearray(original)
            for at in rng.integers(0, end, rng.integers(1, 4)):
                content[at] = rng.integers(0, 256)
            bad.write_bytes(content)
            try:
                plan_source(Request(str(bad), tmp_path / "out", projector=projector))
            except LlavaError:
                pass
            except Exception as error:
                escaped.append(f"{layout.name}: {error!r}")
    assert not escaped, "\n".join(escaped)
