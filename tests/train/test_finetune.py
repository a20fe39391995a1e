"""Fine-tuning at a tiny size: the tokens, the mask, the plan, and runs of the real command."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llavao1_edge import Engine, RuntimeSettings, demo
from llavao1_edge.errors import CheckpointError, PictureError, UsageError
from llavao1_edge.stages import STAGES
from train.finetune import plan
from train.finetune.archive import Pictures
from train.finetune.examples import Example, Fault, read_examples, split
from train.finetune.plan import Base, Load, Method

torch = pytest.importorskip("torch", reason="needs the extra `train`")
pytest.importorskip("transformers")
pytest.importorskip("peft")

from safetensors import SafetensorError  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

from train.finetune.__main__ import main  # noqa: E402
from train.finetune.inputs import IGNORED, Collator, Encoder, Encodings  # noqa: E402
from train.questions import draw_task  # noqa: E402
from train.scene import draw_scene, render, scene_rng  # noqa: E402

ROOT = Path(__file__).parents[2]
BASE = ROOT / "train/checkpoint"


def staged(texts: Any) -> str:
    return "\n\n".join(
        f"{stage.opening} {text} {stage.closing}" for stage, text in zip(STAGES, texts, strict=True)
    )


def row(key: int, picture: str | None, *turns: tuple[str, str]) -> dict[str, Any]:
    said = [
        {"from": name, "value": text}
        for turn in turns
        for name, text in zip(("human", "gpt"), turn, strict=True)
    ]
    return {"id": key, "conversations": said} | ({"image": picture} if picture else {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty questions about shapes, as LLaVA-CoT-100k would have them."""
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "images").mkdir()
    rows = []
    for i in range(40):
        rng = scene_rng(901, i)
        scene = draw_scene(rng, tile_size=56)
        render(scene).save(folder / f"images/{i}.png")
        turns = []
        for _ in range(1 + (i % 5 == 0)):
            task = draw_task(rng, scene)
            turns.append((task.question, staged(task.stage(stage.name) for stage in STAGES)))
        rows.append(row(i, f"images/{i}.png", *turns))
    (folder / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


def examples(data: Path, **options: Any) -> Any:
    return read_examples(data / "train.jsonl", has=Pictures(data).has, **options)


# --- data ----------------------------------------------------------------------------------------
GOOD = staged(("a", "b", "c", "d"))


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("no json", Fault.NO_JSON),
        ([1], Fault.NO_JSON),
        (row(1, "absent.png", ("q", GOOD)), Fault.NO_PICTURE),
        (row(1, "../../etc/passwd", ("q", GOOD)), Fault.OUTSIDE),
        (row(1, "/etc/passwd", ("q", GOOD)), Fault.OUTSIDE),
        (row(1, "data:image/png;base64,iVBOR", ("q", GOOD)), Fault.OUTSIDE),
        (row(1, "https://a.example/b.png", ("q", GOOD)), Fault.OUTSIDE),
        (row(1, "a" * 5000, ("q", GOOD)), Fault.NO_PICTURE),
        (row(1, "a\0b", ("q", GOOD)), Fault.NO_PICTURE),
        ({"image": ["a.png", "b.png"], "conversations": []}, Fault.SEVERAL),
        ({"conversations": []}, Fault.ORDER),
        ({"conversations": [{"from": "human", "value": "q"}]}, Fault.ORDER),
        ({"conversations": [{"from": "gpt", "value": "q"}] * 2}, Fault.ORDER),
        ({"conversations": [{"from": "human", "value": 3}] * 2}, Fault.ORDER),
        (row(1, None, (" ", GOOD)), Fault.EMPTY),
        (row(1, None, ("<image>\nq", GOOD)), Fault.PICTURE),
        (row(1, None, ("q", GOOD)) | {"images": ["a.png"]}, Fault.PICTURE),
        (row(1, None, ("q", GOOD)) | {"image": 0}, Fault.PICTURE),
        (row(1, None, ("q \ud800", GOOD)), Fault.NO_TEXT),
        (row(1, None, ("q", "4")), Fault.STAGES),
        (row(1, None, ("q", GOOD.replace("SUMMARY", "REASONING"))), Fault.STAGES),
        (row(1, None, ("q", GOOD + "<CONCLUSION>")), Fault.STAGES),
        (row(1, None, ("q", "**Summary:** a\n**Caption:** b")), Fault.STAGES),
    ],
)
def test_what_is_left_out(bad: Any, fault: Fault, tmp_path: Path) -> None:
    (tmp_path / "there.png").touch()
    lines = [row(0, "there.png", ("<image>\nq", GOOD)), bad]
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    for name, content in (("a.jsonl", text), ("b.json", json.dumps(lines))):
        path = tmp_path / name
        path.write_text(content)
        found = read_examples(path, has=Pictures(tmp_path).has)
        assert found.left_out == {fault: 1}
        assert [example.turns for example in found.kept] == [(("q", GOOD),)]


