"""Checkpoint folders as people have them: the right weights, or a sentence with the next command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llavao1_convert.checkpoint import open_checkpoint
from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
from llavao1_edge.cli.main import main
from llavao1_edge.errors import CheckpointError, UsageError
from llavao1_edge.locate import model_paths
from llavao1_edge.store.hub import parse_repo
from tests import tiny

INDEX = "model.safetensors.index.json"
OLD, NEW = tiny.Tiny(), replace(tiny.Tiny(), seed=7)


def first_values(folder: Path) -> bytes:
    tensors = open_checkpoint(folder).tensors
    return tensors["head.weight"].stored(0, 1).tobytes()


def test_a_single_file_counts_before_a_stale_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As transformers 4.54.1 does; the old shards were converted without a word."""
    new, old = tiny.save(NEW, tmp_path / "new"), tiny.save(OLD, tmp_path / "old")
    wanted = first_values(new)
    assert wanted != first_values(old)
    names = list(tiny.shapes(OLD))
    for shard in ("model-00001-of-00005.safetensors", "model-00001-of-00001.safetensors"):
        (new / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, shard)}))
        tiny.save_safetensors(tiny.weights(OLD), new / "model-00001-of-00001.safetensors")
        assert first_values(new) == wanted
    assert INDEX in caplog.text


def test_shards_without_their_index(tmp_path: Path) -> None:
    folder = tiny.save(OLD, tmp_path / "whole")
    wanted = first_values(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / INDEX).unlink(missing_ok=True)
    assert first_values(folder) == wanted
    (folder / "model-00001-of-00001.safetensors").rename(
        folder / "model-00002-of-00003.safetensors"
    )
    with pytest.raises(CheckpointError, match="shard 1 of 3 is missing"):
        open_checkpoint(folder)


LORA = {"base_model.model.language_model.model.layers.0.self_attn.q_proj.lora_A.weight": np.zeros((8, 64), np.float32)}  # fmt: skip


def adapter(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    tiny.save_safetensors(LORA, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Base", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_is_never_ignored(tmp_path: Path) -> None:
    for folder in (adapter(tiny.save(OLD, tmp_path / "both")), adapter(tmp_path / "only")):
        with pytest.raises(CheckpointError, match="LoRA adapter of meta-llama/Base") as caught:
            open_checkpoint(folder)
        assert "convert meta-llama/Base --adapter" in caught.value.hint
    unmerged = tiny.save(OLD, tmp_path / "unmerged")
    weights = tiny.weights(OLD) | LORA
    tiny.save_safetensors(weights, unmerged / "model.safetensors")
    with pytest.raises(CheckpointError, match="belongs to a LoRA adapter that is not merged"):
        open_checkpoint(unmerged)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in</html>" + b" " * 600, "is a web page"),
        (b"\n<html>", "is a web page"),
        (b"", "damaged header"),
        (b"hello", "damaged header"),
    ],
)
def test_what_lies_there_in_place_of_weights(content: bytes, said: str, tmp_path: Path) -> None:
    folder = tiny.save(OLD, tmp_path / "x")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["weights.00.safetensors"], "is a checkpoint for MLX"),
        (["weights.npz"], "is a checkpoint for MLX"),
        (["pytorch_model.bin"], "pickle files only"),
        (["sub/config.json"], "holds no weights"),
        ([], "holds neither"),
    ],
)
def test_folders_that_are_something_else(files: list[str], said: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=said):
        open_checkpoint(tmp_path)


needs_links = pytest.mark.skipif(os.name == "nt", reason="symbolic links")


@needs_links
def test_weights_may_be_links_but_no_text_is_taken_from_outside(tmp_path: Path) -> None:
    folder = tiny.save(OLD, tmp_path / "x")
    wanted = first_values(folder)
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    (folder / "model.safetensors").rename(elsewhere / "w.safetensors")
    (folder / "model.safetensors").symlink_to(elsewhere / "w.safetensors")
    assert first_values(folder) == wanted
    (tmp_path / "secret").write_text("{}")
    for name in ("chat_template.jinja", "generation_config.json", "config.json"):
        (folder / name).rename(tmp_path / "kept") if (folder / name).exists() else None
        (folder / name).symlink_to(tmp_path / "secret")
        with pytest.raises(CheckpointError, match="is a link out of the folder"):
            plan_conversion(folder, tmp_path / "out")
        (folder / name).unlink()
        if (tmp_path / "kept").exists():
            (tmp_path / "kept").rename(folder / name)


