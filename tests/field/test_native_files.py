"""Files of models that llama.cpp runs itself, as people have them: right, swapped, mixed, damaged."""

from __future__ import annotations

import json
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llavao1_edge import demo
from llavao1_edge.cli.main import main
from llavao1_edge.contract.gguf import Strings, read_header
from llavao1_edge.contract.native import FAMILIES, family_of
from llavao1_edge.contract.pair import Kind, identity, kind_of, read_pair
from llavao1_edge.engine.sizes import Part, sizes
from llavao1_edge.errors import ModelFileError, PairError
from llavao1_edge.store.catalogue import Store
from tests.native_models import NAMES, pair

SAMPLE = str(demo.samples()[0].picture)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("LLAVAO1_MODELS", str(tmp_path / "store"))
    return Store()


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_is_known_by_its_headers(name: str, tmp_path: Path) -> None:
    """Whatever the files are called."""
    paths = []
    for path, other in zip(pair(name), ("x.gguf", "y.gguf"), strict=True):
        shutil.copy(path, tmp_path / other)
        paths.append(tmp_path / other)
    text, mmproj = read_pair(*paths)
    assert kind_of(text, mmproj) is Kind.NATIVE
    assert family_of(mmproj) in FAMILIES
    assert identity(text, mmproj) == identity(*read_pair(*pair(name)))


