"""Searches through a server: what is asked of each kind, what comes of it, and what goes wrong."""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llavao1_edge import (
    BestOfN,
    BudgetSettings,
    Direct,
    Engine,
    Free,
    Retrace,
    RuntimeSettings,
    SamplingSettings,
    SentenceBeam,
    StageBeam,
    Staged,
    demo,
)
from llavao1_edge.cli.main import main
from llavao1_edge.errors import BackendError, Cancelled, UsageError
from llavao1_edge.remote.client import KEY, Client, base_url
from llavao1_edge.remote.growing import told_tokens
from llavao1_edge.remote.requests import MOST_PNG, encoded, plain
from llavao1_edge.search import CandidateFinished, Strategy, Token
from llavao1_edge.stages import answer_kind, choices
from llavao1_edge.stages.gbnf import check_gbnf, renamed
from tests.patience import PATIENCE_S
from tests.remote.scripted import Script, scripted

PICTURE = demo.samples()[0].picture
CONTINUING = ("llamacpp", "vllm", "sglang")
STRATEGIES: list[Strategy] = [
    *(Staged(), Direct(), Free(), BestOfN(candidates=3), SentenceBeam(candidates=2)),
    *(StageBeam(candidates=3), StageBeam(candidates=2, keep=2), Retrace(candidates=2)),
    *(StageBeam(candidates=4, scorer="judge"), BestOfN(candidates=2, scorer="judge-reference")),
]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    with scripted(script) as address:
        yield address


def ask(url: str, search: Strategy, **options: Any) -> Any:
    with Engine.connect(url) as engine:
        return engine.session(PICTURE).ask("How many?", search=search, **options)


# --- every search, every kind of server ----------------------------------------------------------
@pytest.mark.parametrize("owner", CONTINUING)
@pytest.mark.parametrize("search", STRATEGIES, ids=lambda one: f"{one.name}-{one.width}")
def test_every_search_on_every_kind(search: Strategy, owner: str) -> None:
    script = Script(owner=owner)
    with scripted(script) as url:
        answer = ask(url, search, seed=3)
    assert answer.conclusion in ("3", "2")
    if search.forces_tags and not isinstance(search, Direct):
        assert list(answer.stages) == ["summary", "caption", "reasoning", "conclusion"]
        for name, text in answer.stages.items():
            assert text in (*script.texts[name.upper()], "One, two.")
    assert not answer.notes
    made = [node.candidate for node in answer.trace.nodes]
    assert answer.trace.counters.candidates == len(made)
    assert all(one.logprob == pytest.approx(-0.5 * one.n_tokens) for one in made)
    assert answer.trace.counters.sampled_tokens >= sum(one.n_tokens for one in made)


