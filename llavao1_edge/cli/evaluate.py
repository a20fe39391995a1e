"""`llavao1-edge eval`: accuracy of strategies, scorers and pairs on a data set."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.cli.streams import rewrite
from llavao1_edge.errors import Cancelled, UsageError
from llavao1_edge.locate import model_paths
from llavao1_edge.settings import digits

if TYPE_CHECKING:
    from llavao1_edge.evaluation.plan import Plan, Variant
    from llavao1_edge.evaluation.rows import Row, Rows
    from llavao1_edge.evaluation.runs import Identities, Progress, Questions

EPILOG = """\
examples:
  llavao1-edge eval MMStar.tsv --model Llama-3.2V --limit 200 --out runs/mmstar
  llavao1-edge eval mine.jsonl --model A.gguf --model B.gguf --strategy staged \\
      --strategy stage-beam --candidates 2 --candidates 4 --scorer combined --scorer logprob
  llavao1-edge eval big.tsv --shard 2/4 --out runs/2     (the second of four machines)
  llavao1-edge eval big.tsv --merge runs/1 runs/2 runs/3 runs/4 --out runs/all
  llavao1-edge eval big.tsv --server http://gpu-box:8000 --parallel 16 --strategy stage-beam
  llavao1-edge eval MMVet.tsv --export xlsx          (for VLMEvalKit's own scorer)

Known files: VLMEvalKit's .tsv, .jsonl, .csv; see docs/evaluation.md. Killed or stopped, the same
command resumes where it stopped.
"""


MOST_PARALLEL = 256


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        help="measure accuracy on a data set",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="FILE", type=Path, help="a .tsv, .jsonl or .csv file")
    parser.add_argument("--out", type=Path, help="folder for rows and report (default: runs/NAME)")
    parser.add_argument("--limit", metavar="N", help="the first N questions only")
    parser.add_argument("--shard", metavar="I/N", help="the I-th of N parts, from 1")
    parser.add_argument(
        "--merge",
        metavar="FOLDER",
        type=Path,
        nargs="+",
        help="take the rows of these runs (such as shards) and report; nothing is answered",
    )
    parser.add_argument(
        "--circular", action="store_true", help="move options round; all must be right"
    )
    parser.add_argument("--strict", action="store_true", help="a malformed row ends the run")
    parser.add_argument("--export", choices=("tsv", "xlsx"), help="predictions for VLMEvalKit")
    parser.add_argument("--no-pages", action="store_true", help="no page for each wrong answer")
    shared.add_evaluation_options(parser)
    shared.add_server_options(parser)
    parser.add_argument(
        "--parallel",
        metavar="N",
        default="1",
        help="questions at a time: asked of a server, or written here in the same batches",
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="answer on a Ray cluster; local for one on this machine"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from llavao1_edge.evaluation.output import check_folder
    from llavao1_edge.evaluation.rows import Rows
    from llavao1_edge.evaluation.runs import identities, of_plan, questions

    plan = make_plan(options)
    found = questions(plan)
    out = options.out or Path("runs") / options.dataset.stem
    for row in found.malformed:
        print(f"left out: line {row.line}: {row.problem}", file=sys.stderr)
    try:
        known = any((out / name).exists() for name in ("rows.jsonl", "rows.lock"))
        check_folder(out, is_known=known)
        rows = Rows(out / "rows.jsonl")
    except OSError as error:
        raise UsageError(f"cannot write to {out}: {error.strerror}", hint="Choose --out.") from None
    if rows.damaged:
        note = f"{rows.damaged} damaged lines of {rows.path.name} were put aside, beside it"
        print(f"note: {note}", file=sys.stderr)
    stopped = False
    try:
        models = identities(plan)
        if options.merge:
            for folder in options.merge:
                n = rows.take(folder / "rows.jsonl")
                print(f"{n} rows of {folder}", file=sys.stderr)
        else:
            stopped = _run(plan, found, rows, models)
    finally:
        rows.close()
    _report(plan, found, of_plan(plan, found, rows, models), out, options)
    if stopped:
        raise Cancelled("stopped; the report covers what is done; the same command resumes")
    return 0


def make_plan(options: argparse.Namespace) -> Plan:
    """Raises UsageError for options that do not fit together."""
    from llavao1_edge.evaluation.plan import Pair, Plan, Served

    pairs: list[Pair | Served] = []
    server = shared.server(options)
    if server is not None:
        pairs.append(Served(options.server_model or "served", server, options.server_model))
    for name in (options.model or ["demo"]) if server is None else []:
        text, mmproj = model_paths(name, None)
        pairs.append(Pair(shared.model_name(name, text), text, mmproj))
    parallel = shared.whole("--parallel", options.parallel, low=1, high=MOST_PARALLEL)
    if parallel > 1 and options.ray is not None:
        raise UsageError(
            "--parallel was given together with --ray", hint="The cluster decides how many."
        )
    if len({pair.name for pair in pairs}) < len(pairs):
        raise UsageError("a model was given twice", hint="Give each one once.")
    return Plan(
        dataset=options.dataset,
        pairs=tuple(pairs),
        cells=tuple({cell.name: cell for cell in _cells(options)}.values()),
        seed=shared.seed(options),
        limit=None if options.limit is None else shared.whole("--limit", options.limit, low=1),
        shard=_shard(options.shard),
        circular=options.circular,
        strict=options.strict,
        sampling=shared.sampling_settings(options),
        budget=shared.budget_settings(options),
        runtime=shared.runtime_settings(options),
        answer_format=shared.answer_format(options),
        parallel=parallel,
        ray=options.ray,
    )


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    number, n = (digits(part) for part in (text.partition("/")[0], text.partition("/")[2]))
    if number is None or n is None or not 1 <= number <= n:
        raise UsageError(
            f"--shard is {text[:40]!r}", hint="For example 2/4: the second of four parts."
        )
    return number - 1, n


def _cells(options: argparse.Namespace) -> Iterator[Variant]:
    """Every strategy with every scorer and number of candidates that it can have."""
    from llavao1_edge.evaluation.plan import Variant
    from llavao1_edge.search import STRATEGIES, make_strategy, options_of

    counts = [shared.whole("--candidates", n, low=1) for n in options.candidates or []]
    chosen = {name: options_of(STRATEGIES[name]()) for name in options.strategy or ["staged"]}
    for option in ("candidates", "scorer"):
        if getattr(options, option) and not any(option in has for has in chosen.values()):
            raise UsageError(
                f"the strategy {' or '.join(chosen)} has no option {option}",
                hint=f"Leave --{option} out, or choose another --strategy.",
            )
    for name, has in chosen.items():
        tried = {
            "candidates": counts if "candidates" in has else [],
            "scorer": options.scorer or [] if "scorer" in has else [],
        }
        keys = [key for key, values in tried.items() if values]
        for values in itertools.product(*(tried[key] for key in keys)):
            given = dict(zip(keys, values, strict=True))
            make_strategy(name, given)
            yield Variant(name, given)
        if options.greedy and not keys:
            yield Variant(name, {}, greedy=True)


def _run(plan: Plan, found: Questions, rows: Rows, models: Identities) -> bool:
    """True where it was stopped before its end."""
    from llavao1_edge.cli.progress import stop_on_interrupt
    from llavao1_edge.evaluation.runs import run as run_plan

    shown = sys.stderr.isatty()
    durations: list[float] = []
    with stop_on_interrupt() as stop:
        for step in run_plan(plan, found, rows, models, stop=stop.is_set):
            if shown:
                if step.seconds > 0.01:
                    durations.append(step.seconds)
                rewrite(_line(step, durations))
        if shown:
            rewrite("")
        return stop.is_set()


def _line(step: Progress, durations: list[float]) -> str:
    right = f"{step.right / step.counted:.1%} right" if step.counted else ""
    recent = durations[-200:]
    left = (step.total - step.done) * sum(recent) / len(recent) if recent else 0.0
    clock = time.strftime("%H:%M:%S", time.gmtime(left))
    return f"{step.pair}  {step.done} of {step.total}  {right}  {clock} left  {step.cell}"


def _report(
    plan: Plan, found: Questions, mine: list[Row], out: Path, options: argparse.Namespace
) -> None:
    from llavao1_edge.evaluation import output
    from llavao1_edge.evaluation.report import make_report, markdown, timing

    report = make_report(plan.dataset.stem, mine, found.malformed)
    items = {item.key: item for item in found.items}
    output.write_report(report, out)
    print(f"{markdown(report)}\n{timing(report)}", end="")
    if not output.write_plots(report, out):
        print("no plots: matplotlib is not installed (pip install matplotlib)", file=sys.stderr)
    if not options.no_pages:
        n = output.write_pages(mine, items, out)
        if n:
            print(f"{n} wrong answers: {out / 'wrong' / 'README.md'}", file=sys.stderr)
    if options.export:
        for path in output.write_predictions(mine, items, out / "predictions", kind=options.export):
            print(path)
