"""The teacher's answers: a scripted teacher over real HTTP, and our own engine as one."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llavao1_edge.evaluation.items import CHOICE, NUMBER, OUTSIDE, TEXT, Item
from llavao1_edge.remote.client import Client
from llavao1_edge.stages import STAGES
from tests.serve.running import serving
from train.annotate.__main__ import main
from train.annotate.asking import Form, Reason, Teacher, judge, prompt
from train.annotate.pictures import digest_of
from train.questions import draw_task
from train.scene import draw_scene, render, scene_rng

USAGE = {"prompt_tokens": 100, "completion_tokens": 20}


def staged(conclusion: str, reasoning: str = "One, two, three.") -> str:
    texts = ("Count.", "Three shapes.", reasoning, conclusion)
    parts = zip(STAGES, texts, strict=True)
    return "\n\n".join(f"{stage.opening} {text} {stage.closing}" for stage, text in parts)


def reply(text: str, ended: str = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **more}
    return {"choices": [{"message": message, "finish_reason": ended}], "usage": dict(USAGE)}


# --- one reply -----------------------------------------------------------------------------------
COUNT = Item("1", 1, "How many?", ("3",), NUMBER)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(staged("3")), None),
        (reply(staged("There are 3 of them.")), None),
        (reply(staged("4")), Reason.DISAGREES),
        (reply("3"), Reason.MALFORMED),
        (reply(staged("3") + " Is there more?"), Reason.MALFORMED),
        (reply(staged("3").replace("</CAPTION>", "")), Reason.MALFORMED),
        (reply(staged("")), Reason.MALFORMED),
        (reply(staged("3").replace("CAPTION", "SUMMARY")), Reason.MALFORMED),
        (reply(staged("3", "So it is <CONCLUSION>.")), Reason.MALFORMED),
        (reply(staged("3", "So the correct answer is 3.")), None),
        (reply(staged("3\ud800")), Reason.MALFORMED),
        ({"llavao1": {"stages": [{"summary": ["a"]}]}, **reply("3")}, Reason.MALFORMED),
        (reply(staged("3"), "length"), Reason.CUT_OFF),
        (reply("", "content_filter"), Reason.REFUSED),
        (reply("", refusal="I cannot help with that."), Reason.REFUSED),
        ({}, Reason.MALFORMED),
        ({"choices": [None]}, Reason.MALFORMED),
        ({"choices": [{"message": {"content": ["odd"]}}]}, Reason.MALFORMED),
    ],
)
def test_what_of_a_reply_can_be_used(answer: dict[str, Any], reason: Reason | None) -> None:
    verdict = judge(COUNT, answer, unchecked=False)
    assert verdict.reason is reason
    if reason is None:
        assert verdict.text.startswith("<SUMMARY> Count. </SUMMARY>\n\n<CAPTION> Three")


def test_talk_of_the_answer_that_was_shown() -> None:
    told = reply(staged("3", "The reference answer says 3."))
    assert judge(COUNT, told, shown=True).reason is Reason.LEAKS
    assert judge(COUNT, told).reason is None
    choice = reply(staged("3", "Of the given answer choices, 3 fits."))
    assert judge(COUNT, choice, shown=True).reason is None


def test_a_choice_is_the_option_alone() -> None:
    item = Item("1", 1, "Which?", ("B",), CHOICE, options={"A": "a cat", "B": "a dog"})
    verdict = judge(item, reply(staged("B. a dog")), unchecked=False)
    assert verdict.stages["conclusion"] == "B"
    assert judge(item, reply(staged("A")), unchecked=False).reason is Reason.DISAGREES


def test_what_cannot_be_compared() -> None:
    item = Item("1", 1, "Describe it.", (), OUTSIDE)
    assert judge(item, reply(staged("A cat.")), unchecked=False).reason is Reason.UNCHECKED
    assert judge(item, reply(staged("A cat.")), unchecked=True).reason is None


def test_the_teacher_is_told_what_to_do() -> None:
    item = Item("1", 1, "Which?", ("Rome",), TEXT)
    asked = prompt(item, Teacher("gpt"))
    assert all(f"{s.opening} " in asked and f" {s.closing}" in asked for s in STAGES)
    assert asked.endswith("Question: Which?")
    assert "Rome" not in asked
    assert "Rome" in prompt(item, Teacher("gpt", shows_answer=True))
    assert prompt(item, Teacher("llava-cot", Form.PLAIN)) == "Which?"
    nothing = Item("1", 1, "Which?", (), OUTSIDE)
    assert "answer is" not in prompt(nothing, Teacher("gpt", shows_answer=True))


# --- runs ----------------------------------------------------------------------------------------
class Script:
    """says: (question, how often it was asked before) → (status, reply)."""

    def __init__(self, says: Callable[[str, int], tuple[int, dict[str, Any]]]) -> None:
        self.says, self.asked = says, Counter[str]()
        self.bodies: list[dict[str, Any]] = []
        self.most = self.now = 0
        self.lock = threading.Lock()


@contextmanager
def teacher(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(200, {"data": [{"id": "gpt-4o", "owned_by": "someone"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = re.findall(r"Question: (.*)", body["messages"][0]["content"][-1]["text"])[-1]
            with script.lock:
                script.now += 1
                script.most = max(script.most, script.now)
                n = script.asked[question]
                script.asked[question] += 1
                script.bodies.append(body)
            time.sleep(0.01)
            status, said = script.says(question, n)
            with script.lock:
                script.now -= 1
            self.answer(status, said)

        def answer(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def questions(folder: Path, n: int) -> Path:
    """`q0` … with the answers 0 …, each about a picture of its own."""
    rows = []
    for i in range(n):
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (i, 0, 0)).save(picture, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
        rows.append({"id": f"k{i}", "picture": url, "question": f"q{i}", "answer": str(i)})
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def right(question: str, _: int) -> tuple[int, dict[str, Any]]:
    return 200, reply(staged(question[1:]))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_kept_and_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def says(question: str, n: int) -> tuple[int, dict[str, Any]]:
        match question:
            case "q1":  # wrong once
                return 200, reply(staged("9" if n == 0 else "1"))
            case "q2":  # always wrong
                return 200, reply(staged("9"))
            case "q3":
                return 200, reply("", "content_filter")
            case "q4":
                return 400, {"error": {"message": "picture too small"}}
        return right(question, n)

    script, out = Script(says), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 6)), "--server", url, "--out", str(out)]
        assert main([*given, "--parallel", "3"]) == 0
    kept = lines(out / "train.jsonl")
    assert [one["id"] for one in kept] == ["k0", "k1", "k5"]
    assert kept[1]["conversations"] == [
        {"from": "human", "value": "q1"},
        {"from": "gpt", "value": staged("1")},
    ]
    for one in kept:
        assert Image.open(out / one["image"]).getpixel((0, 0)) == (int(one["id"][1:]), 0, 0)
    aside = {one["id"]: (one["reason"], one["tries"]) for one in lines(out / "set_aside.jsonl")}
    assert aside == {"k2": ("disagrees", 3), "k3": ("refused", 3), "k4": ("rejected", 0)}
    assert script.asked == {"q0": 1, "q1": 2, "q2": 3, "q3": 3, "q4": 1, "q5": 1}
    assert 1 < script.most <= 3
    # Each picture once in a request, and each try another draw.
    assert len({json.dumps(body) for body in script.bodies}) == len(script.bodies)
    report = capsys.readouterr().out
    assert "| kept | 3 |" in report
    assert "10 replies, 1000 tokens of prompts and 200 of answers." in report
    assert (out / "report.md").read_text() == report[:-1]


def test_nothing_is_paid_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = questions(tmp_path, 12), tmp_path / "out"
    script = Script(right)

    def until(question: str, n: int) -> tuple[int, dict[str, Any]]:
        over = sum(script.asked.values()) > 6
        return (401, {"error": "no credit"}) if over else right(question, n)

    given = [str(path), "--out", str(out), "--parallel", "2"]
    with teacher(script) as url:
        script.says = until
        assert main([*given, "--server", url]) == 1
    paid = len(lines(out / "train.jsonl"))  # what was paid for is there all the same
    assert paid == 6
    with (out / "replies.jsonl").open("ab") as file:
        file.write(b'{"key": "cut o')  # as a kill leaves it
    asked_in_vain = sum(script.asked.values()) - paid
    with teacher(script) as url:  # at another port
        script.says = right
        assert main([*given, "--server", url]) == 0
        first = (out / "train.jsonl").read_bytes()
        assert sum(script.asked.values()) == 12 + asked_in_vain
        monkeypatch.setattr("train.annotate.pictures.open_picture", None)  # nothing is made again
        assert main([*given, "--server", url]) == 0
    assert sum(script.asked.values()) == 12 + asked_in_vain
    assert (out / "train.jsonl").read_bytes() == first
    assert len(lines(out / "train.jsonl")) == 12


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.annotate.work.PAUSE_S", 0.01)
    monkeypatch.setattr("train.annotate.work.TICK_S", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("status", [500, 502, 408, 403])
def test_a_question_that_the_server_fails_at(status: int, tmp_path: Path) -> None:
    """It is set aside, and asked again the next time; all others are kept."""

    def fails(question: str, n: int) -> tuple[int, dict[str, Any]]:
        return (status, {"error": "odd"}) if question == "q3" else right(question, n)

    script, out = Script(fails), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 6)), "--server", url, "--out", str(out)]
        assert main([*given, "--parallel", "1"]) == 0
        assert [one["id"] for one in lines(out / "train.jsonl")] == ["k0", "k1", "k2", "k4", "k5"]
        reason = "rejected" if status == 403 else "failed"
        assert [one["reason"] for one in lines(out / "set_aside.jsonl")] == [reason]
        assert script.asked["q3"] == (1 if status == 403 else 3)
        script.says = right
        assert main(given) == 0
    assert len(lines(out / "train.jsonl")) == 6
    assert script.asked.total() == 5 + script.asked["q3"]


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it says so, as long as it answers now and then: nothing is set aside."""
    monkeypatch.setattr("llavao1_edge.remote.client._wait", lambda *_: 0.0)

    def busy(question: str, n: int) -> tuple[int, dict[str, Any]]:
        often = 4 * 5 if question == "q1" else 0  # the client asks four times itself
        return (429, {"error": "slow down"}) if n < often else right(question, n)

    script, out = Script(busy), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 9)), "--server", url, "--out", str(out)]
        assert main([*given, "--parallel", "1"]) == 0
    assert len(lines(out / "train.jsonl")) == 9
    assert script.asked["q1"] == 21


