"""Files that may vanish, and are trusted only whole."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections import namedtuple
from pathlib import Path

import pytest

from llavao1_edge import state_cache
from llavao1_edge.state_cache import StateCache, Stored, name_of
from tests.conftest import LEAST_S


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateCache:
    monkeypatch.setattr(state_cache, "LEAST_S", LEAST_S)
    return StateCache(tmp_path / "pictures", most_bytes=1000)


def _read(cache: StateCache, name: str, n: int = 6) -> bytes | None:
    def take(stored: Stored) -> bytes | None:
        data = stored.take(n)
        return data if stored.is_whole else None

    return cache.read(name, take)


def _sizes(cache: StateCache) -> list[int]:
    return [path.stat().st_size for path in cache.folder.glob("*.states")]


def test_what_was_written_is_read(cache: StateCache) -> None:
    assert _read(cache, "a") is None
    assert cache.write("a", [b"one", b"two"], 6, seconds=1)
    assert _read(cache, "a") == b"onetwo"
    for n in (5, 7):  # not all of it, more than there is: it is none of ours, and goes
        assert cache.write("a", [b"one", b"two"], 6, seconds=1)
        assert _read(cache, "a", n) is None
        assert _sizes(cache) == []
    assert cache.write("a", [b"one", b"two"], 6, seconds=1)
    assert _sizes(cache) == [16 + 6 + 32]
    assert stat.S_IMODE((cache.folder / "a.states").stat().st_mode) == 0o600
    cache.clear()
    assert _sizes(cache) == []


@pytest.mark.parametrize("at", [0, 17, 20, -1])
def test_a_changed_byte_is_noticed(cache: StateCache, at: int) -> None:
    cache.write("a", [b"onetwo"], 6, seconds=1)
    path = cache.folder / "a.states"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert _read(cache, "a") is None
    path.write_bytes(data[:20])
    assert _read(cache, "a") is None
    path.write_bytes(b"")
    assert _read(cache, "a") is None


def test_the_longest_unused_go_first(cache: StateCache) -> None:
    for at, name in enumerate("abc"):
        cache.write(name, [bytes(280)], 280, seconds=1)
        used = time.time() - 100 + at
        os.utime(cache.folder / f"{name}.states", (used, used))
    assert _read(cache, "a", 280) == bytes(280)  # it is used now
    cache.write("d", [bytes(280)], 280, seconds=1)
    assert sorted(path.stem for path in cache.folder.iterdir()) == ["a", "c", "d"]


def test_what_is_old_or_half_written_goes(cache: StateCache) -> None:
    cache.write("new", [b"x"], 1, seconds=1)
    cache.write("old", [b"x"], 1, seconds=1)
    then = time.time() - state_cache.UNUSED_S - 10
    os.utime(cache.folder / "old.states", (then, then))
    half = cache.folder / "half.1.part"
    half.write_bytes(b"x")
    cache.trim()
    assert half.exists()  # somebody may be writing it
    os.utime(half, (then, then))
    cache.trim()
    assert [path.name for path in cache.folder.iterdir()] == ["new.states"]


def test_no_room_is_no_error(cache: StateCache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cache.write("a", [b"x"], 1, seconds=0.1)  # computed as fast as it would be read
    assert not cache.write("a", [bytes(2000)], 2000, seconds=1)  # more than the cache may hold
    usage = namedtuple("usage", "total used free")(10, 10, 0)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        assert not cache.write("a", [b"x"], 1, seconds=1)

    def full() -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")
        yield b""

    assert not cache.write("a", full(), 1, seconds=1)
    assert list(cache.folder.iterdir()) == []
    blocked = StateCache(Path("/proc/nothing/here"), most_bytes=10)
    assert not blocked.write("a", [b"x"], 1, seconds=1)
    assert (_read(blocked, "a"), _sizes(blocked)) == (None, [])


def test_a_name_says_what_it_depends_on() -> None:
    first = name_of("f" * 64, "weights", "cpu")
    assert first == name_of("f" * 64, "weights", "cpu")
    assert (
        len({first, name_of("e" * 64, "weights", "cpu"), name_of("f" * 64, "weights", "gpu")}) == 3
    )
