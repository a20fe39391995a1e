"""Grammars of what a conclusion must look like, by llguidance: GBNF files and JSON schemas.

llama.cpp's own grammars stay for the stages (a fixed text of ours). What users give is compiled
here: llguidance follows ambiguous and deeply nested grammars in bounded time and memory, where
llama.cpp's end the process (docs/adr/0013). A closing tag counts only where the form is at its end,
so a string may hold anything but a whole tag.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError, UsageError
from llavao1_edge.llama.model import Model
from llavao1_edge.phrases import Phrase

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_GRAMMAR = 100_000  # characters of GBNF; and rules, below: compiling takes under a second
MAX_RULES = 2_000
_WORDS = re.compile(
    r"""(?P<skip>"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|\#[^\n]*|<[^>\n]+>|\{\s*\d+\s*,?\s*\d*\s*\})"""
    r"""|(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)"""
    r"""|(?P<any>\.)"""
    r"""|(?P<group>(?<=[*+?}])\s*\)(?=\s*[*+?{]))""",
    re.VERBOSE,
)
WHITE_SPACE = r"[\x20\n]{0,8}"
VALUES = ("enum", "const", "default", "examples")  # of these a schema says nothing
_UNKNOWN = re.compile(r"Unimplemented keys: \[(.*?)\]")


def lark_of_gbnf(text: str, *, name: str) -> str:
    """A GBNF grammar (already checked by `stages.gbnf`) in llguidance's notation.

    Raises UsageError where it is too large, or uses what cannot be expressed.
    """
    if len(text) > MAX_GRAMMAR or text.count("::=") > MAX_RULES:
        raise UsageError(
            Phrase(
                "{name} is too large: {n_text} characters, {count} rules",
                name=name,
                n_text=len(text),
                count=text.count("::="),
            ),
            hint=Phrase(
                "At most {most} characters and {n_rules} rules can be followed.",
                most=MAX_GRAMMAR,
                n_rules=MAX_RULES,
            ),
        )
    from llguidance.gbnf_to_lark import gbnf_to_lark

    def renamed(found: re.Match[str]) -> str:
        if found["skip"]:
            return _UNICODE.sub(_literal, found["skip"])
        if found["name"]:  # so that no name of a user's is one of Lark's
            return found["name"] if found["name"] == "root" else f"r-{found['name']}"
        if found["any"]:  # in GBNF a dot is any character, a line break too
            return r"[^\x00]"
        if found["group"]:  # the translator would drop the brackets of ("a"*)*
            return ' "")'
        return found[0]

    try:
        lark = gbnf_to_lark(_WORDS.sub(renamed, text))
    except Exception as error:  # whatever the translator stumbles over
        raise UsageError(
            Phrase("{name} cannot be followed: {first}", name=name, first=_first(error))
        ) from None
    return str(lark)


_UNICODE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))")


def _literal(found: re.Match[str]) -> str:
    """\\u00e9 as the character itself; ASCII, which may mean something, as \\x41."""
    code = int(found[2] or found[3], 16)
    return found[1] + (f"\\x{code:02x}" if code < 128 else chr(code))


def lark_of_schema(schema: dict[str, Any] | bool, *, lenient: bool = False) -> str:
    """A JSON schema in llguidance's notation. lenient: what it cannot enforce is left out.

    A little narrower than the schema, so that a model cannot wander: white space is bounded, and
    an object whose properties are listed has no others unless the schema says so.
    """
    if isinstance(schema, dict):
        guidance = {"whitespace_pattern": WHITE_SPACE, "lenient": lenient}
        schema = {**_closed(schema), "x-guidance": guidance}
    return f"start: %json {json.dumps(schema)}\n"


OPEN = ("additionalProperties", "patternProperties", "minProperties", "$ref", "$dynamicRef",
        "dependentRequired", "propertyNames")  # fmt: skip


