"""A checkpoint as the package ships it: the pair, sample pictures, and what was measured of it.

    python -m train.world.ship --checkpoint runs/world/checkpoint --to runs/world/shipped

`demo` in it is what belongs in `llavao1_edge/demo`, `metrics.json` in `train/world`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from llavao1_edge import Engine, RuntimeSettings, demo
from train.pairs import convert
from train.world.evaluate import QUESTIONS, measure
from train.world.samples import write_samples


def ship(checkpoint: Path, folder: Path, *, questions: int = QUESTIONS) -> None:
    """Everything that follows from a checkpoint. Raises SystemExit where a family has no sample."""
    text, _ = convert(checkpoint, folder / "demo", name=demo.NAME)
    for about in (*text.parent.glob("*.md"), *text.parent.glob("SHA256SUMS")):
        about.unlink()  # the package has its own words and checks
    settings = RuntimeSettings(gpu_layers=0, context=2048, draft_max=0)
    with Engine.open(text, settings=settings) as engine:
        missing = write_samples(engine, text.parent / "samples")
    metrics = json.dumps(measure(text, questions), indent=1) + "\n"
    (folder / "metrics.json").write_text(metrics, encoding="utf-8")
    if missing:
        raise SystemExit(f"no question was answered surely: {', '.join(missing)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    ship(options.checkpoint, options.to)


if __name__ == "__main__":
    main()