@pytest.mark.usefixtures("quick")
def test_a_server_that_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(right)

    def dies(question: str, n: int) -> tuple[int, dict[str, Any]]:
        return right(question, n) if len(script.bodies) <= 4 else (502, {"error": "gone"})

    script.says, out = dies, tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 40)), "--server", url, "--out", str(out)]
        assert main([*given, "--parallel", "2"]) == 1
        captured = capsys.readouterr()
        assert "gone" in captured.err
        assert "| not asked yet | 36 |" in captured.out  # none of them is to blame
        assert len(lines(out / "train.jsonl")) == 4
        assert script.asked.total() < 4 + 40
        script.says = right
        assert main(given) == 0
    assert len(lines(out / "train.jsonl")) == 40


def test_ctrl_c_leaves_a_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that was paid for, and without a look at what was not."""
    read = list[Path]()

    def noted(source: Any) -> str:
        read.append(source)
        return digest_of(source)

    def stops(client: Any, path: str, body: Any) -> Any:
        if len(begun) == 4:
            wait(begun)  # their replies are there, and nobody has looked
            raise KeyboardInterrupt
        begun.append(begin(client, path, body))
        return begun[-1]

    begun, begin = list[Any](), Client.begin
    monkeypatch.setattr("train.annotate.work.digest_of", noted)
    script, out = Script(right), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 40)), "--server", url, "--out", str(out)]
        with monkeypatch.context() as patch:
            patch.setattr(Client, "begin", stops)
            assert main([*given, "--parallel", "9"]) == 130
        assert "the same command goes on" in capsys.readouterr().err
        assert [one["id"] for one in lines(out / "train.jsonl")] == ["k0", "k1", "k2", "k3"]
        assert len(read) == 5
        assert main(given) == 0
    assert script.asked.total() == 40


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize(
    "budget",
    [
        ["--token-budget", "650"],
        ["--cost-budget", "0.43", "--prompt-price", "600", "--completion-price", "1000"],
    ],
)
def test_a_budget_holds_over_runs(
    budget: list[str], parallel: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, out = Script(right), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 20)), "--server", url, "--out", str(out)]
        given += ["--parallel", str(parallel), "--max-tokens", "20"]
        assert main([*given, *budget]) == 0
        assert script.asked.total() == 5  # one more would be beyond it
        said = capsys.readouterr().out
        assert "what is left of the budget" in said
        assert "| not asked yet | 15 |" in said
        assert len(list((out / "images").iterdir())) == 5  # no other picture was made
        kept = (out / "train.jsonl").read_bytes()
        assert main([*given, *budget]) == 0
        assert script.asked.total() == 5
        assert (out / "train.jsonl").read_bytes() == kept
        assert main(given) == 0
    assert len(lines(out / "train.jsonl")) == 20


def test_what_was_paid_at_other_prices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, out = Script(right), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 4)), "--server", url, "--out", str(out)]
        assert main([*given, "--limit", "1"]) == 0
        assert main([*given, "--limit", "2", "--prompt-price", "10000"]) == 0
        assert main([*given, "--prompt-price", "1000"]) == 0
    # 100 tokens each: one without a price, at the last one; one at 1 cent a token; two at 0.1.
    assert f"{0.1 + 1 + 0.2:.2f} at the prices given" in capsys.readouterr().out


def test_a_server_that_takes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script(lambda *_: (400, {"error": {"message": "no such parameter"}}))
    out = tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 60)), "--server", url, "--out", str(out)]
        assert main([*given, "--parallel", "2"]) == 1
    assert "no such parameter" in capsys.readouterr().err
    assert script.asked.total() <= 8 + 2
    assert not (out / "train.jsonl").exists()


@pytest.mark.parametrize(("status", "most"), [(403, 1), (400, 8)])
@pytest.mark.parametrize("known", [0, 2])
def test_a_run_in_which_nothing_is_taken(
    known: int, status: int, most: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Replies of earlier runs say nothing about the key and the options of this one."""
    script, out = Script(right), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 30)), "--server", url, "--out", str(out)]
        if known:
            assert main([*given, "--limit", str(known)]) == 0
        script.says = lambda *_: (status, {"error": {"message": "wrong"}})
        assert main([*given, "--parallel", "1"]) == 1
    assert "wrong" in capsys.readouterr().err
    assert script.asked.total() == known + most
    if known:
        assert len(lines(out / "train.jsonl")) == known