def _is_listed(part: dict[str, Any]) -> bool:
    """Whether an object may be closed: all that it needs is among its listed properties."""
    listed = part.get("properties")
    if part.get("type") != "object" or not isinstance(listed, dict) or set(OPEN) & set(part):
        return False
    required = part.get("required", [])
    return isinstance(required, list) and set(map(str, required)) <= set(listed)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its listed objects closed, where that takes nothing from another part."""
    whole = json.dumps(schema)
    together = ("allOf", "anyOf", "oneOf", "if", "dependentSchemas", "unevaluatedProperties")
    if any(f'"{word}"' in whole for word in together):
        return schema  # its parts may describe one object together

    def close(part: Any) -> Any:
        if isinstance(part, list):
            return [close(each) for each in part]
        if not isinstance(part, dict):
            return part
        made = {name: value if name in VALUES else close(value) for name, value in part.items()}
        if _is_listed(part):
            made["additionalProperties"] = False
        return made

    closed: dict[str, Any] = close(schema)
    return closed


def compile_form(form: str, *, closing: str, name: str) -> str:
    """The whole grammar from the opening tag on, checked. Raises UsageError.

    form: Lark with a rule `start`.
    """
    tail = json.dumps(closing)
    main = f"start: /[ \\n]?/ answer /[ \\n]?/ {tail} /\\n*/\nanswer: @form\n"
    whole = json.dumps(
        {"grammars": [{"lark_grammar": main}, {"name": "form", "lark_grammar": form}]}
    )
    problem = _problem(whole)
    if problem:
        raise UsageError(
            Phrase("{name} cannot be followed: {problem}", name=name, problem=problem),
            hint="Use a simpler grammar or schema.",
        )
    return whole


def unenforced(schema: dict[str, Any] | bool) -> tuple[str, ...]:
    """Keywords of a schema that cannot be enforced while writing. Empty where all can."""
    whole = json.dumps({"grammars": [{"lark_grammar": lark_of_schema(schema)}]})
    found = _UNKNOWN.search(_problem(whole))
    return tuple(sorted(re.findall(r'"([^"]+)"', found[1]))) if found else ()


def _problem(whole: str) -> str:
    """Why a grammar cannot be compiled, in one line; empty where it can."""
    matcher = _matcher(_bytes_tokenizer(), whole)
    return _first(matcher.get_error()) if matcher.is_error() else ""


def _first(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()[:200]


def accepts(whole: str, text: str) -> bool:
    """Whether a finished conclusion, with its closing tag, follows the grammar."""
    matcher = _matcher(_bytes_tokenizer(), whole)
    data = list(text.encode())
    return int(matcher.try_consume_tokens(data)) == len(data) and bool(matcher.is_accepting())


class _Words:
    """A vocabulary as llguidance asks for one. tokens: their bytes; special ones begin with FF."""

    def __init__(self, tokens: list[bytes], end: int, tokenise: Callable[[str], list[int]]) -> None:
        self.tokens, self._tokenise = tokens, tokenise
        self.eos_token_id, self.bos_token_id, self.unk_token_id = end, None, None
        self.special_token_ids = [i for i, each in enumerate(tokens) if each[:1] == b"\xff"]

    def __call__(self, text: str | bytes) -> list[int]:
        return self._tokenise(text.decode(errors="replace") if isinstance(text, bytes) else text)


@functools.cache
def _bytes_tokenizer() -> LLTokenizer:
    """The 256 bytes and an end, for what needs no model."""
    from llguidance import LLTokenizer, TokenizerWrapper

    tokens = [*(bytes([i]) for i in range(255)), b"\xff\xff", b"\xff<end>"]
    words = _Words(tokens, 256, lambda text: list(text.encode()))
    return LLTokenizer(TokenizerWrapper(words))


def _matcher(tokenizer: LLTokenizer, whole: str) -> LLMatcher:
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(verbose_errors=False)
    return LLMatcher(tokenizer, whole, log_level=0, limits=limits)


class Vocabulary:
    """A model's tokens as llguidance wants them; made once, at the first form."""

    def __init__(
        self, model: Model, *, stop_tokens: Sequence[int], banned: NDArray[np.int64]
    ) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        never = set(banned.tolist())
        self.tokens: list[bytes] = []
        for token in range(model.n_vocab):
            piece = b"" if token in never else model.piece(token)
            special = token in stop_tokens or not piece
            self.tokens.append(b"\xff<%d>" % token if special else piece)
        words = _Words(self.tokens, min(stop_tokens), model.tokenise)
        self.tokenizer = LLTokenizer(TokenizerWrapper(words), eos_token=sorted(stop_tokens))


class FormGrammar:
    """The state of a form for one candidate; the same calls as `sampler.Grammar`."""

    def __init__(
        self, vocabulary: Vocabulary, whole: str, *, tags: Sequence[str], closing: str
    ) -> None:
        """tags: texts that may not appear inside the conclusion, `closing` among them."""
        self._vocabulary = vocabulary
        self._tags = [tag.encode() for tag in tags]
        self._closing = closing.encode()
        self._longest = max(map(len, self._tags)) - 1  # bytes that may still become a tag
        self._matcher = _matcher(vocabulary.tokenizer, whole)
        self._tail, self._closed = b"", False

    def allows(self, token: int) -> bool:
        if self._matcher.validate_tokens([token]) != 1:
            self._check()
            return False
        return self._tags_allow(token)

    def _tags_allow(self, token: int) -> bool:
        """No tag inside; the closing one only where the form is at its end."""
        text = self._tail + self._vocabulary.tokens[token]
        if self._closed or not any(tag in text for tag in self._tags):
            return True  # once it is closed, only line breaks follow
        if any(tag in text for tag in self._tags if tag != self._closing):
            return False
        after = self._matcher.deep_copy()
        return bool(after.consume_tokens([token])) and bool(after.is_accepting())

    def mask(self, candidates: NDArray[np.void]) -> None:
        """Sets the logits of tokens that the form forbids to minus infinity."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        allowed = np.unpackbits(bits, bitorder="little")[candidates["id"]].astype(bool)
        for at in np.flatnonzero(allowed):
            if not self._could_end_a_tag(int(candidates["id"][at])):
                continue
            allowed[at] = self._tags_allow(int(candidates["id"][at]))
        candidates["logit"][~allowed] = -np.inf

    def _could_end_a_tag(self, token: int) -> bool:
        return b">" in self._vocabulary.tokens[token]

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        whole = self._tail + self._vocabulary.tokens[token]
        self._closed = self._closed or self._closing in whole
        self._tail = whole[-self._longest :]

    def _check(self) -> None:
        """Raises BackendError where llguidance gave up."""
        if self._matcher.is_error():
            raise BackendError(
                Phrase(
                    "the form of the answer cannot be followed further: {first}",
                    first=_first(self._matcher.get_error()),
                ),
                hint="Use a simpler grammar or schema.",
            )

    def close(self) -> None:
        """Nothing native is held beyond the object itself."""
