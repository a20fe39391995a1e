"""A model that llama.cpp runs itself, for the engine: see `vision.VisionModel`."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.native import projector_of
from llavao1_edge.contract.pair import fingerprint
from llavao1_edge.errors import BackendError
from llavao1_edge.ggml.backend import Device
from llavao1_edge.images import Picture
from llavao1_edge.llama.context import Context, Row
from llavao1_edge.llama.model import Model
from llavao1_edge.native.library import Chunk, ImageChunk, Reader, TextChunk, total
from llavao1_edge.state_cache import StateCache, Stored, name_of
from llavao1_edge.vision import Checkpoint, Place, Preview, Stop

LOGGER = logging.getLogger(__name__)
MAX_PICTURES = 4  # kept encoded; a picture of a 7B model takes up to 15 MB
# Projectors that read parts of one size, and those whose tokens each show a square of the picture.
WHOLE = {"idefics3", "gemma3", "gemma3nv", "mlp", "mlp_norm", "internvl", "llama4"}
SQUARES = {"qwen2vl_merger", "qwen2.5vl_merger", "qwen3vl_merger", "lfm2"}
MERGED = 2  # patches on a token's side, where the file says nothing
# The models' own limits of a picture's tokens. A number given to libmtmd replaces them, also where
# it is larger; and SmolVLM's way to cut pictures changes with any number.
OWN_LIMITS = {"qwen2vl_merger": 4096, "qwen2.5vl_merger": 4096, "qwen3vl_merger": 4096,
              "pixtral": 1024, "lfm2": 256}  # fmt: skip
MERGE_KEYS = ("clip.vision.spatial_merge_size", "clip.vision.projector.scale_factor")


@dataclass(frozen=True)
class Seen:
    """A picture's chunks, in order, with the embeddings of those that show it."""

    chunks: tuple[Chunk, ...]
    rows: tuple[NDArray[np.float32] | None, ...]


@dataclass(frozen=True)
class Sight:
    """Pictures that stand before the questions."""

    pictures: tuple[Picture, ...] = field(compare=False)
    keys: tuple[str, ...]


