"""LoRA adapters: merged exactly as peft merges them, or refused with the reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llavao1_convert.planning import plan_conversion
from llavao1_edge.cli.main import main
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.errors import CheckpointError
from tests import oracle, tiny

BASE = tiny.Tiny()
PREFIX = "base_model.model.language_model.model.layers."
QUERY = f"{PREFIX}0.self_attn.q_proj"
CROSS = f"{PREFIX}1.cross_attn.v_proj"
VISION = "base_model.model.vision_model.transformer.layers.0.mlp.fc1"
Arrays = dict[str, NDArray[np.float32]]


def lora(module: str, rows: int, columns: int, rank: int = 4, seed: int = 1) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        f"{module}.lora_A.weight": rng.normal(size=(rank, columns)).astype(np.float32) * 0.1,
        f"{module}.lora_B.weight": rng.normal(size=(rows, rank)).astype(np.float32) * 0.1,
    }


def write(folder: Path, tensors: Arrays, **config: Any) -> Path:
    folder.mkdir()
    tiny.save_safetensors(tensors, folder / "adapter_model.safetensors")
    told = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "meta/Base"}
    (folder / "adapter_config.json").write_text(json.dumps(told | config))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(BASE, tmp_path_factory.mktemp("base") / "Base")


def merged(base: Path, adapter: Path, tensor: str) -> NDArray[np.float32]:
    plan = plan_conversion(base, Path(), adapter=adapter)
    found = plan.sources[tensor]
    return found.rows(0, found.n_rows)


def of_base(tensor: str) -> NDArray[np.float32]:
    return np.asarray(tiny.weights(BASE)[tensor], dtype=np.float32)


def test_scale_times_b_times_a_is_added(base: Path, tmp_path: Path) -> None:
    for n, (config, scale) in enumerate(
        [
            ({}, 2.0),
            ({"use_rslora": True}, 4.0),
            ({"alpha_pattern": {"q_proj": 16}}, 4.0),
            ({"alpha_pattern": {"layers.0.self_attn.q_proj": 4, "q_proj": 16}}, 1.0),
            ({"r": 9, "rank_pattern": {r".*\.0\.self_attn\.q_proj": 4}}, 2.0),
            ({"alpha_pattern": {"proj": 16}}, 2.0),  # a part of a name is no match
        ]
    ):
        parts = lora(QUERY, 64, 64)
        adapter = write(tmp_path / str(n), parts, **config)
        a, b = parts[f"{QUERY}.lora_A.weight"], parts[f"{QUERY}.lora_B.weight"]
        wanted = of_base("language_model.model.layers.0.self_attn.q_proj.weight") + scale * (b @ a)
        found = merged(base, adapter, "text.layers.0.self_attn.q_proj.weight")
        assert np.allclose(found, wanted, atol=1e-6), config


def test_cross_layers_vision_embedding_convolution_and_whole_tensors(
    base: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    kv, width = 32, BASE.vision_hidden
    parts = lora(CROSS, kv, 64) | lora(VISION, BASE.vision_ffn, width)
    embedding = "base_model.model.language_model.model.embed_tokens"
    rows = of_base("language_model.model.embed_tokens.weight").shape[0]
    parts[f"{embedding}.lora_embedding_A"] = rng.normal(size=(4, rows)).astype(np.float32)
    parts[f"{embedding}.lora_embedding_B"] = rng.normal(size=(64, 4)).astype(np.float32)
    patch = "base_model.model.vision_model.patch_embedding"
    parts[f"{patch}.lora_A.weight"] = rng.normal(size=(4, 3, 14, 14)).astype(np.float32)
    parts[f"{patch}.lora_B.weight"] = rng.normal(size=(width, 4, 1, 1)).astype(np.float32)
    head = rng.normal(size=(BASE.vocab, 64)).astype(np.float32)
    parts["base_model.model.lm_head.weight"] = head  # newer module trees
    parts["base_model.model.multi_modal_projector.modules_to_save.default.bias"] = head[0]
    adapter = write(tmp_path / "all", parts)

    plan = plan_conversion(base, Path(), adapter=adapter)
    read = lambda name: plan.sources[name].rows(0, plan.sources[name].n_rows)  # noqa: E731
    a, b = parts[f"{embedding}.lora_embedding_A"], parts[f"{embedding}.lora_embedding_B"]
    wanted = of_base("language_model.model.embed_tokens.weight") + 2 * (b @ a).T
    assert np.allclose(read("text.embed_tokens.weight"), wanted, atol=1e-5)
    a, b = parts[f"{patch}.lora_A.weight"], parts[f"{patch}.lora_B.weight"]
    wanted = of_base("vision_model.patch_embedding.weight").reshape(width, -1)
    wanted = wanted + 2 * b.reshape(width, 4) @ a.reshape(4, -1)
    assert np.allclose(read("vision.patch_embedding.weight"), wanted, atol=1e-5)
    assert np.array_equal(read("head.weight"), head)
    assert np.array_equal(read("projector.bias").reshape(-1), head[0])
    for name in (
        "text.layers.1.cross_attn.v_proj.weight",
        "vision.transformer.layers.0.mlp.fc1.weight",
    ):
        assert not np.array_equal(
            read(name), plan_conversion(base, Path()).sources[name].rows(0, 32)[: len(read(name))]
        )
    assert "4 weights changed, rank 4, 2 tensors replaced, trained on meta/Base" in plan.notes[0]


def test_the_pair_and_its_card_name_base_and_adapter(base: Path, tmp_path: Path) -> None:
    adapter = write(tmp_path / "counting", lora(QUERY, 64, 64))
    out = tmp_path / "out"
    for argv in (["--out", str(out)], ["--out", str(out), "--adapter", str(adapter)]):
        assert main(["convert", str(base), "--quant", "F32", "--vision-quant", "F32", *argv]) == 0
    plain, tuned = (read_header(out / f"{n}-F32.gguf") for n in ("Base", "Base-counting"))
    key = "llavao1.pair_id"
    ids = [next(v for k, v in h.metadata.items() if "pair" in k) for h in (plain, tuned)]
    assert ids[0] != ids[1], key
    card = (out / "Base-counting-F32.md").read_text()
    assert "from Base." in card
    assert "the LoRA adapter counting is merged: 1 weights changed" in card
    assert str(tmp_path) not in card
    assert str(base.parent) not in card


def test_an_adapter_in_the_folder_itself_is_merged_when_asked_for(tmp_path: Path) -> None:
    folder = tiny.save(BASE, tmp_path / "both")
    for name, data in (("x", lora(QUERY, 64, 64)),):
        for path in write(tmp_path / name, data).iterdir():
            path.rename(folder / path.name)
    with pytest.raises(CheckpointError, match="holds a LoRA adapter") as caught:
        plan_conversion(folder, Path())
    assert "--adapter" in caught.value.hint
    assert plan_conversion(folder, Path(), adapter=folder).notes


def test_an_adapter_inside_or_beside_is_said(tmp_path: Path) -> None:
    folder = tiny.save(BASE, tmp_path / "Base")
    assert plan_conversion(folder, Path()).notes == ()
    write(folder / "checkpoint-500", lora(QUERY, 64, 64), base_model_name_or_path="other")
    write(tmp_path / "mine", lora(QUERY, 64, 64), base_model_name_or_path="someone/Base")
    write(tmp_path / "stranger", lora(QUERY, 64, 64), base_model_name_or_path="someone/Else")
    notes = plan_conversion(folder, Path()).notes
    assert [note.split()[3] for note in notes] == ["Base/checkpoint-500", "mine"]
    assert not any(str(tmp_path) in note for note in notes)
    (tmp_path / "mine" / "adapter_config.json").write_text("[" * 100_000)
    assert len(plan_conversion(folder, Path()).notes) == 1


BAD: list[tuple[str, Arrays, dict[str, Any], str]] = [
    ("method", lora(QUERY, 64, 64), {"peft_type": "LOHA"}, "peft_type is 'LOHA', not LORA"),
    ("dora", lora(QUERY, 64, 64), {"use_dora": True}, "DoRA"),
    ("pissa", lora(QUERY, 64, 64), {"init_lora_weights": "pissa_niter_4"}, "changed the base"),
    ("bias", lora(QUERY, 64, 64), {"lora_bias": True}, "lora_bias is set"),
    ("parameters", lora(QUERY, 64, 64), {"target_parameters": ["a"]}, "target_parameters"),
    ("rank", lora(QUERY, 64, 64), {"r": 8}, "has rank 4, the config says 8"),
    ("alpha", lora(QUERY, 64, 64), {"lora_alpha": "much"}, "lora_alpha is much"),
    ("infinite", lora(QUERY, 64, 64), {"lora_alpha": float("inf")}, "lora_alpha is inf"),
    ("regex", lora(QUERY, 64, 64), {"rank_pattern": {"(a+)+b": 4}}, "rank_pattern is '"),
    ("slow", lora(QUERY, 64, 64), {"rank_pattern": {".*" + "a.*" * 30 + "x": 4}}, "too complex"),
    ("broken", lora(QUERY, 64, 64), {"rank_pattern": {"(": 4}}, "rank_pattern is '"),
    ("table", lora(QUERY, 64, 64), {"alpha_pattern": [4]}, "alpha_pattern is no table"),
    ("shape", lora(QUERY, 64, 48), {}, "does not fit"),
    ("unknown", lora(f"{PREFIX}90.mlp.up_proj", 96, 64), {}, "which the base does not have"),
    ("half", dict([next(iter(lora(QUERY, 64, 64).items()))]), {}, "has no other half"),
    ("magnitude", {f"{QUERY}.lora_magnitude_vector.weight": np.ones(64, np.float32)}, {}, "neither lora_A nor lora_B"),
    ("norm", lora(f"{PREFIX}0.input_layernorm", 64, 64), {}, "does not fit"),
    ("empty", {}, {}, "changes nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tensors", "config", "said"), BAD, ids=[row[0] for row in BAD])
def test_what_cannot_be_merged_is_refused_with_the_reason(
    name: str, tensors: Arrays, config: dict[str, Any], said: str, base: Path, tmp_path: Path
) -> None:
    adapter = write(tmp_path / name, tensors, **config)
    with pytest.raises(CheckpointError, match=re.escape(said)) as caught:
        plan_conversion(base, tmp_path / "out", adapter=adapter)
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_no_adapter_there(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    whole = write(tmp_path / "whole", lora(QUERY, 64, 64))
    (whole / "adapter_model.safetensors").rename(whole / "adapter_model.bin")
    for given, said in (
        ("nowhere", "there is no adapter at nowhere"),
        (str(tmp_path / "empty"), "holds no adapter_config.json"),
        (str(whole), "pickle file only"),
    ):
        assert main(["convert", str(base), "--adapter", given, "--out", str(tmp_path)]) in (1, 2)
        assert said in capsys.readouterr().err
    assert main(["convert", "old.gguf", "--adapter", str(whole), "--out", str(tmp_path)]) in (1, 2)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.skipif(bool(oracle.available()), reason=oracle.available() or "there")
def test_the_merged_pair_is_what_peft_merges(
    tmp_path: Path,
    checkpoint_of: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Text, cross-attention and vision targets, rank and alpha patterns, rsLoRA, a whole tensor."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    import transformers

    base = checkpoint_of("base")
    model = transformers.MllamaForConditionalGeneration.from_pretrained(base)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=True,
        target_modules=r".*\.(q_proj|v_proj|fc1|up_proj|embed_tokens|multi_modal_projector)",
        modules_to_save=["lm_head"],
        rank_pattern={r".*cross_attn\.q_proj": 2},
        alpha_pattern={"fc1": 3},
    )
    tuned = peft.get_peft_model(model, config)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.add_(torch.randn_like(weight) * 0.05)
    tuned.save_pretrained(tmp_path / "adapter")
    argv = ["convert", str(base), "--adapter", str(tmp_path / "adapter"), "--out", str(tmp_path)]
    argv += ["--quant", "F32", "--vision-quant", "F32", "--verify"]
    assert main(argv) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert len(rows) == 3
    for row in rows:
        assert float(row[4]) <= 1e-6
        assert float(row[5]) <= 1e-3
