"""Whole conversions: forms of checkpoints, streaming, all or nothing, and plain llama.cpp."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llavao1_convert import stream
from llavao1_convert.conversion import run
from llavao1_convert.plan import Conversion
from llavao1_convert.planning import plan_conversion
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.errors import CheckpointError
from tests.configurations import CONFIGURATIONS, two_turns
from tests.native.test_golden import TOLERANCE, difference, golden
from tests.tiny import Tiny, config, save, save_safetensors, weights

BASE = CONFIGURATIONS["base"]


def convert(folder: Path, out: Path, **options: str) -> Conversion:
    chosen = {"text_quantisation": "F32", "vision_quantisation": "F32", "name": "Tiny"} | options
    plan = plan_conversion(folder, out, **chosen)  # type: ignore[arg-type]
    steps = list(run(plan))
    assert steps[-1].done <= steps[-1].total == plan.source_bytes
    return plan


def digest(plan: Conversion) -> list[str]:
    files = (plan.text.path, plan.mmproj.path)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wanted")
    return digest(convert(save(BASE, folder / "tiny"), folder / "out"))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_same_bytes_every_time(tmp_path: Path, wanted: list[str]) -> None:
    assert digest(convert(save(BASE, tmp_path / "tiny"), tmp_path / "out")) == wanted


def test_the_newer_naming_scheme(tmp_path: Path, wanted: list[str]) -> None:
    folder = save(BASE, tmp_path / "tiny")
    renamed = {}
    for name, values in weights(BASE).items():
        new = name.replace("language_model.model.", "model.language_model.")
        new = new.replace("language_model.lm_head", "lm_head")
        if new.startswith(("vision_model", "multi_modal")):
            new = f"model.{new}"
        renamed[new] = values
    save_safetensors(renamed, folder / "model.safetensors")
    assert digest(convert(folder, tmp_path / "out")) == wanted


def test_shards(tmp_path: Path, wanted: list[str]) -> None:
    folder = save(BASE, tmp_path / "tiny")
    (folder / "model.safetensors").unlink()
    tensors = list(weights(BASE).items())
    index = {}
    for number in range(3):
        name = f"model-{number}.safetensors"
        part = dict(tensors[number::3])
        save_safetensors(part, folder / name)
        index |= dict.fromkeys(part, name)
    text = json.dumps({"weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    assert digest(convert(folder, tmp_path / "out")) == wanted


def test_a_config_of_transformers_5(tmp_path: Path, wanted: list[str]) -> None:
    folder = save(BASE, tmp_path / "tiny")

    def modern(content: dict[str, Any]) -> None:
        text = content["text_config"]
        text["rope_parameters"] = text.pop("rope_scaling") | {"rope_theta": text.pop("rope_theta")}

    edit(folder / "config.json", modern)
    nested = {"image_processor": json.loads((folder / "preprocessor_config.json").read_text())}
    (folder / "processor_config.json").write_text(json.dumps(nested), encoding="utf-8")
    (folder / "preprocessor_config.json").unlink()
    assert digest(convert(folder, tmp_path / "out")) == wanted


def test_a_sparse_config_gets_the_class_defaults() -> None:
    from llavao1_convert import hyperparameters as module

    text = module._text(module._Section({}, "text_config"))
    vision = module._vision(module._Section({"image_size": 560}, "vision_config"))
    assert (text.layers, text.width, text.vocab) == (40, 4096, 128256)
    assert text.cross == (3, 8, 13, 18, 23, 28, 33, 38)
    assert text.cross_after == (2, 6, 10, 14, 18, 22, 26, 30)
    assert text.rope == module.Rope(500_000.0)
    assert (vision.layers, vision.global_layers, vision.heads) == (32, 8, 16)
    assert vision.intermediate == (3, 7, 15, 23, 30)
    assert vision.tokens_per_tile == 1601


def test_small_blocks_of_rows_change_nothing(
    tmp_path: Path, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BLOCK_WEIGHTS", 100)
    assert digest(convert(save(BASE, tmp_path / "tiny"), tmp_path / "out")) == wanted


def test_half_precision_sources_convert_exactly(tmp_path: Path) -> None:
    """BF16 and F16 weights survive F32 unchanged: the pair equals one made from widened weights."""
    for dtype in ("BF16", "F16"):
        folder = save(BASE, tmp_path / dtype, dtype=dtype)
        plan = convert(folder, tmp_path / "out", name=dtype)
        with Engine.open(
            text=plan.text.path, mmproj=plan.mmproj.path, settings=RuntimeSettings(gpu_layers=0)
        ) as engine:
            gate = weights(BASE)["vision_model.gated_positional_embedding.gate"][0]
            kept = engine.runtime.vision.encoder.weights.scalar("v.position_embd.gate")
            assert abs(kept - gate) < 0.01
            assert kept != pytest.approx(float(gate), abs=1e-9)


def test_peak_memory_is_a_small_multiple_of_the_largest_tensor(tmp_path: Path) -> None:
    """A checkpoint of 190 MB, largest tensor 67 MB, is converted in less than 160 MB more."""
    tiny = Tiny(hidden=1024, ffn=16384, layers=3, cross=(1,), heads=8, kv_heads=2)
    folder = save(tiny, tmp_path / "wide")
    code = f"""