def test_a_file_without_examples(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for content in ("", "[]", "{}\n", "[1", "no"):
        path.write_text(content)
        with pytest.raises(UsageError):
            read_examples(path, has=lambda _: True)


def test_pictures_of_a_split_archive(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    contents = {f"set/{i}.bin": os.urandom(3000 + i) for i in range(20)}
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    bytes_ = whole.read_bytes()
    parts = tmp_path / "parts"
    parts.mkdir()
    for i, start in enumerate(range(0, len(bytes_), 7001)):
        piece = bytes_[start : start + 7001]
        (parts / f"image.zip.part-a{chr(97 + i)}").write_bytes(piece)
    for source in (whole, parts, parts / "image.zip.part-aa"):
        pictures = Pictures(source)
        assert all(pictures.read(name) == content for name, content in contents.items())
        assert not pictures.has("set/99.bin")
        for name in ("set/99.bin", "/etc/passwd", "../whole.zip"):
            with pytest.raises(PictureError):
                pictures.read(name)
    (parts / "image.zip.part-ac").unlink()
    with pytest.raises(UsageError, match=r"part after image\.zip\.part-ab is missing"):
        Pictures(parts)


def test_an_archive_with_one_more_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("image/set/1.bin", b"1")
    pictures = Pictures(tmp_path / "a.zip")
    assert pictures.has("set/1.bin")
    assert pictures.read("set/1.bin") == b"1"
    assert not pictures.has("1.bin")


def test_a_damaged_picture_is_passed_over(data: Path, tmp_path: Path) -> None:
    from transformers import MllamaImageProcessor

    found = examples(data, limit=3).kept
    (tmp_path / "images").mkdir()
    for i in range(3):
        whole = (data / f"images/{i}.png").read_bytes()
        (tmp_path / f"images/{i}.png").write_bytes(whole if i == 2 else whole[:60])
    processor = MllamaImageProcessor.from_pretrained(BASE)
    items = Encodings(found, Encoder(BASE), tmp_path, processor)
    assert items[0]["ids"] == items[2]["ids"]
    with pytest.raises(PictureError, match=r"0\.png is damaged"):
        items.exactly(0)
    alone = Encodings(found[:2], Encoder(BASE), tmp_path, processor)
    with pytest.raises(PictureError, match="in a row are damaged"):
        alone[0]


def test_no_question_is_asked_about_another_picture(data: Path, tmp_path: Path) -> None:
    from transformers import MllamaForConditionalGeneration, MllamaImageProcessor

    from train.finetune.asking import ask

    found = examples(data, limit=2).kept
    (tmp_path / "images").mkdir()
    for i in range(2):
        whole = (data / f"images/{i}.png").read_bytes()
        (tmp_path / f"images/{i}.png").write_bytes(whole if i else whole[:60])
    encoder = Encoder(BASE)
    processor = MllamaImageProcessor.from_pretrained(BASE)
    held = Encodings(found, encoder, tmp_path, processor)
    model = MllamaForConditionalGeneration.from_pretrained(BASE)
    collate = Collator(encoder.end, encoder.image_token, 4096)
    score = ask(model, held, encoder, collate, chosen=range(2), most_tokens=1)
    assert (score.n, score.right, score.staged) == (1, 0, 0)


def test_examples_that_cannot_share_a_batch() -> None:
    from train.finetune.learning import Settings, _check_mixture

    turns = (("q", GOOD),)
    both = [Example("1", "a.png", turns), Example("2", "", turns)]
    settings = Settings(BASE, Path(), Path(), batch=2)
    with pytest.raises(UsageError, match="cannot share a batch"):
        _check_mixture(both, settings)
    _check_mixture(both, replace(settings, batch=1))
    _check_mixture(both[:1], settings)


def test_what_is_held_out_shares_no_picture(data: Path) -> None:
    found = examples(data).kept
    learnt, held = split(found, 10)
    assert len(held) == 10
    assert len(learnt) == 30
    assert not {one.picture for one in learnt} & {one.picture for one in held}
    assert split(list(reversed(found)), 10)[1] == held


# --- tokens --------------------------------------------------------------------------------------
def test_the_tokens_are_those_of_the_runtime() -> None:
    encoder = Encoder(ROOT / "train/world/checkpoint")  # that of the demo
    question = "How many <|image|> circles <|eot_id|> are there?"
    settings = RuntimeSettings(gpu_layers=0, threads=1)
    with Engine.open("demo", settings=settings) as engine:
        runtime = engine.runtime
        chat = runtime.words.chat
        with_picture = [*runtime.encode(chat.opening()), *runtime.encode(chat.question(question))]
        assert encoder.prompt(question, picture=True) == with_picture
        assert encoder.prompt(question, picture=False) == runtime.encode(chat.turn(question))
        assert encoder.image_token == runtime.words.image_token
        assert with_picture.count(encoder.image_token) == 1


def test_only_answers_are_learnt(data: Path) -> None:
    encoder = Encoder(BASE)
    for example in examples(data, limit=6).kept:
        encoded = encoder.encode(example)
        learnt = [i for i, used in zip(encoded.ids, encoded.learnt, strict=True) if used]
        assert learnt.count(encoder.end) == len(example.turns)
        texts = "".join(answer for _, answer in example.turns)
        assert encoder.text(learnt) == texts


def test_a_batch(data: Path) -> None:
    from transformers import MllamaImageProcessor

    encoder = Encoder(BASE)
    found = examples(data, limit=3).kept
    items = Encodings(found, encoder, data, MllamaImageProcessor.from_pretrained(BASE))
    collate = Collator(pad=0, image_token=encoder.image_token, max_length=100)
    batch = collate([items[i] for i in range(3)])
    for i in range(3):
        ids = items[i]["ids"][:100]
        assert batch["input_ids"][i, : len(ids)].tolist() == ids
        assert (batch["labels"][i, len(ids) :] == IGNORED).all()
        assert (batch["attention_mask"][i].sum()) == len(ids)
        at = ids.index(encoder.image_token)
        seen = batch["cross_attention_mask"][i, :, 0].sum(-1)
        n_tiles = items[i]["picture"]["num_tiles"][0]
        assert (seen[:at] == 0).all()
        assert (seen[at:] == n_tiles).all()
    with pytest.raises(UsageError, match="with and without a picture"):
        collate([items[0], {key: v for key, v in items[1].items() if key != "picture"}])


# --- the plan ------------------------------------------------------------------------------------
ELEVEN_B = Base(
    weights=10_670_220_835,
    vision_weights=865_000_000,
    layers=40,
    width=4096,
    ffn=14336,
    vocabulary=128256,
    adapted=((4096, 4096), (1024, 4096), (1024, 4096), (4096, 4096)) * 40
    + ((14336, 4096), (14336, 4096), (4096, 14336)) * 40,
)


@pytest.mark.parametrize(
    ("method", "cards", "bf16", "low", "high"),
    [
        (Method.FULL, 8, False, 20, 80),  # as it was published: eight cards of 80 GB
        (Method.FULL, 1, True, 80, 200),  # one is not enough
        (Method.LORA, 1, True, 22, 48),
        (Method.QLORA, 1, True, 9, 24),
    ],
)
def test_what_fits_which_card(
    method: Method, cards: int, bf16: bool, low: float, high: float
) -> None:
    load = Load(
        method, cards, batch=1, length=2048, rank=16, bf16=bf16, checkpointing=True, vision=True
    )
    assert low < plan.need(ELEVEN_B, load).total / 1e9 < high
    assert (
        plan.need(ELEVEN_B, load).total
        < plan.need(
            ELEVEN_B, Load(method, cards, 8, 2048, 16, bf16, checkpointing=True, vision=True)
        ).total
    )
    assert "card" in " ".join(plan.lines(ELEVEN_B, load, 8e9))


def test_a_base_is_read_from_its_headers(tmp_path: Path) -> None:
    base = plan.read_base(BASE)
    from transformers import MllamaForConditionalGeneration

    model = MllamaForConditionalGeneration.from_pretrained(BASE)
    assert base.weights == sum(p.numel() for p in model.parameters())
    assert len(base.adapted) == 9 * 7
    for content in ("", "{}", '{"model_type": "llava", "text_config": {}}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError):
            plan.read_base(tmp_path)


# --- runs ----------------------------------------------------------------------------------------
QUICK = ["--batch", "2", "--accumulate", "1", "--held-out", "4", "--workers", "0", "--cpu"]


def command(data: Path, out: Path, *options: str) -> list[str]:
    given = ["--base", str(BASE), "--data", str(data / "train.jsonl"), "--out", str(out)]
    return [*given, *QUICK, *options]


def launched(*given: str, processes: int = 1) -> subprocess.Popen[str]:
    alone = [sys.executable, "-m", "train.finetune"]
    several = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    started = [sys.executable, "-m", *several, "-m", "train.finetune"]
    return subprocess.Popen(
        [*(alone if processes == 1 else started), *given],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ran(*given: str, processes: int = 1) -> str:
    process = launched(*given, processes=processes)
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said[-3000:]
    return said


def losses(out: Path) -> list[float]:
    """Of the logged steps."""
    newest = max(out.glob("state/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def weights(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: value
        for path in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(path).items()
    }


FULL = ("--method", "full", "--lr", "1e-3", "--steps", "6", "--save-every", "3")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    said = ran(*command(data, out, *FULL, "--ask-every", "6", "--asked", "2"))
    assert f"llavao1-edge convert {out}/checkpoint" in said
    assert "'right': 1.0" in said  # it comes from the demo model, which can do that
    return out


def test_the_loss_is_that_of_the_right_tokens(whole: Path) -> None:
    """The base was trained on this very task: were a token, a tile or the mask wrong, it would not
    know the answers by heart."""
    assert losses(whole)[0] < 0.02


LORA = ("--method", "lora", "--lr", "1e-2", "--steps", "6", "--save-every", "3")


@pytest.fixture(scope="module")
def adapted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("adapted")
    ran(*command(data, out, *LORA))
    return out


@pytest.mark.parametrize("method", ["full", "lora"])
def test_killed_and_resumed_is_uninterrupted(
    method: str, data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole: Path = request.getfixturevalue("whole" if method == "full" else "adapted")
    result = "checkpoint" if method == "full" else "adapter"
    given = command(data, tmp_path, *(FULL if method == "full" else LORA))
    process = launched(*given)
    state = tmp_path / "state/checkpoint-3/trainer_state.json"
    while not state.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ran(*given)
    first, second = weights(whole / result), weights(tmp_path / result)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_a_finished_run_stays_as_it_is(whole: Path, data: Path) -> None:
    before = weights(whole / "checkpoint")
    said = ran(*command(data, whole, *FULL, "--ask-every", "6", "--asked", "2"))
    assert f"written to {whole}/checkpoint" in said
    assert len(list(whole.glob("state/checkpoint-*"))) == 2
    for name, value in weights(whole / "checkpoint").items():
        assert (value == before[name]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "0.5"], "holds a run with --lr 0.001"),
        (["--method", "lora"], "holds a run with --method full"),
        (["--freeze-vision"], "holds a run with --freeze-vision False"),
    ],
)
def test_other_options_need_another_folder(
    options: list[str],
    message: str,
    whole: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command(data, whole, *FULL), *options]) == 2
    assert message in capsys.readouterr().err


def test_half_a_checkpoint_is_passed_over(tmp_path: Path) -> None:
    from train.finetune.learning import last_checkpoint

    for number, content in ((2, '{"global_step": 2, "max_steps": 9}'), (4, '{"global'), (10, "")):
        folder = tmp_path / f"checkpoint-{number}"
        folder.mkdir()
        if content:
            (folder / "trainer_state.json").write_text(content)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    assert last_checkpoint(tmp_path / "nothing") is None


def test_a_run_that_never_began_is_none(data: Path, tmp_path: Path) -> None:
    """Its options may be changed: it found no memory, or a package was missing."""
    given = command(data, tmp_path, "--steps", "1", "--workers", "0")
    assert main([*given, "--method", "qlora"]) == 2
    assert (tmp_path / "run.json").exists()
    assert main([*given, "--method", "lora"]) == 0
    assert main([*given, "--method", "full"]) == 2


def test_half_a_result_is_written_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that fills up while the result is saved, then has room."""
    from train.finetune import learning

    given = command(data, tmp_path, "--steps", "1", "--workers", "0", "--method", "full")
    save = learning.Trainer.save_model

    def full(trainer: Any, folder: str, _internal_call: bool = False) -> None:
        if _internal_call:  # a checkpoint on the way
            save(trainer, folder, _internal_call=True)
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("I/O error: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(learning.Trainer, "save_model", full)
        with pytest.raises(SafetensorError):  # there is room: something else is wrong
            main(given)
        patch.setattr(learning.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        assert main(given) == 1
        assert "No space left" in capsys.readouterr().err
    assert not (tmp_path / "checkpoint").exists()
    assert main(given) == 0
    assert weights(tmp_path / "checkpoint")
    assert not list(tmp_path.glob("*.part"))


def test_long_examples_are_left_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of both parts: one cut off before its answer would make the held-out loss no number."""
    from train.finetune.learning import _fitting

    encoder, found = Encoder(BASE), examples(data).kept
    sizes = sorted(len(encoder.encode(one).ids) for one in found)
    fitting = _fitting(found, encoder, sizes[19])
    assert [len(encoder.encode(one).ids) <= sizes[19] for one in fitting] == [True] * len(fitting)
    assert len(fitting) == sum(size <= sizes[19] for size in sizes) < len(found)
    assert f"{len(found) - len(fitting)} left out: longer than" in capsys.readouterr().out


def test_the_result_is_converted_and_answers(whole: Path, tmp_path: Path) -> None:
    from llavao1_edge.cli.main import main as cli

    given = ["convert", str(whole / "checkpoint"), "--out", str(tmp_path), "--name", "Mine"]
    assert cli([*given, "--quant", "F16", "--vision-quant", "F16"]) == 0
    sample = demo.samples()[0]
    settings = RuntimeSettings(gpu_layers=0, threads=1)
    with Engine.open(tmp_path / "Mine-F16.gguf", settings=settings) as engine:
        answer = engine.session(sample.picture).ask(sample.question)
    assert list(answer.stages) == [stage.name for stage in STAGES]


def test_two_processes_learn_what_one_learns(data: Path, tmp_path: Path) -> None:
    """The same examples in a step, divided: the same loss but for rounding."""
    options = ("--method", "full", "--lr", "1e-4", "--steps", "4", "--save-every", "4")
    ran(*command(data, tmp_path / "one", *options, "--batch", "4"))
    ran(*command(data, tmp_path / "two", *options, "--batch", "2"), processes=2)
    first, second = weights(tmp_path / "one/checkpoint"), weights(tmp_path / "two/checkpoint")
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=0, atol=5e-4, err_msg=name)


def _shard(
    rank: int, n: int, meeting: str, data: Path, out: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """One of `n` processes. They meet at a file and by the loopback device: a test must not depend
    on ports that are free, or on what the machine's name resolves to."""
    given = (BASE, data, out, meeting, rank, n)
    with (folder / f"said-{n}-{rank}").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "tests/train/sharded.py"), *map(str, given)],
            cwd=ROOT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
                "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
            },
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def test_fully_sharded_layers_compute_the_same(data: Path, tmp_path: Path) -> None:
    """The layers that FSDP divides, over two processes by gloo: the loss curve of one."""
    curves = []
    for n in (1, 2):
        out = tmp_path / f"{n}.json"
        meeting = (tmp_path / f"{n}.store").as_uri()
        started = [_shard(rank, n, meeting, data, out, tmp_path) for rank in range(n)]
        try:
            ended = [process.wait(timeout=600) for process in started]
        finally:
            for process in started:
                process.kill()
        said = "".join(path.read_text(errors="replace") for path in tmp_path.glob("said-*"))
        assert ended == [0] * n, said[-3000:]
        curves.append(json.loads(out.read_text()))
    assert curves[0][0] > 1.1 * curves[0][-1]  # it learns
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.02)


