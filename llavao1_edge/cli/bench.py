"""`llavao1-edge bench`: speed phase by phase, with the distance to what the machine can do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from llavao1_edge.cli import options as shared
from llavao1_edge.errors import UsageError
from llavao1_edge.locate import model_paths

EPILOG = """\
examples:
  llavao1-edge bench --model Llama-3.2V
  llavao1-edge bench --json > before.json
  llavao1-edge bench --compare before.json after.json

The floor of a phase is the larger of reading its bytes at the measured memory bandwidth and doing
its operations at the measured rate of matrix products; the distance says how many times that.
"""
FORMAT = 1
MILLISECONDS = {"type": "number", "minimum": 0, "maximum": 1e12}
COMPARED = {  # what is read of another run
    "type": "object",
    "required": ["format", "phases"],
    "properties": {
        "format": {"const": FORMAT},
        "phases": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "median_ms", "low_ms", "high_ms"],
                "properties": {
                    "name": {"type": "string"},
                    **dict.fromkeys(("median_ms", "low_ms", "high_ms"), MILLISECONDS),
                },
            },
        },
    },
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure speed, phase by phase",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--picture", type=Path, help="default: a sample picture")
    parser.add_argument("--rounds", default="15", metavar="N", help="of each phase (default 15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.json", "B.json"), help="two earlier results"
    )
    shared.add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.compare:
        _print_comparison(*(_read(path) for path in options.compare))
        return 0
    from llavao1_edge import demo
    from llavao1_edge.bench.phases import run_phases
    from llavao1_edge.cli.doctor import versions

    rounds = shared.whole("--rounds", options.rounds, low=1)
    settings = shared.runtime_settings(options)
    text, mmproj = model_paths(options.model, options.mmproj)
    picture = options.picture or demo.samples()[0].picture
    phases, limits = run_phases(text, mmproj, picture, settings, rounds=rounds)
    found = {
        "format": FORMAT,
        "model": shared.model_name(options.model, text),
        "threads": settings.n_threads,
        "versions": versions(),
        "limits": limits,
        "phases": [phase.as_dict() for phase in phases],
    }
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return 0


def _print(found: dict[str, Any]) -> None:
    limits = found["limits"]
    print(f"{found['model']}, {found['threads']} threads; "
          f"memory {limits['bandwidth'] / 1e9:.1f} GB/s, products {limits['f32_rate'] / 1e9:.0f} "
          f"(F32) and {limits['q8_rate'] / 1e9:.0f} (Q8_0) GFLOP/s\n")  # fmt: skip
    print(f"{'phase':48} {'median ms':>10} {'10-90 %':>17} {'floor ms':>9} {'distance':>8}")
    for phase in found["phases"]:
        spread = f"{phase['low_ms']:.2f}-{phase['high_ms']:.2f}"
        floor, distance = "", ""
        if phase["floor_ms"]:
            floor = f"{phase['floor_ms']:.2f}"
            distance = f"{phase['median_ms'] / phase['floor_ms']:.1f}"
        print(
            f"{phase['name']:48} {phase['median_ms']:10.2f} {spread:>17} {floor:>9} {distance:>8}"
        )


def _print_comparison(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Medians of both, and how many times as fast the second is."""
    earlier = {phase["name"]: phase for phase in first["phases"]}
    print(f"{'phase':48} {'A ms':>10} {'B ms':>10} {'A / B':>7}")
    for phase in second["phases"]:
        other = earlier.get(phase["name"])
        if other is None:
            continue
        ratio = other["median_ms"] / phase["median_ms"] if phase["median_ms"] else float("nan")
        apart = other["high_ms"] < phase["low_ms"] or phase["high_ms"] < other["low_ms"]
        print(f"{phase['name']:48} {other['median_ms']:10.2f} {phase['median_ms']:10.2f} "
              f"{ratio:7.2f}{'' if apart else '  (spreads overlap)'}")  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    from jsonschema import Draft202012Validator

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        good = Draft202012Validator(COMPARED).is_valid(found)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path.") from None
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise UsageError(
            f"{path} is not a result of `bench --json`", hint="Make it with this version."
        )
    result: dict[str, Any] = found
    return result
