"""Collects the licences of everything inside a bundle: `python licences.py FOLDER`, run with the
Python that the bundle was made of.

Writes FOLDER/licences with the texts, and a README.md that names every part. A part without a
text ends it with an error: nothing goes out unlicensed.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

TEXTS = re.compile(r"(licen[cs]e|copying|notice|authors|copyright)", re.IGNORECASE)
# Tools that make the bundle, and are not inside.
LEFT_OUT = {"pip", "setuptools", "pyinstaller-hooks-contrib", "altgraph", "packaging"}
# Wheels that name a licence but carry no text of it.
KNOWN = {"pyside6-essentials": "LGPL-3.0", "shiboken6": "LGPL-3.0"}
HEAD = """\
# What is inside

llavao1-edge is under the Apache License 2.0 (llavao1-edge/LICENSE). The parts below keep their own
licences; their texts lie beside this file.

Qt and PySide6 are used under the GNU LGPL, version 3. Their libraries are separate files
(`_internal/PySide6/Qt/lib`): you may replace them by your own builds of the same version, and the
program will use those. Their source: https://download.qt.io and https://code.qt.io.

| part | version | licence | text |
|---|---|---|---|
"""


def main(folder: Path) -> int:
    target = folder / "licences"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    rows = sorted(python_parts(target)) + sorted(system_parts(folder, target))
    rows.append(python_itself(target))
    missing = [name for name, _, _, text in rows if not text]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    (target / "README.md").write_text(f"{HEAD}{table}\n", encoding="utf-8")
    if missing:
        print(f"error: no licence text for {', '.join(missing)}", file=sys.stderr)
        return 1
    print(f"licences of {len(rows)} parts")
    return 0


def python_parts(target: Path) -> list[tuple[str, str, str, str]]:
    """(name, version, licence, where its text is) of every installed distribution."""
    rows = []
    for part in importlib.metadata.distributions():
        name = part.metadata["Name"]
        if name.lower() in LEFT_OUT:
            continue
        folder = target / name
        for file in part.files or ():
            inside = ".dist-info" in str(file) or len(file.parts) <= 2
            source = Path(str(part.locate_file(file)))
            if inside and TEXTS.search(file.name) and source.is_file():
                folder.mkdir(exist_ok=True)
                shutil.copyfile(source, folder / "_".join(file.parts[-2:]))
        licence = part.metadata.get("License-Expression") or part.metadata.get("License") or ""
        known = KNOWN.get(name.lower().replace("_", "-"), "")
        if known and not folder.exists():
            folder.mkdir()
            text = (Path(__file__).parent / "texts" / f"{known}.txt").read_text(encoding="utf-8")
            (folder / "LICENSE").write_text(text, encoding="utf-8")
        licence = licence.strip().split("\n")[0][:60] or classifier(part)
        if not folder.exists():  # the words of its metadata, for want of a file
            words = part.metadata.get("License") or licence
            if words:
                folder.mkdir()
                (folder / "LICENSE").write_text(f"{name}: {words}\n", encoding="utf-8")
        rows.append((name, part.version, licence, name if folder.exists() else ""))
    return rows


def classifier(part: importlib.metadata.Distribution) -> str:
    texts = part.metadata.get_all("Classifier") or ()
    found = [text for text in texts if text.startswith("License")]
    return found[0].split("::")[-1].strip() if found else ""


def system_parts(folder: Path, target: Path) -> list[tuple[str, str, str, str]]:
    """Libraries that were taken from this Debian, with their packages' copyright files."""
    if shutil.which("dpkg-query") is None:
        return []
    packages: set[str] = set()
    triplet = f"{platform.machine()}-linux-gnu"
    for path in (folder / "_internal").glob("*.so*"):
        for place in (f"/usr/lib/{triplet}", f"/lib/{triplet}"):
            done = subprocess.run(
                ["dpkg-query", "-S", f"{place}/{path.name}"], capture_output=True, text=True
            )
            if done.returncode == 0:
                packages.add(done.stdout.split(":")[0])
                break
    rows = []
    for package in packages:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True
        )
        source = Path("/usr/share/doc") / package / "copyright"
        if source.is_file():
            (target / f"debian-{package}").mkdir(exist_ok=True)
            shutil.copyfile(source, target / f"debian-{package}" / "copyright")
        where = f"debian-{package}" if source.is_file() else ""
        rows.append((package, done.stdout.strip(), "see its text", where))
    return rows


def python_itself(target: Path) -> tuple[str, str, str, str]:
    major, minor = sys.version_info[:2]
    for place in (Path(sys.base_prefix), Path("/usr/share/doc/python3")):
        for name in (f"lib/python{major}.{minor}/LICENSE.txt", "LICENSE.txt", "copyright"):
            if (place / name).is_file():
                (target / "python").mkdir(exist_ok=True)
                shutil.copyfile(place / name, target / "python" / "LICENSE")
                return ("python", sys.version.split()[0], "PSF-2.0", "python")
    return ("python", sys.version.split()[0], "PSF-2.0", "")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
