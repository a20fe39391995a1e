"""Batches: pictures as tiles with labels for every patch, answers as token ids with a loss mask."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from llavao1_edge.images import Canvas, TiledPicture, TilingRules, tile_picture
from train.model import IMAGE_MEAN, IMAGE_STD, MAX_TILES, PATCH_SIZE, TILE_SIZE
from train.questions import DIRECT_SUFFIX, STAGES, UNTAGGED_SUFFIX, Task
from train.scene import COLOURS, SHAPES, SIZES, Scene, draw_scene, render, scene_rng

RULES = TilingRules(tile_size=TILE_SIZE, max_tiles=MAX_TILES, mean=IMAGE_MEAN, std=IMAGE_STD)
GRID = TILE_SIZE // PATCH_SIZE
N_PATCHES = GRID * GRID
LABELS = ("colour", "shape", "size", "row", "column")
N_CLASSES = (len(COLOURS) + 1, len(SHAPES) + 1, len(SIZES) + 1, 4, 4)


def scene_at(seed: int, index: int) -> Scene:
    return draw_scene(scene_rng(seed, index), tile_size=TILE_SIZE)


def tiled(scene: Scene) -> TiledPicture:
    return tile_picture(render(scene), rules=RULES)


def patch_labels(scene: Scene, picture: TiledPicture) -> NDArray[np.int8]:
    """(max_tiles, patches, 5) of `grid_labels`; -1 in tile slots that hold no picture."""
    canvas = picture.canvas
    labels = np.full((MAX_TILES, N_PATCHES, len(LABELS)), -1, dtype=np.int8)
    rows, columns = canvas.rows * GRID, canvas.columns * GRID
    grid = grid_labels(
        scene, canvas.width, canvas.height, rows=rows, columns=columns, cell=PATCH_SIZE
    )
    labels[: canvas.n_tiles] = by_tiles(grid, canvas)
    return labels


def by_tiles(grid: NDArray[Any], canvas: Canvas) -> NDArray[Any]:
    """(rows, columns, k) of all patches → (tiles, patches of a tile, k)."""
    rows, columns, k = grid.shape
    down, across = rows // canvas.rows, columns // canvas.columns
    cut = grid.reshape(canvas.rows, down, canvas.columns, across, k)
    return cut.transpose(0, 2, 1, 3, 4).reshape(canvas.n_tiles, down * across, k)


def grid_labels(
    scene: Scene, width: int, height: int, *, rows: int, columns: int, cell: int
) -> NDArray[np.int8]:
    """(rows, columns, 5): colour, shape, size, row, column of the thing that covers most of each
    cell of `cell` pixels, 0 for background. width, height: of the picture, in pixels."""
    best = np.zeros((rows, columns))
    grid = np.zeros((rows, columns, len(LABELS)), dtype=np.int8)
    for thing in scene.things:
        left, right = thing.box[0] * width, thing.box[2] * width
        top, bottom = thing.box[1] * height, thing.box[3] * height
        area = np.outer(
            overlap(top, bottom, rows, cell=cell), overlap(left, right, columns, cell=cell)
        )
        enough = (area > 0.08 * cell**2) | (area > 0.25 * (right - left) * (bottom - top))
        wins = enough & (area > best)
        best[wins] = area[wins]
        grid[wins] = (
            COLOURS.index(thing.colour) + 1,
            SHAPES.index(thing.shape) + 1,
            SIZES.index(thing.size) + 1,
            thing.row + 1,
            thing.column + 1,
        )
    return grid


def overlap(low: float, high: float, n: int, *, cell: int) -> NDArray[np.float64]:
    """How many pixels from low to high lie in each of n cells."""
    edges = np.arange(n) * cell
    return np.clip(np.minimum(high, edges + cell) - np.maximum(low, edges), 0, None)


@dataclass(frozen=True)
class PictureBatch:
    """pixels (n, tiles, 3, T, T) f16; ids (n,); n_tiles (n,); labels, occupied (n, 9)."""

    pixels: Tensor
    ids: Tensor
    n_tiles: Tensor
    labels: Tensor
    occupied: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Tensor) -> PictureBatch:
        return PictureBatch(
            self.pixels[rows],
            self.ids[rows],
            self.n_tiles[rows],
            self.labels[rows],
            self.occupied[rows],
        )


def _picture_row(job: tuple[int, int]) -> tuple[NDArray[np.float16], int, int, object, object]:
    scene = scene_at(*job)
    picture = tiled(scene)
    occupied = np.zeros(9, dtype=np.float32)
    occupied[[3 * thing.row + thing.column for thing in scene.things]] = 1
    pixels = picture.pixels.astype(np.float16)
    labels = patch_labels(scene, picture)
    return pixels, picture.aspect_ratio_id, picture.n_tiles, labels, occupied


def render_batch(seed: int, indices: Sequence[int], *, workers: int = 2) -> PictureBatch:
    """Pictures `indices` of the stream `seed`."""
    jobs = [(seed, index) for index in indices]
    with multiprocessing.Pool(workers) as pool:
        rows = pool.map(_picture_row, jobs, chunksize=64)
    pixels, ids, n_tiles, labels, occupied = zip(*rows, strict=True)
    return PictureBatch(
        torch.from_numpy(np.stack(pixels)),
        torch.tensor(ids),
        torch.tensor(n_tiles),
        torch.from_numpy(np.stack(labels)),  # type: ignore[arg-type]
        torch.from_numpy(np.stack(occupied)),  # type: ignore[arg-type]
    )


def tile_mask(n_tiles: Tensor) -> Tensor:
    """(n, max_tiles) of 1 for tiles that hold a part of the picture."""
    return (torch.arange(MAX_TILES)[None] < n_tiles[:, None]).long()


# --- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """One question and how it is to be answered: `staged`, `direct` or `untagged`."""

    task: Task
    form: str = "staged"
    announced: bool = True  # whether the question asks for the form in words


@dataclass(frozen=True)
class Tokens:
    """Token ids with, for each, whether its prediction is trained."""

    ids: list[int]
    trained: list[bool]
    image_at: int | None


class Writer:
    """Turns questions and stage texts into token ids, piece by piece as the runtime does."""

    end_text, image_text = "<|eot_id|>", "<|image|>"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}
        self.special = {
            token.content: identity
            for identity, token in tokenizer.get_added_tokens_decoder().items()
        }

    def plain(self, text: str) -> list[int]:
        known = self._cache.get(text)
        if known is None:
            known = self._tokenizer.encode(text, add_special_tokens=False).ids
            if len(self._cache) < 200_000:
                self._cache[text] = known
        return known

    def header(self, role: str) -> list[int]:
        start, end = self.special["<|start_header_id|>"], self.special["<|end_header_id|>"]
        return [start, *self.plain(role), end]

    def prompt(self, question: str, *, picture: int, first: bool) -> list[int]:
        """One user turn and the assistant's header."""
        ids = [self.special["<|begin_of_text|>"]] if first else []
        ids += self.header("user")
        if picture and first:
            ids += [*self.plain("\n\n"), self.special["<|image|>"], *self.plain(question)]
        else:
            ids += self.plain(f"\n\n{question}")
        ids.append(self.special["<|eot_id|>"])
        return ids + self.header("assistant") + self.plain("\n\n")

    def answer(self, turn: Turn, *, caption_trained: bool) -> tuple[list[int], list[bool]]:
        ids: list[int] = []
        trained: list[bool] = []

        def add(text: str, *, train: bool = True) -> None:
            pieces = self.plain(text)
            ids.extend(pieces)
            trained.extend([train] * len(pieces))

        task = turn.task
        if turn.form == "direct":
            # Unannounced, the opening tag is forced by the runtime and must not be learnt.
            add("<CONCLUSION>", train=turn.announced)
            add(f" {task.conclusion} </CONCLUSION>")
        elif turn.form == "untagged":
            for number, name in enumerate(STAGES):
                gap = "\n\n" if number else ""
                add(f"{gap}{task.stage(name)}", train=caption_trained or name != "caption")
        else:
            for number, name in enumerate(STAGES):
                gap, tag = "\n\n" if number else "", name.upper()
                add(f"{gap}<{tag}>")
                add(f" {task.stage(name)}", train=caption_trained or name != "caption")
                add(f" </{tag}>", train=caption_trained or name != "caption")
        ids.append(self.special[self.end_text])
        trained.append(True)
        return ids, trained

    def conversation(self, turns: Sequence[Turn], *, picture: int) -> Tokens:
        """picture: how many tokens stand for it, 0 without one."""
        ids: list[int] = []
        trained: list[bool] = []
        for number, turn in enumerate(turns):
            question = turn.task.question
            if turn.announced and turn.form == "direct":
                question += DIRECT_SUFFIX
            elif turn.form == "untagged":
                question += UNTAGGED_SUFFIX
            prompt = self.prompt(question, picture=picture, first=number == 0)
            answer, answer_trained = self.answer(turn, caption_trained=picture > 0)
            ids += prompt + answer
            trained += [False] * len(prompt) + answer_trained
        image = self.special[self.image_text]
        return Tokens(ids, trained, ids.index(image) if image in ids else None)


