"""The training pictures, drawn once into files: pixels, labels of every patch, questions.

A picture is drawn in about 10 ms and read from the file in a fraction of one. Everything follows
from the seed, so the files can be thrown away and made again.
"""

from __future__ import annotations

import json
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llavao1_edge.images import TiledPicture, TilingRules, tile_picture
from train.data import by_tiles, overlap
from train.model import IMAGE_MEAN, IMAGE_STD, MAX_TILES, PATCH_SIZE
from train.questions import Task
from train.scene import SIZES
from train.world.canvas import KINDS, Mark
from train.world.families import FAMILIES, scene_at
from train.world.model import TILE_SIZE
from train.world.words import COLOURS, ICONS, MOST, WORDS

RULES = TilingRules(tile_size=TILE_SIZE, max_tiles=MAX_TILES, mean=IMAGE_MEAN, std=IMAGE_STD)
GRID = TILE_SIZE // PATCH_SIZE
ALL_WORDS = (*WORDS, *ICONS)
# What a patch may show; class 0 is "nothing of this sort".
CLASSES = {
    "kind": len(KINDS) + 1,
    "word": len(ALL_WORDS) + 1,
    "number": MOST + 2,
    "colour": len(COLOURS) + 1,
    "row": 8,
    "column": 8,
    "size": len(SIZES) + 1,
}
TASKS = 12  # questions that are kept for each picture
SMALL = ("text", "tick", "angle", "side", "unknown", "point", "dot")  # before what is under them


def labels_of(mark: Mark) -> tuple[int, ...]:
    """Its class in each of `CLASSES`."""
    return (
        KINDS.index(mark.kind) + 1,
        ALL_WORDS.index(mark.word) + 1 if mark.word else 0,
        0 if mark.number is None else mark.number + 1,
        list(COLOURS).index(mark.colour) + 1 if mark.colour else 0,
        mark.row or 0,
        mark.column or 0,
        SIZES.index(mark.size) + 1 if mark.size else 0,
    )


def patch_labels(marks: Sequence[Mark], picture: TiledPicture) -> NDArray[np.uint8]:
    """(max_tiles, patches, 7) classes of the mark that fills most of each patch."""
    canvas = picture.canvas
    rows, columns = canvas.rows * GRID, canvas.columns * GRID
    best = np.zeros((rows, columns))
    grid = np.zeros((rows, columns, len(CLASSES)), dtype=np.uint8)
    for mark in marks:
        left, right = mark.box[0] * canvas.width, mark.box[2] * canvas.width
        top, bottom = mark.box[1] * canvas.height, mark.box[3] * canvas.height
        area = np.outer(
            overlap(top, bottom, rows, cell=PATCH_SIZE),
            overlap(left, right, columns, cell=PATCH_SIZE),
        )
        own = max(1.0, (right - left) * (bottom - top))
        enough = (area > 0.1 * PATCH_SIZE**2) | (area > 0.25 * own)
        # The whole figure counts only where nothing else is.
        weight = {"figure": 0.01}.get(mark.kind, 4.0 if mark.kind in SMALL else 1.0)
        wins = enough & (area * weight > best)
        best[wins] = (area * weight)[wins]
        grid[wins] = labels_of(mark)
    labels = np.zeros((MAX_TILES, GRID * GRID, len(CLASSES)), dtype=np.uint8)
    labels[: canvas.n_tiles] = by_tiles(grid, canvas)
    return labels


@dataclass(frozen=True)
class Pictures:
    """pixels (n, tiles, 3, T, T) normalised; ids, n_tiles, family (n,); labels (n, t, p, 7)."""

    pixels: Tensor
    ids: Tensor
    n_tiles: Tensor
    family: Tensor
    labels: Tensor


Row = tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int, int], str]


def _row(job: tuple[int, int]) -> Row:
    seed, index = job
    scene = scene_at(seed, index)
    picture = tile_picture(scene.drawn.image, rules=RULES)
    mean, std = (np.array(part)[None, :, None, None] for part in (IMAGE_MEAN, IMAGE_STD))
    pixels = np.clip(np.rint((picture.pixels * std + mean) * 255), 0, 255).astype(np.uint8)
    luck = random.Random(f"questions-{seed}-{index}")
    tasks = [asdict(scene.draw_task(luck)) for _ in range(TASKS)]
    numbers = (picture.aspect_ratio_id, picture.n_tiles, list(FAMILIES).index(scene.family))
    return pixels, patch_labels(scene.drawn.marks, picture), numbers, json.dumps(tasks)


class Pool:
    """Pictures `0` to `n - 1` of the stream `seed`, in `folder`; drawn unless they are there."""

    def __init__(self, folder: Path, *, seed: int, n: int, workers: int = 2) -> None:
        self.folder = folder
        if not (folder / "complete").exists():
            self._draw(seed, n, workers)
        self._pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self._labels = np.load(folder / "labels.npy", mmap_mode="r")
        self._numbers = torch.from_numpy(np.load(folder / "numbers.npy")).long()
        self._tasks = (folder / "tasks.jsonl").read_text(encoding="utf-8").splitlines()
        self.n_tiles = self._numbers[:, 1]
        self.family = self._numbers[:, 2]
        if len(self) != n:
            raise SystemExit(f"{folder} holds {len(self)} pictures, not {n}: remove it")

    def __len__(self) -> int:
        return len(self._tasks)

    def _draw(self, seed: int, n: int, workers: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        open_memmap = np.lib.format.open_memmap
        shape = (n, MAX_TILES, 3, TILE_SIZE, TILE_SIZE)
        pixels = open_memmap(self.folder / "pixels.npy", "w+", np.uint8, shape)
        shape = (n, MAX_TILES, GRID * GRID, len(CLASSES))  # type: ignore[assignment]
        labels = open_memmap(self.folder / "labels.npy", "w+", np.uint8, shape)
        numbers = np.zeros((n, 3), np.int64)
        jobs = ((seed, index) for index in range(n))
        with (
            multiprocessing.get_context("spawn").Pool(workers) as processes,
            (self.folder / "tasks.jsonl").open("w", encoding="utf-8") as tasks,
        ):
            for at, row in enumerate(processes.imap(_row, jobs, chunksize=16)):
                pixels[at], labels[at], numbers[at] = row[:3]
                tasks.write(row[3] + "\n")
        pixels.flush()
        labels.flush()
        np.save(self.folder / "numbers.npy", numbers)
        (self.folder / "complete").touch()

    def tasks(self, index: int) -> list[Task]:
        return [Task(**fields) for fields in json.loads(self._tasks[index])]

    def pictures(self, rows: Tensor) -> Pictures:
        at = rows.numpy()
        mean = torch.tensor(IMAGE_MEAN)[None, None, :, None, None]
        std = torch.tensor(IMAGE_STD)[None, None, :, None, None]
        pixels = (torch.from_numpy(self._pixels[at]).float() / 255 - mean) / std
        held = torch.arange(MAX_TILES)[None] < self.n_tiles[rows][:, None]
        pixels = pixels * held[:, :, None, None, None]
        labels = torch.from_numpy(self._labels[at])
        ids, n_tiles, family = self._numbers[rows].T
        return Pictures(pixels, ids, n_tiles, family, labels)
