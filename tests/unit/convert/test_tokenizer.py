"""Which tokenizers are recognised, and how their pieces are read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from llavao1_convert.checkpoint import open_checkpoint
from llavao1_convert.hyperparameters import read_hyperparameters
from llavao1_convert.tokenizer import LLAMA3_SPLIT, read_vocabulary, recognise_split
from llavao1_edge.errors import CheckpointError
from tests.tiny import Tiny, save, tokenizer


def llama3_form(**changes: Any) -> dict[str, Any]:
    """The pre-tokenizer of Llama 3, around the tiny vocabulary."""
    content = tokenizer(Tiny())
    content["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": LLAMA3_SPLIT},
                "behavior": "Isolated",
                "invert": False,
            },
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ],
    }
    return content | changes


def test_known_splits() -> None:
    assert recognise_split(tokenizer(Tiny())) == "gpt-2"
    assert recognise_split(llama3_form()) == "llama-bpe"


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": {"type": "Metaspace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"pre_tokenizer": None},
        {"normalizer": {"type": "NFC"}},
        {"model": {"type": "Unigram"}},
        {"model": {"type": "BPE", "byte_fallback": True}},
    ],
)
def test_others_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="tokenizer"):
        recognise_split(llama3_form(**change))


def test_a_changed_pattern_is_refused() -> None:
    content = copy.deepcopy(llama3_form())
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+"
    with pytest.raises(CheckpointError, match="pre-tokenizer"):
        recognise_split(content)


def read(folder: Path) -> Any:
    checkpoint = open_checkpoint(folder)
    return read_vocabulary(checkpoint, read_hyperparameters(checkpoint))


def test_merges_come_as_strings_or_pairs(tmp_path: Path) -> None:
    folder = save(Tiny(), tmp_path / "tiny")
    content = tokenizer(Tiny())
    content["model"]["merges"] = [["Ġ", "a"], "b c"]
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert read(folder).merges == ["Ġ a", "b c"]


def test_the_vocabulary_has_one_entry_per_embedding_row(tmp_path: Path) -> None:
    tiny = Tiny()
    vocabulary = read(save(tiny, tmp_path / "tiny"))
    assert len(vocabulary.tokens) == len(set(vocabulary.tokens)) == tiny.vocab + 8
    assert vocabulary.tokens[tiny.image_token] == "<|image|>"
    assert vocabulary.tokens[vocabulary.eot] == "<|eot_id|>"
    assert not vocabulary.system_block


def test_a_missing_image_token_is_added(tmp_path: Path) -> None:
    tiny = Tiny()
    folder = save(tiny, tmp_path / "tiny")
    content = tokenizer(tiny)
    content["added_tokens"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert read(folder).tokens[tiny.image_token] == "<|image|>"


def test_the_system_block_follows_the_template(tmp_path: Path) -> None:
    folder = save(Tiny(), tmp_path / "tiny")
    template = {"chat_template": "… Cutting Knowledge Date: December 2023 …"}
    (folder / "chat_template.json").write_text(json.dumps(template), encoding="utf-8")
    assert read(folder).system_block
