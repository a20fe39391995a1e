"""The pictures and questions of the second demo model, and that its training can be interrupted."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs torch and transformers")
pytest.importorskip("matplotlib", reason="charts are drawn with it")

import numpy as np
import torch
from matplotlib import font_manager

from llavao1_edge import Engine, RuntimeSettings, demo
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.stages import STAGES
from train.evaluate import GREEDY
from train.world import chart_figures, eye, judge, learn, samples
from train.world.batches import Batches
from train.world.canvas import font_files
from train.world.charts import ACROSS, draw_chart
from train.world.evaluate import Outcome, summarise
from train.world.families import FAMILIES, SHARES, scene_at
from train.world.icons import draw_icons, icon
from train.world.material import HELD_OUT_PHOTOGRAPHS, HERE, SETS
from train.world.model import compile_model, world_tokenizer
from train.world.pool import ALL_WORDS, CLASSES, GRID, Pool, labels_of
from train.world.strange import draw_strange
from train.world.task import Scene, Task
from train.world.words import ICONS, MOST, NAMES, UNKNOWN, WORDS

SUMS = re.compile(r"(\d+) ([+x/-]) (\d+) = (\d+)")
SIGNS = re.compile(r"(\d+) ([<>=]) (\d+)(?! =|\d)")
EACH = 25


def tasks(family: str, n: int = EACH) -> list[Task]:
    return [scene_at(3, i, family=family).draw_task(random.Random(i)) for i in range(n)]


def test_a_number_is_seen_by_its_digits_and_a_word_by_its_letters() -> None:
    digits, letters = eye.parts()
    assert digits[0].tolist() == [0, 0, 0]  # no number
    assert digits[1 + 7].tolist() == [0, 0, 8]
    assert digits[1 + 140].tolist() == [2, 5, 1]
    of = {word: letters[at + 1].tolist() for at, word in enumerate(ALL_WORDS)}
    assert of["Tea"] == [20, 5, 1, 1]
    assert of["Milk"] == [13, 9, 12, 11]
    assert of["dog"] == [0, 0, 0, 0]  # an icon is not written
    assert int(digits.max()) < min(eye.READ["tens"], eye.READ["units"])
    assert int(letters.max()) < eye.READ["last"]


def test_all_families_have_a_share_of_the_training() -> None:
    assert set(SHARES) == set(FAMILIES)
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_and_an_index_name_a_picture_for_ever(family: str) -> None:
    for index in range(4):
        first, again = (scene_at(5, index, family=family) for _ in range(2))
        assert first.drawn.image.tobytes() == again.drawn.image.tobytes()
        assert first.drawn.marks == again.drawn.marks
        assert first.draw_task(random.Random(1)) == again.draw_task(random.Random(1))
    assert first.drawn.image.tobytes() != scene_at(6, 3, family=family).drawn.image.tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_are_inside_and_have_classes(family: str) -> None:
    for index in range(EACH):
        for mark in scene_at(4, index, family=family).drawn.marks:
            left, top, right, bottom = mark.box
            assert 0 <= left <= right <= 1, mark
            assert 0 <= top <= bottom <= 1, mark
            for value, n in zip(labels_of(mark), CLASSES.values(), strict=True):
                assert 0 <= value < n, mark


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_reasoned_is_true(family: str) -> None:
    """Every sum and every comparison in the text; and the conclusion follows from it."""
    do = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "x": lambda a, b: a * b,
          "/": lambda a, b: a // b}  # fmt: skip
    for task in tasks(family, 60):
        for a, sign, b, result in SUMS.findall(task.reasoning):
            assert do[sign](int(a), int(b)) == int(result), task
        if family in ("chart", "geometry"):
            for a, sign, b in SIGNS.findall(re.sub(SUMS, "", task.reasoning)):
                ordered = {"<": int(a) < int(b), ">": int(a) > int(b), "=": int(a) == int(b)}
                said = re.search(rf"{a} {sign} {b} (yes|no)", task.reasoning)
                assert ordered[sign] or (said is not None and said[1] == "no"), task
        total = 0
        for value, told in re.findall(r"(\d+), sum (\d+);", task.reasoning):
            total += int(value)
            assert total == int(told), task
        assert task.summary
        assert task.caption
        if not task.kind.endswith("choice") and task.conclusion.isdigit():
            assert 0 <= int(task.conclusion) <= MOST, task
            assert re.search(rf"(?<!\d){task.conclusion}(?!\d)", task.reasoning), task


def test_a_choice_names_the_letter_of_the_truth() -> None:
    found = [task for family in FAMILIES for task in tasks(family, 80) if "choice" in task.kind]
    assert len(found) > 20
    for task in found:
        options = dict(re.findall(r"([A-D])\. (.+?)(?= [A-D]\. |$)", task.question))
        assert len(set(options.values())) == len(options) > 1, task
        found_before = task.reasoning.split(" A. ")[0]
        assert re.search(rf"(?<!\w){options[task.conclusion]}(?!\w)", found_before), task
        assert task.reasoning.endswith(f" So {task.conclusion}."), task


def test_no_dot_of_a_scatter_plot_is_hidden() -> None:
    charts = [draw_chart(random.Random(seed)) for seed in range(300)]
    plots = [chart for chart in charts if chart.kind == "scatter"]
    assert sum(len(chart.series) for chart in plots) > len(plots) > 20
    for chart in plots:
        places = [place for across in chart.across for place in across]
        assert len(set(places)) == len(places)
        assert all(0 < place < ACROSS for place in places)


def test_fonts_of_the_system_do_not_change_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts are set in matplotlib's own fonts, also where the system has others of that name."""
    pictures = charts_of_a_seed()
    fonts = font_manager.fontManager.ttflist
    assert {Path(font.fname) for font in fonts} == set(font_files())
    mono = next(font for font in fonts if font.name == "DejaVu Sans Mono")
    called = ("DejaVu Sans", "DejaVu Serif", "STIXGeneral")
    monkeypatch.setattr(
        font_manager.fontManager, "ttflist", [replace(mono, name=name) for name in called]
    )
    chart_figures._own_fonts.cache_clear()
    assert charts_of_a_seed() == pictures


