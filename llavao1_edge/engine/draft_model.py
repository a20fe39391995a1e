"""A small text model that guesses what the large one will say (speculative decoding).

It sees the text of a conversation, not its pictures: later stages go on from what earlier ones said
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.errors import UsageError
from llavao1_edge.llama.context import Context, Row
from llavao1_edge.llama.model import Model
from llavao1_edge.phrases import Phrase

MOST_KEPT = 16  # texts that nobody follows any more


@dataclass(eq=False)
class Followed:
    """A text as far as the cache has it; guesses behind it included."""

    sequence: int
    tokens: list[int]


class DraftModel:
    """Owns the model, and a cache with a sequence for each text that it follows. For one thread at
    a time, as the runtime that it belongs to."""

    def __init__(
        self,
        header: GgufHeader,
        *,
        gpu_layers: int,
        devices: Sequence[int],
        n_ctx: int,
        n_batch: int,
        n_sequences: int,
        n_threads: int,
        stop: Callable[[], bool],
    ) -> None:
        """header: checked to have the vocabulary of the model that it guesses for; the rest as for
        `Model` and `Context`. Raises ModelFileError, UsageError, BackendError, Cancelled."""
        self.header, self.n_gpu_layers = header, gpu_layers
        self.model = Model(
            header.path, fd=header.fd, gpu_layers=gpu_layers, devices=devices, stop=stop
        )
        try:
            if self.model.has_recurrent_state:
                raise UsageError(
                    Phrase("{name} cannot take back what it guessed", name=header.path.name),
                    hint="A draft model must have attention in every layer: use another one.",
                )
            self.n_vocab = self.model.n_vocab
            self._context = Context(
                self.model,
                n_ctx=n_ctx,
                n_batch=n_batch,
                n_ubatch=n_batch,
                n_sequences=n_sequences,
                n_threads=n_threads,
                f32_cache=False,
                eval_callback=None,
            )
        except BaseException:
            self.model.close()
            raise
        self._free = list(range(n_sequences))[::-1]
        self.kept: list[Followed] = []  # of candidates that have ended; the oldest first
        self.costs: list[float] | None = None  # once they are known; see `step_costs`

    def close(self) -> None:
        self._context.close()
        self.model.close()

    @property
    def n_batch(self) -> int:
        return self._context.n_batch

    def take(self) -> int | None:
        """A free sequence, if there is one."""
        return self._free.pop() if self._free else None

    def release(self, sequence: int) -> None:
        self._context.forget(sequence)
        self._free.append(sequence)

    def keep(self, text: Followed) -> None:
        """Takes a text over, for those that begin alike: later stages and questions."""
        self.kept.append(text)
        if len(self.kept) > MOST_KEPT:
            self.make_room()

    def make_room(self) -> bool:
        """Frees the oldest text that is kept; False where there is none."""
        if self.kept:
            self.release(self.kept.pop(0).sequence)
            return True
        return False

    def fork(self, source: int, target: int, n: int) -> None:
        """`target` shares the first `n` cells of `source`."""
        self._context.fork(source, target)
        self.rewind(target, n)

    def rewind(self, sequence: int, n: int) -> None:
        """Keeps the first `n` cells of a sequence."""
        self._context.rewind(sequence, n)

    def decode(self, rows: Sequence[Row], *, stop: Callable[[], bool]) -> NDArray[np.float32]:
        """Any number of rows; the logits (n, n_vocab) of the n with `output`. After an error their
        cells must be dropped. Raises ContextFullError, BackendError, Cancelled."""
        logits = []
        for start in range(0, len(rows), self.n_batch):
            chunk = rows[start : start + self.n_batch]
            self._context.decode(chunk, stop=stop)
            logits.append(self._context.outputs(sum(row.output for row in chunk)))
        return logits[0] if len(logits) == 1 else np.concatenate(logits)