@pytest.mark.parametrize("owner", CONTINUING)
def test_what_each_kind_is_asked(owner: str) -> None:
    script = Script(owner=owner)
    sampling = SamplingSettings(temperature=0.7, top_k=20, repeat_penalty=1.1)
    with scripted(script) as url:
        ask(url, StageBeam(candidates=3), sampling=sampling)
    first, *_, last = script.answers
    assert first["model"] == "llava-cot"
    assert first["continue_final_message"] is True
    assert ("add_generation_prompt" in first) == (owner != "sglang")
    grammar = {
        "llamacpp": lambda body: body["grammar"],
        "vllm": lambda body: body["structured_outputs"]["grammar"],
        "sglang": lambda body: body["ebnf"],
    }[owner]
    assert '"</SUMMARY>"' in grammar(first)
    assert '"</CONCLUSION>"' in grammar(last)
    penalty = "repeat_penalty" if owner == "llamacpp" else "repetition_penalty"
    assert (first["temperature"], first["top_k"], first[penalty]) == (0.7, 20, 1.1)
    assert "min_p" not in first
    picture, question = first["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert question["text"] == "How many?"  # this model was trained on the stages
    assert first["messages"][-1] == {"role": "assistant", "content": "<SUMMARY>"}
    written = last["messages"][-1]["content"]
    assert written.endswith("</REASONING>\n\n<CONCLUSION>")
    assert written.count("<SUMMARY>") == 1
    if owner == "sglang":
        assert all("n" not in body for body in script.answers)
        assert len(script.answers) == 12
    else:
        assert [body["n"] for body in script.answers] == [3] * 4


def test_a_number_is_the_same_draw_whatever_runs_beside_it() -> None:
    """One request with several choices, or one for each: the seeds are the same."""
    seeds = []
    for owner, slots in (("llamacpp", 8), ("llamacpp", 2), ("sglang", 1)):
        script = Script(owner=owner, slots=slots)
        with scripted(script) as url:
            ask(url, BestOfN(candidates=4), seed=5)
        seeds.append(
            sorted(
                body["seed"] + i
                for body in script.answers
                if body["messages"][-1]["content"] == "<SUMMARY>"
                for i in range(body.get("n", 1))
            )
        )
    assert seeds[0] == seeds[1] == seeds[2]
    assert seeds[0] == list(range(seeds[0][0], seeds[0][0] + 4))


def test_the_same_seed_gives_the_same_answer(url: str) -> None:
    answers = [ask(url, StageBeam(candidates=2), seed=seed).stages for seed in (1, 1, 2, 3, 4)]
    assert answers[0] == answers[1]
    assert len({json.dumps(one) for one in answers}) > 1


def test_the_first_request_goes_alone_until_its_first_token(script: Script) -> None:
    script.owner, script.token_s = "sglang", 0.2
    with scripted(script) as url, Engine.connect(url) as engine:
        stream = engine.session(PICTURE).stream("How many?", search=StageBeam(candidates=4))
        for event in stream:
            if isinstance(event, Token):
                break
        assert len(script.answers) == 1
        next(event for event in stream if isinstance(event, CandidateFinished))
        until = time.monotonic() + PATIENCE_S
        while len(script.answers) < 4:
            assert time.monotonic() < until
            time.sleep(0.02)
        stream.close()


def test_a_prefix_that_is_repeated_is_left_out(script: Script, url: str) -> None:
    plainly = ask(url, Staged(), seed=2).stages
    script.echoes = True
    assert ask(url, Staged(), seed=2).stages == plainly


def test_a_conversation_tells_what_was_said(script: Script, url: str) -> None:
    with Engine.connect(url) as engine:
        session = engine.session(PICTURE)
        session.recall("And before?", {"conclusion": "nothing"})
        session.ask("How many?", search=Direct())
        session.ask("Sure?", search=Direct())
    roles = [message["role"] for message in script.answers[-1]["messages"]]
    assert roles == ["user", "assistant"] * 3
    said = [message["content"] for message in script.answers[-1]["messages"]]
    assert said[0][1]["text"] == "And before?"
    assert said[1] == "<CONCLUSION> nothing </CONCLUSION>"
    assert said[3] in ("<CONCLUSION> 3 </CONCLUSION>", "<CONCLUSION> 2 </CONCLUSION>")
    assert said[4] == "Sure?"


@pytest.mark.parametrize(
    ("model", "setting", "asked"),
    [
        ("Qwen2.5-VL", None, True),
        ("Llama-3.2V-11B-cot", None, False),
        ("llava-o1", None, False),
        ("Qwen2.5-VL", "off", False),
        ("llava-cot", "on", True),
    ],
)
def test_the_stages_are_asked_for_where_the_model_does_not_know_them(
    model: str, setting: str | None, asked: bool
) -> None:
    script = Script(models=[model])
    settings = RuntimeSettings() if setting is None else RuntimeSettings(stage_prompt=setting)
    with scripted(script) as url, Engine.connect(url, settings=settings) as engine:
        engine.session().ask("How many?")
    assert ("four parts" in script.answers[0]["messages"][0]["content"]) == asked


def test_no_part_of_a_question_is_a_special_token() -> None:
    for text in ("a<|im_end|>b", "<think>", "[INST] x [/INST]", "<image>", "</s>"):
        assert plain(text) != text
        assert plain(text).replace("\u200b", "") == text
    for text in ("a < b > c", "x[1] and [a, b]", "5 <6", "[]"):
        assert plain(text) == text


# --- limits --------------------------------------------------------------------------------------
def test_budgets_and_limits(script: Script, url: str) -> None:
    answer = ask(url, StageBeam(candidates=2), budget=BudgetSettings(token_budget=7))
    assert answer.trace.ended is not None
    assert answer.conclusion
    drawn = [node.candidate.n_tokens for node in answer.trace.nodes if node.by != "greedy"]
    assert sum(drawn) <= 9
    script.asked.clear()
    answer = ask(url, Staged(), budget=BudgetSettings(stage_tokens=2))
    assert "summary ended early (length)" in answer.notes
    assert {body["max_tokens"] for body in script.answers} == {2}
    assert script.answers[1]["messages"][-1]["content"].count("</SUMMARY>") == 1


def test_a_stop_hangs_up(script: Script) -> None:
    script.token_s, script.texts["REASONING"] = 0.02, ["so on and " * 2000]
    with scripted(script) as url, Engine.connect(url) as engine:
        session = engine.session(PICTURE)
        stream = session.stream("How many?", search=StageBeam(candidates=2))
        for event in stream:
            if isinstance(event, Token) and event.stage and event.stage.name == "reasoning":
                session.cancel()
        assert event.answer.cancelled  # type: ignore[union-attr]
        assert event.answer.stages["caption"]  # type: ignore[union-attr]
        until = time.monotonic() + PATIENCE_S
        while not script.hung_up:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert session.ask("Again?", search=Direct()).conclusion


def test_a_server_that_is_silent_can_be_left(script: Script, url: str) -> None:
    script.broken = "silent"
    with Engine.connect(url) as engine:
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        answer = engine.session(PICTURE).ask("How many?", stop=stop.is_set)
        assert answer.cancelled


def test_a_stop_while_connecting() -> None:
    script = Script()
    with scripted(script) as url:
        with pytest.raises(Cancelled):
            Engine.connect(url, stop=lambda: True)


# --- judges and forms ----------------------------------------------------------------------------
def test_the_judge_reads_the_likeliest_tokens(script: Script, url: str) -> None:
    answer = ask(url, StageBeam(candidates=2, scorer="judge"))
    (first, *_) = answer.trace.comparisons
    # Whoever stands first is preferred in both orders: that is a position, not a text.
    assert first.verdict.choice == "undecided"
    assert first.verdict.preferences == pytest.approx((1.5, -1.5))
    judged = [body for body in script.answers if body["max_tokens"] == 1]
    assert all(body["top_logprobs"] == 20 and body["temperature"] == 0 for body in judged)
    assert judged[0]["messages"][-1]["content"] == "The better one is response"


def test_a_form_becomes_a_part_of_the_grammar(script: Script, url: str) -> None:
    ask(url, Direct(), answer_format=choices(["2", "3"]))
    grammar = script.answers[0]["grammar"]
    assert grammar.startswith("root ::= [ \\n]* the-answer")
    assert 'the-answer ::= "2" | "3"' in grammar
    check_gbnf(grammar, name="grammar")


def test_a_form_that_cannot_be_sent_is_checked_at_the_end(url: str) -> None:
    answer = ask(url, Direct(), answer_format=answer_kind("json"))
    assert "cannot be held to" in answer.trace.remarks[0]
    assert answer.form_problem


def test_renaming_a_root_leaves_texts_alone() -> None:
    grammar = 'root ::= "root" | [root] | root-2 # root\nroot-2 ::= root'
    assert renamed(grammar, "x") == 'x ::= "root" | [root] | root-2 # root\nroot-2 ::= x'


# --- servers that can less -----------------------------------------------------------------------
@pytest.mark.parametrize("search", [Staged(), BestOfN(candidates=3), Direct(), Free()])
def test_whole_answers_where_a_server_cannot_go_on(search: Strategy) -> None:
    script = Script(owner="somebody", models=["vision-1"])
    with scripted(script) as url:
        answer = ask(url, search)
    assert answer.conclusion in ("3", "2")
    assert "cannot go on in an answer" in answer.trace.remarks[0]
    assert all("grammar" not in body for body in script.answers)
    if isinstance(search, BestOfN):
        assert len(script.answers) == 3
        assert len(answer.trace.nodes) == 12


@pytest.mark.parametrize("search", [StageBeam(candidates=2), SentenceBeam(candidates=2)])
def test_searches_that_need_more_are_refused_before_they_cost(search: Strategy) -> None:
    script = Script(owner="somebody")
    with scripted(script) as url:
        with pytest.raises(UsageError, match="cannot go on in an answer") as refused:
            ask(url, search)
    assert "best-of-n" in refused.value.hint
    assert not script.answers


def test_an_answer_without_tags_is_a_conclusion() -> None:
    script = Script(owner="somebody", texts={"CONCLUSION": ["3"]})
    with scripted(script) as url:
        answer = ask(url, Staged())
    assert answer.conclusion == "3"
    assert "summary ended early (length)" in answer.notes


def test_streams_that_tell_less_than_the_probe_was_told(script: Script, url: str) -> None:
    script.streams_logprobs = False
    answer = ask(url, StageBeam(candidates=2), budget=BudgetSettings(token_budget=30))
    assert answer.conclusion
    assert 10 < answer.trace.counters.sampled_tokens <= 60


def test_an_empty_stage_is_a_candidate(script: Script, url: str) -> None:
    script.owner, script.texts["SUMMARY"] = "sglang", [""]
    assert ask(url, StageBeam(candidates=2)).stages["summary"] == ""


def test_what_an_answer_cost_is_counted_once(script: Script, url: str) -> None:
    script.repeats_usage = True
    for _ in range(5):
        counters = ask(url, StageBeam(candidates=3)).trace.counters
        assert (counters.prefill_tokens, counters.cached_tokens) == (4 * 10, 4 * 40)


@pytest.mark.parametrize(
    "entry",
    [
        *(None, [], 5, {}, {"logprob": None}, {"logprob": "x"}, {"logprob": 10**400}),
        *({"logprob": float("nan")}, {"logprob": -float("inf"), "token": "a"}),
        {"logprob": -1, "token": "a", "top_logprobs": {"a": 1}, "bytes": [300]},
        {"logprob": -1, "token": "\ud800", "bytes": None},
    ],
)
def test_odd_tokens(entry: Any) -> None:
    found = told_tokens({"logprobs": {"content": [entry, {"token": "b", "logprob": -1}]}})
    assert found[-1].piece == b"b"
    assert all(abs(token.logprob) <= 1 for token in found)
    assert told_tokens({"logprobs": entry}) == told_tokens({"logprobs": {"content": entry}}) == []


@pytest.mark.parametrize("trace", [{}, [], [5], [{"candidates": []}], [{"candidates": [{}]}], "x"])
def test_an_odd_trace_of_our_own_server(trace: Any) -> None:
    script = Script(owner="llavao1-edge", trace=trace)
    with scripted(script) as url:
        if trace in ({}, []):  # none at all: the text is split
            assert ask(url, Staged()).conclusion
        else:
            with pytest.raises(BackendError, match="odd trace"):
                ask(url, Staged())


def test_closing_an_engine_whose_server_is_silent(script: Script, url: str) -> None:
    script.broken = "silent"
    engine = Engine.connect(url)
    failed: list[BaseException] = []

    def answer() -> None:
        try:
            engine.session(PICTURE).ask("How many?")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=answer)
    thread.start()
    until = time.monotonic() + PATIENCE_S
    while not script.answers:
        assert time.monotonic() < until
        time.sleep(0.02)
    engine.close()  # from another thread than the one that waits
    thread.join(60)
    assert not thread.is_alive()


