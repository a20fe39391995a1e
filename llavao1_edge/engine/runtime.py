"""Everything native of one open pair, with one owner and one order of closing."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract import keys
from llavao1_edge.contract.pair import read_pair
from llavao1_edge.engine.turns import Turns
from llavao1_edge.errors import LlavaError, ModelFileError, UsageError
from llavao1_edge.ggml.backend import Backend, Device, choose_device, devices
from llavao1_edge.images import Canvas, Picture, choose_canvas, tile_picture
from llavao1_edge.llama.context import Context, Row
from llavao1_edge.llama.log import route_logs
from llavao1_edge.llama.model import Model
from llavao1_edge.llama.sampler import Sampling
from llavao1_edge.mllama.cross import CrossLayers, CrossStates
from llavao1_edge.mllama.injection import Injection, Segment
from llavao1_edge.mllama.shape import MllamaShape, read_shape
from llavao1_edge.mllama.vision import VisionTower
from llavao1_edge.mllama.weights import Weights
from llavao1_edge.prompt import END_OF_TURN, Piece, Special
from llavao1_edge.settings import RuntimeSettings

DEFAULT_CONTEXT = 4096
CANDIDATE_TOKENS = 640  # of a whole answer, as the model writes them; longer ones go in waves
TINY_MODEL_BYTES = 64 << 20
N_SEQUENCES = 64
MAX_PICTURES = 2  # kept encoded; a picture of the 11B model takes about 210 MB

Stop = Callable[[], bool]


def machine_devices() -> list[Device]:
    """What this llama.cpp build can compute on, without its chatter."""
    route_logs()
    return devices()


@dataclass(frozen=True)
class SeenPicture:
    """A picture as a conversation sees it."""

    picture: Picture
    canvas: Canvas


@dataclass(frozen=True)
class View:
    """What a sequence sees: a picture's states from position `image_at` on. None: no picture."""

    states: CrossStates
    image_at: int