def charts_of_a_seed() -> list[bytes]:
    chart = draw_chart(random.Random(3))
    return [
        chart_figures.draw_chart_figure(chart, random.Random(i)).image.tobytes() for i in range(6)
    ]


def test_unknown_kinds_are_answered_as_unknown() -> None:
    for held_out in (False, True):
        for index in range(12):
            scene = draw_strange(random.Random(index), held_out=held_out)
            assert scene.draw_task(random.Random(0)).conclusion == UNKNOWN
    assert all((HERE / f"{name}.jpg").is_file() for name in HELD_OUT_PHOTOGRAPHS)


def test_icons_have_a_hand_that_is_held_out() -> None:
    hands = [*SETS, "twemoji"]
    for name in ICONS:
        drawn = [icon(hand, name).tobytes() for hand in hands]
        assert len(set(drawn)) == len(hands)
        assert all(any(pixels[3::4]) for pixels in drawn), name
    assert draw_icons(random.Random(1), hands=("twemoji",)).drawn.marks


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pool]:
    """A tokenizer of few scenes and a pool of few pictures (without photographs)."""
    folder = tmp_path_factory.mktemp("world")
    world_tokenizer(n_scenes=150).save(str(folder / "tokenizer.json"))
    return folder, Pool(folder / "pictures", seed=2, n=24, workers=1)


def test_numbers_are_one_token(small: tuple[Path, Pool]) -> None:
    tokenizer = learn.Learner(small[0], seed=1).tokenizer
    for number in (0, 7, 42, 138, MOST):
        for text in (f"{number}", f" {number}"):
            assert len(tokenizer.encode(text).ids) == 1, text
    assert len(tokenizer.encode(f" {WORDS[0]}").ids) == 1