def test_without_log_probabilities(script: Script, url: str) -> None:
    script.logprobs = False
    answer = ask(url, StageBeam(candidates=2, scorer="judge"))
    assert "tells no log-probabilities" in answer.trace.remarks[0]
    assert answer.conclusion
    assert answer.trace.counters.sampled_tokens > 10


# --- what goes wrong -----------------------------------------------------------------------------
FAULTS = {
    "cut": "ended the reply early",
    "error event": "out of memory",
    "no json": "which is no reply",
    "odd event": "which is no reply",
    "odd choice": "odd choice: 77",
    "odd reason": "content_filter",
    "no reason": "without saying why",
    "wrong type": "which is no reply",
    "endless": "endless line",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_an_answer(fault: str, script: Script, url: str) -> None:
    """A sentence; and the conversation can be gone on with."""
    with Engine.connect(url) as engine:
        session = engine.session(PICTURE)
        script.broken = fault
        # A stage ends with its tag, whatever reason the server gives.
        search = Free() if "reason" in fault else StageBeam(candidates=2)
        with pytest.raises(BackendError, match=FAULTS[fault]) as failed:
            session.ask("How many?", search=search)
        assert failed.value.hint
        script.broken = ""
        assert session.ask("How many?").conclusion


def test_a_busy_server_is_asked_again(script: Script, url: str) -> None:
    script.status = [429, 503]
    assert ask(url, Direct()).conclusion
    assert len(script.answers) == 3


@pytest.mark.parametrize("status", [500, 502, 503])
def test_what_may_have_begun_is_not_asked_again(status: int, script: Script, url: str) -> None:
    script.status, script.comes_again = [status] * 4, False
    with pytest.raises(BackendError, match=f"answers {status}"):
        ask(url, Direct())
    assert len(script.answers) == 1


@pytest.mark.parametrize(
    ("status", "hint"), [(500, "log"), (400, "log"), (413, "smaller"), (429, "busy")]
)
def test_a_refusal_is_told_once(status: int, hint: str, script: Script, url: str) -> None:
    script.status = [status] * 4
    with pytest.raises(BackendError, match=f"answers {status}: not now") as failed:
        ask(url, Direct())
    assert hint in failed.value.hint
    assert len(script.answers) == (4 if status == 429 else 1)


def test_whole_answers_may_be_odd(script: Script, url: str) -> None:
    script.owner, script.broken = "somebody", "no choice"
    with pytest.raises(BackendError, match="without a choice"):
        ask(url, Staged())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"broken": "a web page"}, "which is no reply of a chat server"),
        ({"models": []}, "names no model"),
        ({"models": ["a", "b"]}, "has 2 models: a, b"),
        ({"key": "secret"}, "answers 401: no such key"),
    ],
)
def test_no_server_for_us(changes: dict[str, Any], message: str) -> None:
    with scripted(Script(**changes)) as url:
        with pytest.raises((BackendError, UsageError), match=message) as refused:
            Engine.connect(url)
    assert refused.value.hint


