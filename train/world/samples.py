"""Sample pictures of the demo model: one of each family, with a question that it answers.

    python -m train.world.samples --model FILE --to FOLDER

Held out from training. The first picture of each family whose question the model answers rightly
in four stages, greedily and in each of some draws, so that it is right with every setting, and
greedily with the true caption: it is to be seen why. "strange" is of a kind it was never shown,
for the answer that says so.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from llavao1_edge import Answer, Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.images import open_picture
from train.evaluate import DRAWN, GREEDY, SAMPLES
from train.world.families import FAMILIES
from train.world.strange import draw_strange
from train.world.task import Scene, Task

SEED, TRIES = 44, 60


def picture_of(family: str, index: int) -> tuple[Scene, Task]:
    """Number `index` of a family's stream, with one question."""
    rng = random.Random(f"sample-{SEED}-{family}-{index}")
    strange = family == "strange"
    scene = draw_strange(rng, held_out=True) if strange else FAMILIES[family](rng)
    return scene, scene.draw_task(rng)


def _is_sure(engine: Engine, scene: Scene, task: Task) -> bool:
    picture = open_picture(scene.drawn.image)

    def answered(sampling: SamplingSettings, seed: int) -> Answer:
        with closing(engine.session(picture)) as session:
            return session.ask(task.question, sampling=sampling, seed=seed)

    greedy = answered(GREEDY, 0)
    if (greedy.stages.get("caption"), greedy.conclusion) != (task.caption, task.conclusion):
        return False
    drawn = (answered(DRAWN, seed).conclusion for seed in range(SAMPLES))
    return all(conclusion == task.conclusion for conclusion in drawn)


def write_samples(engine: Engine, folder: Path, families: Iterable[str] = FAMILIES) -> list[str]:
    """Pictures and `samples.json`; returns families of which no question was answered rightly."""
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("*.png"):
        earlier.unlink()
    rows, missing = [], []
    for family in families:
        for index in range(TRIES):
            scene, task = picture_of(family, index)
            if _is_sure(engine, scene, task):
                name = f"{len(rows) + 1}-{family}.png"
                scene.drawn.image.save(folder / name, optimize=True)
                about = {"question": task.question, "answer": task.conclusion}
                rows.append({"picture": name, **about})
                break
        else:
            missing.append(family)
    text = json.dumps(rows, indent=1) + "\n"
    (folder / "samples.json").write_text(text, encoding="utf-8")
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="text file of the pair")
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    settings = RuntimeSettings(gpu_layers=0, context=2048, draft_max=0)
    with Engine.open(options.model, settings=settings) as engine:
        missing = write_samples(engine, options.to)
    if missing:
        raise SystemExit(f"no question was answered rightly: {', '.join(missing)}")


if __name__ == "__main__":
    main()
