"""Every field of a request: what it means, and what is said where it cannot be."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from llavao1_edge.search import BestOfN, StageBeam, Staged
from llavao1_edge.serve.problem import Problem
from llavao1_edge.serve.request import Defaults, Remote, Uploaded, chat_request
from llavao1_edge.settings import BudgetSettings, SamplingSettings

DEFAULTS = Defaults(("llavao1", "llavao1-big"), Staged())
DATA = "data:image/png;base64," + base64.b64encode(b"picture").decode()
ASKED = [{"role": "user", "content": "Why?"}]


def read(**fields: Any) -> Any:
    return chat_request({"messages": ASKED, **fields}, DEFAULTS)


def picture(url: Any = DATA) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def user(*parts: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return {"role": "user", "content": content}


def said(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def test_a_plain_request_takes_the_defaults() -> None:
    found = read(seed=5)
    assert (found.model, found.strategy, found.seed, found.n) == ("llavao1", Staged(), 5, 1)
    assert (found.question, found.turns, found.pictures) == ("Why?", (), ())
    assert found.sampling == SamplingSettings()
    assert not found.stream


def test_another_seed_each_time_unless_one_is_given() -> None:
    assert len({read().seed for _ in range(8)}) > 1
    fixed = Defaults(("m",), Staged(), seed=3)
    assert chat_request({"messages": ASKED}, fixed).seed == 3


def test_names_of_presets() -> None:
    assert read(model="llavao1:careful").strategy == StageBeam(candidates=4)
    assert read(model="llavao1-big:thorough").strategy == StageBeam(candidates=8)
    fast = read(model="llavao1:fast")
    assert (fast.strategy, fast.sampling.temperature) == (Staged(), 0)
    assert read(model="llavao1:fast", temperature=0.5).sampling.temperature == 0.5


def test_the_search_in_an_object_of_its_own() -> None:
    own = {"strategy": "best-of-n", "candidates": 3, "scorer": "judge", "stage_tokens": 50}
    found = read(llavao1={**own, "min_p": 0.1, "stages": True})
    assert found.strategy == BestOfN(candidates=3, scorer="judge")
    assert found.budget == BudgetSettings(stage_tokens=50)
    assert found.sampling.min_p == 0.1
    assert found.wants_stages
    narrower = read(model="llavao1:careful", llavao1={"candidates": 2})
    assert narrower.strategy == StageBeam(candidates=2)


def test_limits_and_stops() -> None:
    found = read(max_completion_tokens=100, top_p=0.9, top_k=40, stop="\n", n=2)
    assert found.sampling == SamplingSettings(max_tokens=100, top_p=0.9, top_k=40)
    assert (found.stop, found.n) == (("\n",), 2)
    assert read(stop=["a", "b"]).stop == ("a", "b")
    assert read(stop=None).stop == ()


def test_a_conversation() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        user(picture()),
        user("What?", "And where?"),
        said("A cat."),
        {"role": "user", "content": "Why?"},
    ]
    found = read(messages=messages)
    assert found.pictures == (b"picture",)
    assert found.turns == (("Be brief.\n\nWhat?\n\nAnd where?", "A cat."),)
    assert found.question == "Why?"


def test_where_pictures_may_come_from() -> None:
    file = {"type": "file", "file": {"file_id": "file-1"}}
    sent = {"type": "file", "file": {"file_data": DATA}}
    messages = [user(picture(), picture("https://example.org/a.png"), file, sent, "Which?")]
    assert read(messages=messages).pictures == (
        b"picture",
        Remote("https://example.org/a.png"),
        Uploaded("file-1"),
        b"picture",
    )


def test_a_schema_as_openai_sends_it() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wrapped = {"type": "json_schema", "json_schema": {"name": "count", "schema": schema}}
    assert "integer" in read(response_format=wrapped).schema
    more = {"name": "count", "schema": schema, "title": "What else a client may add"}
    found = read(response_format={"type": "json_schema", "json_schema": more}).schema
    assert json.loads(found) == schema
    assert read(response_format={"type": "json_object"}).schema
    assert read(response_format={"type": "text"}).schema == ""


BAD: list[tuple[dict[str, Any], str | None, str]] = [
    ({"messages": None}, "messages", "at least one"),
    ({"messages": []}, "messages", "at least one"),
    ({"messages": ["hello"]}, "messages[0]", "is an object"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "'tool'"),
    ({"messages": [said("x")]}, "messages", "begins and ends"),
    ({"messages": [*ASKED, said("x")]}, "messages", "begins and ends"),
    ({"messages": ASKED * 201}, "messages", "201"),
    ({"messages": [user("  ")]}, "messages[0]", "empty"),
    ({"messages": [user(picture())]}, "messages[0]", "empty"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "list of parts"),
    ({"messages": [user({"type": "text", "text": 5})]}, "messages[0].content[0].text", "text"),
    ({"messages": [user({"type": "input_audio"})]}, "messages[0].content[0]", "input_audio"),
    ({"messages": [user(picture(5), "x")]}, "messages[0].content[0].image_url", "url"),
    ({"messages": [user(picture("/etc/passwd"), "x")]}, "messages[0].content[0].image_url.url",
     "neither"),
    ({"messages": [user(picture("file:///etc/passwd"), "x")]},
     "messages[0].content[0].image_url.url", "neither"),
    ({"messages": [user(picture("data:image/png,abc"), "x")]},
     "messages[0].content[0].image_url.url", "base64"),
    ({"messages": [user(picture("data:image/png;base64,§"), "x")]},
     "messages[0].content[0].image_url.url", "base64"),
    ({"messages": [*ASKED, said("x"), user(picture(), "x")]}, "messages[2]", "first question"),
    ({"messages": [user(*[picture()] * 17, "x")]}, "messages", "17"),
    ({"messages": [*ASKED, said([picture()]), *ASKED]}, "messages[1].content[0]", "text only"),
    ({"messages": [*ASKED, {**said("x"), "tool_calls": [1]}, *ASKED]}, "messages[1].tool_calls",
     "tools"),
    ({"model": "gpt-5"}, "model", "gpt-5"),
    ({"model": 7}, "model", "7"),
    ({"temperature": "hot"}, "temperature", "hot"),
    ({"temperature": 99}, "temperature", "99"),
    ({"top_p": 0}, "top_p", "top_p"),
    ({"max_tokens": 0}, "max_tokens", "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens", "1.5"),
    ({"n": 0}, "n", "0"),
    ({"n": 9}, "n", "9"),
    ({"n": True}, "n", "True"),
    ({"seed": "x"}, "seed", "'x'"),
    ({"seed": 1 << 63}, "seed", "64 bits"),
    ({"stop": [""]}, "stop", "stop"),
    ({"stop": ["a"] * 5}, "stop", "up to 4"),
    ({"stop": 5}, "stop", "stop"),
    ({"stream": 1}, "stream", "true or false"),
    ({"stream_options": True}, "stream_options", "object"),
    ({"logprobs": "yes"}, "logprobs", "'yes'"),
    ({"top_logprobs": 3}, "top_logprobs", "needs logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "21"),
    ({"tools": [{"type": "function"}]}, "tools", "not supported"),
    ({"tool_choice": "required"}, "tool_choice", "not supported"),
    ({"frequency_penalty": 1}, "frequency_penalty", "not supported"),
    ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
    ({"response_format": {"type": "xml"}}, "response_format", "xml"),
    ({"response_format": "json"}, "response_format", "object"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
     "response_format", "nothing"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
     "response_format", "no schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {
        "schema": {"type": "string", "minLength": 10**400}}}}, "response_format", "minLength"),
    ({"response_format": {"type": "json_schema", "json_schema": {
        "schema": {"enum": ["x" * 300_000]}}}}, "response_format", "letters"),
    ({"messages": [user(*["a"] * 201)]}, "messages[0].content", "201 parts"),
    ({"llavao1": {"\ud800": 1}}, "llavao1.\ud800", "no "),
    ({"llavao1": {"strategy": "retrace", "threshold": -1e999}}, "llavao1", "threshold"),
    ({"temperature": float("nan")}, "temperature", "nan"),
    ({"llavao1": []}, "llavao1", "object"),
    ({"llavao1": {"speed": 1}}, "llavao1.speed", "no speed"),
    ({"llavao1": {"strategy": "magic"}}, "llavao1", "magic"),
    ({"llavao1": {"strategy": 5}}, "llavao1.strategy", "5"),
    ({"llavao1": {"candidates": 4}}, "llavao1", "candidates"),
    ({"llavao1": {"strategy": "stage-beam", "candidates": 99}}, "llavao1", "99"),
    ({"llavao1": {"strategy": "stage-beam", "scorer": {}}}, "llavao1.scorer", "{}"),
    ({"llavao1": {"strategy": "stage-beam", "scorer": "x"}}, "llavao1", "x"),
    ({"llavao1": {"stage_tokens": "many"}}, "stage_tokens", "many"),
    ({"llavao1": {"strategy": "free"}, "response_format": {"type": "json_object"}},
     "response_format", "free"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "message"), BAD)
def test_what_cannot_be_is_named(fields: dict[str, Any], param: str | None, message: str) -> None:
    with pytest.raises(Problem) as refused:
        read(**fields)
    assert 400 <= refused.value.status < 500
    assert refused.value.param == param
    assert message in refused.value.message
    error = json.loads(json.dumps(refused.value.body(), ensure_ascii=False).encode())["error"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("half", ["\ud800", "a \udfff b"])
def test_half_a_character_is_named_wherever_it_stands(half: str) -> None:
    asked = user("q")
    for messages, where in (
        ([user(half)], "messages[0].content[0].text"),
        ([{"role": "system", "content": half}, asked], "messages[0].content"),
        ([asked, said(half), asked], "messages[1].content"),
    ):
        with pytest.raises(Problem, match="half a character") as refused:
            read(messages=messages)
        assert refused.value.param == where


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_body_that_is_no_object(body: Any) -> None:
    with pytest.raises(Problem, match="JSON object"):
        chat_request(body, DEFAULTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "metadata": {}, "store": False, "service_tier": "auto"},
        {"tools": [], "tool_choice": "auto", "functions": None},
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}},
        {"modalities": ["text"], "parallel_tool_calls": True, "reasoning_effort": "high"},
    ],
)
def test_what_asks_for_nothing_is_let_through(fields: dict[str, Any]) -> None:
    assert read(**fields).question == "Why?"
