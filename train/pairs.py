"""A checkpoint as a pair of files in half precision, as models of our size are used."""

from __future__ import annotations

from pathlib import Path

from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion


def convert(checkpoint: Path, folder: Path, *, name: str) -> tuple[Path, Path]:
    """Text and mmproj file, which are replaced where they are there already."""
    plan = plan_conversion(
        checkpoint, folder, text_quantisation="F16", vision_quantisation="F16", name=name
    )
    for _ in run(plan):
        pass
    return plan.text.path, plan.mmproj.path