@needs_links
def test_a_folder_of_the_hubs_cache_is_named_after_its_repository(tmp_path: Path) -> None:
    root = tmp_path / "models--Xkev--Llama-3.2V-11B-cot"
    snapshot = root / "snapshots" / ("a" * 40)
    (root / "blobs").mkdir(parents=True)
    tiny.save(OLD, snapshot)
    for number, path in enumerate(sorted(snapshot.iterdir())):
        blob = root / "blobs" / f"{number:064d}"
        path.rename(blob)
        path.symlink_to(blob)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("a" * 40)
    for given in (root, snapshot):
        plan = plan_conversion(given, tmp_path / "out")
        assert plan.text.path.name.startswith("Llama-3.2V-11B-cot-")


@pytest.mark.parametrize(
    "text",
    ["Owner/Name", "https://huggingface.co/Owner/Name", "hf.co/Owner/Name", "huggingface.co/Owner/Name/",
     "https://huggingface.co/Owner/Name/tree/main"],
)  # fmt: skip
def test_a_repository_by_its_address(text: str) -> None:
    assert parse_repo(text) == ("Owner/Name", None)
    assert parse_repo("https://hf.co/O/N/tree/v2") == ("O/N", "v2")


def test_what_is_given_in_place_of_a_model_names_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "mmproj-x.gguf").write_bytes(b"x")
    for given, said in (
        (str(tmp_path), "llavao1-edge convert"),
        (str(tmp_path / "model.safetensors"), "llavao1-edge convert"),
        ("Owner/Name", "llavao1-edge models pull Owner/Name"),
        (str(tmp_path / "mmproj-x.gguf"), "Give the text file"),
    ):
        with pytest.raises(UsageError) as caught:
            model_paths(given)
        assert said in caught.value.hint
    assert main(["convert", str(tmp_path / "model.safetensors"), "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize("shape", ["Infinity", "1e400", "[1e400]", '"x"', "null"])
def test_numbers_without_end_in_a_header(
    shape: str, tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    folder = tiny.save(OLD, tmp_path / "x")
    text = f'{{"head": {{"dtype": "F32", "shape": [{shape}], "data_offsets": [0, 4]}}}}'.encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    with pytest.raises(CheckpointError, match="damaged"):
        open_checkpoint(folder)


def other_bytes(path: Path) -> None:
    """Changes the weights and sets size and time back, as a restored backup has them."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-64:] = bytes(64)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_source_that_changes_with_size_and_time_kept_is_noticed(tmp_path: Path) -> None:
    folder = tiny.save(OLD, tmp_path / "source")
    weights = folder / "model.safetensors"
    plan = lambda out: plan_conversion(  # noqa: E731
        folder, out, text_quantisation="F32", vision_quantisation="F32"
    )
    # Between two runs: what the first one had done is not used.
    steps = run(plan(tmp_path / "out"))
    for _ in range(3):
        next(steps)
    steps.close()
    other_bytes(weights)
    resumed, fresh = plan(tmp_path / "out"), plan(tmp_path / "fresh")
    for each in (resumed, fresh):
        for _ in run(each):
            pass
    assert resumed.text.path.read_bytes() == fresh.text.path.read_bytes()
    assert resumed.mmproj.path.read_bytes() == fresh.mmproj.path.read_bytes()
    # While one runs: nothing is written.
    steps = run(plan(tmp_path / "third"))
    for _ in range(3):
        next(steps)
    other_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model.safetensors was changed while"):
        for _ in steps:
            pass
    assert not list((tmp_path / "third").glob("*.gguf"))
