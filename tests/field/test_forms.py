"""Answers in a form: what leaves with exit code 0 is of the form that was asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import Engine, RuntimeSettings, SamplingSettings, StageBeam, demo
from llavao1_edge.engine.formats import answer_format, compiled, problem, schema_format
from llavao1_edge.errors import UsageError
from llavao1_edge.llama import guide
from llavao1_edge.stages import CONCLUSION, AnswerFormat

SAMPLE = demo.samples()[0]
OBJECT = {
    "type": "object",
    "properties": {"s": {"type": "string"}},
    "required": ["s"],
    "additionalProperties": False,
}


def schema(given: Any) -> AnswerFormat:
    return schema_format(json.dumps(given), name="the schema")


def takes(form: AnswerFormat, text: str) -> bool:
    return guide.accepts(compiled(form), text + CONCLUSION.closing)


# --- a closing tag inside a string ----------------------------------------------------------------
@pytest.mark.parametrize("search", [None, StageBeam(candidates=3)])
def test_a_string_may_not_swallow_the_closing_tag(search: StageBeam | None) -> None:
    """The demo was never taught JSON, so it writes its closing tag into the string."""
    form = schema(OBJECT)
    with Engine.open("demo", settings=RuntimeSettings(device="cpu")) as engine:
        session = engine.session(SAMPLE.picture)
        sampling = SamplingSettings(max_tokens=300)
        for seed in range(8):
            answer = session.ask(
                SAMPLE.question,
                seed=seed,
                sampling=sampling,
                answer_format=form,
                **({"search": search} if search else {}),
            )
            assert "</CONCLUSION" not in answer.conclusion or answer.form_problem
            if answer.form_problem:
                assert not answer.complete
            else:
                assert set(json.loads(answer.conclusion)) == {"s"}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (schema(OBJECT), '{"s": "a</CONCLUSION>"}'),
        (AnswerFormat('root ::= "[" [^\\]]* "]"'), "[a</CONCLUSION>]"),
    ],
)
def test_a_tag_that_is_not_at_the_end_is_refused_token_by_token(
    form: AnswerFormat, text: str
) -> None:
    words = guide._Words([*(bytes([i]) for i in range(256)), b"\xff<end>"], 256, str.encode)  # type: ignore[arg-type]

    class Vocabulary:
        tokens = words.tokens
        tokenizer = guide._bytes_tokenizer()

    grammar = guide.FormGrammar(
        Vocabulary(),
        compiled(form),
        tags=[CONCLUSION.closing, "<SUMMARY>"],
        closing="</CONCLUSION>",  # type: ignore[arg-type]
    )
    refused = None
    for at, byte in enumerate(text.encode()):
        if not grammar.allows(byte):
            refused = at
            break
        grammar.accept(byte)
    assert refused == text.index(">")
    grammar.accept(ord("x"))  # and anything else may follow


# --- schemas --------------------------------------------------------------------------------------
LAWS: list[tuple[Any, list[Any], list[Any]]] = [
    ({"type": "string", "pattern": "^\\d{3}-\\w+\\s\\.$"}, ["123-ab ."], ["12-ab .", "123- ."]),
    ({"type": "string", "pattern": '^"x"$'}, ['"x"'], ["x"]),
    ({"enum": ['a "b"', "c\\d", 1, None]}, ['a "b"', "c\\d", 1, None], ["c", 2]),
    ({"const": {"a": [1]}}, [{"a": [1]}], [{"a": [2]}]),
    ({"type": "integer", "minimum": 3, "maximum": 12}, [3, 12, 7], [2, 13, -5]),
    ({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 6}, [4, 5], [3, 6]),
    ({"type": "number", "minimum": 0.5, "maximum": 1.5}, [0.5, 1, 1.5], [0.4, 1.6, 2]),
    ({"type": "integer", "multipleOf": 5}, [0, 15], [7]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, [[1, 2]], [[1], [1, 2, 3, 4]]),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "한국어"], ["a", "abcd"]),
    (
        {"type": "object", "patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
        [{"xa": 1}, {}],
        [{"b": 1}, {"xa": "1"}],
    ),
    ({"type": "object", "additionalProperties": {"type": "boolean"}}, [{"a": True}], [{"a": 1}]),
    ({"type": "object", "properties": {'a"b': {"type": "integer"}}, "required": ['a"b'], "additionalProperties": False}, [{'a"b': 1}], [{}]),
    ({"type": "string", "format": "date"}, ["2026-11-26"], ["2026-13-01", "x"]),
    ({"type": "string", "format": "uuid"}, ["12345678-1234-1234-1234-123456789abc"], ["x"]),
    ({"type": "string", "format": "email"}, ["a@b.org"], ["a"]),
    ({"type": "string", "format": "time"}, ["12:00:00Z"], ["noon"]),
    ({"type": "array", "items": {"$ref": "#"}}, [[[], [[]]]], [[1]]),
    (
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"c": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "additionalProperties": False}}},
        [{"c": [{"c": []}]}],
        [{"c": [1]}],
    ),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, [1, None], ["a"]),
    ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["b"]}, [{"b": 1}], [{"a": 1}]),
    ({"type": "number", "multipleOf": 0.1}, [0.3], [0.35]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "right", "wrong"), LAWS, ids=lambda value: json.dumps(value)[:40]
)
def test_what_a_schema_says_is_enforced_while_writing(
    given: Any, right: list[Any], wrong: list[Any]
) -> None:
    form = schema(given)
    assert form.unenforced == ()
    for value in right:
        assert takes(form, json.dumps(value, ensure_ascii=False)), value
        assert problem(form, json.dumps(value), closed=True) == ""
    for value in wrong:
        assert not takes(form, json.dumps(value, ensure_ascii=False)), value
        assert problem(form, json.dumps(value), closed=True)


@pytest.mark.parametrize(
    ("given", "words", "wrong"),
    [
        (
            {"type": "array", "uniqueItems": True, "items": {"type": "integer"}},
            ("uniqueItems",),
            "[1, 1]",
        ),
        ({"type": "integer", "not": {"const": 3}}, ("not",), "3"),
        ({"if": {"type": "integer"}, "then": {"minimum": 3}}, ("if", "then"), "1"),
    ],
)
def test_what_cannot_be_enforced_is_named_before_and_checked_after(
    given: Any, words: tuple[str, ...], wrong: str
) -> None:
    form = schema(given)
    assert form.unenforced == words
    assert takes(form, wrong)
    assert "does not follow the schema" in problem(form, wrong, closed=True)


def test_openais_wrappers_and_a_utf_8_mark(tmp_path: Path) -> None:
    inner = {"type": "integer"}
    for wrapped in (
        {"name": "n", "schema": inner},
        {"name": "n", "strict": True, "schema": inner},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": inner}},
    ):
        assert json.loads(schema(wrapped).schema) == inner
    marked = tmp_path / "marked.json"
    marked.write_bytes(b"\xef\xbb\xbf" + json.dumps(inner).encode())
    assert answer_format(schema=marked) is not None
    grammar = tmp_path / "marked.gbnf"
    grammar.write_bytes(b'\xef\xbb\xbfroot ::= "a"')
    assert answer_format(grammar=grammar) is not None


@pytest.mark.parametrize(
    "text",
    ['{"type": 5}', '{"minItems": "x"}', "{", "[1]", '{"minimum": NaN}', '{"minimum": 1e999}',
     '{"$schema": 5}', '{"$schema": []}', '{"minimum": ' + "9" * 5000 + "}", '{"pattern": "["}', '{"$ref": "#/nowhere"}'],
)  # fmt: skip
def test_a_schema_that_is_none_is_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        compiled(schema_format(text, name="s.json"))
    assert caught.value.message.startswith("s.json")


# --- GBNF -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("grammar", "right", "wrong"),
    [
        ('root ::= "-"? [0-9]{1,3} ("." [0-9]+)?', ["1", "-123.5"], ["", "1234", "."]),
        ('root ::= start\nstart ::= "a" | rule_\nrule_ ::= "b"' .replace("rule_", "end"), ["a", "b"], ["c"]),
        ('root ::= . .', ["ab", "\n한"], ["a"]),
        ('root ::= ("a"*)* "b"', ["b", "aaab"], ["a"]),
        ('root ::= (("a" | "b")+ ","?)+', ["ab,a", "a"], [","]),
        ('root ::= [^\\]\\x41-\\u00e9]{2,3}', ["한국", "12"], ["AA", "1"]),
        ('root ::= "\\"\\\\\\n\\t\\x41"', ['"\\\n\tA'], ["x"]),
        ('root ::= a-b | a\na-b ::= "1"\na ::= "2"', ["1", "2"], ["3"]),
        ('root ::= "한국" # words\n', ["한국"], ["한"]),
        ('root ::= "{" ws x "}" ws # }\nws ::= " "?\nx ::= [}a]', ["{a}", "{ }} "], ["{b}"]),
        ('root ::= "a/./b" | x{2}\nx ::= "c"', ["a/./b", "cc"], ["a/x/b", "c"]),
    ],
)  # fmt: skip
def test_gbnf_means_what_it_means_in_llama_cpp(
    grammar: str, right: list[str], wrong: list[str]
) -> None:
    form = AnswerFormat(grammar)
    for text in right:
        assert takes(form, text), text
    for text in wrong:
        assert not takes(form, text), text


HOSTILE = {
    "left recursion": 'root ::= root "a" | "b"',
    "optional chain": "root ::= " + " ".join(["[a-z ]?"] * 200),
    "doubling": "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1} | r{i + 1}" for i in range(40)) + '\nr40 ::= "a"',
    "deep": "root ::= " + "(" * 900 + '"a"' + ")?" * 900,
    "a megabyte": "root ::= " + " | ".join(f'"w{i}"' for i in range(80_000)),
    "many rules": "root ::= r0\n" + "\n".join(f'r{i} ::= "a" r{i + 1}' for i in range(30_000)) + '\nr30000 ::= "a"',
    "nested stars": 'root ::= ((("a"*)*)*)*',
    "repeats": 'root ::= (("a"{1999}){1999}){1999}',
}  # fmt: skip
HOSTILE_SCHEMAS = {
    "minItems": {"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000_000},
    "minLength": {"type": "string", "minLength": 1e12},
    "maxLength": {"type": "string", "maxLength": 65_535},
    "pattern": {"type": "string", "pattern": "^.{0,100000}$"},
    "maxItems": {"type": "array", "maxItems": 1_000_000},
    "ambiguous": {"type": "string", "pattern": "^(a?){300}a{300}$"},
    "deep": None,
}
RUN = """
import json, resource, sys
from llavao1_edge.engine.formats import compiled, schema_format
from llavao1_edge.errors import UsageError
from llavao1_edge.stages import AnswerFormat
kind, text = sys.argv[1], sys.stdin.read()
limit = 3 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    form = AnswerFormat(text) if kind == "gbnf" else schema_format(text, name="s")
    compiled(form)
    print("followed")
