"""What the first answer of a conversation costs that is opened again: told anew, or from the disk.

    python -m benchmarks.synthetic one-b FOLDER/source
    llavao1-edge convert FOLDER/source --out FOLDER --quant Q4_K_M
    python -m benchmarks.reopened FOLDER/TEXT.gguf

Each way opens the model anew, in turn. The picture is on the disk for both. Time is that until the
first token, without reading the picture.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from benchmarks.machine import header, own_cache
from llavao1_edge import Answer, Direct, Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.images import open_picture
from tests.configurations import noise

ROUNDS = 3
TOLD = [
    ("What do you see?", {
        "summary": "I will look at the picture part by part and then say what it shows as a whole.",
        "caption": "The picture shows a kitchen with a wooden table in the middle. On the table "
        "stand a blue jug, two white cups and a basket with apples. Behind it a window lets in the "
        "light of the morning, and a grey cat sits on the sill and looks out into the garden.",
        "reasoning": "The table is laid for two: there are two cups and the jug between them. The "
        "light comes from the left and is low, so it is early. The cat is calm, which it would not "
        "be with strangers in the room. So this is somebody's home, shortly before breakfast.",
        "conclusion": "A kitchen in the morning, laid for two, with a cat at the window.",
    }),
    ("How many apples are in the basket?", {
        "summary": "I will count the apples that can be seen and consider those that are hidden.",
        "caption": "The basket is round and as high as a cup. Four red apples lie on top, and "
        "between them two green ones can be seen, one of them half hidden by the handle.",
        "reasoning": "Four red ones and two green ones make six. The basket is high enough for "
        "another layer, but nothing of it can be seen, so six is what can be said for sure.",
        "conclusion": "At least 6.",
    }),
]  # fmt: skip
ASKED, NEXT = "Which of them is the largest?", "And why?"
SHORT = SamplingSettings(max_tokens=8, temperature=0)


def conversation(engine: Engine, answered: Answer | None, *, resumable: bool) -> Answer:
    """The answer after what was told, and after `answered`, if given."""
    picture = open_picture(noise(560, 560, seed=1))
    with engine.session(picture, resumable=resumable) as session:
        for question, stages in TOLD:
            session.recall(question, stages)
        if answered is not None:
            session.recall(ASKED, answered.stages)
        return session.ask(NEXT if answered else ASKED, search=Direct(), seed=1, sampling=SHORT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    with own_cache(options.text) as folder:
        print(header("reopened"))
        settings = RuntimeSettings(gpu_layers=0, context=4096)
        with Engine.open(options.text, settings=settings) as engine:
            answered = conversation(engine, None, resumable=True)
        kept = {path: path.read_bytes() for path in folder.iterdir()}
        stored = max(map(len, kept.values()))
        times: dict[bool, list[float]] = {False: [], True: []}
        computed = {}
        for _ in range(ROUNDS):
            for resumable, spent in times.items():
                for path, data in kept.items():  # an answer replaces the file of the one before
                    path.write_bytes(data)
                with Engine.open(options.text, settings=settings) as engine:
                    last = conversation(engine, answered, resumable=resumable)
                spent.append(last.trace.counters.prefill_ms)
                computed[resumable] = last.trace.counters.prefill_tokens
        anew, again = (statistics.median(times[way]) for way in (False, True))
        print("\n| | tokens computed | until the first token | |\n|---|---|---|---|")
        print(f"| told anew | {computed[False]} | {anew:.0f} ms | 1 |")
        print(f"| from the disk | {computed[True]} | {again:.0f} ms | **{again / anew:.3f}** |")
        print(f"\nThe largest file, {stored / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