@pytest.mark.filterwarnings("ignore:.*tie:UserWarning", "ignore:.*tied:UserWarning")
@pytest.mark.parametrize("embeddings", [False, True])
def test_an_adapter_is_merged_by_the_converter(
    embeddings: bool, data: Path, tmp_path: Path
) -> None:
    """`convert --adapter` gives the logits of PEFT's own merged model."""
    from peft import PeftModel
    from transformers import MllamaForConditionalGeneration

    from llavao1_edge.cli.main import main as cli
    from tests.oracle import Oracle

    options = ["--method", "lora", "--lr", "1e-2", "--steps", "4", "--save-every", "4"]
    ran(*command(data, tmp_path, *options, *(["--embeddings"] if embeddings else [])))
    adapter = tmp_path / "adapter"
    assert sorted(path.name for path in adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    base = MllamaForConditionalGeneration.from_pretrained(BASE, torch_dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    oracle = Oracle.load(BASE)
    before = oracle.logits([1, 2, 3], None)
    oracle.model = merged.eval()
    given = ["convert", str(BASE), "--adapter", str(adapter), "--out", str(tmp_path / "models")]
    assert cli([*given, "--quant", "F32", "--vision-quant", "F32", "--name", "Mine"]) == 0
    with Engine.open(
        tmp_path / "models/Mine-F32.gguf", settings=RuntimeSettings(gpu_layers=0, threads=1)
    ) as engine:
        ours = engine.prompt_logits(None, [1, 2, 3]).logits
    theirs = oracle.logits([1, 2, 3], None)
    assert np.abs(theirs - before).max() > 0.01
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "0"], "--batch is 0"),
        (["--lr", "-1"], "--lr is -1"),
        (["--epochs", "nan"], "--epochs is nan"),
        (["--held-out", "1000"], "all 40 examples would be held out"),
        (["--method", "qlora"], "QLoRA needs an NVIDIA card"),
        (["--fsdp", "--method", "full"], "none is used here"),
        (["--fsdp"], "not --method lora"),
        (["--fsdp", "--method", "qlora"], "not --method qlora"),
        (["--max-length", "20"], "no example is short enough"),
        (["--seed", "-1"], "--seed is -1"),
        (["--answer-tokens", "0"], "--answer-tokens is 0"),
        (["--out", "/proc/nope"], "/proc/nope"),
        (["--base", "/nowhere"], "no checkpoint of a Llama-3.2-Vision"),
        (["--data", "/nowhere.jsonl"], "cannot read /nowhere.jsonl"),
        (["--images", "/nowhere"], "cannot be read"),
    ],
)
def test_what_cannot_be(
    options: list[str],
    message: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command(data, tmp_path / "out"), *options]) in (1, 2)
    assert message in capsys.readouterr().err