import resource, sys
from pathlib import Path
from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from llavao1_edge.ggml import library; library.handles()
before = peak()
for _ in run(plan_conversion(Path({str(folder)!r}), Path({str(tmp_path)!r}))): pass
print((peak() - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 160


def test_an_interrupted_run_goes_on(tmp_path: Path, wanted: list[str]) -> None:
    """Stopped again and again, it still writes the same bytes, and reads nothing twice."""
    folder, out = save(BASE, tmp_path / "tiny"), tmp_path / "out"
    options = {"text_quantisation": "F32", "vision_quantisation": "F32", "name": "Tiny"}
    read = 0
    for _ in range(40):
        plan = plan_conversion(folder, out, **options)  # type: ignore[arg-type]
        steps = run(plan, n_threads=1)
        first = next(steps)
        done = [step for step, _ in zip(steps, range(6), strict=False)]
        assert first.done <= first.total
        steps.close()  # type: ignore[attr-defined]
        read += plan.times.n_bytes
        if plan.text.path.exists():
            break
        assert [path.suffix for path in out.iterdir()] == [".partial"]
        assert done
    assert digest(plan) == wanted
    assert not list(out.glob(".*"))
    assert read < 3 * plan.source_bytes  # blocks under way when a run ends are read again


def test_other_input_starts_afresh(tmp_path: Path, wanted: list[str]) -> None:
    options = {"text_quantisation": "F32", "vision_quantisation": "F32", "name": "Tiny"}
    out = tmp_path / "out"
    other = save(BASE.but(seed=5), tmp_path / "other")
    steps = run(plan_conversion(other, out, **options), n_threads=1)  # type: ignore[arg-type]
    for _ in range(20):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert digest(convert(save(BASE, tmp_path / "tiny"), out)) == wanted


def test_a_killed_run_goes_on(tmp_path: Path, wanted: list[str]) -> None:
    folder, out = save(BASE, tmp_path / "tiny"), tmp_path / "out"
    code = f"""
import os, signal
from pathlib import Path
from llavao1_convert import work
from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
work.SYNC_SECONDS = 0
plan = plan_conversion(Path({str(folder)!r}), Path({str(out)!r}), text_quantisation="F32",
                       vision_quantisation="F32", name="Tiny")
for step in run(plan, n_threads=2):
    if step.done > step.total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -9
    journal = next(out.glob(".*.partial")) / "journal.jsonl"
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"done": "text/blk.')  # as if it had been killed while writing
    plan = convert(folder, out)
    assert digest(plan) == wanted
    assert 0 < plan.times.n_bytes < 0.6 * plan.source_bytes


@pytest.mark.parametrize("when", ["file_sha256", "write_notes"])
def test_a_kill_while_publishing_never_leaves_false_weights(
    when: str, tmp_path: Path, wanted: list[str]
) -> None:
    """The journal says that all is done, but the files have left its folder."""
    folder, out = save(BASE, tmp_path / "tiny"), tmp_path / "out"
    code = f"""
import os
from pathlib import Path
from llavao1_convert import conversion
from llavao1_convert.planning import plan_conversion
conversion.{when} = lambda *_: os._exit(9)
for _ in conversion.run(plan_conversion(Path({str(folder)!r}), Path({str(out)!r}), name="Tiny",
                        text_quantisation="F32", vision_quantisation="F32")): pass
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert digest(convert(folder, out)) == wanted
    # And where somebody has deleted one of the unfinished files:
    again = tmp_path / "again"
    steps = run(
        plan_conversion(
            folder, again, name="Tiny", text_quantisation="F32", vision_quantisation="F32"
        )
    )
    for step in steps:
        if step.done > step.total // 2:
            break
    steps.close()  # type: ignore[attr-defined]
    (next(again.glob(".*.partial")) / "text.gguf").unlink()
    assert digest(convert(folder, again)) == wanted


def test_ctrl_c_while_publishing_is_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: list[str]
) -> None:
    from llavao1_convert import conversion

    folder, out = save(BASE, tmp_path / "tiny"), tmp_path / "out"

    def pressed(_: Path) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "file_sha256", pressed)
        with pytest.raises(KeyboardInterrupt):
            convert(folder, out)
    assert digest(convert(folder, out)) == wanted


