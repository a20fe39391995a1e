"""Bad input: each gets its sentence and its exit code, never a traceback, nothing half-written."""

from __future__ import annotations

import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llavao1_edge import demo
from llavao1_edge.cli.main import main
from llavao1_edge.contract import keys
from tests.configurations import CONFIGURATIONS
from tests.tiny import save, save_safetensors, weights

BASE = CONFIGURATIONS["base"]
Files = dict[str, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Good files that the cases damage copies of."""
    folder = tmp_path_factory.mktemp("errors")
    picture = folder / "good.png"
    Image.new("RGB", (64, 64), (240, 240, 240)).save(picture)
    (folder / "text.txt").write_text("hello")
    (folder / "cut.png").write_bytes(demo.samples()[0].picture.read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(_bomb())
    checkpoint = save(BASE, folder / "checkpoint")
    assert main(["convert", str(checkpoint), "--out", str(folder / "pair"), "--quant", "F32",
                 "--vision-quant", "F32", "--name", "Tiny"]) == 0  # fmt: skip
    other = save(BASE.but(seed=77), folder / "other")
    assert main(["convert", str(other), "--out", str(folder / "pair"), "--quant", "F32",
                 "--vision-quant", "F32", "--name", "Other"]) == 0  # fmt: skip
    return {
        "folder": folder,
        "picture": picture,
        "checkpoint": checkpoint,
        "text": folder / "pair" / "Tiny-F32.gguf",
        "mmproj": folder / "pair" / "mmproj-Tiny-F32.gguf",
        "other": folder / "pair" / "mmproj-Other-F32.gguf",
    }


def _bomb() -> bytes:
    import zlib

    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def replaced(path: Path, target: Path, old: bytes, new: bytes) -> Path:
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    target.write_bytes(content.replace(old, new, 1))
    return target


def with_version(path: Path, target: Path, version: int) -> Path:
    key = keys.VERSION.encode()
    old = key + struct.pack("<II", 4, keys.CONTRACT_VERSION)
    return replaced(path, target, old, key + struct.pack("<II", 4, version))


Case = tuple[list[str], int, str]


def ask_cases(f: Files, tmp: Path) -> Iterator[tuple[str, Case]]:
    picture, folder = str(f["picture"]), f["folder"]
    yield "no such picture", (["ask", "nowhere.png", "Why?"], 1, "nowhere.png")
    yield "a folder as picture", (["ask", str(folder), "Why?"], 1, "is a folder")
    yield "below a file", (["ask", f"{picture}/x.png", "Why?"], 1, "cannot read picture")
    yield "not a picture", (["ask", str(folder / "text.txt"), "Why?"], 1, "It reads PNG")
    yield "empty picture", (["ask", str(folder / "empty.png"), "Why?"], 1, "is empty")
    yield "truncated picture", (["ask", str(folder / "cut.png"), "Why?"], 1, "damaged")
    yield "decompression bomb", (["ask", str(folder / "bomb.png"), "Why?"], 1, "million pixels")
    yield "question that is not text", (["ask", picture, "a\udcff"], 2, "is not text")
    yield "path with a NUL", (["ask", "a\0b", "Why?"], 1, "cannot read picture")
    yield "tiny temperature", (["ask", picture, "Why?", "--temperature", "1e-9"], 2, "at least")
    yield "empty question", (["ask", picture, "  "], 2, "question is empty")
    yield "two pictures", (["ask", picture, picture, "Why?"], 2, "has one picture")
    yield "bad temperature", (["ask", picture, "Why?", "--temperature", "-1"], 2, "temperature")
    yield "not a number", (["ask", picture, "Why?", "--top-k", "many"], 2, "'many'")
    yield "bad context", (["ask", picture, "Why?", "--context", "3"], 2, "between 256 and 16777216")
    yield "no such model", (["ask", picture, "Why?", "--model", "no.gguf"], 1, "no such file")
    yield "no name of a model", (["ask", picture, "Why?", "--model", " "], 2, "model is ' '")
    for flag in ("--model", "--mmproj", "--draft"):
        text = [] if flag == "--model" else ["--model", str(f["text"])]
        mmproj = ["--mmproj", str(f["mmproj"])] if flag == "--draft" else []
        asked = ["ask", picture, "Why?", *text, *mmproj, flag, "a\0b.gguf"]
        yield f"{flag} with a NUL", (asked, 1, "b.gguf")
    yield (
        "no such mmproj",
        (
            ["ask", picture, "Why?", "--model", str(f["text"]), "--mmproj", "no.gguf"],
            1,
            "cannot read model file",
        ),
    )
    long = "why " * 400
    yield "question too long", (["ask", picture, long, "--context", "256"], 1, "context holds 256")


def pair_cases(f: Files, tmp: Path) -> Iterator[tuple[str, Case]]:
    def ask(text: Path, mmproj: Path) -> list[str]:
        return ["ask", str(f["picture"]), "Why?", "--model", str(text), "--mmproj", str(mmproj)]

    yield "another checkpoint's mmproj", (ask(f["text"], f["other"]), 1, "same checkpoint")
    yield "files swapped", (ask(f["mmproj"], f["text"]), 1, "is an mmproj file")
    yield "text file twice", (ask(f["text"], f["text"]), 1, "not an mmproj file")
    newer = with_version(f["mmproj"], tmp / "newer.gguf", 9)
    yield "wrong contract version", (ask(f["text"], newer), 1, "contract version 9")
    cut = tmp / "cut.gguf"
    cut.write_bytes(f["mmproj"].read_bytes()[:-5000])
    yield "truncated model", (ask(f["text"], cut), 1, "does not lie inside the file")
    head = tmp / "head.gguf"
    head.write_bytes(f["text"].read_bytes()[:50])
    yield "truncated header", (ask(head, f["mmproj"]), 1, "ends too early")
    ollama = replaced(
        f["text"], tmp / "ollama.gguf", b"architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
        b"architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mllam",
    )  # fmt: skip
    yield "another architecture", (ask(ollama, f["mmproj"]), 1, "holds architecture")
    renamed = replaced(
        f["mmproj"], tmp / "renamed.gguf", b"cross.blk.0.attn_q.w", b"cross.blk.0.attn_x.w"
    )
    yield "missing tensor", (ask(f["text"], renamed), 1, "lacks 1 tensors: cross.blk.0.attn_q")
    picture = str(f["picture"])
    as_model = ["ask", picture, "Why?", "--model", picture, "--mmproj", str(f["mmproj"])]
    yield "a picture as model", (as_model, 1, "not a GGUF file")


def impossible_mmproj_cases(f: Files, tmp: Path) -> Iterator[tuple[str, Case]]:
    def ask(mmproj: Path) -> list[str]:
        model = ["--model", str(f["text"]), "--mmproj", str(mmproj)]
        return ["ask", str(f["picture"]), "Why?", *model]

    def number(key: str, value: int) -> Path:
        data = f["mmproj"].read_bytes()
        at = data.index(key.encode()) + len(key)
        kind = 5 if value < 0 else 4
        target = tmp / f"{key}{value}.gguf"
        target.write_bytes(data[:at] + struct.pack("<Ii", kind, value) + data[at + 8 :])
        return target

    for key, value in (
        (keys.VISION_HEADS, -2),
        (keys.VISION_HEADS, 0),
        (keys.CROSS_HEADS, 0),
        (keys.VISION_LAYERS, 60_000),
        (keys.GLOBAL_LAYERS, 3_000_000),
        (keys.TEXT_WIDTH, 0),
    ):
        yield f"{key} {value}", (ask(number(key, value)), 1, "")
    data = f["mmproj"].read_bytes()
    name = b"v.pre_ln.weight"
    at = data.index(name) + len(name) + 4 + 8  # one dimension follows the name
    typed = tmp / "typed.gguf"
    typed.write_bytes(data[:at] + struct.pack("<I", 8) + data[at + 4 :])
    yield "a quantised norm", (ask(typed), 1, "must not be Q8_0")


def convert_cases(f: Files, tmp: Path) -> Iterator[tuple[str, Case]]:
    def damaged(name: str, change: Callable[[Path], None]) -> list[str]:
        folder = tmp / name.replace(" ", "-")
        shutil.copytree(f["checkpoint"], folder)
        change(folder)
        return ["convert", str(folder), "--out", str(tmp / "out")]

    def config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:
            content = json.loads((folder / "config.json").read_text())
            change(content)
            (folder / "config.json").write_text(json.dumps(content))

        return apply

    def tensors(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:
            content = dict(weights(BASE))
            change(content)
            save_safetensors(content, folder / "model.safetensors")

        return apply

    def text(**values: object) -> Callable[[Path], None]:
        return config(lambda content: content["text_config"].update(values))

    def vision(**values: object) -> Callable[[Path], None]:
        return config(lambda content: content["vision_config"].update(values))

    def content(name: str, data: bytes) -> Callable[[Path], None]:
        return lambda folder: (folder / name).write_bytes(data) and None

    def without(name: str) -> Callable[[Path], None]:
        return lambda folder: (folder / name).unlink()

    def index(name: str) -> Callable[[Path], None]:
        def apply(folder: Path) -> None:  # a single file beside an index would count alone
            (folder / "model.safetensors").rename(folder / "weights.bin")
            text = json.dumps({"weight_map": {"a": name}})
            (folder / "model.safetensors.index.json").write_text(text)

        return apply

    def pickled(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    def linked(folder: Path) -> None:
        (folder / "config.json").unlink()
        (folder / "config.json").symlink_to(f["checkpoint"] / "config.json")

    head = "language_model.lm_head.weight"
    changes: list[tuple[str, Callable[[Path], None], str]] = [
        ("pickle only", pickled, "pickle"),
        ("shard outside", index("../model.safetensors"), "leads out of the folder"),
        ("absolute shard", index("/etc/passwd"), "leads out of the folder"),
        ("linked text", linked, "is a link out of the folder"),
        ("missing shard", index("model-7.safetensors"), "model-7.safetensors is missing"),
        ("missing tensor", tensors(lambda t: t.pop(head)), "lacks 1 tensors: head.weight"),
        ("unknown tensor", tensors(lambda t: t.update(x=np.ones(3, np.float32))), "1 unknown"),
        ("wrong shape", tensors(lambda t: t.update({head: t[head][:9]})), "shape (9, 64)"),
        ("not mllama", config(lambda c: c.update(model_type="llava")), "'llava'"),
        ("text half only", config(lambda c: c.update(model_type="mllama_text_model")), "text half"),
        ("other activation", vision(hidden_act="relu"), "relu"),
        ("cross layer first", text(cross_attention_layers=[0, 2]), "between"),
        ("cross layer last", text(cross_attention_layers=[1, 5]), "between"),
        ("no config", without("config.json"), "config.json is missing"),
        ("broken config", content("config.json", b"{"), "not valid JSON"),
        ("no tokenizer", without("tokenizer.json"), "tokenizer.json is missing"),
        ("no preprocessor", without("preprocessor_config.json"), "no safe guess"),
        ("broken header", content("model.safetensors", b"x" * 99), "damaged header"),
        ("cut weights", lambda p: _cut(p / "model.safetensors"), "cut off"),
    ]  # fmt: skip
    for name, change, message in changes:
        yield f"convert: {name}", (damaged(name, change), 1, message)
    good = str(f["checkpoint"])
    yield "convert: no source", (["convert", "nowhere"], 2, "nothing at nowhere")
    yield "convert: quantisation", (["convert", good, "--quant", "Q1"], 2, "'Q1'")
    into = str(f["picture"] / "out")
    yield "convert: target below a file", (["convert", good, "--out", into], 1, "cannot write to")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_every_bad_input_has_its_message_and_exit_code(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], subtests: pytest.Subtests
) -> None:
    makers = (ask_cases, pair_cases, impossible_mmproj_cases, convert_cases)
    cases = dict(case for make in makers for case in make(files, tmp_path))
    assert len(cases) >= 30
    for name, (argv, code, message) in cases.items():
        with subtests.test(name):
            capsys.readouterr()
            assert main(argv) == code
            said = capsys.readouterr()
            assert said.err.startswith("error: ")
            assert message in said.err
            assert "Traceback" not in said.err
            assert "This is a bug" not in said.err
            assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_no_space_left_is_known_before_writing(
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert main(["convert", str(files["checkpoint"]), "--out", str(tmp_path / "out")]) == 1
    assert "not enough space" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_unreadable_pictures(files: Files, tmp_path: Path, capsys: Any) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    shutil.copy(files["picture"], locked / "a.png")
    locked.chmod(0)
    try:
        if (locked / "a.png").exists():
            pytest.skip("this user may read everything (root)")
        assert main(["ask", str(locked / "a.png"), "Why?"]) == 1
        assert "Permission denied" in capsys.readouterr().err
    finally:
        locked.chmod(0o700)


def test_wrong_options_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["sing"], ["ask", "a.png", "Why?", "--strategy", "guess"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("error: ")
        assert "--help" in lines[1]


def test_a_bug_is_a_sentence_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.cli import ask

    def fail(_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(ask.shared, "runtime_settings", fail)
    assert main(["ask", "a.png", "Why?"]) == 1
    assert "unexpected ZeroDivisionError: oops" in capsys.readouterr().err