def test_the_model_begins_with_a_circuit_that_looks_up(small: tuple[Path, Pool]) -> None:
    """Untrained: after a name that stood in a list, what followed it there is likelier than the
    other values in the list (one of six by chance)."""
    learner = learn.Learner(small[0], seed=1)
    writer, rng, found, n = learner.writer, random.Random(1), 0, 200
    names = [name for name in NAMES if len(writer.plain(f" {name}")) == 1]
    for _ in range(n):
        listed = list(zip(rng.sample(names, 6), rng.sample(range(MOST + 1), 6), strict=True))
        name, value = rng.choice(listed)
        ids = [writer.special["<|begin_of_text|>"], *writer.plain("List:")]
        for one, number in listed:
            ids += writer.plain(f" {one}") + writer.plain(f" {number}") + writer.plain(";")
        ids += writer.plain(f" {name}")
        with torch.no_grad():
            logits = learner.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        values = [writer.plain(f" {number}")[0] for _, number in listed]
        found += values[int(logits[values].argmax())] == writer.plain(f" {value}")[0]
    assert found > 0.4 * n


def test_a_pool_gives_back_what_was_drawn(small: tuple[Path, Pool]) -> None:
    pool = small[1]
    pictures = pool.pictures(torch.arange(8))
    assert pictures.pixels.shape[1:] == (4, 3, 112, 112)
    assert pictures.labels.shape[1:] == (4, GRID * GRID, len(CLASSES))
    again = Pool(pool.folder, seed=2, n=24)
    assert torch.equal(again.pictures(torch.arange(8)).pixels, pictures.pixels)
    assert len(again.tasks(3)) > 1
    shown = (pictures.labels[..., 0] > 0).float().mean().item()
    assert 0.05 < shown < 0.9
    with pytest.raises(SystemExit, match="holds 24 pictures, not 25"):
        Pool(pool.folder, seed=2, n=25)


def pairs_of_two(
    model: Path, path: Path, *, questions: Sequence[tuple[int, Task]], **_: object
) -> bool:
    """The truth and one wrong word, instead of what an untrained model says."""
    assert read_header(model).text("general.architecture") == "llama"
    lines = []
    for index, task in questions:
        truth = tuple(task.stage(stage.name) for stage in STAGES)
        pairs = judge.pairs_of(task, [truth, (*truth[:3], "wrong")], index)
        lines += [json.dumps(asdict(pair)) for pair in pairs]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return True


