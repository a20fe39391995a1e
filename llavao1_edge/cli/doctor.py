"""`llavao1-edge doctor`: what is installed, what it can use, and whether it works here."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import time
from typing import Any

from llavao1_edge import __version__
from llavao1_edge.cli import options as shared
from llavao1_edge.cli.devices import describe, memory_text
from llavao1_edge.errors import LlavaError
from llavao1_edge.locate import model_paths

PACKAGES = ("llama-cpp-python", "numpy", "pillow", "pillow-heif")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check the installation",
        description="Versions, devices, the hook into llama.cpp, and a question to the demo model.",
        epilog="example:\n  llavao1-edge doctor --gpu-layers 0",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    shared.add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    report: dict[str, Any] = {"versions": versions()}
    settings = shared.runtime_settings(options)
    try:
        report["devices"] = describe()
        report |= self_test(options, settings)
    except LlavaError as error:
        report |= {"ok": False, "problem": str(error)}
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _print(report)
    return 0 if report["ok"] else 1


def versions() -> dict[str, str]:
    found = {"llavao1-edge": __version__, "python": platform.python_version()}
    found["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def self_test(options: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """Loads the model and asks the demo's sample questions (any other model: hooks only)."""
    from llavao1_edge import demo
    from llavao1_edge.engine import Engine
    from llavao1_edge.settings import SamplingSettings

    started = time.perf_counter()
    text, mmproj = model_paths(options.model, options.mmproj)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        loaded = time.perf_counter()
        sample = demo.samples()[0]
        greedy = SamplingSettings(temperature=0, max_tokens=400 if options.model == "demo" else 8)
        answer = engine.session(sample.picture).ask(sample.question, sampling=greedy)
        about = engine.about
    right = options.model != "demo" or answer.conclusion == sample.answer
    return {
        "model": options.model,
        "computes_on": about.device,
        "hooks": about.hooks,
        "memory": list(about.memory),
        "load_ms": round((loaded - started) * 1000),
        "picture_ms": round(answer.trace.counters.picture_ms),
        "answer_ms": round((time.perf_counter() - loaded) * 1000),
        "ok": right,
        "problem": ""
        if right
        else f"{sample.question} → {answer.conclusion!r}, not {sample.answer}",
    }


def _print(report: dict[str, Any]) -> None:
    for name, version in report["versions"].items():
        print(f"{name:18} {version}")
    for device in report.get("devices", []):
        print(f"{'device':18} {device['name']}: {device['description']}, {memory_text(device)}")
    if report.get("hooks"):
        print(f"{'hooks':18} all {report['hooks']} cross-attention layers ran inside llama.cpp")
        for line in report["memory"]:
            print(f"{'memory':18} {line}")
        print(
            f"{'times':18} load {report['load_ms']} ms, picture {report['picture_ms']} ms, "
            f"whole answer {report['answer_ms']} ms on {report['computes_on']}"
        )
    print(f"{'result':18} {'ok' if report['ok'] else 'FAILED: ' + report['problem']}")
