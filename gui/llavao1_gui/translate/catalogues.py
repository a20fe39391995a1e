"""Keeps the catalogues up to date: texts out of the sources, compiled files for the window.

python -m llavao1_gui.translate.catalogues            updates .ts and writes .qm
python -m llavao1_gui.translate.catalogues --check    says what is stale or unfinished; exit code 1
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from llavao1_gui.translate import FOLDER
from llavao1_gui.translate.sentences import as_source

SOURCES = FOLDER.parent
TOOLS = Path(sys.executable).parent
Texts = dict[tuple[str, str], str | None]


def update(catalogue: Path) -> None:
    """Takes the texts of the sources in; what is gone from them is dropped."""
    files = [str(path) for path in sorted(SOURCES.rglob("*.py"))]
    command = [str(TOOLS / "pyside6-lupdate"), "-no-obsolete", "-locations", "none", "-silent"]
    with tempfile.TemporaryDirectory() as folder:
        others = Path(folder) / "sentences.py"
        others.write_text(as_source(), encoding="utf-8")
        whole = [*command, *files, str(others), "-ts", str(catalogue)]
        done = subprocess.run(whole, check=True, capture_output=True, text=True)
    if "won't be updated" in done.stdout + done.stderr:  # it says so and succeeds
        raise RuntimeError(f"{catalogue.name}: {done.stdout}{done.stderr}")


def release(catalogue: Path, target: Path) -> None:
    command = [str(TOOLS / "pyside6-lrelease"), "-silent", str(catalogue), "-qm", str(target)]
    subprocess.run(command, check=True, capture_output=True)


def texts(catalogue: Path) -> Texts:
    """(context, text) → translation, None where it is missing or unfinished."""
    found: Texts = {}
    for context in ElementTree.parse(catalogue).getroot().iter("context"):
        for message in context.iter("message"):
            said = message.find("translation")
            done = said is not None and said.get("type") is None and bool(said.text)
            key = (context.findtext("name", ""), message.findtext("source", ""))
            found[key] = said.text if done and said is not None else None
    return found


def problems() -> list[str]:
    """What is stale or unfinished in the catalogues of the tree."""
    found = []
    for catalogue in sorted(FOLDER.glob("*.ts")):
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder) / catalogue.name
            fresh.write_bytes(catalogue.read_bytes())
            update(fresh)
            now, kept = texts(fresh), texts(catalogue)
            compiled = Path(folder) / "compiled.qm"
            release(catalogue, compiled)
            released = catalogue.with_suffix(".qm")
            if not released.exists() or released.read_bytes() != compiled.read_bytes():
                found.append(f"{released.name} is not made from {catalogue.name}")
        found += [f"{catalogue.name}: new text {key}" for key in now if key not in kept]
        found += [f"{catalogue.name}: text is gone {key}" for key in kept if key not in now]
        found += [f"{catalogue.name}: untranslated {key}" for key, said in kept.items() if not said]
    return found


def main() -> int:
    if "--check" in sys.argv[1:]:
        found = problems()
        print("\n".join(found))
        return 1 if found else 0
    for catalogue in sorted(FOLDER.glob("*.ts")):
        update(catalogue)
        release(catalogue, catalogue.with_suffix(".qm"))
        unfinished = [key for key, said in texts(catalogue).items() if said is None]
        print(f"{catalogue.name}: {len(unfinished)} to be translated")
        for context, text in unfinished:
            print(f"  {context}: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
