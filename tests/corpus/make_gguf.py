"""Makes the corpus of bad GGUF files and what each must be refused with.

    python -m tests.corpus.make_gguf          writes tests/corpus/gguf/*.gguf and expected.json

Each file is a good small one with one thing wrong. The expected byte offsets are worked out here,
from how the file was put together, not taken from the reader.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "gguf"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
HEAD = 24


@dataclass(frozen=True)
class Bad:
    """A file, a part of the message that it must give, and the byte it must name."""

    name: str
    content: bytes
    message: str
    offset: int | None


def u32(n: int) -> bytes:
    return struct.pack("<I", n)


def u64(n: int) -> bytes:
    return struct.pack("<Q", n)


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return u64(len(data)) + data


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + u32(kind) + value


def tensor(name: str | bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    sizes = b"".join(map(u64, shape))
    return text(name) + u32(len(shape)) + sizes + u32(kind) + u64(offset)


def file(
    entries: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    *,
    counts: tuple[int, int] | None = None,
    version: int = 3,
    magic: bytes = b"GGUF",
    data: bytes = bytes(256),
) -> bytes:
    n_tensors, n_entries = counts or (len(tensors), len(entries))
    head = magic + u32(version) + u64(n_tensors) + u64(n_entries)
    body = head + b"".join(entries) + b"".join(tensors)
    return body + bytes(-len(body) % 32) + data


GOOD = entry("general.architecture", STRING, text("llama"))
AT = HEAD + len(GOOD)  # where the second entry begins


def cases() -> Iterator[Bad]:
    yield from heads()
    yield from keys()
    yield from values()
    yield from arrays()
    yield from tensors()
    yield from places()
    yield from cuts()


def heads() -> Iterator[Bad]:
    yield Bad("empty", b"", "only 0 bytes", 0)
    yield Bad("short", b"GGUF" + bytes(8), "only 12 bytes", 0)
    yield Bad("other-magic", file(magic=b"GGML"), "not a GGUF file", 0)
    yield Bad("magic-of-the-other-order", file(magic=b"FUGG"), "not a GGUF file", 0)
    yield Bad("a-picture", b"\x89PNG\r\n\x1a\n" + bytes(64), "not a GGUF file", 0)
    yield Bad("a-zip", b"PK\x03\x04" + bytes(64), "not a GGUF file", 0)
    yield Bad("html", b"<!doctype html><title>404</title>", "not a GGUF file", 0)
    for version in (0, 1, 4, 1 << 24, 0xFFFFFFFF):
        yield Bad(f"version-{version}", file(version=version), f"version {version}", 4)
    huge = (1 << 64) - 1
    yield Bad("tensors-huge", file(counts=(huge, 0)), "tensors are more than", 8)
    yield Bad("tensors-many", file(counts=(1 << 15, 0)), "tensors are more than", 8)
    yield Bad("entries-huge", file(counts=(0, huge)), "entries are more than", 16)
    yield Bad("entries-many", file(counts=(0, 1 << 13)), "entries are more than", 16)
    # The zeros that follow are read as an entry whose key is empty.
    yield Bad("entries-one-too-many", file(counts=(0, 1)), "has no name", HEAD)
    yield Bad("tensors-one-too-many", file(counts=(1, 0)), "not 1 to 63 bytes", HEAD)


def keys() -> Iterator[Bad]:
    yield Bad("key-twice", file((GOOD, GOOD)), "stands twice", AT)
    yield Bad("key-empty", file((GOOD, entry("", U8, b"\1"))), "has no name", AT)
    bad = entry(b"\xff\xfe", U8, b"\1")
    yield Bad("key-not-utf8", file((GOOD, bad)), "not UTF-8", AT)
    cut = entry(b"\xc3", U8, b"\1")
    yield Bad("key-half-a-character", file((GOOD, cut)), "not UTF-8", AT)
    surrogate = entry(b"\xed\xa0\x80", U8, b"\1")
    yield Bad("key-surrogate", file((GOOD, surrogate)), "not UTF-8", AT)
    long = entry("k" * 2000, U8, b"\1")
    yield Bad("key-long", file((GOOD, long)), "2000 bytes in a string", AT)
    for n in (1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1):
        yield Bad(f"key-length-{n:x}", file((GOOD, u64(n) + bytes(64))), "more than the limit", AT)
    outside = file((GOOD, u64(1000)), data=bytes(32))
    yield Bad("key-outside", outside, "ends too early", AT + 8)


def values() -> Iterator[Bad]:
    at = AT + 8 + 1  # behind the key "k"
    for kind in (13, 77, 1 << 16, 0xFFFFFFFF):
        bad = entry("k", kind, bytes(16))
        yield Bad(f"type-{kind}", file((GOOD, bad)), f"type {kind} is unknown", at)
    yield Bad("bool-2", file((GOOD, entry("k", BOOL, b"\2"))), "truth value is 2", at + 4)
    yield Bad("bool-255", file((GOOD, entry("k", BOOL, b"\xff"))), "truth value is 255", at + 4)
    yield Bad(
        "string-not-utf8", file((GOOD, entry("k", STRING, text(b"a\xffb")))), "not UTF-8", at + 4
    )
    for n in (9 << 20, 1 << 40, (1 << 64) - 1):
        bad = entry("k", STRING, u64(n))
        yield Bad(f"string-length-{n:x}", file((GOOD, bad)), "more than the limit", at + 4)
    bad = entry("k", STRING, u64(1 << 20))
    yield Bad("string-outside", file((GOOD, bad)), "ends too early", at + 12)
    for value in (0, 1, 7, 24, 33, 1 << 17, 0xFFFFFFFF):
        bad = entry("general.alignment", U32, u32(value))
        yield Bad(f"alignment-{value}", file((bad,)), "power of two", HEAD + len(bad))
    bad = entry("general.alignment", STRING, text("32"))
    yield Bad("alignment-text", file((bad,)), "power of two", HEAD + len(bad))
    bad = entry("general.alignment", F32, struct.pack("<f", 32.0))
    yield Bad("alignment-float", file((bad,)), "power of two", HEAD + len(bad))


def arrays() -> Iterator[Bad]:
    at = AT + 8 + 1 + 4  # behind the key "k" and the type
    for item in (ARRAY, 13, 99):
        bad = entry("k", ARRAY, u32(item) + u64(1) + bytes(32))
        yield Bad(f"array-of-{item}", file((GOOD, bad)), f"items of type {item}", at)
    for item in (U8, U32, F64):
        for n in (1 << 25, 1 << 61, (1 << 64) - 1):
            bad = entry("k", ARRAY, u32(item) + u64(n))
            yield Bad(f"array-{item}-{n:x}", file((GOOD, bad)), "more than the limit", at + 4)
    bad = entry("k", ARRAY, u32(U32) + u64(1000))
    yield Bad("array-outside", file((GOOD, bad)), "ends too early", at + 12)
    bad = entry("k", ARRAY, u32(STRING) + u64(1 << 21))
    yield Bad("strings-many", file((GOOD, bad)), "strings in arrays are more", at + 4)
    bad = entry("k", ARRAY, u32(STRING) + u64(2) + text("a") + u64(1 << 50))
    yield Bad("strings-length", file((GOOD, bad)), "more than the limit", at + 12 + 9)
    bad = entry("k", ARRAY, u32(STRING) + u64(2) + text("a") + text(b"\x80"))
    yield Bad("strings-not-utf8", file((GOOD, bad)), "not UTF-8", at + 12 + 9)
    bad = entry("k", ARRAY, u32(STRING) + u64(2) + text("a") + u64(9999))
    yield Bad("strings-outside", file((GOOD, bad)), "ends too early", at + 12 + 17)


def tensors() -> Iterator[Bad]:
    good = tensor("a", (4,))
    at = AT + len(good)

    def bad(name: str, made: bytes, message: str) -> Bad:
        return Bad(name, file((GOOD,), (good, made)), message, at)

    yield bad("tensor-twice", tensor("a", (4,), offset=32), "stands twice")
    yield bad("tensor-no-name", tensor("", (4,)), "not 1 to 63 bytes")
    yield bad("tensor-name-64", tensor("x" * 64, (4,)), "not 1 to 63 bytes")
    yield bad("tensor-name-long", tensor("x" * 5000, (4,)), "more than the limit")
    yield bad("tensor-name-not-utf8", tensor(b"\xf0\x28", (4,)), "not UTF-8")
    yield bad("tensor-no-dimension", tensor("b", ()), "0 dimensions")
    yield bad("tensor-five-dimensions", tensor("b", (1,) * 5), "5 dimensions")
    many = text("b") + u32(0xFFFFFFFF)
    yield bad("tensor-many-dimensions", many, "4294967295 dimensions")
    for shape in ((0,), (4, 0), (4, 4, 0, 4)):
        yield bad(f"tensor-zero-{len(shape)}", tensor("b", shape), "impossible shape")
    yield bad("tensor-half-a-block", tensor("b", (33,), 8), "impossible shape")
    yield bad("tensor-half-a-k-block", tensor("b", (128,), 12), "impossible shape")
    for kind in (4, 5, 9, 15, 36, 99, 0xFFFFFFFF):
        yield bad(f"tensor-type-{kind}", tensor("b", (256,), kind), f"unknown type {kind}")
    yield bad("tensor-overflow-2", tensor("b", (1 << 32, 1 << 32)), "too large")
    yield bad("tensor-overflow-4", tensor("b", (1 << 62, 4, 4, 4)), "too large")
    yield bad("tensor-overflow-wraps", tensor("b", (1 << 63, 2)), "too large")
    yield bad("tensor-overflow-blocks", tensor("b", (1 << 59, 64), 8), "too large")


def places() -> Iterator[Bad]:
    good = tensor("a", (4,))
    at = AT + len(good)

    def bad(name: str, made: bytes, message: str = "inside the file") -> Bad:
        return Bad(name, file((GOOD,), (good, made), data=bytes(64)), message, at)

    yield bad("offset-outside", tensor("b", (4,), offset=64))
    yield bad("offset-far", tensor("b", (4,), offset=1 << 40))
    yield bad("offset-wraps", tensor("b", (4,), offset=(1 << 64) - 32))
    yield bad("offset-unaligned", tensor("b", (4,), offset=20))
    yield bad("end-outside", tensor("b", (9,), offset=32))
    yield bad("overlap", tensor("b", (4,), offset=0), "overlaps")
    first = tensor("a", (16,))
    second = tensor("b", (4,), offset=32)
    content = file((GOOD,), (first, second), data=bytes(64))
    yield Bad("overlap-inside", content, "overlaps", AT + len(first))


def cuts() -> Iterator[Bad]:
    whole = file((GOOD, entry("k", U64, bytes(8))), (tensor("a", (4, 4)),))
    yield Bad("cut-in-a-key", whole[: HEAD + 12], "ends too early", HEAD + 8)
    yield Bad("cut-in-a-value", whole[: AT + 15], "ends too early", AT + 13)
    yield Bad("cut-in-a-tensor", whole[: AT + 21 + 20], "ends too early", AT + 21 + 13)
    yield Bad("cut-before-the-data", whole[: -256 + 32], "inside the file", AT + 21)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    expected = {}
    for bad in cases():
        assert bad.name not in expected, bad.name
        (FOLDER / f"{bad.name}.gguf").write_bytes(bad.content)
        expected[bad.name] = {"message": bad.message, "offset": bad.offset}
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    print(f"{len(expected)} files")


if __name__ == "__main__":
    main()