class Runtime:
    """Owns model, context, vision tower and cross layers. Callers take their turn (`turns`)."""

    def __init__(
        self, text: Path, mmproj: Path, settings: RuntimeSettings, *, width: int, stop: Stop
    ) -> None:
        """width: candidates to make room for; stop: asked while the text model is loaded."""
        self._width = width
        self.settings = settings
        self.text_header, self.mmproj_header = read_pair(text, mmproj)
        self.shape: MllamaShape = read_shape(self.mmproj_header)
        self.turns = Turns()
        self._pieces: dict[int, bytes] = {}
        self._pictures: OrderedDict[str, CrossStates] = OrderedDict()
        # llama.cpp refuses (by aborting) more sequences than a batch has rows.
        self.n_sequences = min(N_SEQUENCES, settings.batch)
        self._free_sequences = list(range(self.n_sequences))[::-1]
        self.vision_passes = 0
        self.decode_calls = 0
        with ExitStack() as stack:
            self._open(stack, stop)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack, stop: Stop) -> None:
        settings = self.settings
        route_logs()  # first: starting a device logs already
        device = choose_device(gpu=settings.gpu_layers != 0)
        self.n_threads = settings.threads or self._useful_threads()
        self.backend = Backend(device, n_threads=self.n_threads)
        stack.callback(self.backend.close)
        layers = settings.gpu_layers
        self.gpu_layers = (-1 if device.is_gpu else 0) if layers is None else layers
        self.model = Model(
            self.text_header.path,
            fd=self.text_header.fd,
            gpu_layers=self.gpu_layers,
            stop=stop,
        )
        stack.callback(self.model.close)
        self.weights = Weights(self.mmproj_header, self.backend)
        stack.callback(self.weights.close)
        self.tower = VisionTower(self.shape, self.weights, self.backend)
        self.layers = CrossLayers(self.shape, self.weights, self.backend)
        stack.callback(self.layers.close)
        stack.callback(self._forget_pictures)
        self.injection = Injection(
            self.layers, after=self.shape.cross_after, width=self.shape.text_width
        )
        stack.callback(self.injection.close)
        n_ctx = settings.context or self._planned_context()
        self.context = Context(
            self.model,
            n_ctx=n_ctx,
            n_batch=min(settings.batch, n_ctx),
            n_ubatch=min(settings.batch, n_ctx),
            n_sequences=self.n_sequences,
            n_threads=self.n_threads,
            f32_cache=self.f32_cache,
            eval_callback=self.injection.callback,
        )
        stack.callback(self.context.close)
        self._read_vocabulary()

    def _planned_context(self) -> int:
        """Cells for the conversation and for what a search holds at once."""
        alone = min(DEFAULT_CONTEXT, self.model.context_length)
        return alone + (min(self._width, self.n_sequences) - 1) * CANDIDATE_TOKENS

    def _useful_threads(self) -> int:
        """One for a tiny model. Two are a quarter faster on an idle machine (measured on the demo),
        but they wait for each other hundreds of times a token: on a busy one they come to a crawl.
        """
        return 1 if self.text_header.n_bytes < TINY_MODEL_BYTES else self.settings.n_threads

    def _read_vocabulary(self) -> None:
        header = self.text_header
        self.head_vocab = header.integer(keys.HEAD_VOCAB)
        self.image_token = header.integer(keys.IMAGE_TOKEN)
        self.stop_tokens = frozenset(header.integers(keys.STOP_TOKENS))
        self.system_block = header.metadata.get(keys.SYSTEM_BLOCK) is True
        if not 0 < self.head_vocab <= self.model.n_vocab or self.image_token >= self.model.n_vocab:
            raise ModelFileError(
                f"{header.path.name}: {self.head_vocab} logits, image token {self.image_token}, "
                f"{self.model.n_vocab} tokens",
                hint="Convert the checkpoint again with this version.",
            )
        controls = [
            token
            for token in range(self.head_vocab)
            if token not in self.stop_tokens and self.model.is_control(token)
        ]
        # Rows beyond the head are padding: their logits mean nothing.
        padding = range(self.head_vocab, self.model.n_vocab)
        self.banned: NDArray[np.int64] = np.array([*controls, *padding], dtype=np.int64)

    @property
    def pair_id(self) -> str:
        """Names the pair: equal for all conversions of one checkpoint."""
        return self.text_header.text(keys.PAIR_ID)

    @property
    def f32_cache(self) -> bool:
        """Keys and values in F32 where asked for, or where the weights are F32 themselves."""
        if self.settings.cache == "auto":
            return self.text_header.metadata.get(keys.FILE_TYPE) == 0
        return self.settings.cache == "f32"

    def default_sampling(self) -> Sampling:
        """The model's own sampling defaults, completed with the method's."""
        header, base = self.text_header, Sampling()

        def stated(key: str, otherwise: float) -> float:
            return header.number(key) if key in header.metadata else otherwise

        return Sampling(
            temperature=stated(keys.TEMPERATURE, base.temperature),
            top_p=stated(keys.TOP_P, base.top_p),
            top_k=int(stated(keys.TOP_K, base.top_k)),
        )

    def close(self) -> None:
        self._stack.close()

    # --- tokens -------------------------------------------------------------------------------
    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Pieces → ids; neighbouring texts are tokenised together, as in one string."""
        tokens: list[int] = []
        text = ""
        for piece in [*pieces, None]:
            if isinstance(piece, str):
                text += piece
                continue
            if text:
                tokens += self.model.tokenise(text)
                text = ""
            if piece is not None:
                tokens.append(self._special(piece))
        return tokens

    def _special(self, piece: Special) -> int:
        if piece.text == "<|image|>":
            return self.image_token
        return self.model.special(piece.text)

    def piece(self, token: int) -> bytes:
        """The bytes of a token, remembered."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.model.piece(token)
        return piece

    @property
    def end_of_turn(self) -> int:
        return self.model.special(END_OF_TURN.text)

    # --- pictures -----------------------------------------------------------------------------
    def canvas(self, picture: Picture) -> Canvas:
        return choose_canvas(picture.height, picture.width, rules=self.shape.tiling)

    def encode_picture(
        self, picture: Picture, *, checkpoint: Callable[[float], None] | None = None
    ) -> tuple[CrossStates, float]:
        """Keys and values of a picture and the milliseconds it took; 0 if it was kept."""
        kept = self._pictures.get(picture.key)
        if kept is not None:
            self._pictures.move_to_end(picture.key)
            return kept, 0.0
        started = time.perf_counter()
        tiled = tile_picture(picture.image, rules=self.shape.tiling)
        vision = self.tower.encode(tiled, checkpoint=checkpoint)
        try:
            states = self.layers.states(vision, n_tiles=tiled.n_tiles, f32=self.f32_cache)
        finally:
            vision.close()
        self.vision_passes += 1
        self._pictures[picture.key] = states
        while len(self._pictures) > MAX_PICTURES:
            self.layers.forget_plans()
            self._pictures.popitem(last=False)[1].close()
        return states, (time.perf_counter() - started) * 1000

    def _forget_pictures(self) -> None:
        self.layers.forget_plans()
        for states in self._pictures.values():
            states.close()
        self._pictures.clear()

    # --- sequences ----------------------------------------------------------------------------
    @property
    def n_free_sequences(self) -> int:
        return len(self._free_sequences)

    def take_sequence(self) -> int:
        if not self._free_sequences:
            raise UsageError(
                f"more than {self.n_sequences} candidates and conversations at once",
                hint="Ask for fewer candidates, or close conversations.",
            )
        return self._free_sequences.pop()

    def release(self, sequence: int) -> None:
        self.context.forget(sequence)
        self._free_sequences.append(sequence)

    # --- decoding -----------------------------------------------------------------------------
    def decode(self, rows: Sequence[Row], view: View | None, *, stop: Stop) -> None:
        """One batch. The rows' logits are read from `context` afterwards.

        Raises Cancelled, ContextFullError, BackendError; the rows' cells must then be forgotten.
        """
        self.decode_calls += 1
        self.injection.begin(_segments(rows, view), stop=stop)
        try:
            self.context.decode(rows)
        except LlavaError:
            self.injection.raise_error()  # what happened in the callback is the cause
            raise
        self.injection.check()


def _segments(rows: Sequence[Row], view: View | None) -> list[Segment]:
    """Runs of rows that see the same."""
    if view is None:
        return [Segment(len(rows), None)]
    segments: list[Segment] = []
    for row in rows:
        before = row.position < view.image_at
        if segments and segments[-1].before_image == before:
            segments[-1] = Segment(segments[-1].n + 1, view.states, before)
        else:
            segments.append(Segment(1, view.states, before))
    return segments