def test_an_interrupted_run_is_the_same_run(
    small: tuple[Path, Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in every phase, and begun again in a new process's place: the same weights. Also
    where nothing but the beginning of the last leg is left."""
    folder, pool = small
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that wait for each other are slower beside other work
    monkeypatch.setattr(learn, "EYES_AT_ONCE", 3)
    monkeypatch.setattr(learn, "ANSWERS_AT_ONCE", 3)
    monkeypatch.setattr(learn, "LOOK_EVERY", 10**9)
    monkeypatch.setattr(learn, "LEG", 3)
    monkeypatch.setattr(learn, "TEXTS_AT_ONCE", 2)
    monkeypatch.setattr(learn, "BESIDE_VERDICTS", 2)
    monkeypatch.setattr(learn, "VERDICTS_AT_ONCE", 2)
    monkeypatch.setattr(learn, "draw_pairs", pairs_of_two)
    phases = {"eye": 4, "answers": 3, "joint": 2, "judge": 4}
    weights = []
    for stops, lost in (((), False), ((2, 4, 6), False), ((2, 4, 6), True)):
        home = tmp_path / f"run {len(weights)}"
        home.mkdir()
        (home / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
        for limit in (*stops, None):
            learner = learn.Learner(home, seed=1)
            learn.run(learner, pool, pool, phases, at_most=limit)
            if lost:
                (home / "state.pt").unlink()
        weights.append({k: v.numpy().copy() for k, v in learner.model.state_dict().items()})
        assert (learner.phase, learner.step) == ("judge", 4)
    torch.set_num_threads(threads)
    for others in weights[1:]:
        assert weights[0].keys() == others.keys()
        for name, value in weights[0].items():
            assert np.array_equal(value, others[name]), name


# Torch's own, which it hides in a way that an error is not hidden by.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_what_is_compiled_for_a_run_computes_the_same(
    small: tuple[Path, Pool], tmp_path: Path
) -> None:
    """Traced and with plain attention, but without a compiler: the same loss and the same step."""
    folder, pool = small
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    graphs = []

    def counted(graph: torch.fx.GraphModule, _: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    ends = []
    for compiled in (False, True):
        learner = learn.Learner(tmp_path, seed=1)
        learner.phase = "joint"
        if compiled:
            compile_model(learner.model, backend=counted)
        batches = Batches(learner.writer, pool, seed=1)
        batch = batches.answers("joint", 0, picture=True, size=2)
        learn.set_rates(learner.optimisers["telling"], 1.0)
        scores = learn.answer_step(learner, pool, batch, picture=True)
        weights = learner.model.model.language_model.layers[5].mlp.up_proj.weight
        ends.append((scores["loss"], scores["dense"], weights.detach().numpy().copy()))
    assert len(graphs) >= 3  # the tower, and one for each kind of text layer
    assert ends[1][0] == pytest.approx(ends[0][0], rel=1e-4)
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-4)
    assert np.allclose(ends[1][2], ends[0][2], atol=1e-3)


def test_a_look_scores_every_family(
    small: tuple[Path, Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, pool = small
    monkeypatch.setattr(learn, "LOOKED_AT", 24)
    learner = learn.Learner(folder, seed=1)
    learner.phase = "joint"
    scores = learn.look(learner, pool)
    families = {list(FAMILIES)[int(one)] for one in pool.family}
    assert families <= set(scores)
    assert {"summary", "caption", "reasoning", "conclusion", "sees number"} <= set(scores)
    assert all(0 <= score <= 1 for score in scores.values())
    learner.log(**scores)
    line = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert line["phase"] == "joint"


# --- what the judge learns from -------------------------------------------------------------------


def test_pairs_say_which_is_better_only_where_the_truth_does() -> None:
    task = Task("count", "How many?", "Count.", "one dog; two cats", "1 + 2 = 3", "3")
    truth = ("Count.", "one dog; two cats", "1 + 2 = 3", "3")
    other_eye = ("Count.", "one dog; two cows", "1 + 2 = 3", "3")
    worse_eye = ("Count.", "six dogs; no cows", "6 + 0 = 6", "6")
    slip = ("Count.", "one dog; two cats", "1 + 2 = 4", "4")
    deaf = ("Count.", "one dog; two cats", "1 + 2 = 3", "4")

    def found(*answers: judge.Answer) -> list[tuple[int, int]]:
        return [(len(pair.answers[0]), pair.better) for pair in judge.pairs_of(task, answers, 7)]

    assert found(truth, truth) == []
    assert found(truth, other_eye) == [(2, 0)]  # both conclusions are right: no pair of wholes
    assert found(worse_eye, truth) == [(2, 1), (4, 1)]
    assert found(worse_eye, other_eye) == [(2, 1), (4, 1)]
    assert found(truth, slip) == [(3, 0), (4, 0)]
    assert found(deaf, truth) == [(4, 1)]
    assert found(slip, ("Count.", "one dog; two cats", "1 + 2 = 5", "5")) == []
    same_eye = ("Count.", worse_eye[1], "6 + 0 = 3", "3")
    assert found(worse_eye, same_eye) == [(4, 1)]  # nothing is said of steps from a false caption


def test_a_verdict_is_asked_for_as_a_search_does(small: tuple[Path, Pool]) -> None:
    """The only trained token is the number of the better one, in both orders."""
    writer = learn.Learner(small[0], seed=1).writer
    task = scene_at(3, 1, family="chart").draw_task(random.Random(1))
    truth = tuple(task.stage(stage.name) for stage in STAGES)
    (pair,) = judge.pairs_of(task, [truth, (*truth[:3], "wrong")], 1)
    for swapped, number in ((False, "1"), (True, "2")):
        tokens = judge.written(writer, pair, swapped=swapped)
        assert tokens.trained == [False] * (len(tokens.ids) - 1) + [True]
        assert tokens.ids[-1:] == writer.plain(f" {number}")
        text = writer._tokenizer.decode(tokens.ids, skip_special_tokens=False)
        assert pair.ask(swapped=swapped).text in text
        assert text.endswith(f"The better one is response {number}")


def test_pairs_are_drawn_by_the_runtime(tmp_path: Path) -> None:
    """By the shipped model, which errs about most of this world; told to stop it goes on later from
    where it was."""
    questions = [(index, scene_at(9, index).draw_task(random.Random(index))) for index in range(24)]
    path = tmp_path / "pairs.jsonl.gz"

    def draw(told: Callable[[], bool]) -> bool:
        return judge.draw_pairs(
            demo.text_path(), path, seed=9, questions=questions, workers=1, told=told
        )

    assert draw(lambda: False)
    pairs = judge.read_pairs(path)
    assert pairs
    path.unlink()
    parts = path.with_suffix(".parts")
    assert not draw(
        lambda: parts.exists() and bool(parts.read_text())
    )  # told to stop after the first part
    assert not path.exists()
    with parts.open("a") as file:
        file.write('[{"half": ')  # killed while it wrote
    assert draw(lambda: False)
    assert judge.read_pairs(path) == pairs
    assert list(tmp_path.iterdir()) == [path]
    for pair in pairs:
        assert pair.question == questions[pair.index][1].question
        assert pair.answers[0] != pair.answers[1]
        assert pair.ask(swapped=False).opening


def test_what_is_measured_is_told_apart() -> None:
    def one(stream: str, family: str, *, right: bool, unknown: bool, n: int = 0) -> Outcome:
        return Outcome(stream, family, family, right, right, False, unknown, (True, False)[:n])

    rows = [
        one("world", "chart", right=True, unknown=False, n=2),
        one("world", "icons", right=False, unknown=True, n=1),
        one("world", "strange", right=True, unknown=True),
        one("unseen kinds", "strange", right=False, unknown=False),
        one("another hand", "icons", right=True, unknown=False),
    ]
    report: Any = summarise(rows, 0.7)
    assert report["staged, greedy"]["share"] == 0.5
    assert report["staged, greedy"]["n"] == 2
    assert report["staged by family"]["strange"]["share"] == 1
    assert report["any of eight samples right"]["share"] == 1
    assert report["one sample at 0.7"]["n"] == 3
    assert [one["share"] for one in report["says so"].values()] == [0.5, 1, 0]
    assert report["icons by another hand"]["n"] == 1


def test_samples_are_what_the_model_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a family of which it answers nothing rightly, that is said."""
    picture_of = samples.picture_of

    def no_tables(family: str, index: int) -> tuple[Scene, Task]:
        scene, task = picture_of(family, index)
        return scene, replace(task, conclusion="?") if family == "table" else task

    monkeypatch.setattr(samples, "picture_of", no_tables)
    monkeypatch.setattr(samples, "TRIES", 20)
    settings = RuntimeSettings(gpu_layers=0, threads=1, context=1024)
    with Engine.open("demo", settings=settings) as engine:
        missing = samples.write_samples(engine, tmp_path, ("table", "shapes"))
        assert missing == ["table"]
        (row,) = json.loads((tmp_path / "samples.json").read_text())
        assert row["picture"] == "1-shapes.png"
        session = engine.session(tmp_path / row["picture"])
        assert session.ask(row["question"], sampling=GREEDY).conclusion == row["answer"]
        session.close()