def test_one_of_several_models() -> None:
    script = Script(models=["a", "b"])
    with scripted(script) as url:
        with Engine.connect(url, model="b") as engine:
            engine.session().ask("x", search=Direct())
        with pytest.raises(UsageError, match="no model 'c'"):
            Engine.connect(url, model="c")
    assert script.answers[-1]["model"] == "b"


# --- pictures ------------------------------------------------------------------------------------
def test_how_a_picture_is_sent() -> None:
    """As PNG where that is small, also of a large drawing; a photograph is not made a PNG first."""
    noise = Image.frombytes("RGB", (1600, 1200), random.Random(1).randbytes(1600 * 1200 * 3))
    assert encoded(noise.crop((0, 0, 900, 900)))[0] == "png"
    assert encoded(Image.new("RGB", (4000, 3000), "white"))[0] == "png"
    made: list[tuple[tuple[int, int], str | None]] = []
    with pytest.MonkeyPatch.context() as patch:
        save = Image.Image.save

        def noted(image: Image.Image, file: Any, format: str | None, **options: Any) -> None:
            made.append((image.size, format))
            save(image, file, format, **options)

        patch.setattr(Image.Image, "save", noted)
        kind, data = encoded(noise)
    assert kind == "jpeg"
    assert Image.open(io.BytesIO(data)).size == noise.size
    assert (noise.size, "PNG") not in made


