"""Memory of the window's process with many photographs, and with one very large picture.

    python -m benchmarks.window_memory

Each case is a process of its own, offscreen, with pictures made from a seed. Resident memory when
all are open, and the most it ever was. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import header

PHOTOGRAPH, LARGE = (4000, 3000), (12000, 9000)
SETTLED_S = 1.0  # the last picture is drawn, and its pixels are given back
CASES = ("60", "180", "2000", "jpg", "png")


def noise(size: tuple[int, int]) -> Image.Image:
    """Blurred colours: compresses about as a photograph does."""
    source = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    return Image.fromarray(source).resize(PHOTOGRAPH, Image.Resampling.BICUBIC).resize(size)


def make(case: str, folder: Path) -> list[Path]:
    if case.isdigit():
        noise(PHOTOGRAPH).save(folder / "photograph.jpg", quality=88)
        data = (folder / "photograph.jpg").read_bytes()
        (folder / "photograph.jpg").unlink()
        for number in range(int(case)):  # of another content each, so that none is known
            (folder / f"{number}.jpg").write_bytes(data + str(number).encode())
    else:
        options: dict[str, Any] = {"compress_level": 1} if case == "png" else {}
        noise(LARGE).save(folder / f"large.{case}", **options)
    return sorted(folder.iterdir())


def measure(home: Path, pictures: list[Path]) -> tuple[float, float, float]:
    """MB after the start, with all pictures open, and at the worst."""
    from llavao1_gui.app import start

    app = start(["--data", str(home), "--config", str(home)])
    for _ in range(20):
        app.application.processEvents()
    before = status("VmRSS")
    app.pictures.add(list(pictures))
    while len(app.pictures.pictures) < len(pictures):
        app.application.processEvents()
        time.sleep(0.002)
    end = time.monotonic() + SETTLED_S
    while time.monotonic() < end:
        app.application.processEvents()
        time.sleep(0.002)
    after, most = status("VmRSS"), status("VmHWM")
    app.window.close()
    return before, after, most


def status(name: str) -> float:
    """MB of this process. Not getrusage: its maximum is inherited from the one that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs=2, metavar=("HOME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        own, shown = map(Path, options.case)
        print(*(f"{value:.0f}" for value in measure(own, sorted(shown.iterdir()))))
        return
    print(header("window_memory"))
    print("| pictures | file, MB | after the start, MB | all open, MB | at the worst, MB |")
    print("|---|---|---|---|---|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
            files = make(case, Path(folder))
            size = files[0].stat().st_size / 1e6
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.window_memory", "--case", home, folder],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
            )
            cells = " | ".join(done.stdout.split()[-3:])
            name = f"{case} of 12 MP" if case.isdigit() else f"one of 108 MP, {case.upper()}"
            print(f"| {name} | {size:.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