@dataclass(frozen=True)
class AnswerBatch:
    """ids (n, length), targets with -100 where nothing is trained, image_at (n,), pictures (n,)."""

    ids: Tensor
    targets: Tensor
    image_at: Tensor | None
    pictures: Tensor

    def cross_mask(self, n_tiles: Tensor) -> Tensor:
        """(n, length, 1, max_tiles): rows from the image token on see the valid tiles."""
        assert self.image_at is not None
        seen = torch.arange(self.ids.shape[1])[None] >= self.image_at[:, None]
        return (seen[:, :, None] & tile_mask(n_tiles)[:, None].bool()).long()[:, :, None]


def collate(items: Sequence[tuple[int, Tokens]], *, pad: int) -> AnswerBatch:
    length = max(len(item.ids) for _, item in items)
    ids = torch.full((len(items), length), pad)
    targets = torch.full((len(items), length), -100)
    for row, (_, item) in enumerate(items):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        kept = [token if use else -100 for token, use in zip(item.ids, item.trained, strict=True)]
        targets[row, : len(kept)] = torch.tensor(kept)
    positions = [item.image_at for _, item in items]
    image_at = None if None in positions else torch.tensor(positions)
    return AnswerBatch(ids, targets, image_at, torch.tensor([index for index, _ in items]))


def batches(
    items: Iterator[tuple[int, Tokens]], *, size: int, pool: int, pad: int
) -> Iterator[AnswerBatch]:
    """Batches of similar length: `pool` batches are drawn, sorted by length and cut."""
    while True:
        drawn = sorted((next(items) for _ in range(size * pool)), key=lambda item: len(item[1].ids))
        chunks = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        # Long and short batches in turn, so that the loss is not a saw.
        for chunk in chunks[::2] + chunks[1::2]:
            yield collate(chunk, pad=pad)
