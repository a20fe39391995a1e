"""The embedded model: it is what its checkpoint converts to, and it answers its samples."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path

import pytest

from llavao1_edge import Engine, RuntimeSettings, SamplingSettings, demo
from llavao1_edge.cli.main import main
from llavao1_edge.images import open_picture
from train.pairs import convert

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "train/world/checkpoint"
GREEDY = SamplingSettings(temperature=0, max_tokens=512)
CLOSE_CALLS = 6  # questions


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_pair_is_the_converted_checkpoint(tmp_path: Path) -> None:
    text, mmproj = convert(CHECKPOINT, tmp_path, name=demo.NAME)
    assert digest(text) == digest(demo.text_path())
    assert digest(mmproj) == digest(demo.mmproj_path())


def test_it_answers_every_sample() -> None:
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0)) as engine:
        for sample in demo.samples():
            answer = engine.session(sample.picture).ask(sample.question, sampling=GREEDY)
            assert answer.complete, answer.notes
            assert answer.conclusion == sample.answer, sample


def test_it_says_what_the_readme_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"```console\n\$ llavao1-edge ([^\n]*)\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(ROOT)
    assert main([*shlex.split(shown[1]), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == shown[2]


def test_it_reaches_what_was_measured_of_it() -> None:
    """Greedily, on the first of the questions of `metrics.json`. Another processor rounds
    otherwise, and may say another word in a close call."""
    pytest.importorskip("matplotlib", reason="charts are drawn with it")
    from train.world.evaluate import GATE, question

    measured = json.loads((CHECKPOINT.parent / "metrics.json").read_text(encoding="utf-8"))
    gate = measured[f"staged, the first {GATE}"]
    right: list[bool] = []
    strange: list[bool] = []
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0, context=1024)) as engine:
        for index in range(GATE):
            scene, task = question("world", index)
            with engine.session(open_picture(scene.drawn.image)) as session:
                said = session.ask(task.question, sampling=GREEDY).conclusion
            (strange if scene.family == "strange" else right).append(said == task.conclusion)
    assert len(right) == gate["n"]
    assert sum(right) == pytest.approx(gate["share"] * gate["n"], abs=CLOSE_CALLS)
    assert sum(strange) >= len(strange) - 1 > 4


def test_it_looks_at_the_picture() -> None:
    """The same question about other pictures gives other captions."""
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0)) as engine:
        question = demo.samples()[0].question
        captions = {
            engine.session(sample.picture).ask(question, sampling=GREEDY).stages["caption"]
            for sample in demo.samples()
        }
    assert len(captions) == len(demo.samples())


def test_several_turns_on_one_picture() -> None:
    first, *_ = demo.samples()
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0)) as engine:
        session = engine.session(first.picture)
        for _ in range(3):
            assert session.ask(first.question, sampling=GREEDY).conclusion == first.answer
        passes = session.ask(first.question, sampling=GREEDY).trace.counters.vision_passes
    assert passes == 0
