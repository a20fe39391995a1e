"""Asks one question of a run, and makes its row."""

from __future__ import annotations

import time

from llavao1_edge.engine import Engine
from llavao1_edge.errors import Cancelled, LlavaError, ServerError
from llavao1_edge.evaluation.items import Item
from llavao1_edge.evaluation.matching import match
from llavao1_edge.evaluation.plan import Pair, Plan, Served, Stop, Variant
from llavao1_edge.evaluation.rows import Row
from llavao1_edge.settings import SamplingSettings


def _about(item: Item, pair: Pair | Served, cell: Variant) -> Row:
    """What a row says before there is an answer."""
    return {
        "question": item.key,
        "picture": item.picture_digest,
        "line": item.line,
        "pair": pair.name,
        "cell": cell.name,
        "strategy": cell.strategy,
        "options": dict(cell.options),
        "greedy": cell.greedy,
        "category": item.category,
        "group": item.group,
        "kind": item.kind,
        "wanted": list(item.answers),
        "error": None,
    }


def answer(
    engine: Engine, plan: Plan, pair: Pair | Served, cell: Variant, item: Item, stop: Stop
) -> Row | None:
    """A row; an error is a row too. None: stopped."""
    row = _about(item, pair, cell)
    sampling = plan.sampling
    if cell.greedy:
        sampling = SamplingSettings(**{**vars(sampling), "temperature": 0})
    started = time.perf_counter()
    try:
        with engine.session(item.picture_bytes()) as session:
            answer = session.ask(
                item.prompt(),
                search=cell.search(),
                seed=plan.seed,
                sampling=sampling,
                budget=plan.budget,
                answer_format=plan.answer_format,
                stop=stop,
            )
    except Cancelled:
        return None
    except (LlavaError, ValueError) as error:
        if isinstance(error, ServerError) and not error.is_about_the_request:
            raise  # the question is not to blame: it is asked again when the run goes on
        return row | {"right": False, "answered": None, "conclusion": "", "error": str(error)}
    if answer.cancelled:
        return None
    found, trace = match(item, answer.conclusion), answer.trace
    counters = trace.counters
    return row | {
        "right": found.right,
        "answered": found.answered,
        "conclusion": answer.conclusion,
        "stages": answer.in_order(),
        "notes": list(answer.notes),
        "budget_hit": trace.ended is not None,
        "seconds": round(time.perf_counter() - started, 4),
        "picture_seconds": round(counters.picture_ms / 1000, 4),
        "sampled_tokens": counters.sampled_tokens,
        "prefill_tokens": counters.prefill_tokens,
        "judge_tokens": counters.judge_tokens,
        "decode_steps": counters.decode_steps,
        "candidates": [
            {
                "stage": node.candidate.stage.name if node.candidate.stage else None,
                "text": node.candidate.text,
                "score": node.score,
                "mean_logprob": round(node.candidate.mean_logprob, 5),
                "chosen": node.chosen,
            }
            for node in trace.nodes
        ],
        "comparisons": len(trace.comparisons),
        "undecided": sum(str(e.verdict.choice) == "undecided" for e in trace.comparisons),
    }