except UsageError as error:
    print("refused:", error.message[:100])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
@pytest.mark.parametrize(
    ("kind", "text"),
    [("gbnf", text) for text in HOSTILE.values()]
    + [
        ("schema", json.dumps(given) if given else '{"items":' * 5000 + "{}" + "}" * 5000)
        for given in HOSTILE_SCHEMAS.values()
    ],
    ids=[*HOSTILE, *(f"schema {name}" for name in HOSTILE_SCHEMAS)],
)
def test_hostile_grammars_end_in_a_sentence_or_are_followed(kind: str, text: str) -> None:
    """Never a signal, never much memory, never long: the limits of the process would end it."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, kind], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-400:])
    assert done.stdout.startswith(("followed", "refused:"))


def test_an_ambiguous_grammar_is_written_to_its_end() -> None:
    """llama.cpp's own grammars took minutes here, and did not hear Ctrl-C."""
    form = AnswerFormat(HOSTILE["doubling"])
    with Engine.open("demo", settings=RuntimeSettings(device="cpu")) as engine:
        answer = engine.session(SAMPLE.picture).ask(SAMPLE.question, answer_format=form)
    assert (answer.conclusion, answer.form_problem) == ("a", "")


# --- the command line -----------------------------------------------------------------------------
def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llavao1_edge.cli.main", "ask", str(SAMPLE.picture)]
    return subprocess.run([*command, SAMPLE.question, *arguments], capture_output=True, text=True)


