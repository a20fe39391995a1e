"""The search on the command line, on the embedded demo model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llavao1_edge.cli.main import main
from llavao1_edge.scoring import SCORERS
from llavao1_edge.search import STRATEGIES
from tests.shapes import SAMPLES

SAMPLE = SAMPLES[0]
ASK = ["ask", str(SAMPLE.picture), SAMPLE.question]
SEARCHES = ("stage-beam", "best-of-n", "sentence-beam", "retrace")
# Hot enough that candidates differ, so that there is something to weigh.
HOT = ["--temperature", "1.6", "--top-p", "1", "--stage-tokens", "120"]
Say = pytest.CaptureFixture[str]


def ask_json(capsys: Say, *more: str) -> dict[str, object]:
    assert main([*ASK, "--json", *more]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("strategy", SEARCHES)
def test_every_strategy_with_every_scorer(strategy: str, scorer: str, capsys: Say) -> None:
    argv = ["--strategy", strategy, "--scorer", scorer, "--candidates", "3"]
    assert main([*ASK, *argv]) == 0
    assert capsys.readouterr().out == f"{SAMPLE.answer}\n"


def test_the_trace_is_a_whole_tree(capsys: Say) -> None:
    answer = ask_json(capsys, "--strategy", "stage-beam", "--scorer", "judge", *HOT)
    trace = answer["trace"]
    assert isinstance(trace, dict)
    nodes = {node["key"]: node for node in trace["candidates"]}
    assert len(nodes) == 16
    chosen = [node for node in nodes.values() if node["chosen"]]
    assert [node["text"] for node in chosen] == list(answer["stages"].values())  # type: ignore[attr-defined]
    for node in nodes.values():
        assert node["parent"] == 0 or nodes[node["parent"]]["chosen"]
    counters = trace["counters"]
    assert counters["vision_passes"] == 1
    assert counters["sampled_tokens"] == sum(node["tokens"] for node in nodes.values())
    assert trace["comparisons"]
    assert counters["judge_calls"] == 2 * len(trace["comparisons"])
    assert {verdict["winner"] for verdict in trace["comparisons"]} <= set(nodes)


def test_show_candidates_marks_the_path(capsys: Say) -> None:
    argv = ["--show-candidates", "--strategy", "best-of-n", "--scorer", "judge", *HOT]
    assert main([*ASK, *argv]) == 0
    out = capsys.readouterr().out
    assert out.count("\n> ") == 4
    assert [out.index(f"\n{name}\n") for name in ("Summary", "Caption", "Reasoning")]
    assert "Comparisons" in out
    assert "goes on" in out


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_replay_reproduces_the_answer(strategy: str, tmp_path: Path, capsys: Say) -> None:
    argv = ["--strategy", strategy, "--seed", "11", "--temperature", "1.2"]
    if strategy in SEARCHES:
        argv += ["--candidates", "2"]
    assert main([*ASK, "--json", *argv]) in (0, 1)
    record = tmp_path / "answer.json"
    record.write_text(capsys.readouterr().out)
    code = main(["ask", "--replay", str(record)])
    said = capsys.readouterr()
    assert "replay: the same answer" in said.err
    assert code == 0


def test_replay_says_what_differs(tmp_path: Path, capsys: Say) -> None:
    answer = ask_json(capsys, "--choices", "1,2,3")
    record = tmp_path / "answer.json"
    answer["stages"]["caption"] = "a cat"  # type: ignore[index]
    record.write_text(json.dumps(answer))
    assert main(["ask", "--replay", str(record)]) == 1
    assert "the caption is" in capsys.readouterr().err
    other = str(SAMPLES[1].picture)
    assert main(["ask", other, "--replay", str(record)]) == 1
    assert "the picture is another one" in capsys.readouterr().err


def test_replay_takes_everything_from_the_record(tmp_path: Path, capsys: Say) -> None:
    answer = ask_json(capsys)
    record = tmp_path / "answer.json"
    record.write_text(json.dumps(answer))
    for argv in (["--seed", "5"], ["--strategy", "direct"], ["--context", "512"]):
        assert main(["ask", "--replay", str(record), *argv]) == 2
        assert f"{argv[0]} was given together with --replay" in capsys.readouterr().err
    answer["request"]["picture"] = "-"  # type: ignore[index]
    record.write_text(json.dumps(answer))
    assert main(["ask", "--replay", str(record)]) == 2
    assert "standard input" in capsys.readouterr().err
    assert main(["ask", str(SAMPLE.picture), "--replay", str(record)]) == 0
    del answer["trace"]["candidates"]  # type: ignore[attr-defined]
    record.write_text(json.dumps(answer))
    assert main(["ask", str(SAMPLE.picture), "--replay", str(record)]) == 2
    assert "is not a record of an answer" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "request": 5}'])
def test_what_is_no_record_is_refused(text: str, tmp_path: Path, capsys: Say) -> None:
    record = tmp_path / "answer.json"
    record.write_text(text)
    assert main(["ask", "--replay", str(record)]) == 2
    assert str(record) in capsys.readouterr().err
    assert main(["ask", "--replay", str(tmp_path / "none.json")]) == 2


def test_answer_formats(tmp_path: Path, capsys: Say) -> None:
    schema = tmp_path / "schema.json"
    properties = {"count": {"type": "integer", "minimum": 0, "maximum": 99}}  # it need not end else
    schema.write_text(
        json.dumps({"type": "object", "properties": properties, "required": ["count"]})
    )
    grammar = tmp_path / "answer.gbnf"
    grammar.write_text('root ::= "about " [0-9]\n')
    wanted = {
        ("--choices", "7,8,9"): lambda text: text in "789",
        ("--answer", "number"): lambda text: float(text) >= 0,
        ("--answer", "yes-no"): lambda text: text.lower() in ("yes", "no"),
        ("--json-schema", str(schema)): lambda text: "count" in json.loads(text),
        ("--grammar", str(grammar)): lambda text: text.startswith("about "),
    }
    for argv, right in wanted.items():
        assert main([*ASK, *argv, "--strategy", "stage-beam", "--candidates", "2"]) == 0
        assert right(capsys.readouterr().out.strip()), argv


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--grammar", "{file}"], "line 2, column 3"),
        (["--json-schema", "{file}"], "line 1, column 1"),
        (["--choices", "A"], "'A'"),
        (["--choices", "A,B", "--answer", "number"], "2 answer formats"),
        (["--candidates", "0", "--strategy", "best-of-n"], "candidates is 0"),
        (["--candidates", "4"], "strategy staged has no option candidates"),
        (["--keep", "2", "--strategy", "retrace"], "has no option keep"),
        (["--token-budget", "0"], "token_budget is 0"),
        (["--time-budget", "-1"], "time_budget is -1"),
        (["--stage-tokens", "x"], "--stage-tokens is 'x'"),
        (["--strategy", "free", "--choices", "A,B"], "strategy free"),
    ],
)
def test_bad_options_are_named_before_the_model_is_loaded(
    argv: list[str], said: str, tmp_path: Path, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.engine import Engine

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Engine, "open", never)
    bad = tmp_path / "bad.gbnf"
    bad.write_text('root ::= "a" b\nb @\n')
    assert main([*ASK, *(part.format(file=bad) for part in argv)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err


def test_a_budget_is_told(capsys: Say) -> None:
    assert main([*ASK, "--strategy", "best-of-n", "--token-budget", "40"]) == 0
    said = capsys.readouterr()
    assert said.out.strip()
    assert "note: the token budget of 40 is used up" in said.err


def test_an_answer_without_a_conclusion_is_an_error(capsys: Say) -> None:
    assert main([*ASK, "--max-tokens", "5"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: the answer ended before its conclusion" in said.err