def test_the_plan_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(data, tmp_path / "out", "--plan")) == 0
    said = capsys.readouterr().out
    assert "40 examples to learn from" in said
    assert "a card of 16 GB is enough" in said
    assert not (tmp_path / "out").exists()
    assert math.isfinite(
        plan.need(
            plan.read_base(BASE),
            Load(Method.LORA, 1, 1, 128, 8, bf16=False, checkpointing=False, vision=False),
        ).total
    )


# --- the document --------------------------------------------------------------------------------
DOCUMENT = (ROOT / "docs/finetune.md").read_text(encoding="utf-8")


def test_the_commands_of_the_document() -> None:
    from train.annotate import __main__ as annotating
    from train.finetune import __main__ as tuning

    lines = [line.partition("#")[0].strip() for line in DOCUMENT.splitlines()]
    found = [line.split() for line in lines if " -m train." in line and "`" not in line]
    assert len(found) >= 5
    for words in found:
        at = next(i for i, word in enumerate(words) if word.startswith("train."))
        parser = annotating._parser() if words[at] == "train.annotate" else tuning._parser()
        parser.parse_args(words[at + 1 :])


@pytest.mark.parametrize(
    ("method", "cards", "bf16"),
    [(Method.FULL, 8, False), (Method.LORA, 1, True), (Method.QLORA, 1, True)],
)
def test_the_plans_of_the_document(method: Method, cards: int, bf16: bool) -> None:
    load = Load(method, cards, 1, 2048, 16, bf16, checkpointing=True, vision=method is Method.FULL)
    needed = plan.need(ELEVEN_B, load).total / 1e9
    (told,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `--method {method}")]
    assert f" {needed:.0f} GB" in told