def test_exit_code_0_is_only_for_text_of_the_form(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(
        json.dumps({**OBJECT, "properties": {"s": {"type": "string", "minLength": 90}}})
    )
    short = ask("--json-schema", str(file), "--max-tokens", "150", "--temperature", "0")
    assert short.returncode == 1
    assert "was cut off before it had the form" in short.stderr
    file.write_text(
        json.dumps({"type": "integer", "minimum": 3, "maximum": 7, "not": {"const": 9}})
    )
    good = ask("--json-schema", str(file), "--temperature", "0")
    assert (good.returncode, good.stderr.count("not of ")) == (0, 1), good.stderr
    assert 3 <= int(good.stdout) <= 7
    assert ask("--json-schema", "/dev/zero").returncode == 2


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef", "$recursiveRef"])
@pytest.mark.parametrize("around", ["{}", '{"not": {}}', '{"allOf": [{}]}'])
def test_a_reference_is_never_fetched(keyword: str, around: str) -> None:
    """A schema comes from strangers: what it names may lie in this machine's own network."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        inner = json.dumps({keyword: f"http://127.0.0.1:{server.server_address[1]}/secret"})
        schema = around.replace("{}", inner, 1) if around != "{}" else inner
        form = AnswerFormat(name="x", schema=schema)
        problem(form, '"a"', closed=True)
    finally:
        server.shutdown()
        server.server_close()
    assert not asked