def test_a_picture_that_no_jpeg_can_be() -> None:
    noise = random.Random(1).randbytes(70_000 * 40 * 3)
    kind, data = encoded(Image.frombytes("RGB", (70_000, 40), noise))
    assert kind == "png"
    assert len(data) > MOST_PNG


# --- addresses and keys --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("http://localhost:8080/", "http://localhost:8080/v1"),
        ("https://box.example/v1/", "https://box.example/v1"),
        ("https://box.example/api", "https://box.example/api/v1"),
        ("https://box.example/v1beta/openai/", "https://box.example/v1beta/openai"),
        ("https://box.example/api/v3", "https://box.example/api/v3"),
        ("https://box.example/vault", "https://box.example/vault/v1"),
        (" http://[::1]:80 ", "http://[::1]/v1"),
    ],
)
def test_addresses(text: str, wanted: str) -> None:
    assert str(base_url(text)) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "localhost:8080", "ftp://x", "http://", "http://x?y=1", "http://u:p@x", "http://x:abc"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        base_url(text)
    assert ":p" not in refused.value.message


def test_a_key_goes_with_every_request_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv(KEY, "very-secret")
    caplog.set_level("DEBUG")
    script = Script(key="very-secret")
    with scripted(script) as url:
        assert main(["ask", str(PICTURE), "How many?", "--server", url, "--json"]) == 0
    said = capsys.readouterr()
    assert "very-secret" not in said.out + said.err + caplog.text
    assert json.loads(said.out)["request"]["server"] == url
    assert all(one["Authorization"] == "Bearer very-secret" for one in script.headers)


