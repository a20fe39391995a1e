"""Many questions: what each way of asking them costs, and whether a simulated queue is right.

python -m benchmarks.scale ways      the same file by one process, shards, a server, Ray
python -m benchmarks.scale queue     a served model under random arrivals, and its simulation
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import header
from llavao1_edge import demo
from llavao1_edge.program import command
from tests.serve.running import Running, about_a_picture, serving

QUESTIONS, SEED = 200, 1
QUEUE, LOADS, ARRIVALS = 8, (0.5, 0.8, 1.2), 200


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("ways", "queue"))
    parser.add_argument("--ray", action="store_true", help="also on a Ray cluster of this machine")
    options = parser.parse_args()
    print(header("scale"))
    with TemporaryDirectory() as folder:
        if options.what == "ways":
            ways(Path(folder), with_ray=options.ray)
        else:
            queue(Path(folder))


# --- ways ----------------------------------------------------------------------------------------
def ways(folder: Path, *, with_ray: bool) -> None:
    """Seconds from the command to the report, everything included."""
    file, few = questions(folder / "q.jsonl", QUESTIONS), questions(folder / "few.jsonl", 4)
    print(f"{QUESTIONS} questions, staged, the demo model; one thread for each engine\n")
    print("| way | start, s | s together | questions/s after the start |\n|---|---|---|---|")
    here = ["--gpu-layers", "0", "--threads", "1"]
    show("one process", folder, few, file, [here])
    show("two shards", folder, few, file, [[*here, "--shard", f"{i}/2"] for i in (1, 2)])
    with serving("--threads", "1", "--parallel", "1", "--seed", "0", folder=folder) as running:
        for n in (1, 4):
            served = ["--server", running.address, "--parallel", str(n)]
            show(f"a server, {n} at a time", folder, few, file, [served])
    if with_ray:
        show("Ray, one worker", folder, few, file, [[*here, "--ray", "local"]])


def questions(path: Path, n: int) -> Path:
    samples = demo.samples()
    rows = [
        {
            "index": str(i),
            "question": f"{samples[i % 6].question} ({i})",
            "answer": "3",
            "image": str(samples[i % 6].picture),
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def show(name: str, folder: Path, few: Path, many: Path, ways: Sequence[list[str]]) -> None:
    start = run(folder / f"{name}-few", few, ways)
    whole = run(folder / name, many, ways)
    rate = (QUESTIONS - 4) / max(1e-9, whole - start)
    print(f"| {name} | {start:.1f} | {whole:.1f} | **{rate:.1f}** |", flush=True)


def run(out: Path, file: Path, ways: Sequence[list[str]]) -> float:
    started = time.perf_counter()
    asked = ["eval", str(file), "--no-pages", "--strategy", "staged"]
    running = [
        subprocess.Popen(
            command("llavao1_edge.cli.main", *asked, *way, "--out", f"{out}-{i}"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for i, way in enumerate(ways)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit(f"a run ended with {codes}")
    return time.perf_counter() - started


# --- the queue -----------------------------------------------------------------------------------
def queue(folder: Path) -> None:
    """Random arrivals at a server with one engine and a short queue."""
    print(f"{ARRIVALS} questions at random times, {QUEUE} may wait; the demo model, staged\n")
    with serving(
        "--threads", "1", "--parallel", "1", "--queue", str(QUEUE), folder=folder
    ) as running:
        alone = [ask(running, seed)[0] for seed in range(30)][5:]
        engine = saturated(running)
        around = max(0.0, statistics.fmean(alone) - engine)
        print(
            f"alone, an answer takes {1000 * statistics.fmean(alone):.0f} ms; where others wait "
            f"already, {1000 * engine:.0f} ms: the rest is done beside the engine\n"
        )
        share = engine / statistics.fmean(alone)
        services = [share * seconds for seconds in alone]
        print("| load | | mean, ms | 95 % within, ms | refused |\n|---|---|---|---|---|")
        for load in LOADS:
            rng = random.Random(f"{SEED}|{load}")
            times, at = [], 0.0
            for _ in range(ARRIVALS):
                at += rng.expovariate(load / engine)
                times.append(at)
            row(load, "measured", measured(running, times))
            row(load, "simulated", simulated(times, services, around, rng))


def row(load: float, what: str, waits: list[float | None]) -> None:
    done = sorted(wait for wait in waits if wait is not None)
    refused = 1 - len(done) / len(waits)
    late = done[int(0.95 * (len(done) - 1))]
    mean = statistics.fmean(done)
    print(
        f"| {load} | {what} | {1000 * mean:.0f} | {1000 * late:.0f} | {refused:.1%} |", flush=True
    )


def ask(running: Running, seed: int) -> tuple[float, int]:
    """(seconds, status)."""
    started = time.perf_counter()
    reply = running.chat(about_a_picture(), seed=seed)
    return time.perf_counter() - started, reply.status_code


def measured(running: Running, times: Sequence[float]) -> list[float | None]:
    """Seconds from each request to its answer; None for those that were refused."""
    began = time.perf_counter()

    def come(number: int) -> float | None:
        time.sleep(max(0.0, began + times[number] - time.perf_counter()))
        seconds, status = ask(running, number)
        return seconds if status == 200 else None

    with ThreadPoolExecutor(4 * QUEUE) as clients:
        return list(clients.map(come, range(len(times))))


def saturated(running: Running) -> float:
    """Seconds an answer keeps the engine, where the next one always waits."""
    started = time.perf_counter()
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lambda seed: ask(running, seed), range(60)))
    return (time.perf_counter() - started) / 60


def simulated(
    times: Sequence[float], services: Sequence[float], around: float, rng: random.Random
) -> list[float | None]:
    """One engine, first come first served, at most QUEUE waiting; answers take as long as measured,
    and `around` seconds besides, in which the engine is free."""
    ends: list[float] = []  # of those in work and in the queue
    free, waits = 0.0, list[float | None]()
    for at in times:
        while ends and ends[0] <= at:
            heapq.heappop(ends)
        if len(ends) > QUEUE:
            waits.append(None)
            continue
        free = max(free, at) + rng.choice(services)
        heapq.heappush(ends, free)
        waits.append(free - at + around)
    return waits


if __name__ == "__main__":
    main()
