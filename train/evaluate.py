"""Measures the pair of shapes on held-out questions, through the runtime itself (no torch).

    python -m train.evaluate --model FILE --questions 2000 --out train/metrics.json
    python -m train.evaluate --model FILE --questions 600 --hard --out train/metrics_hard.json

Reported with Wilson 95 % intervals: greedy answers in four stages, by kind of question and by grid
of tiles; exact captions; the direct form (conclusion only); on some questions also how often one of
eight sampled answers is right (what a search could find). `--hard` shrinks, blurs and speckles the
pictures: on plain ones the model hardly errs, and a search would have nothing to repair.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from llavao1_edge import Direct, Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.images import open_picture
from train.questions import KINDS, draw_task
from train.scene import draw_scene, render, scene_rng

SEED = 23  # of pictures neither trained on nor looked at during training
SAMPLES, TEMPERATURE = 8, 0.7
BLUR, SPECKLE = 3.0, 35.0  # pixels; levels of 255
GREEDY = SamplingSettings(temperature=0, max_tokens=512)
DRAWN = SamplingSettings(temperature=TEMPERATURE, top_p=1.0, max_tokens=512)


@dataclass(frozen=True)
class Outcome:
    kind: str
    grid: str
    right: bool
    caption: bool
    direct: bool
    sampled: tuple[bool, ...]


def spoil(picture: Image.Image, index: int) -> Image.Image:
    """A bad photograph of the picture: at most 112 pixels, blurred, speckled."""
    small = picture.copy()
    small.thumbnail((112, 112), Image.Resampling.BILINEAR)
    blurred = np.asarray(small.filter(ImageFilter.GaussianBlur(BLUR)), dtype=np.float32)
    noise = np.random.default_rng(index).normal(0, SPECKLE, blurred.shape)
    return Image.fromarray(np.clip(blurred + noise, 0, 255).astype(np.uint8))


def outcomes(job: tuple[Path, int, int, int, bool]) -> list[Outcome]:
    model, start, stop, n_sampled, hard = job
    settings = RuntimeSettings(gpu_layers=0, threads=1, context=1024)
    with Engine.open(model, settings=settings) as engine:
        return [
            _ask(engine, index, sampled=index < n_sampled, hard=hard)
            for index in range(start, stop)
        ]


def _ask(engine: Engine, index: int, *, sampled: bool, hard: bool) -> Outcome:
    scene = draw_scene(scene_rng(SEED, index), tile_size=56)
    task = draw_task(random.Random(f"question-{index}"), scene, kind=KINDS[index % len(KINDS)])
    drawn_picture = render(scene)
    picture = open_picture(spoil(drawn_picture, index) if hard else drawn_picture)
    canvas = engine.runtime.vision.canvas(picture)  # type: ignore[attr-defined]

    def answer(sampling: SamplingSettings, seed: int) -> tuple[bool, bool]:
        session = engine.session(picture)
        given = session.ask(task.question, sampling=sampling, seed=seed)
        session.close()
        return given.conclusion == task.conclusion, given.stages["caption"] == task.caption

    right, caption = answer(GREEDY, 0)
    session = engine.session(picture)
    direct = session.ask(task.question, sampling=GREEDY, search=Direct()).conclusion
    session.close()
    drawn = tuple(answer(DRAWN, seed)[0] for seed in range(SAMPLES)) if sampled else ()
    grid = f"{canvas.rows}x{canvas.columns}"
    return Outcome(task.kind, grid, right, caption, direct == task.conclusion, drawn)


def interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson 95 %."""
    z, p = 1.96, hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return middle - half, middle + half


def share(values: list[bool]) -> dict[str, float | int]:
    low, high = interval(sum(values), len(values))
    return {
        "share": round(sum(values) / len(values), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "n": len(values),
    }


def summarise(rows: list[Outcome]) -> dict[str, object]:
    kinds, grids = defaultdict(list), defaultdict(list)
    direct = defaultdict(list)
    for row in rows:
        kinds[row.kind].append(row.right)
        grids[row.grid].append(row.right)
        direct[row.kind].append(row.direct)
    drawn = [row for row in rows if row.sampled]
    report: dict[str, object] = {
        "staged, greedy": share([row.right for row in rows]),
        "exact captions": share([row.caption for row in rows]),
        "direct, greedy": share([row.direct for row in rows]),
        "staged by kind": {kind: share(values) for kind, values in sorted(kinds.items())},
        "direct by kind": {kind: share(values) for kind, values in sorted(direct.items())},
        "staged by grid": {grid: share(values) for grid, values in sorted(grids.items())},
    }
    if drawn:
        report["greedy, on the sampled questions"] = share([row.right for row in drawn])
        report[f"one sample at {TEMPERATURE}"] = share(
            [hit for row in drawn for hit in row.sampled]
        )
        report["any of eight samples right"] = share([any(row.sampled) for row in drawn])
    return report


def chunks(n: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, size):
        yield start, min(n, start + size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="text file of the pair")
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--sampled", type=int, default=240)
    parser.add_argument("--hard", action="store_true", help="spoil the pictures")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jobs = [
        (options.model, *chunk, options.sampled, options.hard)
        for chunk in chunks(options.questions, 20)
    ]
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.workers) as pool:
        rows = [row for part in pool.imap(outcomes, jobs) for row in part]
    report = summarise(rows)
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
