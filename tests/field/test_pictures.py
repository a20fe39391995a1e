"""Pictures as people have them: read as they look, or refused with what they are."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llavao1_edge import demo
from llavao1_edge.errors import PictureError
from llavao1_edge.images import open_picture, opening, pixels, to_rgb
from llavao1_edge.images.finding import picture_path

SAMPLE = demo.samples()[0].picture


def saved(values: Any, kind: str = "TIFF", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(buffer, kind, **more)
    return buffer.getvalue()


# --- deep grey ------------------------------------------------------------------------------------
RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)


@pytest.mark.parametrize(
    "values",
    [
        RAMP.astype(np.float32),
        (RAMP * 255).astype(np.float32),
        (RAMP * 65535).astype(np.uint16),
        (RAMP * 255).astype(np.uint16),
        (RAMP * 255).astype(np.int32),
        (RAMP * 65535).astype(np.int32),
        (RAMP * 2e9).astype(np.int32),
        (RAMP * 2000 - 1000).astype(np.int32),
        (RAMP * 8 - 3).astype(np.float32),
    ],
    ids=["0..1", "0..255", "16 bits", "16 bits to 255", "32 bits to 255", "32 bits to 65535",
         "32 bits", "signed", "fractions about 0"],
)  # fmt: skip
def test_deep_grey_looks_as_it_should(values: Any) -> None:
    """Scientific programs write such TIFFs; they reached the model black."""
    seen = np.asarray(open_picture(saved(values)).image)[..., 0].astype(float) / 255
    assert np.abs(seen - RAMP).max() < 0.01


def test_what_is_no_number_does_not_decide_the_scale() -> None:
    values = RAMP.astype(np.float32).copy()
    values[0, :3] = np.nan, np.inf, -np.inf
    seen = np.asarray(open_picture(saved(values)).image)[1:, :, 0].astype(float) / 255
    assert np.abs(seen - RAMP[1:]).max() < 0.01


# --- cut off --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "cut"), [("JPEG", 2), ("JPEG", 900), ("PNG", 600), ("WEBP", 0)])
def test_a_file_that_is_cut_off_is_read_and_says_so(kind: str, cut: int) -> None:
    rng = np.random.default_rng(0)
    data = saved(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), kind)
    picture = open_picture(data[: len(data) - cut])
    assert (picture.width, picture.height) == (64, 64)
    assert bool(picture.note) is bool(cut)
    if cut:
        assert "cut off at its end" in picture.note
        whole = np.asarray(open_picture(data).image)
        assert (np.asarray(picture.image)[:16] == whole[:16]).all()


def test_a_note_reaches_the_user(tmp_path: Path) -> None:
    file = tmp_path / "cut.jpg"
    file.write_bytes(saved(Image.open(SAMPLE).convert("RGB"), "JPEG")[:-2])
    command = [sys.executable, "-m", "llavao1_edge.cli.main", "ask", str(file), "How many?"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "note:" in done.stderr
    assert "cut off" in done.stderr


def test_a_file_of_which_hardly_anything_is_there_is_damaged() -> None:
    data = SAMPLE.read_bytes()
    with pytest.raises(PictureError, match="is damaged"):
        open_picture(data[:200])


# --- formats, and what is none --------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["ICO", "JPEG2000", "TGA", "PNG", "GIF", "BMP", "PPM", "TIFF"])
def test_formats_that_people_have(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"picture.{kind.lower()}"
    file.write_bytes(saved(Image.new("RGB", (32, 32), (200, 30, 40)), kind))
    seen = np.asarray(open_picture(file).image).astype(int)
    assert np.abs(seen - [200, 30, 40]).max() < 8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7 ...", "is a PDF document"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "is an SVG drawing"),
        (b"\xef\xbb\xbf  <svg/>", "is an SVG drawing"),
        (b"<!DOCTYPE html><html>403</html>", "is a web page"),
        (b"\n<HTML>", "is a web page"),
        (b"hello", "is not a picture"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is not a picture"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(content: bytes, said: str) -> None:
    with pytest.raises(PictureError, match=said):
        open_picture(content, name="x.png")


# --- size -----------------------------------------------------------------------------------------
def test_a_line_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PictureError, match="a side has at most"):
        open_picture(saved(Image.new("1", (1, 150_000)), "PNG"))


PEAK = """
import resource, sys
from llavao1_edge.images import open_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
picture = open_picture(sys.stdin.buffer.read())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(picture.width, picture.height, (after - before) // 1024, picture.note)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory in kilobytes")
@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("P", "GIF"), ("L", "JPEG"), ("RGB", "PNG"), ("I;16", "TIFF")]
)
def test_a_hundred_megapixels_take_no_gigabytes(mode: str, kind: str) -> None:
    """At most six bytes a pixel; a picture of 13000 × 13000 took up to 4.2 GB."""
    size = (10_000, 10_000)
    data = saved(Image.new(mode, size), kind)
    done = subprocess.run([sys.executable, "-c", PEAK], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr[-500:]
    width, height, peak, *note = done.stdout.decode().split()
    assert (int(width), int(height)) == (5000, 5000)
    assert "1/2" in note
    assert int(peak) < 6 * 100


def test_a_large_picture_looks_as_it_is_and_stands_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "KEPT_PIXELS", 10_000)
    monkeypatch.setattr(pixels, "BAND_ROWS", 8)
    wide = Image.linear_gradient("L").resize((300, 100)).convert("RGBA")
    wide.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    whole = to_rgb(wide).rotate(-90, expand=True)
    picture = open_picture(saved(wide, "PNG", exif=exif))
    assert (picture.width, picture.height) == (50, 150)
    wanted = np.asarray(whole.reduce(2)).astype(int)
    assert np.abs(np.asarray(picture.image).astype(int) - wanted).max() <= 2


