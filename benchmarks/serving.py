"""What `serve` costs: the same answers in this process and over HTTP, in turns.

python -m benchmarks.serving                        the demo model: answers per second
python -m benchmarks.serving --native FOLDER        a random 1B-shaped model: share of a step
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.machine import header
from benchmarks.native_one_b import native_one_b
from llavao1_edge import Direct, Engine, RuntimeSettings, SamplingSettings, Staged, demo
from llavao1_edge.search import Strategy
from tests.serve.running import Running, about_a_picture, data_url, serving

PICTURE = demo.samples()[0].picture
QUESTION = demo.samples()[0].question
CLIENTS, REQUESTS, STEPS = 16, 64, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--native", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parallel", default="1", help="of the server of the demo model")
    options = parser.parse_args()
    print(header("serving"))
    with TemporaryDirectory() as folder:
        if options.native is None:
            small(Path(folder), options.rounds, options.parallel)
        else:
            large(Path(folder), options.native, options.rounds)


# --- many small answers --------------------------------------------------------------------------
def small(folder: Path, rounds: int, parallel: str) -> None:
    """Answers per second of the demo model: one after the other here, from clients over HTTP."""
    print(f"{REQUESTS} questions a round, {CLIENTS} clients, medians of {rounds} rounds\n")
    print("| search | here, answers/s | served, answers/s | served of here |\n|---|---|---|---|")
    settings = RuntimeSettings(gpu_layers=0, threads=1)
    searches: list[Strategy] = [Direct(), Staged()]
    given = ("--threads", "1", "--queue", "100", "--parallel", parallel)
    with (
        Engine.open("demo", settings=settings) as engine,
        serving(*given, folder=folder) as running,
    ):
        for search in searches:
            here, served = [], []
            for _ in range(rounds + 1):
                here.append(rate_here(engine, search))
                served.append(rate_served(running, search))
            a, b = statistics.median(here[1:]), statistics.median(served[1:])
            print(f"| {search.name} | {a:.1f} | {b:.1f} | **{b / a:.2f}** |")
        print(
            f"\nThe server's process takes {1000 * cpu_of_a_chunk(running):.2f} ms of CPU a chunk."
        )


def cpu_of_a_chunk(running: Running) -> float:
    """Seconds that the server's own process computes for a chunk of a stream."""
    process, chunks = psutil.Process(running.process.pid), 0
    before = process.cpu_times()
    for seed in range(REQUESTS):
        body = {"messages": about_a_picture(), "stream": True, "seed": seed}
        with running.http.stream("POST", "/v1/chat/completions", json=body) as reply:
            chunks += sum(line.startswith("data: {") for line in reply.iter_lines())
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system) / chunks


def rate_here(engine: Engine, search: Strategy) -> float:
    started = time.perf_counter()
    for seed in range(REQUESTS):
        engine.session(PICTURE).ask(QUESTION, search=search, seed=seed)
    return REQUESTS / (time.perf_counter() - started)


def rate_served(running: Running, search: Strategy) -> float:
    def ask(seed: int) -> None:
        own = {"strategy": search.name}
        running.chat(about_a_picture(QUESTION), seed=seed, llavao1=own).raise_for_status()

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, range(REQUESTS)))
    return REQUESTS / (time.perf_counter() - started)


# --- one large answer ----------------------------------------------------------------------------
def large(folder: Path, model: Path, rounds: int) -> None:
    """Milliseconds of a step of a 1B-shaped model, streamed token by token."""
    text, mmproj = native_one_b(model)
    settings = RuntimeSettings(gpu_layers=0, context=2048, picture_tokens=64)
    print(f"{STEPS} tokens a round, streamed; medians of {rounds} rounds\n")
    print("| | first token, s | ms a step | of the step here |\n|---|---|---|---|")
    options = ["--gpu-layers", "0", "--context", "2048", "--picture-tokens", "64"]
    options += ["--model", str(text), "--mmproj", str(mmproj)]
    with (
        Engine.open(text=text, mmproj=mmproj, settings=settings) as engine,
        serving(*options, folder=folder) as running,
    ):
        here, served = [], []
        for seed in range(rounds + 1):  # the first one reads the picture
            here.append(step_here(engine, seed))
            served.append(step_served(running, seed))
    base = statistics.median(step for _, step in here[1:])
    for name, times in (("here", here[1:]), ("served", served[1:])):
        first, step = (statistics.median(one[i] for one in times) for i in (0, 1))
        print(f"| {name} | {first:.2f} | {1000 * step:.2f} | **{step / base:.3f}** |")


def step_here(engine: Engine, seed: int) -> tuple[float, float]:
    """(seconds to the first text, seconds a step after it)."""
    started, first = time.perf_counter(), 0.0
    sampling = SamplingSettings(max_tokens=STEPS)
    session = engine.session(PICTURE)
    for event in session.stream(
        f"{QUESTION} {seed}", search=Staged(), seed=seed, sampling=sampling
    ):
        if type(event).__name__ == "Token":
            first = first or time.perf_counter()
    return first - started, (time.perf_counter() - first) / (STEPS - 1)


def step_served(running: Running, seed: int) -> tuple[float, float]:
    started, first = time.perf_counter(), 0.0
    body: dict[str, Any] = {
        "messages": about_a_picture(f"{QUESTION} {seed}", data_url(PICTURE)),
        "stream": True,
        "seed": seed,
        "max_tokens": STEPS,
    }
    with running.http.stream("POST", "/v1/chat/completions", json=body) as reply:
        for line in reply.iter_lines():
            if not first and "content" in line and len(json.loads(line[6:])["choices"]) == 1:
                first = time.perf_counter()
    return first - started, (time.perf_counter() - first) / (STEPS - 1)


if __name__ == "__main__":
    main()
