"""Opening: all EXIF orientations, transparency, odd modes and sizes, and what is refused."""

from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llavao1_edge.errors import PictureError
from llavao1_edge.images import open_and_read, open_picture
from llavao1_edge.images import opening as module

# What orientation 1..8 does to an upright picture before it is stored.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def upright() -> Image.Image:
    pixels = np.zeros((6, 9, 3), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0)
    pixels[5, 8] = (0, 0, 255)
    pixels[0, 8] = (0, 255, 0)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(orientation: int, tmp_path: Path) -> None:
    stored = upright()
    if STORED[orientation] is not None:
        stored = stored.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    stored.save(path, exif=exif)
    opened = open_picture(path)
    assert np.array_equal(np.asarray(opened.image), np.asarray(upright()))
    assert opened.key == open_picture(upright()).key


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 200, 255))
    opened = open_picture(save(image, tmp_path / "clear.png"))
    assert opened.image.getpixel((0, 0)) == (255, 255, 255)
    assert opened.image.getpixel((1, 1)) == (0, 0, 200)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "print.jpg")
    red, green, blue = open_picture(path).image.getpixel((3, 3))
    assert red > 200
    assert green < 60
    assert blue < 60


def test_palette_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("P", (5, 5), index) for index in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 10, 200, 30, 250, 0, 0])
    path = tmp_path / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert open_picture(path).image.getpixel((2, 2)) == (10, 200, 30)


def test_sixteen_bit_png_is_scaled_not_clipped(tmp_path: Path) -> None:
    pixels = np.full((4, 4), 32768, dtype=np.uint16)
    path = save(Image.fromarray(pixels), tmp_path / "deep.png")
    assert open_picture(path).image.getpixel((0, 0))[0] in (127, 128)  # type: ignore[index]


@pytest.mark.parametrize("size", [(1, 1), (8000, 10)])
def test_extreme_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    opened = open_picture(save(Image.new("RGB", size, (1, 2, 3)), tmp_path / "odd.png"))
    assert (opened.width, opened.height) == size


def test_heic_if_the_plugin_is_installed(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    pillow_heif.register_heif_opener()
    path = save(Image.new("RGB", (64, 48), (250, 10, 10)), tmp_path / "phone.heic")
    opened = open_picture(path)
    assert (opened.width, opened.height) == (64, 48)
    assert opened.image.getpixel((30, 20))[0] > 220  # type: ignore[index]


def test_equal_pixels_have_equal_keys(tmp_path: Path) -> None:
    image = upright()
    first = open_picture(save(image, tmp_path / "a.png"))
    second = open_picture(save(image, tmp_path / "b.bmp"))
    assert first.key == second.key
    image.putpixel((4, 4), (1, 1, 1))
    assert open_picture(image).key != first.key


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    with pytest.raises(PictureError, match="million pixels"):
        open_picture(png(Image.new("RGB", (11, 10))))


def test_a_bomb_is_refused() -> None:
    # A PNG header that promises 50,000 x 50,000 pixels.
    data = bytearray(png(Image.new("1", (8, 8))))
    data[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(PictureError, match="million pixels"):
        open_picture(bytes(data))


def test_a_format_that_is_not_on_the_list_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PCX")
    with pytest.raises(PictureError, match="not a picture"):
        open_picture(buffer.getvalue())


def test_an_open_file_is_read_from_where_it_is(tmp_path: Path) -> None:
    """From its start in place, from any other position and from a pipe as bytes."""
    red = picture_bytes("red")
    path = tmp_path / "two.bin"
    path.write_bytes(picture_bytes("blue") + red)
    with path.open("rb") as file:
        assert open_picture(file).image.getpixel((0, 0)) == (0, 0, 255)
    with path.open("rb") as file:
        file.seek(path.stat().st_size - len(red))
        assert open_picture(file).image.getpixel((0, 0)) == (255, 0, 0)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(red)
    with os.fdopen(reading, "rb") as file:
        assert open_picture(file).image.getpixel((0, 0)) == (255, 0, 0)


def test_whatever_can_be_read_is_read(tmp_path: Path) -> None:
    """Members of archives, slices of memory, and files that are no pictures at all."""
    red = picture_bytes("red")
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as tar:
        about = tarfile.TarInfo("red.png")
        about.size = len(red)
        tar.addfile(about, io.BytesIO(red))
    with tarfile.open(archive, "r|") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert open_picture(file).width == 40
    packed = tmp_path / "red.png.gz"
    packed.write_bytes(gzip.compress(red))
    with gzip.open(packed) as file:
        assert open_picture(io.BufferedReader(file)).width == 40  # type: ignore[arg-type]
    every_second = memoryview(bytes(byte for one in red for byte in (one, 0)))[::2]
    assert open_picture(every_second).width == 40
    text = tmp_path / "x.png"
    text.write_bytes(red)
    with text.open(encoding="utf-8") as words, pytest.raises(PictureError, match="as text"):
        open_picture(words)
    with text.open("rb") as closed:
        pass
    with pytest.raises(PictureError, match="cannot read picture"):
        open_picture(closed)
    for path in ("/proc/self/status", "/dev/null"):
        with Path(path).open("rb") as file, pytest.raises(PictureError):
            open_picture(file)


def test_a_file_that_is_saved_over_meanwhile_is_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(picture_bytes("red"))
    finish = module._finish

    def slow(*given: object) -> object:
        monkeypatch.setattr(module, "_finish", finish)
        path.write_bytes(picture_bytes("blue") + b"more")
        return finish(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_finish", slow)
    picture, data = open_and_read(path, name="x")
    assert open_picture(data).key == picture.key
    path.unlink()
    with pytest.raises(PictureError, match="cannot read picture"):
        open_and_read(path, name="x")


def picture_bytes(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


class Failing(io.FileIO):
    """A disk that gives its first bytes and fails then."""

    def __init__(self, path: Path, *, after: int) -> None:
        super().__init__(path)
        self.left = after

    def readinto(self, buffer: object) -> int:
        if self.left <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        n = super().readinto(buffer)  # type: ignore[arg-type]
        self.left -= n or 0
        return n or 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "JPEG2000"])
def test_a_disk_that_fails_is_not_called_a_damaged_picture(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "noise"
    noise = np.random.default_rng(1).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, kind)
    for after in (1, path.stat().st_size // 2):
        with io.BufferedReader(Failing(path, after=after), 512) as file:
            with pytest.raises(PictureError, match="cannot read picture it: Input/output") as told:
                open_picture(file, name="it")
        assert "permissions" in str(told.value.hint)


def test_a_file_is_not_held_in_memory_beside_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens a path asks for no read of all of it."""
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(1).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    largest = 0
    opened = Path.open

    class Counted(io.FileIO):
        def readinto(self, buffer: object) -> int:
            nonlocal largest
            largest = max(largest, len(buffer))  # type: ignore[arg-type]
            return super().readinto(buffer) or 0  # type: ignore[arg-type]

        def readall(self) -> bytes:
            raise AssertionError("all of it")

    def counted(self: Path, *how: str) -> object:
        return io.BufferedReader(Counted(self)) if self == path else opened(self, *how)

    monkeypatch.setattr(Path, "open", counted)
    assert open_picture(path).width == 700
    assert 0 < largest < path.stat().st_size / 4