def test_no_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from llavao1_edge.errors import OutOfMemory

    def full(*_: object) -> None:
        raise MemoryError

    data = saved(Image.new("RGB", (8, 8)), "PNG")
    monkeypatch.setattr(opening, "_load", full)
    with pytest.raises(OutOfMemory, match=r"not enough memory to open x\.png"):
        open_picture(data, name="x.png")


# --- how people give them -------------------------------------------------------------------------
def test_paths_as_terminals_and_file_managers_paste_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a picture (1) 한국.png"
    file.write_bytes(b"x")
    quoted = str(file).replace(" ", "%20").replace("한국", "%ED%95%9C%EA%B5%AD")
    ways = [str(file), f"'{file}'", f'"{file}"', f"file://{quoted}", f"file://localhost{quoted}"]
    if os.name != "nt":
        ways.append(str(file).replace(" ", "\\ ").replace("(", "\\(").replace(")", "\\)"))
    for way in ways:
        assert picture_path(way) == file, way
    odd = tmp_path / "'quoted'"
    odd.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    assert picture_path("'quoted'") == Path("'quoted'")  # a name that is there stays as it is


@pytest.mark.parametrize("address", ["https://a.org/x.png", "HTTP://a.org/x.png"])
def test_nothing_is_downloaded(address: str) -> None:
    with pytest.raises(PictureError, match="is an address on the web") as caught:
        open_picture(address)
    assert "Nothing is downloaded" in caught.value.hint
    with pytest.raises(PictureError, match="is on the computer server"):
        open_picture("file://server/x.png")


def test_python_objects_are_pictures_too() -> None:
    whole = open_picture(SAMPLE)
    array = np.asarray(whole.image)
    with SAMPLE.open("rb") as file:
        found = [open_picture(file), open_picture(io.BytesIO(SAMPLE.read_bytes()))]
    found += [open_picture(array), open_picture(whole.image), open_picture(SAMPLE.read_bytes())]
    assert {each.key for each in found} == {whole.key}
    for wrong in (array.astype(float), array[..., 0], array[..., :2]):
        with pytest.raises(PictureError, match="is an array"):
            open_picture(wrong)
    with pytest.raises(PictureError, match="opened as text"):
        open_picture(io.StringIO("x"))


@pytest.mark.skipif(os.name == "nt", reason="no pipes with names")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(PictureError, match="is not a regular file"):
            open_picture(path)
