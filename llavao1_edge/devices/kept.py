"""The plug-ins that were added on this machine: files in one folder, and those of a bundle."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from llavao1_edge.errors import PluginError
from llavao1_edge.files import write_whole
from llavao1_edge.ggml import plugins
from llavao1_edge.phrases import Phrase

SUFFIXES = (".so", ".dll", ".dylib")


def folder() -> Path:
    """Where added plug-ins lie; LLAVAO1_PLUGINS chooses another folder."""
    chosen = os.environ.get("LLAVAO1_PLUGINS")
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("llavao1-edge", appauthor=False)) / "plugins"


def bundled_folder() -> Path | None:
    """The plug-ins that came with a bundle, if this is one."""
    inside = getattr(sys, "_MEIPASS", None)  # set by PyInstaller
    return Path(inside) / "plugins" if inside else None


def package_folders() -> list[Path]:
    """Folders of the plug-in packages that pip installed, such as llavao1-edge-vulkan."""
    found = (find_spec(f"llavao1_edge_{name}") for name in plugins.NAMES)
    return [Path(spec.origin).parent for spec in found if spec is not None and spec.origin]


def files() -> list[Path]:
    """All plug-in files: those that were added, then those of packages and of the bundle that none
    replaces."""
    found: dict[str, Path] = {}
    for place in (folder(), *package_folders(), bundled_folder()):
        if place is not None and place.is_dir():
            for path in sorted(place.iterdir()):
                if path.suffix in SUFFIXES and path.is_file():
                    found.setdefault(path.name, path)
    return list(found.values())


def add(source: Path) -> Path:
    """Copies a plug-in that fits into the folder, whole or not at all. Raises PluginError."""
    stamp = plugins.load(source)
    suffix = source.suffix if source.suffix in SUFFIXES else SUFFIXES[os.name == "nt"]
    target = folder() / f"libggml-{stamp.plugin}{suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, source.read_bytes())
        target.chmod(0o755)
    except OSError as error:
        raise PluginError(
            Phrase("cannot write {target}: {reason}", target=target, reason=error.strerror),
            hint="LLAVAO1_PLUGINS takes another folder.",
        ) from error
    return target


def remove(name: str) -> Path:
    """Deletes an added plug-in by what it is called (vulkan, rpc). Raises PluginError."""
    for path in files():
        if path.parent == folder() and path.stem == f"libggml-{name}":
            path.unlink()
            return path
    known = ", ".join(path.stem.removeprefix("libggml-") for path in files()) or "none"
    raise PluginError(
        Phrase("no plug-in {name} was added here", name=name),
        hint=Phrase("There is: {known}.", known=known),
    )
