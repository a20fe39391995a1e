"""Measures the demo pair on held-out questions, through the runtime itself (no torch).

    python -m train.world.evaluate --model FILE --questions 2000 --out train/world/metrics.json

Reported with Wilson 95 % intervals: greedy answers in four stages and exact captions, by family and
by kind of question; the direct form; one sample at temperature 0.7 and any of eight. Apart from
those: whether it says so of kinds of pictures it was never shown, and icons drawn by another hand.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llavao1_edge import Direct, Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.images import open_picture
from train.evaluate import DRAWN, GREEDY, SAMPLES, TEMPERATURE, chunks, share
from train.world.families import scene_at
from train.world.icons import draw_icons
from train.world.strange import draw_strange
from train.world.task import Scene, Task
from train.world.words import UNKNOWN

SEED = 43  # of pictures neither trained on nor looked at during training
CONTEXT = 1024
QUESTIONS = 2000
GATE = 200  # of them are asked again before each release


def _unseen_kind(index: int) -> Scene:
    return draw_strange(random.Random(f"strange-{SEED}-{index}"), held_out=True)


def _other_hand(index: int) -> Scene:
    return draw_icons(random.Random(f"icons-{SEED}-{index}"), hands=("twemoji",))


STREAMS: dict[str, Callable[[int], Scene]] = {
    "world": lambda index: scene_at(SEED, index),
    "unseen kinds": _unseen_kind,
    "another hand": _other_hand,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one question. sampled: of eight draws, empty where none were made."""

    stream: str
    family: str
    kind: str
    right: bool
    caption: bool
    direct: bool
    unknown: bool
    sampled: tuple[bool, ...] = ()


def question(stream: str, index: int) -> tuple[Scene, Task]:
    """Number `index` of one of `STREAMS`, with its picture."""
    scene = STREAMS[stream](index)
    return scene, scene.draw_task(random.Random(f"question-{stream}-{SEED}-{index}"))


def outcomes(job: tuple[Path, float, str, int, int, int]) -> list[Outcome]:
    model, temperature, stream, start, stop, n_sampled = job
    drawn = replace(DRAWN, temperature=temperature)
    settings = RuntimeSettings(gpu_layers=0, threads=1, context=CONTEXT, draft_max=0)
    with Engine.open(model, settings=settings) as engine:
        return [
            _outcome(engine, stream, index, drawn if index < n_sampled else None)
            for index in range(start, stop)
        ]


def _outcome(engine: Engine, stream: str, index: int, drawn: SamplingSettings | None) -> Outcome:
    scene, task = question(stream, index)
    picture = open_picture(scene.drawn.image)

    def answer(**how: Any) -> Any:
        with closing(engine.session(picture)) as session:
            return session.ask(task.question, **how)

    greedy = answer(sampling=GREEDY, seed=0)
    direct = answer(sampling=GREEDY, search=Direct())
    draws = [answer(sampling=drawn, seed=seed) for seed in range(SAMPLES if drawn else 0)]
    return Outcome(
        stream,
        scene.family,
        task.kind,
        greedy.conclusion == task.conclusion,
        greedy.stages.get("caption") == task.caption,
        direct.conclusion == task.conclusion,
        greedy.conclusion == UNKNOWN,
        tuple(one.conclusion == task.conclusion for one in draws),
    )


def _by(rows: Iterable[Outcome], key: str, value: str) -> dict[str, Any]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, key)].append(getattr(row, value))
    return {name: share(values) for name, values in sorted(groups.items())}


def summarise(rows: list[Outcome], temperature: float) -> dict[str, object]:
    """What `metrics.json` holds. Known and unknown pictures are told apart in `says so`."""
    world = [row for row in rows if row.stream == "world"]
    known = [row for row in world if row.family != "strange"]
    report: dict[str, object] = {
        "staged, greedy": share([row.right for row in known]),
        "exact captions": share([row.caption for row in known]),
        "direct, greedy": share([row.direct for row in known]),
        f"staged, the first {GATE}": share(
            [row.right for row in world[:GATE] if row.family != "strange"]
        ),
        "staged by family": _by(world, "family", "right"),
        "captions by family": _by(world, "family", "caption"),
        "direct by family": _by(world, "family", "direct"),
        "staged by kind": _by(world, "kind", "right"),
    }
    drawn = [row for row in known if row.sampled]
    if drawn:
        report["greedy, on the sampled questions"] = share([row.right for row in drawn])
        report[f"one sample at {temperature}"] = share(
            [hit for row in drawn for hit in row.sampled]
        )
        report["any of eight samples right"] = share([any(row.sampled) for row in drawn])
    says_so = {"known pictures (should not)": share([row.unknown for row in known])}
    for name, some in (
        ("kinds that were trained on", [row for row in world if row.family == "strange"]),
        ("kinds that were not", [row for row in rows if row.stream == "unseen kinds"]),
    ):
        if some:
            says_so[name] = share([row.unknown for row in some])
    report["says so"] = says_so
    other = [row for row in rows if row.stream == "another hand"]
    if other:
        report["icons by another hand"] = share([row.right for row in other])
    return report


def measure(
    model: Path,
    questions: int,
    *,
    sampled: int = 240,
    others: int = 200,
    workers: int = 2,
    temperature: float = TEMPERATURE,
) -> dict[str, object]:
    """sampled: of the questions, eight times each; others: unseen kinds, and as many icons by
    another hand. workers: processes, of one thread each."""
    jobs = [(model, temperature, "world", *part, sampled) for part in chunks(questions, 20)]
    for stream in ("unseen kinds", "another hand"):
        jobs += [(model, temperature, stream, *part, 0) for part in chunks(others, 20)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        rows = [row for part in pool.imap(outcomes, jobs) for row in part]
    return summarise(rows, temperature)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="text file of the pair")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--sampled", type=int, default=240, help="of them, eight times each")
    parser.add_argument("--others", type=int, default=200, help="unseen kinds; another hand")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="of these eight")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    measured = measure(
        options.model,
        options.questions,
        sampled=options.sampled,
        others=options.others,
        workers=options.workers,
        temperature=options.temperature,
    )
    text = json.dumps(measured, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
