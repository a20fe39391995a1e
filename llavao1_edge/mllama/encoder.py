"""What reads pictures: a device with the mmproj file's weights, the tower, the cross layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from llavao1_edge.contract import tensors as names
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.ggml.backend import Backend, Device
from llavao1_edge.images import TiledPicture
from llavao1_edge.lifetime import Closing
from llavao1_edge.mllama.arithmetic import Arithmetic
from llavao1_edge.mllama.cross import CrossLayers, CrossStates
from llavao1_edge.mllama.shape import MllamaShape
from llavao1_edge.mllama.tuning import tuned
from llavao1_edge.mllama.vision import SCORE_BYTES, VisionTower
from llavao1_edge.mllama.weights import Weights

LEAST_SCORE_BYTES = SCORE_BYTES // 16


class PictureEncoder(Closing):
    """Owns a device's backend, the weights on it, the vision tower and the cross layers."""

    def __init__(
        self, header: GgufHeader, shape: MllamaShape, device: Device, *, n_threads: int
    ) -> None:
        """Raises BackendError, OutOfMemory where the weights do not fit the device."""
        with ExitStack() as stack:
            self.backend = Backend(device, n_threads=n_threads)
            stack.callback(self.backend.close)
            self.weights = Weights(header, self.backend, repacked=of_text_rows(shape))
            stack.callback(self.weights.close)
            kind = header.tensors[names.local(0, "ffn_up.weight")].kind
            arithmetic = tuned(self.backend, shape, kind)
            self.tower = VisionTower(shape, self.weights, self.backend, arithmetic=arithmetic)
            self.layers = CrossLayers(shape, self.weights, self.backend, arithmetic=arithmetic)
            stack.callback(self.layers.close)
            self._stack = stack.pop_all()

    @property
    def on_gpu(self) -> bool:
        return self.backend.device.is_gpu

    @property
    def score_bytes(self) -> int:
        """Attention scores in memory at a time."""
        return self.tower.score_bytes

    @score_bytes.setter
    def score_bytes(self, n: int) -> None:
        self.tower.score_bytes = n

    @property
    def arithmetic(self) -> Arithmetic:
        """How pictures are computed: another one gives slightly other states."""
        return self.tower.arithmetic

    def states(
        self, tiled: TiledPicture, *, f32: bool, checkpoint: Callable[[float], None] | None
    ) -> CrossStates:
        """Keys and values of a picture. Raises OutOfMemory, and what `checkpoint` raises."""
        vision = self.tower.encode(tiled, checkpoint=checkpoint)
        try:
            return self.layers.states(vision, n_tiles=tiled.n_tiles, f32=f32)
        finally:
            vision.close()

    def close(self) -> None:
        self._stack.close()


def of_text_rows(shape: MllamaShape) -> list[str]:
    """The matrices of the cross layers that rows of text are multiplied by."""
    parts = ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return [
        names.cross(layer, f"{part}.weight")
        for layer in range(shape.tensors.cross_layers)
        for part in parts
    ]