@pytest.mark.parametrize(
    ("url", "key", "allowed"),
    [
        ("http://localhost:1", "zzz", True),
        ("http://127.0.0.1:1", "zzz", True),
        ("https://box.example", "zzz", True),
        ("http://box.example", "zzz", False),
        ("http://127.0.0.1.example.org", "zzz", False),
        ("http://box.example", "", True),
        ("https://box.example", "schlüssel", False),
    ],
)
def test_a_key_is_never_sent_readable(
    url: str, key: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, key)
    if allowed:
        Client(url).close()
    else:
        with pytest.raises(UsageError) as refused:
            Client(url)
        assert not key or key not in refused.value.message


# --- the command line ----------------------------------------------------------------------------
def test_ask_record_and_replay(
    script: Script, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["ask", str(PICTURE), "How many?", "--server", url, "--seed", "3"]
    assert main([*asked, "--strategy", "stage-beam", "--candidates", "2", "--json"]) == 0
    (tmp_path / "answer.json").write_text(capsys.readouterr().out)
    assert main(["ask", "--replay", str(tmp_path / "answer.json")]) == 0
    assert "the same answer" in capsys.readouterr().err
    script.texts["CONCLUSION"] = ["4"]
    assert main(["ask", "--replay", str(tmp_path / "answer.json")]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--server", "nowhere"], "the server is 'nowhere'"),
        (["--server", "http://x", "--model", "a.gguf"], "--model was given together"),
        (["--server", "http://x", "--context", "4096"], "--context was given together"),
        (["--server", "http://x", "--gpu-layers", "3"], "--gpu-layers was given together"),
        (["--server-model", "a"], "--server-model needs --server"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", str(PICTURE), "How many?", *options]) == 2
    assert message in capsys.readouterr().err


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    assert main(["ask", str(PICTURE), "x", "--server", f"http://127.0.0.1:{port}"]) == 1
    assert "Is it running" in capsys.readouterr().err


def questions(path: Path, n: int) -> Path:
    samples = demo.samples()
    rows = [
        {"index": str(i), "question": f"{i}: {samples[i % 6].question}", "answer": "3",
         "image": str(samples[i % 6].picture)}
        for i in range(n)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_eval_in_parallel_is_the_same_report_and_is_gone_on_with(
    script: Script, url: str, tmp_path: Path
) -> None:
    file = questions(tmp_path / "q.jsonl", 24)
    asked = ["eval", str(file), "--server", url, "--no-pages", "--strategy", "stage-beam"]
    asked += ["--candidates", "2", "--strategy", "staged", "--out"]
    assert main([*asked, str(tmp_path / "one")]) == 0
    assert main([*asked, str(tmp_path / "many"), "--parallel", "8"]) == 0
    reports = [(tmp_path / name / "report.md").read_bytes() for name in ("one", "many")]
    assert reports[0] == reports[1]
    rows = (tmp_path / "many" / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "many" / "rows.jsonl").write_text("".join(rows[:20]))
    script.asked.clear()
    assert main([*asked, str(tmp_path / "many"), "--parallel", "8"]) == 0
    assert (tmp_path / "many" / "report.md").read_bytes() == reports[0]
    known = Counter(json.loads(row)["question"] for row in rows[:20])
    texts = {json.dumps(body["messages"][0]["content"][-1]) for body in script.answers}
    assert len(texts) == 24 - sum(n == 2 for n in known.values())


@pytest.mark.parametrize("parallel", ["1", "4"])
def test_a_server_that_fails_ends_the_run_and_costs_no_question(
    parallel: str, script: Script, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = questions(tmp_path / "q.jsonl", 16)
    asked = ["eval", str(file), "--server", url, "--no-pages", "--parallel", parallel, "--out"]
    script.fails_from = 30  # a question takes four requests
    assert main([*asked, str(tmp_path / "out")]) == 1
    assert "ended the reply early" in capsys.readouterr().err
    rows = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert 2 < len(rows) < 12
    assert all(json.loads(row)["error"] is None for row in rows)
    script.fails_from = None
    assert main([*asked, str(tmp_path / "out")]) == 0
    assert main([*asked, str(tmp_path / "whole")]) == 0
    reports = [(tmp_path / name / "report.md").read_bytes() for name in ("out", "whole")]
    assert reports[0] == reports[1]


def test_a_question_that_a_server_cannot_take_is_a_row(
    script: Script, url: str, tmp_path: Path
) -> None:
    file = questions(tmp_path / "q.jsonl", 2)
    script.status = [413]
    assert main(["eval", str(file), "--server", url, "--out", str(tmp_path / "out")]) == 0
    rows = [json.loads(row) for row in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert ["413" in (row["error"] or "") for row in rows] == [True, False]
