"""What an open model is, for reports and records: nothing else looks inside the engine."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.contract.pair import Kind
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.mllama.model import MllamaModel


@dataclass(frozen=True)
class ModelInfo:
    """identity: the same for all conversions of one checkpoint. kind: who runs its vision. device:
    what reads pictures.

    context: cells of the cache; memory: the plan, a line each; hooks: how many layers run inside
    llama.cpp's; tile_size (pixels), max_tiles: how pictures are cut, 0 where they are not cut into
    one grid; max_pictures: of a conversation, None for any number; chat_format: its name.
    """

    identity: str
    kind: Kind
    device: str
    context: int
    n_threads: int
    memory: tuple[str, ...]
    hooks: int
    tile_size: int
    max_tiles: int
    max_pictures: int | None
    chat_format: str


def model_info(runtime: Runtime) -> ModelInfo:
    vision = runtime.vision
    tiling = vision.shape.tiling if isinstance(vision, MllamaModel) else None
    return ModelInfo(
        identity=runtime.identity,
        kind=runtime.kind,
        device=vision.device.name,
        context=runtime.context.n_ctx,
        n_threads=runtime.n_threads,
        memory=tuple(runtime.plan.lines()),
        hooks=len(vision.shape.cross_after) if isinstance(vision, MllamaModel) else 0,
        tile_size=tiling.tile_size if tiling else 0,
        max_tiles=tiling.max_tiles if tiling else 0,
        max_pictures=vision.max_pictures,
        chat_format=runtime.words.chat.name,
    )
