"""Llama-3.2-Vision for the engine: pictures read by our own tower, seen through cross layers that
are injected into llama.cpp's forward pass."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.errors import LlavaError, OutOfMemory, UnsupportedOperation
from llavao1_edge.ggml.backend import Device
from llavao1_edge.images import Canvas, Picture, TiledPicture, choose_canvas, tile_picture
from llavao1_edge.llama.context import Context, Row
from llavao1_edge.mllama.cross import CrossStates
from llavao1_edge.mllama.encoder import LEAST_SCORE_BYTES, PictureEncoder
from llavao1_edge.mllama.injection import Injection, Segment
from llavao1_edge.mllama.kept_states import KeptStates
from llavao1_edge.mllama.shape import MllamaShape
from llavao1_edge.state_cache import StateCache
from llavao1_edge.vision import Checkpoint, Place, Preview, Stop

LOGGER = logging.getLogger(__name__)
MAX_PICTURES = 2  # kept encoded; a picture of the 11B model takes about 210 MB


@dataclass(frozen=True)
class Sight:
    """A picture that rows from position `image_at` on see. Its keys and values are looked up when
    they are needed, and computed again where they were given up meanwhile."""

    picture: Picture = field(compare=False)
    key: str
    image_at: int = 0

    def at(self, position: int) -> Sight:
        """The same picture with its token at another place."""
        return replace(self, image_at=position)


class MllamaModel:
    """See `vision.VisionModel`. Pictures are read on `reader`; where that fails, on `cpu`."""

    def __init__(
        self,
        header: GgufHeader,
        shape: MllamaShape,
        *,
        reader: Device,
        cpu: Device,
        n_threads: int,
        f32: bool,
        most_pictures: int = 1,
        cache: StateCache | None = None,
    ) -> None:
        """f32: keys and values of pictures in F32; most_pictures: that one batch may see; cache:
        where pictures that were read are kept. Raises BackendError, OutOfMemory."""
        self.shape = shape
        self._most = max(MAX_PICTURES, most_pictures)
        self._header, self._cpu, self._n_threads, self._f32 = header, cpu, n_threads, f32
        self._pictures: OrderedDict[str, CrossStates] = OrderedDict()
        self._kept = None if cache is None else KeptStates(cache, header, shape)
        self._context: Context | None = None
        self.n_seen = 0
        try:
            self.encoder = PictureEncoder(header, shape, reader, n_threads=n_threads)
        except OutOfMemory as error:
            if not reader.is_gpu:
                raise
            LOGGER.warning("%s: pictures are read on the CPU", error.message)
            self.encoder = PictureEncoder(header, shape, cpu, n_threads=n_threads)
        self.injection = Injection(
            self.encoder.layers, after=shape.cross_after, width=shape.text_width
        )

    def close(self) -> None:
        """After the context."""
        self.injection.close()
        self.forget_pictures()
        self.encoder.close()

    @property
    def eval_callback(self) -> Any:
        return self.injection.callback

    @property
    def can_rewind(self) -> bool:
        return True

    @property
    def in_context(self) -> bool:
        return False

    @property
    def max_pictures(self) -> int | None:
        return 1

    @property
    def rows_at_once(self) -> int:
        return 0

    @property
    def device(self) -> Device:
        return self.encoder.backend.device

    @property
    def arithmetic(self) -> Hashable:
        return (self.encoder.arithmetic, self._f32)

    def attach(self, context: Context) -> None:
        self._context = context

    # --- pictures -----------------------------------------------------------------------------
    def canvas(self, picture: Picture) -> Canvas:
        return choose_canvas(picture.height, picture.width, rules=self.shape.tiling)

    def preview(self, *pictures: Picture) -> Preview:
        """The picture itself takes no cells: it is seen through the cross layers."""
        (picture,) = pictures
        canvas = self.canvas(picture)
        return Preview(canvas.rows, canvas.columns, canvas.width, canvas.height, n_cells=0)

    def see(self, *pictures: Picture, checkpoint: Checkpoint | None = None) -> tuple[Sight, float]:
        (picture,) = pictures
        started, before = time.perf_counter(), self.n_seen
        self.states(picture, checkpoint)
        spent = (time.perf_counter() - started) * 1000
        return Sight(picture, picture.key), spent if self.n_seen > before else 0.0

    def states(self, picture: Picture, checkpoint: Checkpoint | None = None) -> CrossStates:
        """A picture's keys and values, good until another picture is read."""
        kept = self._pictures.get(picture.key)
        if kept is not None:
            self._pictures.move_to_end(picture.key)
            return kept
        tiled = tile_picture(picture.image, rules=self.shape.tiling)
        states = self._load(picture.key, tiled) or self._read_anew(picture.key, tiled, checkpoint)
        self._pictures[picture.key] = states
        while len(self._pictures) > self._most:
            _, oldest = self._pictures.popitem(last=False)
            self.encoder.layers.forget_plans(oldest)
            oldest.close()
        return states

    def _load(self, key: str, tiled: TiledPicture) -> CrossStates | None:
        """From an earlier time."""
        if self._kept is None:
            return None
        try:
            return self._kept.load(key, tiled, self.encoder, f32=self._f32)
        except OutOfMemory:
            return None  # whoever reads it anew makes room

    def _read_anew(
        self, key: str, tiled: TiledPicture, checkpoint: Checkpoint | None
    ) -> CrossStates:
        started = time.perf_counter()
        states = self._read(tiled, checkpoint)
        self.n_seen += 1
        if self._kept is not None:
            spent = time.perf_counter() - started
            self._kept.save(key, states, self.encoder, f32=self._f32, seconds=spent)
        return states

    def _read(self, tiled: TiledPicture, checkpoint: Callable[[float], None] | None) -> CrossStates:
        """A picture's states. Where memory is short: with less at a time, then on the CPU; what a
        device cannot compute, on the CPU as well.

        Raises OutOfMemory where nothing helps.
        """
        while True:
            try:
                return self.encoder.states(tiled, f32=self._f32, checkpoint=checkpoint)
            except UnsupportedOperation as error:
                LOGGER.warning("%s: pictures are read on the CPU", error.message)
                self._read_on_cpu()
            except OutOfMemory as error:
                LOGGER.warning("%s: trying again with less", error.message)
                if self._pictures:
                    self.forget_pictures()  # they can be read again, this one cannot wait
                elif self.encoder.score_bytes > LEAST_SCORE_BYTES:
                    self.encoder.score_bytes = LEAST_SCORE_BYTES
                elif self.encoder.on_gpu:
                    self._read_on_cpu()
                else:
                    raise

    def _read_on_cpu(self) -> None:
        self.forget_pictures()
        self.encoder.close()
        self.encoder = PictureEncoder(
            self._header, self.shape, self._cpu, n_threads=self._n_threads
        )
        self.injection.use(self.encoder.layers)

    def forget_pictures(self) -> None:
        """They are encoded again when they are needed."""
        if not self._pictures:
            return
        self.encoder.layers.forget_plans()
        for states in self._pictures.values():
            states.close()
        self._pictures.clear()

    # --- decoding -----------------------------------------------------------------------------
    def place(self, sight: Sight, sequence: int, before: Sequence[int], *, stop: Stop) -> Place:
        """The last of `before` is the image token: rows before it do not see the picture."""
        assert self._context is not None
        here = sight.at(len(before) - 1)
        for start in range(0, len(before), self._context.n_batch):
            chunk = before[start : start + self._context.n_batch]
            rows = [Row(token, start + i, sequence) for i, token in enumerate(chunk)]
            self.decode(rows, [here] * len(rows), stop=stop)
        return Place().after(len(before))

    def decode(self, rows: Sequence[Row], sights: Sequence[Sight | None], *, stop: Stop) -> None:
        assert self._context is not None
        self.injection.begin(self._segments(rows, sights), stop=stop)
        try:
            self._context.decode(rows)
        except LlavaError:
            self.injection.raise_error()  # what happened in the callback is the cause
            raise
        self.injection.check()

    def _segments(self, rows: Sequence[Row], sights: Sequence[Sight | None]) -> list[Segment]:
        """Runs of rows that see the same. Raises OutOfMemory where not all pictures fit."""
        segments: list[Segment] = []
        for seen, run in groupby(zip(rows, sights, strict=True), _seen):
            together = [sight for _, sight in run]
            sight = together[0]
            states = None if sight is None else self.states(sight.picture)
            segments.append(Segment(len(together), states, seen is not None and seen[1]))
        read = {id(states) for states in self._pictures.values()}
        if any(one.states is not None and id(one.states) not in read for one in segments):
            raise OutOfMemory("there is no memory for all pictures at once")
        return segments


def _seen(pair: tuple[Row, Sight | None]) -> tuple[str, bool] | None:
    """(the picture, whether the row stands before its token); None: no picture."""
    row, sight = pair
    return None if sight is None else (sight.key, row.position < sight.image_at)
