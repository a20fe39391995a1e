"""Everything native of one open pair, with one owner and one order of closing."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract import keys
from llavao1_edge.contract.draft import check_draft
from llavao1_edge.contract.gguf import GgufHeader, read_header
from llavao1_edge.contract.pair import Kind, identity, kind_of, read_pair
from llavao1_edge.devices import choose, machine_devices
from llavao1_edge.engine.draft_model import DraftModel
from llavao1_edge.engine.machine import read_machine
from llavao1_edge.engine.memory import (
    CPU_PICTURE_TOKENS,
    GPU_PICTURE_TOKENS,
    MemoryPlan,
    fit,
    quantisation_name,
)
from llavao1_edge.engine.sizes import Sizes, n_states, sizes
from llavao1_edge.engine.turns import Step, Turns
from llavao1_edge.engine.words import mllama_words, native_words
from llavao1_edge.errors import BackendError, ModelFileError, UsageError
from llavao1_edge.files import expanded
from llavao1_edge.llama.context import Context, Row
from llavao1_edge.llama.guide import Vocabulary
from llavao1_edge.llama.model import Model
from llavao1_edge.llama.sampler import Sampling
from llavao1_edge.mllama.model import MllamaModel
from llavao1_edge.mllama.shape import read_shape
from llavao1_edge.native.model import NativeModel
from llavao1_edge.phrases import Phrase
from llavao1_edge.prompt import BEGIN, Piece, Special, chat_format, joined
from llavao1_edge.settings import RuntimeSettings
from llavao1_edge.state_cache import StateCache
from llavao1_edge.vision import Stop, VisionModel

LOGGER = logging.getLogger(__name__)
TINY_MODEL_BYTES = 64 << 20
N_SEQUENCES = 64  # llama.cpp refuses (by aborting) more sequences than a batch has rows
GPU_SEQUENCES = 31


class Runtime:
    """Owns text model, vision model and context. Not for two threads at a time: see `turns`."""

    def __init__(
        self,
        text: Path,
        mmproj: Path,
        settings: RuntimeSettings,
        *,
        width: int,
        parallel: int = 1,
        stop: Stop,
    ) -> None:
        """width: candidates to make room for; parallel: answers that are written at once; stop:
        asked while the text model is loaded."""
        self._width = max(width, parallel)
        self.turns = Turns(parallel)
        self.settings = settings
        self.text_header, self.mmproj_header = read_pair(text, mmproj)
        self._draft_header = self._read_draft()
        self.kind = kind_of(self.text_header, self.mmproj_header)
        if settings.chat_format is not None:
            chat_format(settings.chat_format)  # before anything is loaded
        self._pieces: dict[int, bytes] = {}
        self.step_costs: dict[bool, list[float]] = {}  # with a picture or without; see `step_costs`
        self.chosen = choose(machine_devices(settings.servers), settings)
        try:
            self._open_all(stop)
        except (BackendError, ModelFileError) as error:
            if not self._may_leave_the_gpu():
                raise
            LOGGER.warning("%s; computing on the CPU instead", error.message)
            self.chosen = self.chosen.cpu_only
            self._open_all(stop)

    def _may_leave_the_gpu(self) -> bool:
        """Whether a device was in use that nobody asked for by name or number of layers."""
        settings = self.settings
        named = (settings.gpu_layers, settings.device, settings.mmproj_device, settings.rpc)
        used = getattr(self, "plan", None) is not None and self.plan.uses_gpu
        return used and all(value is None for value in named)

    def _open_all(self, stop: Stop) -> None:
        with ExitStack() as stack:
            self._open(stack, stop)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack, stop: Stop) -> None:
        settings = self.settings
        self.n_sequences = min(N_SEQUENCES, settings.batch)
        self.plan = self._plan_memory(self._sizes())
        if self.plan.gpu_layers:
            # llama.cpp tries fused attention with as many rows as there are sequences. From 32 rows
            # on the device takes single operations of layers that stay on the CPU, llama.cpp then
            # finds attention on the wrong device and gives the fused form up altogether.
            self.n_sequences = min(self.n_sequences, GPU_SEQUENCES)
        self.n_threads = settings.threads or self._useful_threads()
        self.gpu_layers = self.plan.gpu_layers
        self.model = Model(
            self.text_header.path,
            fd=self.text_header.fd,
            gpu_layers=self.gpu_layers,
            devices=[device.address for device in self.chosen.devices] if self.gpu_layers else (),
            stop=stop,
        )
        stack.callback(self.model.close)
        if self.model.has_recurrent_state:  # each takes memory, used or not
            self.n_sequences = min(self.n_sequences, n_states(self.plan.width))
        self._free_sequences = list(range(self.n_sequences))[::-1]
        kept = settings.picture_cache
        self.kept = StateCache.of_user(kept) if kept else None
        if self.kept is not None:
            self.kept.trim()
        self.vision = self._open_vision()
        stack.callback(self.vision.close)
        n_ctx = self.plan.n_ctx
        n_batch = min(max(settings.batch, self.vision.rows_at_once), n_ctx)
        self.context = Context(
            self.model,
            n_ctx=n_ctx,
            n_batch=n_batch,
            n_ubatch=n_batch,
            n_sequences=self.n_sequences,
            n_threads=self.n_threads,
            f32_cache=self.f32_cache,
            eval_callback=self.vision.eval_callback,
        )
        stack.callback(self.context.close)
        self.vision.attach(self.context)
        self.draft = self._open_draft(stop)
        if self.draft is not None:
            stack.callback(self.draft.close)
        self.words = (
            mllama_words(self.text_header, self.model, settings)
            if self.kind is Kind.MLLAMA
            else native_words(self.text_header, self.mmproj_header, self.model, settings)
        )

    def _read_draft(self) -> GgufHeader | None:
        if self.settings.draft is None or self.settings.draft_max == 0:
            return None
        header = read_header(expanded(self.settings.draft))
        check_draft(header, self.text_header)
        return header

    def _open_draft(self, stop: Stop) -> DraftModel | None:
        if self._draft_header is None:
            return None
        if not self.vision.can_rewind:
            raise UsageError(
                Phrase("{name} cannot take back guesses", name=self.text_header.path.name),
                hint="Its layers have states in place of attention: leave --draft out.",
            )
        plan, context = self.plan, self.context
        return DraftModel(
            self._draft_header,
            gpu_layers=-1 if plan.draft_on_gpu else 0,
            devices=[device.address for device in self.chosen.devices] if plan.draft_on_gpu else (),
            n_ctx=context.n_ctx,
            n_batch=min(self.settings.batch, context.n_ctx),
            n_sequences=self.n_sequences,
            n_threads=self.n_threads,
            stop=stop,
        )

    def _open_vision(self) -> VisionModel:
        reader = self.chosen.reader if self.plan.vision_on_gpu else self.chosen.cpu
        if self.kind is Kind.MLLAMA:
            return MllamaModel(
                self.mmproj_header,
                read_shape(self.mmproj_header),
                reader=reader,
                cpu=self.chosen.cpu,
                n_threads=self.n_threads,
                f32=self.f32_cache,
                most_pictures=self.turns.at_once,
                cache=self.kept,
            )
        return NativeModel(
            self.mmproj_header,
            self.model,
            reader=reader,
            cpu=self.chosen.cpu,
            n_threads=self.n_threads,
            most_tokens=min(self._picture_tokens, self.plan.n_ctx // 2),
            asked=self.settings.picture_tokens is not None,
            exact=self.f32_cache,
            cache=self.kept,
        )

    @property
    def _picture_tokens(self) -> int:
        """The most that a picture may take of the context, where pictures stand in it."""
        if self.settings.picture_tokens is not None:
            return self.settings.picture_tokens
        return GPU_PICTURE_TOKENS if self.chosen.reader.is_gpu else CPU_PICTURE_TOKENS

    def _sizes(self) -> Sizes:
        found = sizes(
            self.text_header,
            self.mmproj_header,
            f32_cache=self.f32_cache,
            batch=self.settings.batch,
            picture_tokens=self._picture_tokens,
            draft=self._draft_header,
        )
        # One batch may see a picture of each answer.
        return replace(found, picture=found.picture * self.turns.at_once)

    def _plan_memory(self, found: Sizes) -> MemoryPlan:
        """Raises BackendError where the pair does not fit this machine."""
        plan = fit(
            found,
            read_machine(self.chosen),
            self.settings,
            width=min(self._width, self.n_sequences),
            quantisation=quantisation_name(self.text_header),
        )
        for line in plan.lines():
            LOGGER.log(logging.WARNING if line.startswith("given up") else logging.INFO, line)
        return plan

    def _useful_threads(self) -> int:
        """One for a tiny model. Two are a quarter faster on an idle machine (measured on the demo),
        but they wait for each other hundreds of times a token: on a busy one they come to a crawl.
        """
        return 1 if self.text_header.n_bytes < TINY_MODEL_BYTES else self.settings.n_threads

    @functools.cached_property
    def identity(self) -> str:
        """Names the model; equal for all conversions of one checkpoint by us."""
        return identity(self.text_header, self.mmproj_header)

    @property
    def stop_tokens(self) -> frozenset[int]:
        return self.words.stop_tokens

    @property
    def banned(self) -> NDArray[np.int64]:
        """Tokens that are never drawn."""
        return self.words.banned

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
        for piece in joined(pieces):
            if isinstance(piece, str):
                tokens += self.model.spell(piece)
            elif piece == BEGIN:
                first = self.model.begins_with
                tokens += [] if first is None else [first]
            else:
                tokens.append(self._special(piece))
        return tokens

    def _special(self, piece: Special) -> int:
        if piece.text == "<|image|>" and self.words.image_token is not None:
            return self.words.image_token
        return self.model.special(piece.text)

    def piece(self, token: int) -> bytes:
        """The bytes of a token, remembered."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self.model.piece(token)
        return piece

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """For forms of the conclusion; made when the first one is asked for."""
        return Vocabulary(self.model, stop_tokens=sorted(self.stop_tokens), banned=self.banned)

    # --- sequences ----------------------------------------------------------------------------
    @property
    def n_free_sequences(self) -> int:
        return len(self._free_sequences)

    def take_sequence(self) -> int:
        if not self._free_sequences:
            raise UsageError(
                Phrase(
                    "more than {n_sequences} candidates and conversations at once",
                    n_sequences=self.n_sequences,
                ),
                hint="Ask for fewer candidates, or close conversations.",
            )
        return self._free_sequences.pop()

    def release(self, sequence: int) -> None:
        self.context.forget(sequence)
        self._free_sequences.append(sequence)

    def rewind(self, sequence: int, start: int) -> bool:
        """Takes a sequence back to position `start`. False: it cannot, and holds what it held; it
        must be freed then, and what it shall hold computed again."""
        return self.vision.can_rewind and self.context.rewind(sequence, start)

    # --- decoding -----------------------------------------------------------------------------
    def decode(self, rows: Sequence[Row], sight: Any, *, stop: Stop) -> None:
        """One batch. The rows' logits are read from `context` afterwards. sight: what they see.

        Raises Cancelled, ContextFullError, BackendError; the rows' cells must then be forgotten.
        """
        self.vision.decode(rows, [sight] * len(rows), stop=stop)

    def step(self, rows: Sequence[Row], sight: Any, *, stop: Stop) -> NDArray[np.float32]:
        """The same inside a turn, together with what other answers need now; a copy of the logits
        (n, n_vocab) of the n rows with `output`."""
        if self.turns.alone:
            self.decode(rows, sight, stop=stop)
            return self.context.outputs(sum(row.output for row in rows))
        step = Step(rows, sight, stop)
        self.turns.meet(step, self._decode_all)
        if step.error is not None:
            raise step.error
        assert step.logits is not None
        return step.logits

    def _decode_all(self, steps: Sequence[Step]) -> None:
        """In as few batches as hold them; what sees the same, side by side."""
        batch: list[Step] = []
        n_rows = 0
        for step in sorted(steps, key=lambda step: hash(step.sight)):
            if batch and n_rows + len(step.rows) > self.context.n_batch:
                self._decode_together(batch)
                batch, n_rows = [], 0
            batch.append(step)
            n_rows += len(step.rows)
        self._decode_together(batch)

    def _decode_together(self, steps: Sequence[Step]) -> None:
        """One batch. Gives each its logits, or its error: where they fail together, each is tried
        alone."""
        rows = [row for step in steps for row in step.rows]
        sights = [step.sight for step in steps for _ in step.rows]
        try:
            self.vision.decode(rows, sights, stop=lambda: all(_stops(step) for step in steps))
            logits = self.context.outputs(sum(row.output for row in rows))
        except BaseException as error:
            for step in steps:
                alone = len(steps) == 1 or not isinstance(error, Exception)
                if alone or step.is_done or not self._take_back(step.rows):
                    step.error = step.error or error
                else:
                    self._decode_together([step])
            return
        start = 0
        for step in steps:
            n = sum(row.output for row in step.rows)
            step.logits = logits[start : start + n]
            start += n

    def _take_back(self, rows: Sequence[Row]) -> bool:
        """Frees cells that a failed batch may have left; False where that cannot be."""
        first: dict[int, int] = {}
        for row in rows:
            for sequence in (row.sequence, row.also):
                if sequence >= 0:
                    first[sequence] = min(row.position, first.get(sequence, row.position))
        rewound = [self.rewind(sequence, position) for sequence, position in first.items()]
        return all(rewound)


def _stops(step: Step) -> bool:
    """Asked in another answer's thread: what it raises is its own."""
    try:
        return step.error is not None or step.stop()
    except Exception as error:
        step.error = error
        return True
