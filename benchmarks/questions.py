"""Writes held-out questions about shapes, which the demo knows too, as a data set for `eval`.

python -m benchmarks.questions FOLDER --n 2000          FOLDER/questions.jsonl and its pictures
llavao1-edge eval FOLDER/questions.jsonl --strategy …
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from train.evaluate import SEED
from train.questions import KINDS, draw_task
from train.scene import draw_scene, render, scene_rng


def write(folder: Path, n: int, seed: int) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    path = folder / "questions.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for index in range(n):
            scene = draw_scene(scene_rng(seed, index), tile_size=56)
            task = draw_task(
                random.Random(f"question-{index}"), scene, kind=KINDS[index % len(KINDS)]
            )
            name = f"{index:05}.png"
            render(scene).save(folder / "images" / name)
            row = {
                "id": str(index),
                "picture": name,
                "question": task.question,
                "answer": task.conclusion,
                "kind": "text",
                "category": task.kind,
            }
            file.write(json.dumps(row) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=SEED, help="of the pictures")
    options = parser.parse_args()
    print(write(options.folder, options.n, options.seed))


if __name__ == "__main__":
    main()