def test_every_pair_has_its_own_identity() -> None:
    assert len({identity(*read_pair(*pair(name))) for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("part", ["a weight", "the vocabulary", "a number"])
def test_a_change_anywhere_makes_another_model(part: str, tmp_path: Path) -> None:
    """A merged adapter, other tokens, another setting: names and shapes stay the same."""
    text, mmproj = read_pair(TEXT, MMPROJ)
    data = bytearray(TEXT.read_bytes())
    if part == "a weight":
        data[text.tensors["blk.1.attn_k.weight"].offset] ^= 1
    elif part == "the vocabulary":
        words = text.metadata["tokenizer.ggml.tokens"]
        assert isinstance(words, Strings)
        data[words.start + 8] ^= 1  # the first letter of the first one
    else:
        data[data.index(b"rope.freq_base") + len(b"rope.freq_base") + 4] ^= 1
    (tmp_path / "a.gguf").write_bytes(data)
    assert identity(read_header(tmp_path / "a.gguf"), mmproj) != identity(text, mmproj)


@pytest.mark.parametrize(
    "value", [16.0, "x", True, -1, 1 << 40, array("f", [1.0]), array("i", [1])]
)
@pytest.mark.parametrize(
    "key",
    [
        *("qwen2vl.attention.head_count", "qwen2vl.attention.key_length"),
        *("qwen2vl.feed_forward_length", "qwen2vl.ssm.inner_size", "qwen2vl.shortconv.l_cache"),
        *("clip.vision.feed_forward_length", "clip.vision.attention.head_count"),
    ],
)
def test_an_odd_number_ends_in_a_sentence(key: str, value: Any) -> None:
    text, mmproj = read_pair(TEXT, MMPROJ)
    (mmproj if key.startswith("clip") else text).metadata[key] = value
    with pytest.raises(ModelFileError, match=key.partition(".")[2]):
        sizes(text, mmproj, f32_cache=False, picture_tokens=64)


@pytest.mark.parametrize(
    ("key", "value", "n"),
    [
        ("shortconv.l_cache", 3, 3 * 64 * 2),
        ("wkv.head_size", 16, 3 * 64 * 16),
        ("kda.head_dim", 8, 3 * 4 * 8 * (8 + 9)),
    ],
)
def test_the_states_of_a_sequence_are_counted(key: str, value: int, n: int) -> None:
    """Three layers, 64 wide, four heads; as llama.cpp's `llama_hparams` has it."""
    text, mmproj = read_pair(TEXT, MMPROJ)
    text.metadata[f"qwen2vl.{key}"] = value
    found = sizes(text, mmproj, f32_cache=False, picture_tokens=64)
    assert found.per_sequence == 4 * n
    assert found.host(1024, 2)[Part.STATES] == 12 * 4 * n


def changed(path: Path, folder: Path, old: bytes, new: bytes) -> Path:
    """A copy with one piece of its header replaced by another of the same length."""
    data = path.read_bytes()
    assert len(old) == len(new)
    assert data.count(old) >= 1
    (folder / path.name).write_bytes(data.replace(old, new, 1))
    return folder / path.name


def flag(key: str, value: bool) -> bytes:
    return key.encode() + (7).to_bytes(4, "little") + bytes([value])


TEXT, MMPROJ = pair("qwen2vl")
Case = Callable[[Path], tuple[Path, Path]]
CASES: dict[str, tuple[Case, type[ModelFileError], str]] = {
    "swapped": (lambda _: (MMPROJ, TEXT), PairError, "is an mmproj file, expected the text model"),
    "two text files": (lambda _: (TEXT, pair("gemma3")[0]), PairError, "is not an mmproj file"),
    "another family": (
        lambda _: (TEXT, pair("gemma3")[1]),
        PairError,
        "belongs to Gemma 3, but qwen2vl.gguf is a text model of the architecture 'qwen2vl'",
    ),
    "a family without a text model of its own": (
        lambda _: (TEXT, pair("idefics3")[1]),
        PairError,
        "belongs to SmolVLM, Idefics3, but qwen2vl.gguf",
    ),
    "another family of the same architecture": (
        lambda folder: (
            TEXT,
            changed(MMPROJ, folder, b"qwen2vl_merger", b"qwen9vl_merger"),
        ),
        ModelFileError,
        "unknown projector 'qwen9vl_merger'",
    ),
    "no vision": (
        lambda folder: (
            TEXT,
            changed(
                MMPROJ, folder, flag("clip.has_vision_encoder", True),
                flag("clip.has_vision_encoder", False),
            ),
        ),
        ModelFileError,
        "no encoder for pictures",
    ),
    "ours and theirs": (
        lambda _: (demo.text_path(), MMPROJ),
        PairError,
        "is not an mmproj file for this model",
    ),
    "theirs and ours": (
        lambda _: (pair("idefics3")[0], demo.mmproj_path()),
        ModelFileError,
        "was not written by llavao1-edge",
    ),
    "no layers": (
        lambda folder: (
            changed(TEXT, folder, b"qwen2vl.block_count", b"qwen2vl.block_xount"),
            MMPROJ,
        ),
        ModelFileError,
        "'qwen2vl.block_count' is None",
    ),
    "another width": (
        lambda folder: (
            changed(
                TEXT, folder,
                b"qwen2vl.embedding_length" + (4).to_bytes(4, "little") + (64).to_bytes(4, "little"),
                b"qwen2vl.embedding_length" + (4).to_bytes(4, "little") + (96).to_bytes(4, "little"),
            ),
            MMPROJ,
        ),
        PairError,
        "another width",
    ),
    "a part of a split file": (
        lambda folder: (changed(TEXT, folder, b"token_embd.weight", b"token_xmbd.weight"), MMPROJ),
        ModelFileError,
        "has no tensor 'token_embd.weight'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_a_pair_is_refused_by_its_headers(name: str, tmp_path: Path) -> None:
    make, kind, message = CASES[name]
    with pytest.raises(kind) as refused:
        read_pair(*make(tmp_path))
    assert message in refused.value.message
    assert refused.value.hint


def test_a_text_model_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(TEXT, tmp_path / "model.gguf")
    assert main(["ask", SAMPLE, "Why?", "--model", str(tmp_path / "model.gguf")]) == 2
    told = capsys.readouterr().err
    assert "no single mmproj file" in told
    assert "A text model alone cannot see" in told


def test_damage_is_found_before_llama_cpp_sees_the_file(tmp_path: Path) -> None:
    """Cut off, and with bytes of the header changed: a sentence, never a crash."""
    data = TEXT.read_bytes()
    for cut in (10, 200, 3000, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.gguf").write_bytes(data[:cut])
        with pytest.raises(ModelFileError):
            read_pair(tmp_path / "cut.gguf", MMPROJ)


# --- where pairs are accepted --------------------------------------------------------------------
QUICK = ["--max-tokens", "60", "--stage-tokens", "8", "--gpu-layers", "0", "--threads", "1"]


def test_ask_with_two_files(capsys: pytest.CaptureFixture[str]) -> None:
    text, mmproj = pair("qwen2vl")
    given = ["--model", str(text), "--mmproj", str(mmproj), "--strategy", "stage-beam"]
    assert main(["ask", SAMPLE, "How many?", *given, "--candidates", "4", "--json", *QUICK]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["trace"]["strategy"] == "stage-beam"
    assert record["request"]["pair_id"] == identity(*read_pair(text, mmproj))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_warned_of(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What llama.cpp says about settings that we chose is nobody's business."""
    text, _ = pair(name)
    main(["ask", SAMPLE, "Why?", "--model", str(text), "--strategy", "direct", *QUICK])
    told = capfd.readouterr().err
    assert "WARNING" not in told
    assert "llama" not in told.replace("llavao1", "")


def test_ask_with_several_pictures_and_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, _ = pair("idefics3")
    asked = ["ask", SAMPLE, SAMPLE, "-q", "Same?", "--model", str(text), "--json", *QUICK]
    assert main(asked) == 0
    out = capsys.readouterr().out
    record = json.loads(out)["request"]
    assert record["more_pictures"] == [SAMPLE]
    assert record["more_keys"] == [record["picture_key"]]
    (tmp_path / "answer.json").write_text(out)
    replay = ["ask", "--replay", str(tmp_path / "answer.json")]
    assert main(replay) in (0, 1)
    assert "replay: the same answer" in capsys.readouterr().err
    other = str(demo.samples()[1].picture)
    assert main([*replay, other, "-q", "Same?"]) == 1  # one picture instead of two
    assert "the picture is another one" in capsys.readouterr().err
    assert main([*replay, SAMPLE, SAMPLE, "-q", "How many are red?"]) == 1
    said = capsys.readouterr().err
    assert "the summary is" in said
    assert "the picture is another one" not in said
    answer = json.loads(out)
    answer["request"]["more_pictures"] = ["-"]
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    assert main(replay) == 2
    assert "standard input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([SAMPLE, SAMPLE, "-q", "Same?"], "2 pictures were given"),
        (["none", SAMPLE, "-q", "Same?"], "none cannot be one of 2 pictures"),
        (["-", "-", "-q", "Same?"], "- cannot be one of 2 pictures"),
    ],
)
def test_several_pictures_that_cannot_be(
    given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", *given]) == 2
    assert message in capsys.readouterr().err


def test_import_show_ask_and_remove(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    text, mmproj = pair("gemma3")
    assert main(["models", "import", str(text), "--mmproj", str(mmproj), "--name", "gemma"]) == 0
    assert [entry.name for entry in store.entries()] == ["gemma"]
    capsys.readouterr()
    assert main(["models", "show", "gemma", "--check"]) == 0
    shown = capsys.readouterr().out
    assert "Gemma 3: gemma3 of 6 layers" in shown
    assert "llama.cpp runs it itself" in shown
    assert main(["ask", SAMPLE, "Why?", "--model", "gemma", "--strategy", "free", *QUICK]) in (0, 1)
    assert main(["models", "remove", "gemma"]) == 0
    assert not store.entries()


def test_eval_with_both_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"image": SAMPLE, "question": "How many?", "answer": "2"}) + "\n")
    text, _ = pair("lfm2")
    out = tmp_path / "out"
    asked = ["eval", str(data), "--model", "demo", "--model", str(text), "--out", str(out)]
    assert main([*asked, *QUICK]) == 0
    assert "lfm2" in capsys.readouterr().out


def test_doctor_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = pair("lfm2")
    assert main(["doctor", "--model", str(text), "--gpu-layers", "0"]) == 0
    told = capsys.readouterr().out
    assert "cross-attention" not in told
    assert "result             ok" in told


def test_settings_of_one_kind_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", SAMPLE, "Why?", "--chat-format", "chatml"]) == 2
    assert "this model has a format of its own" in capsys.readouterr().err
    assert main(["ask", SAMPLE, "Why?", "--chat-format", "nothing"]) == 2
    assert "chat_format is 'nothing'" in capsys.readouterr().err
    assert main(["ask", SAMPLE, "Why?", "--picture-tokens", "0"]) == 2
    assert "picture_tokens is 0" in capsys.readouterr().err
