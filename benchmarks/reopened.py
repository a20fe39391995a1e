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
import tempfile
from pathlib import Path

import platformdirs

from benchmarks.machine import header
from llavao1_edge import Answer, Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.images import open_picture
from tests.configurations import noise

ROUNDS, TOKENS = 3, 40  # a stage
QUESTIONS = ("What do you see?", "Which of them is the largest?", "And why?")


def conversation(engine: Engine, turns: int, told: list[Answer], *, resumable: bool) -> Answer:
    """Its last answer."""
    picture = open_picture(noise(560, 560, seed=1))
    sampling = SamplingSettings(max_tokens=4 * TOKENS, temperature=1)
    with engine.session(picture, resumable=resumable) as session:
        for question, answer in zip(QUESTIONS, told, strict=False):
            session.recall(question, answer.stages)
        for question in QUESTIONS[len(told) : turns]:
            told.append(session.ask(question, seed=1, sampling=sampling))
    return told[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.text.parent) as folder:
        platformdirs.user_cache_dir = lambda *_, **__: folder  # type: ignore[assignment]
        print(header("reopened"))
        settings = RuntimeSettings(gpu_layers=0)
        told: list[Answer] = []
        with Engine.open(options.text, settings=settings) as engine:
            conversation(engine, len(QUESTIONS) - 1, told, resumable=True)
        stored = max(path.stat().st_size for path in (Path(folder) / "pictures").iterdir())
        times: dict[bool, list[float]] = {False: [], True: []}
        computed = {}
        for _ in range(ROUNDS):
            for resumable, spent in times.items():
                with Engine.open(options.text, settings=settings) as engine:
                    last = conversation(engine, len(QUESTIONS), [*told], resumable=resumable)
                spent.append(last.trace.counters.prefill_ms)
                computed[resumable] = last.trace.counters.prefill_tokens
        anew, kept = (statistics.median(times[way]) for way in (False, True))
        print("\n| | tokens computed | until the first token | |\n|---|---|---|---|")
        print(f"| told anew | {computed[False]} | {anew:.0f} ms | 1 |")
        print(f"| from the disk | {computed[True]} | {kept:.0f} ms | **{kept / anew:.3f}** |")
        print(f"\nThe largest file, {stored / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