@pytest.mark.parametrize("parallel", [1, 4])
def test_parameters_that_a_server_does_not_know(parallel: int, tmp_path: Path) -> None:
    """As OpenAI's reasoning models: another name for the limit, no temperature but one."""

    def picky(question: str, n: int) -> tuple[int, dict[str, Any]]:
        body = next(b for b in reversed(script.bodies) if question in str(b["messages"]))
        for name in ("max_tokens", "temperature"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported: {name}", "param": name}}
        assert body["max_completion_tokens"] == 99
        return right(question, n)

    script, out = Script(picky), tmp_path / "out"
    with teacher(script) as url:
        given = [str(questions(tmp_path, 5)), "--server", url, "--out", str(out)]
        assert main([*given, "--parallel", str(parallel), "--max-tokens", "99"]) == 0
    assert len(lines(out / "train.jsonl")) == 5
    assert not lines(out / "set_aside.jsonl")
    assert script.asked.total() <= 5 + 2 * parallel


def test_half_a_character_is_only_set_aside(tmp_path: Path) -> None:
    def says(question: str, n: int) -> tuple[int, dict[str, Any]]:
        return (200, reply("odd \ud83d")) if question == "q1" else right(question, n)

    out = tmp_path / "out"
    with teacher(Script(says)) as url:
        given = [str(questions(tmp_path, 3)), "--server", url, "--out", str(out)]
        assert main(given) == 0
    assert [one["said"] for one in lines(out / "set_aside.jsonl")] == ["odd ?"]
    assert (out / "report.md").exists()


def test_what_nothing_can_be_compared_with_is_not_paid_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"picture": None, "question": f"q{i}", "answer": None, "hint": None} for i in range(3)]
    path, out = tmp_path / "questions.jsonl", tmp_path / "out"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = Script(right)
    with teacher(script) as url:
        given = [str(path), "--server", url, "--out", str(out), "--show-answer"]
        assert main(given) == 0
        assert script.asked.total() == 0
        assert "3 of 3 questions are not asked" in capsys.readouterr().err
        assert main([*given, "--keep-unchecked"]) == 0
    kept = lines(out / "train.jsonl")
    assert [one["conversations"][0]["value"] for one in kept] == ["q0", "q1", "q2"]