@pytest.mark.parametrize("name", ["a/b", "..", "", "a\\b", "c:d"])
def test_names_that_are_no_file_names(name: str, tmp_path: Path) -> None:
    from llavao1_edge.errors import UsageError

    folder = save(BASE, tmp_path / "tiny")
    if name:
        with pytest.raises(UsageError, match="cannot be the name"):
            plan_conversion(folder, tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    folder, out = save(BASE, tmp_path / "tiny"), tmp_path / "out"
    steps = run(plan_conversion(folder, out))
    next(steps)
    with pytest.raises(CheckpointError, match="another conversion"):
        next(run(plan_conversion(folder, out)))
    steps.close()  # type: ignore[attr-defined]


def test_what_lies_beside_the_files(tmp_path: Path) -> None:
    folder, out = save(BASE, tmp_path / "tiny"), tmp_path / "out"
    first, second = convert(folder, out), convert(folder, out, text_quantisation="Q8_0")
    sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    for plan in (first, second):
        for path, found in zip((plan.text.path, plan.mmproj.path), digest(plan), strict=True):
            assert sums[path.name] == found
    card = (out / "Tiny-Q8_0.md").read_text(encoding="utf-8")
    told = ("Llama 3.2 Community", f"from {folder.name}.", "Q8_0", "Tiny-Q8_0.gguf")
    for part in (*told, digest(second)[0]):
        assert part in card
    assert str(tmp_path) not in card  # a folder of this machine is nobody else's business


def test_a_failing_disk_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from llavao1_convert.writer import Slots

    folder = save(BASE, tmp_path / "tiny")
    plan = convert(folder, tmp_path / "out")
    before = digest(plan)

    there = sorted((tmp_path / "out").iterdir())

    def full(self: Slots, offset: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Slots, "write", full)
    with pytest.raises(CheckpointError, match="not enough space"):
        list(run(plan))
    assert digest(plan) == before
    left = [path for path in (tmp_path / "out").iterdir() if path.suffix != ".partial"]
    assert sorted(left) == there


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [4_000, 60_000])
def test_a_file_that_cannot_grow_leaves_nothing(limit: int, tmp_path: Path) -> None:
    """A real failing write, in the header or in a tensor, not a patched one."""
    code = f"""
import resource, signal, sys
from llavao1_edge.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.exit(main(sys.argv[1:]))
"""
    argv = ["convert", str(save(BASE, tmp_path / "tiny")), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write to")
    assert not list((tmp_path / "out").glob("*.gguf"))


def test_both_files_appear_or_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_conversion(save(BASE, tmp_path / "tiny"), tmp_path / "out")
    replace = Path.replace

    def fail_second(self: Path, target: Path) -> Path:
        if target == plan.mmproj.path:
            raise PermissionError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_second)
    with pytest.raises(CheckpointError, match="Permission denied"):
        list(run(plan))
    assert not list((tmp_path / "out").glob("*.gguf"))


