"""The whole way at our scale: a base, a teacher, four-stage answers, fine-tuning, the gain.

    python -m train.base --out runs/base --minutes 28      (once)
    python -m benchmarks.finetune --base runs/base/checkpoint --out runs/finetune

Every step is the command that docs/finetune.md names; one that has its result is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import header
from tests.serve.running import serving
from train.questions import draw_task
from train.scene import draw_scene, render, scene_rng

LEARNT, ASKED = 5001, 5002  # seeds of the pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--epochs", type=float, default=3)
    options = parser.parse_args()
    out: Path = options.out
    questions(out / "learnt", options.examples, LEARNT)
    questions(out / "asked", options.questions, ASKED)
    annotate(out)
    tune(options.base, out, "full", options.epochs, "--lr", "1e-3", "--freeze-vision")
    tune(options.base, out, "lora", options.epochs, "--lr", "3e-3", "--rank", "32", "--embeddings")
    models = {
        "base": convert(out, "Base", options.base),
        "full": convert(out, "Full", out / "full/checkpoint"),
        "lora": convert(out, "Lora", options.base, "--adapter", str(out / "lora/adapter")),
    }
    print(header("finetune"))
    print(f"\n{(out / 'annotated/report.md').read_text()}")
    rows = [
        evaluate(out, "base", "free", models["base"]),
        evaluate(out, "full", "staged", models["full"]),
        evaluate(out, "full", "direct", models["full"]),
        evaluate(out, "lora", "staged", models["lora"]),
        evaluate(out, "lora", "direct", models["lora"]),
    ]
    print("| model | strategy | right | 95 % |\n|---|---|---|---|")
    for row in rows:
        print(row)


def questions(folder: Path, n: int, seed: int) -> None:
    """Pictures of shapes, and a question with its answer about each."""
    path = folder / "questions.jsonl"
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n):
        rng = scene_rng(seed, i)
        scene = draw_scene(rng, tile_size=56)
        task = draw_task(rng, scene)
        render(scene).save(folder / f"{i}.png")
        row = {"id": f"{seed}-{i}", "picture": f"{i}.png", "question": task.question}
        rows.append(row | {"answer": task.conclusion})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(name: str, *given: str) -> None:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", *given], check=True, stdout=sys.stderr)
    print(f"{name}: {(time.monotonic() - started) / 60:.1f} min", file=sys.stderr, flush=True)


def annotate(out: Path) -> None:
    """By the demo model behind our own server."""
    if (out / "annotated/train.jsonl").exists():
        return
    with serving("--threads", "1", "--parallel", "1", "--queue", "64", folder=out) as running:
        given = [str(out / "learnt/questions.jsonl"), "--server", running.address]
        more = ["--teacher", "llavao1", "--out", str(out / "annotated"), "--parallel", "2"]
        run("annotate", "train.annotate", *given, *more)


def tune(base: Path, out: Path, method: str, epochs: float, *options: str) -> None:
    if any((out / method / name).exists() for name in ("checkpoint", "adapter")):
        return
    given = ["--base", str(base), "--data", str(out / "annotated/train.jsonl")]
    given += ["--out", str(out / method), "--method", method, "--epochs", str(epochs)]
    given += ["--batch", "8", "--accumulate", "1", "--held-out", "50", "--save-every", "200"]
    run(f"finetune {method}", "train.finetune", *given, *options, "--no-checkpointing", "--cpu")


def convert(out: Path, name: str, source: Path, *options: str) -> Path:
    path = out / f"models/{name}-F16.gguf"
    if not path.exists():
        given = ["llavao1_edge.cli.main", "convert", str(source), "--out", str(out / "models")]
        run("convert", *given, "--name", name, "--quant", "F16", "--vision-quant", "F16", *options)
    return path


def evaluate(out: Path, name: str, strategy: str, model: Path) -> str:
    """A row of the table, from `eval`'s own report."""
    folder = out / f"eval-{name}-{strategy}"
    given = [
        "llavao1_edge.cli.main",
        "eval",
        str(out / "asked/questions.jsonl"),
        "--model",
        str(model),
    ]
    run("eval", *given, "--strategy", strategy, "--out", str(folder), "--temperature", "0")
    (line,) = json.loads((folder / "report.json").read_text())["lines"]
    share, low, high = (f"{100 * line[part]:.1f} %" for part in ("accuracy", "low", "high"))
    return f"| {name} | {strategy} | **{share}** | {low}–{high} |"


if __name__ == "__main__":
    main()
