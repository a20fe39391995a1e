"""What each strategy and scorer computes for a first and a second question on one picture.

    python -m benchmarks.counters

Counted by the engine itself, on the embedded demo model, so hot that candidates differ.
"""

from __future__ import annotations

from benchmarks.machine import header
from llavao1_edge import BudgetSettings, Engine, RuntimeSettings, SamplingSettings, demo
from llavao1_edge.search import make_strategy

ROWS = (
    ("staged", ""),
    ("stage-beam", "combined"),
    ("stage-beam", "judge"),
    ("stage-beam", "judge-reference"),
    ("best-of-n", "combined"),
    ("best-of-n", "judge"),
    ("sentence-beam", "combined"),
    ("retrace", "combined"),
)
NAMES = (
    *("vision_passes", "prefill_tokens", "decode_steps", "sampled_tokens", "restored_tokens"),
    *("grammar_misses", "judge_calls", "judge_tokens"),
)


def main() -> None:
    print(header("counters"))
    print("N = 4, temperature 2.2; each cell: first question / second question.\n")
    print(f"| strategy | scorer | {' | '.join(name.replace('_', ' ') for name in NAMES)} |")
    print("|---" * (len(NAMES) + 2) + "|")
    settings = RuntimeSettings(gpu_layers=0, context=8192)
    for name, scorer in ROWS:
        options = {"candidates": 4, "scorer": scorer} if scorer else {}
        search = make_strategy(name, options)
        with Engine.open("demo", settings=settings) as engine:
            sample = demo.samples()[0]
            session = engine.session(sample.picture)
            counted = [
                session.ask(
                    question,
                    search=search,
                    sampling=SamplingSettings(temperature=2.2, top_p=1.0),
                    budget=BudgetSettings(stage_tokens=120),
                ).trace.counters
                for question in (sample.question, "Which has the largest value?")
            ]
        cells = [" / ".join(str(getattr(each, field)) for each in counted) for field in NAMES]
        print(f"| {name} | {scorer or '–'} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