IMPOSSIBLE: list[Any] = [None, 5, -1, 0, 1e300, 10**400, "x", [], [1], {}, float("nan"), True]


def test_no_value_in_the_json_files_makes_a_traceback(tmp_path: Path) -> None:
    """Every leaf of every JSON file, replaced by values that do not belong there."""
    escaped = []
    folder = save(BASE, tmp_path / "tiny")
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        original = (folder / name).read_text(encoding="utf-8")
        for path in _leaves(json.loads(original)):
            for value in IMPOSSIBLE:
                content = json.loads(original)
                inner = content
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = value
                (folder / name).write_text(json.dumps(content), encoding="utf-8")
                try:
                    plan_conversion(folder, tmp_path / "out")
                except CheckpointError:
                    pass
                except Exception as error:
                    escaped.append(f"{name} {path} = {value!r:.20}: {error!r}")
        (folder / name).write_text(original, encoding="utf-8")
    assert not escaped, "\n".join(escaped)


def _leaves(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of the values, a few of each long list or table."""
    found = [path] if path else []
    if isinstance(content, dict):
        for key in list(content)[:30]:
            found += _leaves(content[key], (*path, key))
    elif isinstance(content, list) and content:
        found += _leaves(content[0], (*path, 0))
    return found


def test_the_text_file_runs_in_plain_llama_cpp(pair_of: Callable[..., tuple[Path, Path]]) -> None:
    """`llama_cpp.Llama` loads it and gives the oracle's logits without a picture."""
    from llama_cpp import Llama

    text, _ = pair_of("base")
    tokens = two_turns(BASE, picture=False)
    plain = Llama(
        str(text), n_ctx=256, logits_all=True, verbose=False, type_k=0, type_v=0, n_gpu_layers=0
    )
    try:
        plain.eval(tokens)
        logits = np.array(plain.scores[: len(tokens), : BASE.vocab], dtype=np.float32)
    finally:
        plain.close()
    assert difference(logits, golden()["base/text/logits"]) < TOLERANCE["F32"]


def test_metadata_says_where_the_pair_comes_from(tmp_path: Path) -> None:
    from llavao1_edge.contract import keys
    from llavao1_edge.contract.pair import read_pair

    folder = save(BASE, tmp_path / "tiny")
    generation = {"temperature": 0.7, "top_p": 0.8, "do_sample": True}
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    plan = convert(folder, tmp_path / "out")
    text, mmproj = read_pair(plan.text.path, plan.mmproj.path)
    assert text.text(keys.PAIR_ID) == mmproj.text(keys.PAIR_ID)
    assert len(text.text(keys.PAIR_ID)) == 64
    assert text.number(keys.TEMPERATURE) == pytest.approx(0.7)
    assert mmproj.integers(keys.CROSS_AFTER) == (0, 1)
    assert mmproj.integers(keys.CROSS_SOURCE) == BASE.cross
    with Engine.open(
        text=plan.text.path, mmproj=plan.mmproj.path, settings=RuntimeSettings(gpu_layers=0)
    ) as engine:
        assert engine.runtime.default_sampling().top_p == pytest.approx(0.8)


def test_a_fine_tune_has_another_pair_id(tmp_path: Path) -> None:
    from llavao1_edge.contract import keys
    from llavao1_edge.contract.gguf import read_header

    first = convert(save(BASE, tmp_path / "a"), tmp_path, name="A")
    second = convert(save(BASE.but(seed=99), tmp_path / "b"), tmp_path, name="B")
    assert config(BASE) == config(BASE.but(seed=99))
    ids = [read_header(plan.text.path).text(keys.PAIR_ID) for plan in (first, second)]
    assert ids[0] != ids[1]
