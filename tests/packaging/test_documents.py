"""Promises of the documents that can be checked without installing anything."""

from __future__ import annotations

import ast
import functools
import json
import re
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import pytest

from llavao1_edge import demo
from llavao1_edge.cli.main import build_parser
from llavao1_edge.contract.native import FAMILIES, UNTRIED
from llavao1_edge.ggml import plugins
from llavao1_edge.serve.request import OWN, REFUSED
from llavao1_edge.settings import (
    BudgetSettings,
    RuntimeSettings,
    SamplingSettings,
    SearchSettings,
    ranges,
)
from tests.remote.scripted import Script, scripted
from tests.serve.running import serving

ROOT = Path(__file__).parent.parent.parent
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


def commands() -> list[tuple[str, str]]:
    """(page, command) of every `llavao1-edge …` in a block of code."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                line = line.removeprefix("$ ").split("#")[0].strip()
                if line.startswith("llavao1-edge ") and "…" not in line:
                    found.append((page, line))
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_is_one_that_the_program_takes(page: str, line: str) -> None:
    import shlex

    words = shlex.split(line.split(" > ")[0])[1:]
    if words[0] != "gui":  # its own options are read by the app
        build_parser().parse_args(words)


def snippets() -> list[tuple[str, str]]:
    """(page, code) of every block of Python."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        found += [(page, code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    return found


@pytest.mark.parametrize(("page", "code"), snippets())
def test_every_piece_of_python_runs(
    page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the demo model, and on servers that answer from a script."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "photo.jpg"):
        shutil.copy(demo.samples()[0].picture, tmp_path / name)
    with ExitStack() as servers:
        if "http://127.0.0.1:8080" in code:
            made = serving(script={}, folder=tmp_path)
            code = code.replace("http://127.0.0.1:8080", servers.enter_context(made).address)
        if "http://gpu-box:30000" in code:
            address = servers.enter_context(scripted(Script(owner="sglang")))
            code = code.replace("http://gpu-box:30000", address)
        exec(compile(code, page, "exec"), {"__name__": "snippet"})


def test_the_fields_of_a_request_are_those_that_are_read() -> None:
    text = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    table = text.partition("### Fields of a request")[2].partition("###")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    named = {name for left, _ in rows for name in re.findall(r"`(\w+)`", left)}
    source = (ROOT / "llavao1_edge/serve/request.py").read_text(encoding="utf-8")
    for name in named:
        assert f'"{name}"' in source, name
    assert set(REFUSED) <= named
    (own,) = (right for left, right in rows if "`llavao1`" in left)
    wanted = {one.name for kind in (SearchSettings, BudgetSettings) for one in fields(kind)}
    assert wanted | OWN - {"stages", "trace"} == set(re.findall(r"`(\w+)`", own)) - {"true"}
    assert all(f"`{name}: true`" in own for name in ("stages", "trace"))


def test_where_to_make_a_change_names_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Where to make a change")[2]
    packages = [ROOT / "llavao1_edge", ROOT / "convert/llavao1_convert", ROOT / "gui/llavao1_gui"]
    bases = [ROOT, *packages, *(f for p in packages for f in p.iterdir() if f.is_dir())]
    names = re.findall(r"`([\w/]+(?:\.py|/))`", table)
    assert len(names) > 20
    for name in names:
        assert any((base / name).exists() for base in bases), name


def test_the_families_are_those_that_are_told_apart() -> None:
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    for family in FAMILIES:
        projectors = ", ".join(f"`{name}`" for name in family.projectors)
        row = (
            f"| {family.name} | {projectors} | `{family.chat}` | {family.tested or 'nothing yet'} |"
        )
        assert row in text, row
    assert text.count("| nothing yet |") + text.count("| tiny random") == len(FAMILIES)
    for name in re.findall(
        r"`(\w+)`", text.partition("Other projectors")[2].partition("and more")[0]
    ):
        assert name in UNTRIED


def test_every_setting_is_read_by_something() -> None:
    """A new setting gets its flag and its field from the table; this asks who heeds it."""
    read = set()
    for path in (ROOT / "llavao1_edge").rglob("*.py"):
        if path.name in ("settings.py", "options.py") and path.parent.name != "search":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                read.add(node.target.id)  # an option of a strategy
    for kind in (RuntimeSettings, SamplingSettings, BudgetSettings, SearchSettings):
        for name, _ in ranges(kind):
            assert name in read, f"nothing reads {kind.__name__}.{name}"


MEASURED = {
    "four stages, greedy": "staged, greedy",
    "captions, exact": "exact captions",
    "conclusion only (direct)": "direct, greedy",
    "icons by a hand that was held out": "icons by another hand",
    "says so of kinds it was never shown": "says so/kinds that were not",
    "says so of pictures that it knows": "says so/known pictures (should not)",
}


def test_the_figures_of_the_demo_are_those_that_were_measured() -> None:
    """Of the shipped model and of the one that was made a second time."""
    page = (ROOT / "train/README.md").read_text(encoding="utf-8")
    head = "| | right | interval | repeated | interval | questions |\n|---|---|---|---|---|---|\n"
    table = page.partition(head)[2].partition("\n\n")[0]
    files = (ROOT / "train/world/metrics.json", ROOT / "train/logs/world/repeat_metrics.json")
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in files)
    for line in table.splitlines():
        name, *told = (cell.strip(" *") for cell in line.strip("|").split("|"))
        path = MEASURED.get(name, name.replace("four stages: ", "staged by family/"))
        found = [
            functools.reduce(lambda at, key: at[key], path.split("/"), m) for m in (first, second)
        ]
        shown = [
            text
            for one in found
            for text in (f"{one['share']:.1%}", f"{one['low']:.1%}–{one['high']:.1%}")
        ]
        assert told == [*shown, str(found[0]["n"])], name
    assert len(table.splitlines()) == 15


def test_every_verb_of_make_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z -]*):", makefile, re.MULTILINE))
    known = {word for target in targets for word in target.split()}
    known |= {f"plugin-{name}" for name in plugins.NAMES}
    for page in (*PAGES, "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for verb in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
            assert verb in known, f"{page}: make {verb}"


def test_files_that_the_page_names_are_there() -> None:
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(packaging/[a-z/._-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_desktop_entry_is_valid() -> None:
    if shutil.which("desktop-file-validate") is None:
        pytest.skip("desktop-file-validate is not installed")
    entry = ROOT / "gui/llavao1_gui/resources/llavao1-edge.desktop"
    done = subprocess.run(["desktop-file-validate", str(entry)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_program_and_the_window_ask_for_the_same_model() -> None:
    from llavao1_edge.bench import foresight

    text = (ROOT / "gui/llavao1_gui/widgets/models_dialog.py").read_text(encoding="utf-8")
    assert f'REAL_MODEL = "{foresight.REPOSITORY}"' in text


def all_pages() -> list[Path]:
    rooms = ("docs", "benchmarks", "train", "packaging", "tests")
    return [*ROOT.glob("*.md"), *(page for room in rooms for page in (ROOT / room).rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target
