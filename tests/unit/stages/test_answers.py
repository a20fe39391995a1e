"""Answer formats: grammars that are right, and mistakes named by line and column."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llavao1_edge.engine.formats import answer_format, compiled
from llavao1_edge.errors import UsageError
from llavao1_edge.llama.guide import accepts
from llavao1_edge.stages import AnswerFormat, answer_kind, choices
from llavao1_edge.stages.answers import KINDS
from llavao1_edge.stages.gbnf import check_gbnf

GOOD = [
    'root ::= "a"',
    'root ::= "a" | "b" # comment\n# another\n\nrest ::= [a-z]+ root?',
    'root ::= (\n  "a"\n  | "b" c\n)* \nc ::= [^\\]\\x41-\\u00e9]{2,5} "\\""',
    "root ::=\n  item{3} item{0,2} item{1,}\nitem ::= .",
    'root ::= "" "a" rest\nrest ::= | "b" rest',
    'root ::= "a\nb" [a\\-z] "c"{2}{3} <think> !<[12]>',
]
BAD = [
    ('root ::= "a', 1, 10, "not closed"),
    ('root ::= ""*', 1, 12, "nothing to repeat"),
    ('root ::= [] root | "a"', 1, 10, "class is empty"),
    ('root ::= "a"{2000}', 1, 13, "not between"),
    ("root ::= [a-z", 1, 10, "not closed"),
    ('root ::= "a" )', 1, 14, "expected the end of the line"),
    ('root ::= ("a"', 1, 14, 'expected ")"'),
    ('root ::= "a"\nroot ::= "b"', 2, 1, "defined twice"),
    ('root ::= "a"\n  b', 2, 4, '"::="'),
    ("root ::= thing", 1, 10, "thing is not defined"),
    ('start ::= "a"', 1, 14, "no rule named root"),
    ('root ::= "\\q"', 1, 11, "unknown escape"),
    ('root ::= "a"{5,2}', 1, 13, "not between"),
    ('root ::= "a"{9999}', 1, 13, "not between"),
    ('root ::= "a"{x}', 1, 13, "repetition"),
    ('root ::= a\na ::= b "x"\nb ::= "y"? a', 2, 1, "begin with itself"),
    ('root ::= "a"\n?', 2, 1, "name of a rule"),
    ("", 1, 1, "no rule named root"),
]


@pytest.mark.parametrize("grammar", GOOD)
def test_good_grammars_pass(grammar: str) -> None:
    check_gbnf(grammar)


@pytest.mark.parametrize(("grammar", "line", "column", "problem"), BAD)
def test_bad_grammars_name_the_place(grammar: str, line: int, column: int, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_gbnf(grammar, name="my.gbnf")
    assert caught.value.message.startswith(f"my.gbnf, line {line}, column {column}: ")
    assert problem in caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_good_grammars(kind: str) -> None:
    compiled(answer_kind(kind))


def test_a_grammar_of_many_groups_is_refused_in_words() -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        check_gbnf("root ::= " + "(" * 3000 + '"a"' + ")" * 3000)


def test_choices() -> None:
    assert choices(["A", 'a "b"', "c\\d"]).grammar == 'root ::= "A" | "a \\"b\\"" | "c\\\\d"'
    for wrong in (["A"], ["A", "A"], ["A", ""], ["A", "<b>"], ["A", "b\nc"]):
        with pytest.raises(UsageError, match=r"choice"):
            choices(wrong)


def test_the_end_of_the_stage_is_added() -> None:
    for grammar in ('root ::= "a" |', 'root ::= "a"'):
        whole = compiled(AnswerFormat(grammar))
        assert accepts(whole, "a</CONCLUSION>")
        assert accepts(whole, "a\n</CONCLUSION>\n")
        assert not accepts(whole, "a")
    with pytest.raises(UsageError, match="neither"):
        AnswerFormat()
    with pytest.raises(UsageError, match="both"):
        AnswerFormat('root ::= "a"', schema="{}")


def test_formats_from_files(tmp_path: Path) -> None:
    assert answer_format() is None
    grammar = tmp_path / "g.gbnf"
    grammar.write_text('root ::= "a"')
    made = answer_format(grammar=grammar)
    assert made is not None
    assert made.grammar == 'root ::= "a"'
    with pytest.raises(UsageError, match="2 answer formats"):
        answer_format(grammar=grammar, kind="json")
    with pytest.raises(UsageError, match="No such file"):
        answer_format(grammar=tmp_path / "none")
    grammar.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        answer_format(grammar=grammar)


def test_json_schemas(tmp_path: Path) -> None:
    schema = tmp_path / "s.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}}))
    made = answer_format(schema=schema)
    assert made is not None
    assert json.loads(made.schema)["type"] == "object"
    schema.write_text('{"type": "string", "maxLength": 900}')
    assert answer_format(schema=schema) is not None
    schema.write_text('{"type": \n !}')
    with pytest.raises(UsageError, match="line 2, column 2"):
        answer_format(schema=schema)
    for text, held in (("[1]", "list"), ("true", "bool")):
        schema.write_text(text)
        with pytest.raises(UsageError, match=f"holds {held}"):
            answer_format(schema=schema)
    schema.write_text('{"$ref": "#/nowhere"}')
    with pytest.raises(UsageError, match="cannot be followed"):
        answer_format(schema=schema)