def test_a_large_picture_is_sent_as_large_as_the_model_sees(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(3000 * 1000 * 3)
    Image.frombytes("RGB", (3000, 1000), noise).save(tmp_path / "large.png")
    path, out = tmp_path / "questions.jsonl", tmp_path / "out"
    path.write_text('{"picture": "large.png", "question": "q7", "answer": "7"}\n')
    script = Script(right)
    with teacher(script) as url:
        assert main([str(path), "--server", url, "--out", str(out)]) == 0
    (kept,) = lines(out / "train.jsonl")
    learnt = (out / kept["image"]).read_bytes()
    assert Image.open(io.BytesIO(learnt)).size == (2240, 747)
    sent = script.bodies[0]["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(sent.partition(",")[2]) == learnt


def test_replies_of_an_earlier_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They stay, and their tokens count; their questions are asked again."""
    script, out = Script(right), tmp_path / "out"
    out.mkdir()
    old = json.dumps({"key": "a" * 64, "reply": reply(staged("0"))}) + "\n"
    (out / "replies.jsonl").write_text(old)
    with teacher(script) as url:
        assert main([str(questions(tmp_path, 2)), "--server", url, "--out", str(out)]) == 0
    assert script.asked.total() == 2
    assert (out / "replies.jsonl").read_text().startswith(old)
    assert "3 replies, 300 tokens of prompts" in capsys.readouterr().out


def test_files_of_somebody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "train.jsonl").write_text("my own\n")
    script = Script(right)
    with teacher(script) as url:
        assert main([str(questions(tmp_path, 2)), "--server", url, "--out", str(out)]) == 2
    assert "train.jsonl is not of this command" in capsys.readouterr().err
    assert (out / "train.jsonl").read_text() == "my own\n"
    assert script.asked.total() == 0


def test_no_budget_without_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def says(question: str, _: int) -> tuple[int, dict[str, Any]]:
        return 200, {key: value for key, value in reply(staged("1")).items() if key != "usage"}

    with teacher(Script(says)) as url:
        given = [str(questions(tmp_path, 2)), "--server", url, "--out", str(tmp_path / "out")]
        assert main([*given, "--token-budget", "10000"]) == 1
    assert "does not say how many tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tries", "0"], "--tries is 0"),
        (["--parallel", "-1"], "--parallel is -1"),
        (["--cost-budget", "3"], "needs prices"),
        (["--temperature", "nan"], "--temperature is nan"),
        (["--teacher", "gpt-7"], "no model 'gpt-7'"),
    ],
)
def test_what_cannot_be(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with teacher(Script(right)) as url:
        given = [str(questions(tmp_path, 1)), "--server", url, "--out", str(tmp_path / "out")]
        assert main([*given, *options]) in (1, 2)
    assert message in capsys.readouterr().err


def test_odd_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = questions(tmp_path, 2), tmp_path / "out"
    with path.open("a") as file:
        file.write('{"picture": "not there.png", "question": "q2", "answer": "2"}\nodd\n')
    with teacher(Script(right)) as url:
        assert main([str(path), "--server", url, "--out", str(out)]) == 0
    assert [one["reason"] for one in lines(out / "set_aside.jsonl")] == ["no_picture", "bad_row"]
    assert len(lines(out / "train.jsonl")) == 2
    (out / "replies.jsonl").write_text("something else\n")
    with teacher(Script(right)) as url:
        assert main([str(path), "--server", url, "--out", str(out)]) == 2
    assert "holds no replies" in capsys.readouterr().err
    assert (out / "replies.jsonl").read_text() == "something else\n"
    path.write_text("")
    assert main([str(path), "--server", "http://127.0.0.1:1", "--out", str(out)]) == 2


def test_our_own_engine_as_the_teacher(tmp_path: Path) -> None:
    rows = []
    for i in range(6):
        rng = scene_rng(77, i)
        scene = draw_scene(rng, tile_size=56)
        task = draw_task(rng, scene, kind="count")
        render(scene).save(tmp_path / f"{i}.png")
        row = {"picture": f"{i}.png", "question": task.question, "answer": task.conclusion}
        rows.append(row | {"id": f"s{i}"})
    path, out = tmp_path / "shapes.jsonl", tmp_path / "out"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving("--threads", "1", folder=tmp_path) as running:
        given = [str(path), "--server", running.address, "--teacher", "llavao1"]
        assert main([*given, "--out", str(out)]) == 0
    kept = lines(out / "train.jsonl")
    assert len(kept) >= 5  # the demo model is right on 98 % of questions about shapes
    assert all(one["conversations"][1]["value"].count("</") == 4 for one in kept)
