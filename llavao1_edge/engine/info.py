"""What an open model is, for reports and records: nothing else looks inside the engine."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.engine.runtime import Runtime


@dataclass(frozen=True)
class ModelInfo:
    """identity: the same for all conversions of one checkpoint. device: what reads pictures.

    context: cells of the cache; memory: the plan, a line each; hooks: how many layers run inside
    llama.cpp's; tile_size (pixels), max_tiles: how pictures are cut.
    """

    identity: str
    device: str
    context: int
    n_threads: int
    memory: tuple[str, ...]
    hooks: int
    tile_size: int
    max_tiles: int


def model_info(runtime: Runtime) -> ModelInfo:
    tiling = runtime.vision.shape.tiling
    return ModelInfo(
        identity=runtime.pair_id,
        device=runtime.vision.eyes.backend.device.name,
        context=runtime.context.n_ctx,
        n_threads=runtime.n_threads,
        memory=tuple(runtime.plan.lines()),
        hooks=len(runtime.vision.shape.cross_after),
        tile_size=tiling.tile_size,
        max_tiles=tiling.max_tiles,
    )