class NativeModel:
    """Pictures are read on `reader`; where that fails, on `cpu`."""

    def __init__(
        self,
        header: GgufHeader,
        model: Model,
        *,
        reader: Device,
        cpu: Device,
        n_threads: int,
        most_tokens: int,
        asked: bool,
        exact: bool,
        cache: StateCache | None = None,
    ) -> None:
        """most_tokens: of a picture, where the model lets one choose; asked: whether somebody asked
        for just that; cache: where pictures that were read are kept. Raises BackendError."""
        own = OWN_LIMITS.get(projector_of(header))
        kept = projector_of(header) == "idefics3" or (own is not None and own <= most_tokens)
        limit = None if kept else most_tokens
        if asked:
            limit = most_tokens
        self._header, self._model = header, model
        self._cache, self._how = cache, (limit, exact)
        self._pictures: OrderedDict[str, Seen] = OrderedDict()
        self._context: Context | None = None
        self.n_seen = 0
        self.device = reader

        def opened(device: Device) -> Reader:
            return Reader(
                header,
                model,
                device=device,
                n_threads=n_threads,
                most_tokens=limit,
                exact=exact,
            )

        try:
            self._reader = opened(reader)
        except BackendError as error:
            if not reader.is_gpu:
                raise
            LOGGER.warning("%s: pictures are read on the CPU", error.message)
            self._reader, self.device = opened(cpu), cpu

    def close(self) -> None:
        """After the context."""
        while self._pictures:
            self._forget_oldest()
        self._reader.close()

    @property
    def eval_callback(self) -> Any:
        return None

    @property
    def can_rewind(self) -> bool:
        return not self._model.has_recurrent_state

    @property
    def in_context(self) -> bool:
        return True

    @property
    def max_pictures(self) -> int | None:
        return None

    @property
    def rows_at_once(self) -> int:
        if not self._reader.needs_one_batch():
            return 0
        side = 4096  # as large as any: models that bound their pictures bound this one too
        chunks = self._reader.measure(side, side)
        return max(chunk.n_tokens for chunk in chunks if isinstance(chunk, ImageChunk))

    @property
    def arithmetic(self) -> Hashable:
        return self._how

    def attach(self, context: Context) -> None:
        self._context = context

    # --- pictures -----------------------------------------------------------------------------
    def preview(self, *pictures: Picture) -> Preview:
        n_cells, looks = 0, []
        for picture in pictures:
            chunks = self._reader.measure(picture.width, picture.height)
            n_cells += total(chunks)[1]
            looks += [
                self._size(chunk, picture) for chunk in chunks if isinstance(chunk, ImageChunk)
            ]
        width, height = looks[0]
        return Preview(1, 1, width, height, n_cells, tuple(looks))

    def _size(self, chunk: ImageChunk, picture: Picture) -> tuple[int, int]:
        """(width, height) in pixels that a chunk shows; zeros where that cannot be told."""
        header, name = self._header, projector_of(self._header)
        if name in WHOLE:
            side = header.integer("clip.vision.image_size")
            return side, side
        if name not in SQUARES:
            return 0, 0
        merged = MERGED
        for key in MERGE_KEYS:
            if key in header.metadata:
                merged = header.integer(key)
        side = header.integer("clip.vision.patch_size") * merged
        columns, rows = chunk.columns, chunk.rows
        if rows == 1:  # they stand in a line: the grid with the picture's shape
            wanted = picture.width / picture.height
            columns, rows = min(
                ((n, chunk.n_tokens // n) for n in _divisors(chunk.n_tokens)),
                key=lambda grid: abs(math.log(grid[0] / grid[1] / wanted)),
            )
        return columns * side, rows * side

    def see(self, *pictures: Picture, checkpoint: Checkpoint | None = None) -> tuple[Sight, float]:
        started, before = time.perf_counter(), self.n_seen
        for picture in pictures:
            self._see(picture, checkpoint)
        spent = (time.perf_counter() - started) * 1000
        while len(self._pictures) > max(MAX_PICTURES, len(pictures)):
            self._forget_oldest()
        sight = Sight(pictures, tuple(picture.key for picture in pictures))
        return sight, spent if self.n_seen > before else 0.0

    def _see(self, picture: Picture, checkpoint: Checkpoint | None = None) -> Seen:
        kept = self._pictures.get(picture.key)
        if kept is not None:
            self._pictures.move_to_end(picture.key)
            return kept
        chunks = self._reader.cut(np.asarray(picture.image, dtype=np.uint8))
        known = self._load(picture.key, chunks)
        if known is not None:
            seen = self._pictures[picture.key] = Seen(tuple(chunks), tuple(known))
            return seen
        started = time.perf_counter()
        shown = [chunk for chunk in chunks if isinstance(chunk, ImageChunk)]
        rows: list[NDArray[np.float32] | None] = []
        done = 0

        def asked() -> None:
            if checkpoint is not None:
                checkpoint(done / max(1, len(shown)))

        try:
            for chunk in chunks:
                if isinstance(chunk, ImageChunk):
                    asked()
                    rows.append(self._reader.encode(chunk, asked))
                    done += 1
                else:
                    rows.append(None)
        except BaseException:
            for chunk in chunks:
                self._reader.free(chunk)
            raise
        self.n_seen += 1
        self._save(picture.key, rows, time.perf_counter() - started)
        seen = self._pictures[picture.key] = Seen(tuple(chunks), tuple(rows))
        return seen

    # --- from an earlier time -----------------------------------------------------------------
    def _name(self, key: str) -> str:
        return name_of(key, self._weights, self.device.description, *self._how)

    @functools.cached_property
    def _weights(self) -> str:
        return fingerprint(self._header)

    def _load(self, key: str, chunks: list[Chunk]) -> list[NDArray[np.float32] | None] | None:
        def take(stored: Stored) -> list[NDArray[np.float32] | None] | None:
            rows: list[NDArray[np.float32] | None] = []
            try:
                for chunk in chunks:
                    if not isinstance(chunk, ImageChunk):
                        rows.append(None)
                        continue
                    shape = (chunk.n_tokens, self._reader.width)
                    data = stored.take(4 * math.prod(shape))
                    rows.append(np.frombuffer(data, np.float32).reshape(shape))
            except ValueError:  # cut off
                return None
            return rows if stored.is_whole else None

        return None if self._cache is None else self._cache.read(self._name(key), take)

    def _save(self, key: str, rows: list[NDArray[np.float32] | None], seconds: float) -> None:
        if self._cache is None:
            return
        parts = [part.tobytes() for part in rows if part is not None]
        self._cache.write(self._name(key), parts, sum(map(len, parts)), seconds=seconds)

    def _forget_oldest(self) -> None:
        for chunk in self._pictures.popitem(last=False)[1].chunks:
            self._reader.free(chunk)

    def forget_pictures(self) -> None:
        """They are encoded again when they are needed."""
        while self._pictures:
            self._forget_oldest()

    # --- decoding -----------------------------------------------------------------------------
    def place(self, sight: Sight, sequence: int, before: Sequence[int], *, stop: Stop) -> Place:
        place = self._text(before, sequence, Place(), stop=stop)
        for picture in sight.pictures:
            seen = self._see(picture)
            for chunk, rows in zip(seen.chunks, seen.rows, strict=True):
                if isinstance(chunk, TextChunk):
                    place = self._text(chunk.tokens, sequence, place, stop=stop)
                    continue
                assert rows is not None
                assert self._context is not None
                self._reader.decode(
                    self._context,
                    chunk,
                    rows,
                    position=place.position,
                    sequence=sequence,
                    stop=stop,
                )
                place = Place(place.position + chunk.n_positions, place.cells + chunk.n_tokens)
        return place

    def _text(self, tokens: Sequence[int], sequence: int, place: Place, *, stop: Stop) -> Place:
        assert self._context is not None
        n_batch = self._context.n_batch
        for start in range(0, len(tokens), n_batch):
            chunk = tokens[start : start + n_batch]
            rows = [
                Row(token, place.position + start + i, sequence) for i, token in enumerate(chunk)
            ]
            self.decode(rows, (), stop=stop)
        return place.after(len(tokens))

    def decode(self, rows: Sequence[Row], sights: Sequence[Any], *, stop: Stop) -> None:  # noqa: ARG002
        """Every row sees what its sequence holds: there is nothing more to do."""
        assert self._context is not None
        self._context.decode(rows, stop=stop)


def _divisors(n: int) -> list[int]:
    return [i for i in range(1, n + 1) if n % i == 0]
