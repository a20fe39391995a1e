"""An answer in print: the stages, or the tree of candidates."""

from __future__ import annotations

from collections.abc import Iterator

from llavao1_edge.search.answer import Answer, Node, Trace

LONGEST = 110  # characters of a candidate's text on one line


def stages_text(answer: Answer) -> Iterator[str]:
    for name, text in answer.stages.items():
        if name != "conclusion":
            yield f"{name.capitalize()}\n{text}\n"
    yield "Conclusion"


def tree_text(trace: Trace) -> Iterator[str]:
    """All candidates by stage; `>` marks the chosen ones."""
    yield f"{trace.strategy}, seed {trace.seed}: > is part of the answer"
    stage: str | None = ""
    for node in trace.nodes:
        name = node.candidate.stage.name if node.candidate.stage else "answer"
        if name != stage:
            stage = name
            yield f"\n{name.capitalize()}"
        yield _line(node)
    if trace.comparisons:
        yield "\nComparisons"
    for event in trace.comparisons:
        verdict = event.verdict
        odds = " ".join(f"{value:+.2f}" for value in verdict.preferences)
        reason = f"  {_cut(verdict.reasons[0], 60)}" if verdict.reasons else ""
        yield (
            f"  {verdict.first} against {verdict.second}: {verdict.choice}"
            f"{f' ({odds})' if odds else ''}, {verdict.winner} goes on{reason}"
        )
    for remark in trace.remarks:
        yield f"\n{remark}"


def _line(node: Node) -> str:
    made = node.candidate
    mark = ">" if node.chosen else "+" if node.kept else " "
    facts = [f"from {node.parent}"] if node.parent else []
    facts.append(f"{made.n_tokens} tokens")
    facts.append(f"log-probability {made.mean_logprob:.3f}")
    if node.score is not None:
        facts.append(f"score {node.score:.3f}")
    if node.chosen and node.by:
        facts.append(node.by)
    if made.truncated:
        facts.append(f"truncated: {made.ending}")
    return f"{mark} {node.key:>3}  {_cut(made.text, LONGEST)}\n       ({', '.join(facts)})"


def _cut(text: str, n: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= n else f"{line[: n - 1]}…"
