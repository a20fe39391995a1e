"""The table of rooms: who may import whom, what is fenced in, and that importing is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    "llavao1_edge": ROOT / "llavao1_edge",
    "llavao1_convert": ROOT / "convert" / "llavao1_convert",
    "llavao1_gui": ROOT / "gui" / "llavao1_gui",
}

# Room → rooms it may import, besides itself, `errors`, `files`,
# `phrases` and `lifetime`. A file directly in
# the package is a room.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "lifetime": set(),
    "files": set(),
    "phrases": set(),
    "state_cache": {"measured"},
    "measured": set(),
    "system": set(),
    "program": set(),
    "start": {"cli"},
    "settings": set(),
    "ggml": {"measured", "program"},
    "contract": {"ggml"},  # the storage types only
    "images": set(),
    "stages": set(),
    "prompt": set(),
    "llama": {"ggml"},
    "mllama": {"measured", "state_cache", "ggml", "llama", "images", "contract", "vision"},
    "native": {"state_cache", "ggml", "llama", "images", "contract", "vision"},
    "vision": {"ggml", "images", "llama"},
    "scoring": {"stages"},
    "backend": {"images", "search", "settings", "stages"},
    "search": {"stages", "scoring", "settings"},
    "devices": {"ggml", "llama", "settings"},
    "engine": {
        *("backend", "devices", "vision"),
        *("settings", "contract", "images", "stages", "prompt", "llama", "mllama", "native"),
        *("scoring", "search", "demo", "remote", "state_cache", "measured"),
    },
    "bench": {
        *("engine", "search", "settings", "stages", "contract"),
        *("images", "ggml", "llama", "mllama", "vision"),
    },
    "serve": {
        "engine",
        "images",
        "program",
        "search",
        "settings",
        "stages",
        "store",
        "testing",
        "__version__",
    },
    "remote": {"backend", "images", "prompt", "scoring", "search", "settings", "stages", "store"},
    "demo": set(),
    "testing": {"backend", "engine", "stages", "scoring", "search", "images"},
    "locate": {"contract", "engine", "store"},
    "cli": {
        *("engine", "settings", "stages", "scoring", "search", "demo", "images", "ggml"),
        *(
            "store",
            "evaluation",
            "bench",
            "locate",
            "devices",
            "program",
            "backend",
            "serve",
            "llavao1_convert",
            "llavao1_gui",
        ),
    },
    "llavao1_edge": {"engine", "search", "settings", "stages"},  # lazily, see __init__
    "store": {"contract", "__version__"},
    "evaluation": {"engine", "stages", "scoring", "search", "settings", "images"},
    "llavao1_convert": {"contract", "ggml", "images", "store"},
    "verify.py": {"engine", "images", "settings"},
    # The window. Each of its folders is a room; `app` and its neighbours connect them.
    "gui state": {"stages", "scoring", "search", "settings", "images"},
    "gui models": {"gui state"},
    "gui widgets": {"gui state", "gui models", "search", "settings", "__version__"},
    "gui translate": {"engine", "search", "stages", "gui state", "llavao1_convert", "llavao1_edge"},
    "gui work": {
        *(
            "gui state",
            "engine",
            "devices",
            "bench",
            "store",
            "locate",
            "images",
            "search",
            "settings",
            "state_cache",
            "testing",
        ),
        "program",
        "llavao1_convert",
    },
    "llavao1_gui": {
        *("gui state", "gui widgets", "gui work", "gui translate"),
        *("demo", "images", "search", "state_cache", "store", "system"),
    },
}

# Foreign module → rooms (or files) that may import it.
FENCES: dict[str, set[str]] = {
    "ctypes": {
        "ggml",
        "llama",
        "native/library.py",
        "mllama/injection.py",
        "devices/rpc.py",
        "system",
    },
    "llama_cpp": {"ggml", "llama", "native/library.py", "mllama/injection.py"},
    "llguidance": {"llama"},
    "jsonschema": {"engine", "cli/bench.py"},
    "torch": {"verify.py"},
    "transformers": {"verify.py"},
    "peft": {"verify.py"},
    "PySide6": {"gui models", "gui widgets", "gui work", "gui translate", "llavao1_gui"},
    "huggingface_hub": {"store"},
    "httpx": {"remote", "serve", "store"},
    "ray": {"evaluation/cluster.py"},
    "starlette": {"serve", "cli"},
    "uvicorn": {"cli"},
    "prometheus_client": {"serve"},
    "truststore": {"store"},
    "urllib.request": set(),
    "pickle": set(),
}


def files() -> Iterator[tuple[str, str, Path]]:
    """(room, path inside its package, file)."""
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder)
            room = package
            nested = len(inside.parts) > 1
            if nested or (package == "llavao1_edge" and inside.name != "__init__.py"):
                room = inside.parts[0].removesuffix(".py")
            if package == "llavao1_gui" and nested:
                room = f"gui {inside.parts[0]}"
            if package == "llavao1_convert" and inside.name == "verify.py":
                room = inside.name  # alone may run models
            yield room, inside.as_posix(), path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "llavao1_edge":
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def target_room(module: str) -> str | None:
    package, _, rest = module.partition(".")
    if package not in SOURCES:
        return None
    first = rest.split(".")[0]
    if package == "llavao1_gui" and f"gui {first}" in MAY_IMPORT:
        return f"gui {first}"
    return first if package == "llavao1_edge" and rest else package


def test_every_room_is_in_the_table() -> None:
    assert {room for room, _, _ in files()} <= set(MAY_IMPORT)


def test_imports_go_one_way() -> None:
    broken = []
    for room, inside, path in files():
        for line, module in imports(path):
            target = target_room(module)
            if target in (None, room, "errors", "lifetime", "files", "phrases", "__version__"):
                continue
            if target not in MAY_IMPORT[room]:
                broken.append(f"{inside}:{line}: {room} imports {module}")
    assert not broken, "\n".join(broken)


def test_every_permission_is_used() -> None:
    """A permission that nothing needs any more is a door that nobody watches."""
    used: dict[str, set[str | None]] = {room: set() for room in MAY_IMPORT}
    for room, _, path in files():
        used[room] |= {target_room(module) for _, module in imports(path)}
    stale = [
        f"{room}: {target}"
        for room, targets in MAY_IMPORT.items()
        for target in targets
        if target not in used[room] and target != "__version__"
    ]
    assert not stale, "\n".join(stale)


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in SOURCES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported_by_file(path: Path, known: Container[str]) -> set[str]:
    """Modules of ours that a file imports when it is loaded, or for types only."""
    found, waiting = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If):
            waiting += [*node.body, *node.orelse]
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return {name for name in found if name in known}


def test_no_two_files_import_each_other() -> None:
    """Neither directly nor around a corner, and not for their types either."""
    known = modules()
    left = {name: imported_by_file(path, known) - {name} for name, path in known.items()}
    # What imports nothing that is left cannot be part of a circle.
    while done := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in done:
            del left[name]
    assert not left, "a circle among: " + ", ".join(sorted(left))


def test_foreign_things_stay_in_their_rooms() -> None:
    broken = []
    for room, inside, path in files():
        for line, module in imports(path):
            allowed = FENCES.get(module.split(".")[0])
            if allowed is not None and room not in allowed and inside not in allowed:
                broken.append(f"{inside}:{line}: {module} is fenced in")
    assert not broken, "\n".join(broken)


def test_files_and_functions_stay_small() -> None:
    large = []
    for _, inside, path in files():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 420:
            large.append(f"{inside}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                n = node.end_lineno - node.lineno + 1
                if n > 60:
                    large.append(f"{inside}:{node.lineno}: {node.name} has {n} lines")
    assert not large, "\n".join(large)


def test_every_room_says_what_it_is() -> None:
    for _, inside, path in files():
        if path.stat().st_size:
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), inside


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["llavao1_edge", "llavao1_edge.cli.main", "llavao1_convert"])
def test_importing_loads_nothing_native(package: str) -> None:
    foreign = ("llama_cpp", "torch", "transformers", "PySide6", "PIL", "numpy")
    if package != "llavao1_edge":
        foreign = foreign[:4]
    code = f"import sys, {package}; print([m for m in {foreign!r} if m in sys.modules])"
    assert run_python(code) == "[]"


def test_importing_costs_nothing() -> None:
    """Counted in modules of the standard library: seconds depend on the machine."""
    code = (
        "import sys; before = set(sys.modules); import llavao1_edge; "
        "print(len(set(sys.modules) - before))"
    )
    assert int(run_python(code)) <= 60


def test_importing_writes_nothing_and_prints_nothing() -> None:
    assert run_python("import llavao1_edge") == ""
