"""Fetches what is not ours: drawn icons (npm) and sample photographs (PyPI). Names every licence.

    python -m train.world.material

Icons are drawn by Qt at 64 pixels and committed (`material/`), so that tests need no network; the
photographs for training are put into `runs/photographs` and not committed.

- Noto emoji, Apache-2.0, npm `@iconify-json/noto`
- Fluent emoji (flat), MIT, npm `@iconify-json/fluent-emoji-flat`
- Twemoji, CC-BY-4.0 (Twitter, Inc. and other contributors), npm `twemoji-svg`: held out, the
  model never sees this hand in training
- Photographs: PyPI `scikit-image` and `scikit-learn`; the four that are committed for tests are
  free of rights (astronaut: NASA, public domain; rocket: SpaceX, CC0; chelsea and coffee: CC0)
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from PIL import Image

from train.world.words import ICONS

HERE = Path(__file__).parent / "material"
PHOTOGRAPHS = Path("runs/photographs")
REGISTRY = "https://registry.npmjs.org"
SIDE = 64
PACKAGES = ("scikit-image==0.26.0", "scikit-learn==1.9.1")  # with sample photographs
SETS = {
    "noto": "@iconify-json/noto/-/noto-1.2.9.tgz",
    "fluent": "@iconify-json/fluent-emoji-flat/-/fluent-emoji-flat-1.2.6.tgz",
}
HELD_OUT_SET = "twemoji-svg/-/twemoji-svg-17.0.2.tgz"
CALLED = {
    "dog": ("dog-face", "1f436"), "cat": ("cat-face", "1f431"), "fish": ("fish", "1f41f"),
    "apple": ("red-apple", "1f34e"), "banana": ("banana", "1f34c"), "grapes": ("grapes", "1f347"),
    "carrot": ("carrot", "1f955"), "car": ("automobile", "1f697"), "plane": ("airplane", "2708"),
    "rocket": ("rocket", "1f680"), "house": ("house", "1f3e0"),
    "tree": ("deciduous-tree", "1f333"), "sun": ("sun", "2600"), "star": ("star", "2b50"),
    "heart": ("red-heart", "2764"), "key": ("key", "1f511"), "umbrella": ("umbrella", "2602"),
    "bell": ("bell", "1f514"), "mushroom": ("mushroom", "1f344"), "cactus": ("cactus", "1f335"),
    "balloon": ("balloon", "1f388"), "duck": ("duck", "1f986"), "snowman": ("snowman", "2603"),
    "butterfly": ("butterfly", "1f98b"),
}  # fmt: skip
HELD_OUT_PHOTOGRAPHS = ("astronaut", "rocket", "chelsea", "coffee")
# Drawings, masks and pages among the samples; not photographs.
NO_PHOTOGRAPHS = ("chessboard", "logo", "phantom", "multipage", "color", "horse", "no_time")


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name, address in SETS.items():
        icons = json.loads(_member(_fetch(address), "package/icons.json"))
        side = icons.get("width", 16)
        drawn = [
            _svg(icons["icons"][CALLED[icon][0]]["body"].encode(), side=side) for icon in ICONS
        ]
        _sheet(drawn).save(HERE / f"{name}.png", optimize=True)
    archive = _fetch(HELD_OUT_SET)
    drawn = [_draw(_member(archive, f"package/dist/{CALLED[icon][1]}.svg")) for icon in ICONS]
    _sheet(drawn).save(HERE / "twemoji.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder]
        subprocess.run([*pip, *PACKAGES], check=True)
        photographs(sorted(Path(folder).glob("*.whl")))


def photographs(wheels: list[Path]) -> None:
    """Reduce the sample pictures inside `wheels` (scikit-image, scikit-learn)."""
    PHOTOGRAPHS.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = Path(name)
                if path.suffix not in (".png", ".jpg") or path.stem.startswith(NO_PHOTOGRAPHS):
                    continue
                picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
                picture.thumbnail((320, 320))
                held_out = path.stem in HELD_OUT_PHOTOGRAPHS
                folder = HERE if held_out else PHOTOGRAPHS
                picture.save(folder / f"{path.stem}.jpg", quality=85)


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(f"{REGISTRY}/{address}", timeout=300) as answer:
        return bytes(answer.read())


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        member = opened.extractfile(name)
        assert member is not None
        return member.read()


def _svg(body: bytes, *, side: int) -> Image.Image:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {side} {side}">'
    )
    return _draw(head.encode() + body + b"</svg>")


def _draw(svg: bytes) -> Image.Image:
    from PySide6.QtCore import QByteArray
    from PySide6.QtGui import QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    image = QImage(SIDE, SIDE, QImage.Format.Format_RGBA8888)
    image.fill(0)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(svg)).render(painter)
    painter.end()
    return Image.frombytes("RGBA", (SIDE, SIDE), bytes(image.constBits()))


def _sheet(icons: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGBA", (SIDE * len(icons), SIDE))
    for at, icon in enumerate(icons):
        sheet.paste(icon, (at * SIDE, 0))
    return sheet


if __name__ == "__main__":
    main()
