"""JSON schemas while writing: llguidance, outlines-core and xgrammar on the JSON Schema test suite.

    pip install llguidance outlines-core xgrammar jsonschema
    pip download --no-deps --no-binary :all: jsonschema     its archive has the suite in json/tests
    python -m benchmarks.schemas FOLDER/json/tests

For every test of the suite: is the value, written as JSON, taken exactly where it is valid? A
library may refuse a schema (it says that it cannot enforce it), which is honest; it must not take
what is invalid without a word. Speed: compiling, and a mask over 128,000 tokens for every byte of
an answer. Libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Takes = Callable[[str], bool]
Groups = list[tuple[Any, list[tuple[str, bool]]]]
DRAFTS = ("draft7", "draft2020-12")
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 4},
    },
    "required": ["name", "count", "tags"],
    "additionalProperties": False,
}
ANSWER = '{"name":"a small circle","count":12,"tags":["red","blue"]}'
N_VOCAB = 128_000
TITLES = ("right", "took what is invalid", "refused what is valid", "schema refused")


def vocabulary() -> list[bytes]:
    """All bytes, and words as a tokenizer has them, always the same."""
    rng = np.random.default_rng(0)
    words = [bytes([i]) for i in range(256)]
    letters = np.frombuffer(b'abcdefghijklmnopqrstuvwxyz     {}[]",:0123456789', dtype=np.uint8)
    while len(words) < N_VOCAB - 1:
        words.append(rng.choice(letters, size=int(rng.integers(2, 8))).tobytes())
    return words


def llguidance_takes(schema: Any) -> Takes:
    from llavao1_edge.llama import guide

    lark = f"start: %json {json.dumps(schema)}\n"
    whole = json.dumps({"grammars": [{"lark_grammar": lark}]})
    if guide._problem(whole):
        raise ValueError("refused")
    return lambda text: guide.accepts(whole, text)


def llguidance_speed() -> tuple[float, list[float]]:
    from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

    from llavao1_edge.llama.guide import _Words

    tokens = [*vocabulary(), b"\xff<end>"]
    words = _Words(tokens, len(tokens) - 1, lambda text: list(text.encode()))
    tokenizer = LLTokenizer(TokenizerWrapper(words))
    started = time.perf_counter()
    matcher = LLMatcher(tokenizer, f"start: %json {json.dumps(SCHEMA)}\n", log_level=0)
    compiled = time.perf_counter() - started
    masks = []
    for byte in ANSWER.encode():
        started = time.perf_counter()
        matcher.compute_bitmask()
        masks.append(time.perf_counter() - started)
        assert matcher.consume_token(byte)
    return compiled, masks


def outlines_takes(schema: Any) -> Takes:
    from outlines_core.json_schema import build_regex_from_schema

    pattern = re.compile(build_regex_from_schema(json.dumps(schema)))
    return lambda text: pattern.fullmatch(text) is not None


def outlines_speed() -> tuple[float, list[float]]:
    from outlines_core import Guide, Index, Vocabulary
    from outlines_core.json_schema import build_regex_from_schema

    ids: dict[bytes, list[int]] = {}
    for number, word in enumerate(vocabulary()):
        ids.setdefault(word, []).append(number)
    words = Vocabulary(N_VOCAB, ids)
    started = time.perf_counter()
    index = Index(build_regex_from_schema(json.dumps(SCHEMA)), words)
    guide = Guide(index)
    compiled = time.perf_counter() - started
    masks = []
    for byte in ANSWER.encode():
        started = time.perf_counter()
        guide.get_tokens()
        masks.append(time.perf_counter() - started)
        guide.advance(byte)
    return compiled, masks


def xgrammar_takes(schema: Any) -> Takes:
    import xgrammar
    from xgrammar.testing import _is_grammar_accept_string

    grammar = xgrammar.Grammar.from_json_schema(json.dumps(schema), strict_mode=False)
    return lambda text: bool(_is_grammar_accept_string(grammar, text))


def xgrammar_speed() -> tuple[float, list[float]]:
    import xgrammar

    words = [word.decode("latin-1") for word in vocabulary()]
    info = xgrammar.TokenizerInfo([*words, "</s>"], stop_token_ids=[len(words)])
    started = time.perf_counter()
    compiled = xgrammar.GrammarCompiler(info).compile_json_schema(json.dumps(SCHEMA))
    seconds = time.perf_counter() - started
    matcher, mask = xgrammar.GrammarMatcher(compiled), xgrammar.allocate_token_bitmask(1, N_VOCAB)
    masks = []
    for byte in ANSWER.encode():
        started = time.perf_counter()
        matcher.fill_next_token_bitmask(mask)
        masks.append(time.perf_counter() - started)
        assert matcher.accept_token(byte)
    return seconds, masks


LIBRARIES = {
    "llguidance": (llguidance_takes, llguidance_speed),
    "outlines-core": (outlines_takes, outlines_speed),
    "xgrammar": (xgrammar_takes, xgrammar_speed),
}


def suite(folder: Path) -> Groups:
    """(schema, [(value as JSON, valid)]) of all groups of the drafts."""
    found = []
    for draft in DRAFTS:
        for path in sorted((folder / draft).glob("*.json")):
            for group in json.loads(path.read_text(encoding="utf-8")):
                cases = [
                    (json.dumps(case["data"], ensure_ascii=False), bool(case["valid"]))
                    for case in group["tests"]
                ]
                found.append((group["schema"], cases))
    return found


def judge(takes: Callable[[Any], Takes], groups: Groups) -> Counter[str]:
    counts: Counter[str] = Counter()
    for schema, cases in groups:
        try:
            check = takes(schema)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            counts["schema refused"] += len(cases)
            continue
        for text, valid in cases:
            taken = check(text)
            counts[
                "right"
                if taken == valid
                else "took what is invalid"
                if taken
                else "refused what is valid"
            ] += 1
    return counts


def main() -> None:
    from benchmarks.machine import header

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    groups = suite(options.folder)
    print(header("schemas"))
    titles = ("", "version", *TITLES, "compile, ms", "mask, ms: median, largest")
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for name, (takes, speed) in LIBRARIES.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        counts = judge(takes, groups)
        compiled, masks = speed()
        cells = [
            counts[key]
            for key in ("right", "took what is invalid", "refused what is valid", "refused")
        ]
        masks_ms = [1000 * seconds for seconds in masks]
        print(
            f"| {name} | {version} | {' | '.join(map(str, cells))} | {1000 * compiled:.1f} | "
            f"{statistics.median(masks_ms):.3f}, {max(masks_ms):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
