"""The memory plan, made from headers alone, against what a process really takes.

    python -m benchmarks.memory_plan --one-b FOLDER --pair TEXT.gguf MMPROJ.gguf

Every set-up runs in a process of its own: it opens the pair for a search, asks one question about a
picture, and reports the largest resident memory that the system saw (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import header
from benchmarks.phases import one_b
from llavao1_edge import demo

CHILD = """
import json, sys
from llavao1_edge import BudgetSettings, Engine, RuntimeSettings, SamplingSettings, StageBeam, demo
text, mmproj, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
search = StageBeam(candidates=n)
settings = RuntimeSettings(picture_cache=0, gpu_layers=0)
with Engine.open(text=text, mmproj=mmproj, settings=settings, search=search) as engine:
    plan = engine.runtime.plan
    session = engine.session(demo.samples()[0].picture)
    session.ask("What is it? " * 60, search=search, sampling=SamplingSettings(temperature=1.0),
                budget=BudgetSettings(stage_tokens=4, token_budget=8 * n))
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    peak = int(status["VmHWM"].split()[0]) * 1024
    anonymous = int(status["RssAnon"].split()[0]) * 1024
print(json.dumps({"needed": plan.needed, "resident": plan.resident, "peak": peak,
                  "anonymous": anonymous, "n_ctx": plan.n_ctx}))
"""


def measure(text: Path, mmproj: Path, candidates: int) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(text), str(mmproj), str(candidates)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-b", type=Path, metavar="FOLDER")
    parser.add_argument("--pair", type=Path, nargs=2, metavar=("TEXT", "MMPROJ"))
    options = parser.parse_args()
    shipped = (demo.text_path(), demo.mmproj_path())
    setups = [("demo F16", shipped, 1), ("demo F16", shipped, 16)]
    if options.one_b:
        setups += [("1B Q8_0", one_b(options.one_b), n) for n in (1, 16)]
        setups += [("1B Q4_K_M", one_b(options.one_b, "Q4_K_M"), n) for n in (1, 8)]
    if options.pair:
        setups += [(options.pair[0].stem, tuple(options.pair), n) for n in (1, 4)]
    print(header("memory_plan"))
    print("| pair | N | context | needed GB | resident, planned GB | measured peak GB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, (text, mmproj), n in setups:
        found = measure(text, mmproj, n)
        print(
            f"| {name} | {n} | {found['n_ctx']} | {found['needed'] / 1e9:.3f} "
            f"| {found['resident'] / 1e9:.3f} | {found['peak'] / 1e9:.3f} "
            f"| {found['resident'] / found['peak']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
