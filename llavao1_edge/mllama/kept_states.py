"""Pictures that were read before, on disk: keys and values of the cross layers, exactly."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.pair import fingerprint
from llavao1_edge.ggml.tensor import Tensor
from llavao1_edge.images import TiledPicture
from llavao1_edge.mllama.cross import CrossStates
from llavao1_edge.mllama.encoder import PictureEncoder
from llavao1_edge.mllama.shape import MllamaShape
from llavao1_edge.state_cache import StateCache, Stored, name_of

COUNT = np.dtype("<u4")


class KeptStates:
    """The states of one model's pictures in a cache. A name says what they were made of: the
    picture's pixels, the weights, and how and where it was computed."""

    def __init__(self, cache: StateCache, header: GgufHeader, shape: MllamaShape) -> None:
        self._cache, self._header, self._shape = cache, header, shape

    @functools.cached_property
    def _weights(self) -> str:
        return fingerprint(self._header)

    def _name(self, key: str, encoder: PictureEncoder, *, f32: bool) -> str:
        how = (encoder.backend.device.description, encoder.arithmetic, f32)
        return name_of(key, self._weights, *how)

    def load(
        self, key: str, tiled: TiledPicture, encoder: PictureEncoder, *, f32: bool
    ) -> CrossStates | None:
        """None where they are not kept, or are damaged. Raises OutOfMemory."""

        def take(stored: Stored) -> CrossStates | None:
            states = encoder.layers.empty_states(n_tiles=tiled.n_tiles, f32=f32)
            try:
                if self._filled(states, stored):
                    return states
            except BaseException:
                states.close()
                raise
            states.close()
            return None

        return self._cache.read(self._name(key, encoder, f32=f32), take)

    def _filled(self, states: CrossStates, stored: Stored) -> bool:
        """Whether all of it came, as it was written."""
        tile = self._shape.tokens_per_tile
        try:
            n = int(np.frombuffer(stored.take(COUNT.itemsize), COUNT).sum())
            if not 0 < n <= states.n_tokens or n % tile:
                return False
            for tensor, axis in _tensors(states):
                data = stored.take(tensor.n_bytes // self._shape.n_cells * n)
                _fill(tensor, axis, data, n, tile, states.n_tokens)
        except ValueError:  # cut off
            return False
        states.n_distinct = n
        return stored.is_whole

    def save(
        self, key: str, states: CrossStates, encoder: PictureEncoder, *, f32: bool, seconds: float
    ) -> None:
        """seconds: what it took to read the picture."""
        per_token = sum(tensor.n_bytes for tensor, _ in _tensors(states)) // self._shape.n_cells
        n_bytes = per_token * states.n_distinct
        name = self._name(key, encoder, f32=f32)
        self._cache.write(name, _parts(states), n_bytes, seconds=seconds)


def _tensors(states: CrossStates) -> Iterator[tuple[Tensor, int]]:
    """Each with the axis, in numpy's order, along which its tokens lie."""
    for keys, values in zip(states.keys, states.values, strict=True):
        yield keys, 1
        yield values, 2


def _dtype(tensor: Tensor) -> np.dtype[np.generic]:
    return np.dtype("<u2" if tensor.type.name == "F16" else "<u4")  # bits, not numbers


def _parts(states: CrossStates) -> Iterator[bytes]:
    yield np.array([states.n_distinct], COUNT).tobytes()
    for tensor, axis in _tensors(states):
        whole = tensor.read(_dtype(tensor)).reshape(tensor.shape[2::-1])
        yield whole.take(range(states.n_distinct), axis=axis).tobytes()


def _fill(tensor: Tensor, axis: int, data: bytes, n: int, tile: int, n_tokens: int) -> None:
    """The first `n` of `n_tokens` tokens, and the last tile of them again; zeros behind them.

    Raises ValueError where `data` is too short."""
    shape = list(tensor.shape[2::-1])
    values = np.zeros(shape, _dtype(tensor))
    shape[axis] = n
    distinct = np.frombuffer(data, _dtype(tensor)).reshape(shape)
    last = distinct.take(range(n - tile, n), axis=axis)
    tokens = np.concatenate([distinct, *[last] * ((n_tokens - n) // tile)], axis=axis)
    values[(slice(None),) * axis + (slice(n_tokens),)] = tokens
    tensor.write(values)
