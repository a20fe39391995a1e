"""Writes the sample pictures that the package ships, from held-out scenes.

python -m train.samples
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from train.questions import KINDS, draw_task
from train.scene import draw_scene, render, scene_rng

FOLDER = Path(__file__).parent.parent / "llavao1_edge" / "demo" / "samples"
SEED = 97  # neither a training nor an evaluation seed
WIDTH = 480
# A first picture that everybody can check at a glance, then one of each kind of question.
ORDER = ("count", "exists", "attribute", "more", "left", "choice")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = []
    index = 0
    for number, kind in enumerate(ORDER, start=1):
        assert kind in KINDS
        while True:
            index += 1
            scene = draw_scene(scene_rng(SEED, index), tile_size=56)
            ratio = scene.width / scene.height
            task = draw_task(random.Random(index), scene, kind=kind)
            plain = 0.8 <= ratio <= 1.5 and len(scene.things) >= 4
            # "0" or "1" would be a poor first impression.
            if plain and (kind != "count" or task.conclusion in "234"):
                break
        large = replace(scene, width=WIDTH, height=round(WIDTH / ratio))
        name = f"{number}-{kind}.png"
        render(large).save(FOLDER / name, optimize=True)
        rows.append({"picture": name, "question": task.question, "answer": task.conclusion})
    text = json.dumps(rows, indent=1) + "\n"
    (FOLDER / "samples.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
