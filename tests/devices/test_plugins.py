"""Plug-ins: what fits exactly is loaded; anything else is refused by name, and never crashes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from llavao1_edge.devices import kept
from llavao1_edge.errors import PluginError
from llavao1_edge.ggml import library, plugins
from tests.devices.conftest import Place


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "plugins"
    monkeypatch.setenv("LLAVAO1_PLUGINS", str(made))
    return made


def stamped(path: Path, **changes: str) -> Path:
    """A file with a stamp and nothing else."""
    here = {**vars(plugins.installed("rpc")), **changes}
    text = (
        f"llavao1-plugin:plugin={here['plugin']} llama-cpp-python={here['llama_cpp_python']} "
        f"ggml={here['ggml']} platform={here['platform']}"
    )
    path.write_bytes(b"\x7fELF...." + text.encode() + b"\0....")
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"llama_cpp_python": "0.3.35"}, "0.3.35"),
        ({"ggml": "0.25.2"}, "ggml 0.25.2"),
        ({"platform": "win32-amd64"}, "win32-amd64"),
    ],
)
def test_another_version_is_refused_with_both_named(
    changes: dict[str, str], said: str, tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(PluginError, match="was built for") as caught:
        kept.add(stamped(tmp_path / "x.so", **changes))
    assert said in caught.value.message
    assert plugins.installed_ggml() in caught.value.message
    assert "make plugin-rpc" in caught.value.hint
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"\x7fELF" + bytes(5000), b"llavao1-plugin:" * 9])
def test_what_is_no_plugin_is_never_loaded(content: bytes, tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(PluginError):
        kept.add(path)
    assert not folder.exists()


def test_a_file_that_is_missing_a_folder_or_no_library(tmp_path: Path, folder: Path) -> None:
    for path in (tmp_path / "none.so", tmp_path, Path(os.devnull)):
        with pytest.raises(PluginError, match="no plug-in file"):
            kept.add(path)
    with pytest.raises(PluginError, match="cannot be loaded"):
        kept.add(stamped(tmp_path / "right.so"))
    assert not folder.exists()


def test_add_list_remove(rpc_plugin: Path, folder: Path, tmp_path: Path) -> None:
    place = Place("RPC0", {"LLAVAO1_PLUGINS": str(folder)})
    added = place.cli("devices", "add", str(rpc_plugin))
    assert (added.returncode, added.stderr) == (0, "")
    assert (folder / "libggml-rpc.so").read_bytes() == rpc_plugin.read_bytes()
    listed = place.cli("devices")
    assert "libggml-rpc.so: llama-cpp-python" in listed.stdout
    assert place.cli("devices", "remove", "rpc").returncode == 0
    gone = place.cli("devices", "remove", "rpc")
    assert (gone.returncode, "no plug-in rpc was added" in gone.stderr) == (1, True)


def test_a_plugin_that_no_longer_fits_is_a_warning_and_the_cpu_answers(folder: Path) -> None:
    """As after an update of llama-cpp-python."""
    folder.mkdir()
    stamped(folder / "libggml-vulkan.so", plugin="vulkan", ggml="0.1.0")
    place = Place("CPU", {"LLAVAO1_PLUGINS": str(folder)})
    done = place.cli("doctor")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("was built for") == 1
    assert "ok" in done.stdout


def test_a_full_folder_or_no_right_to_write(rpc_plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = Place("RPC0", {"LLAVAO1_PLUGINS": str(tmp_path / "file" / "inside")})
    done = place.cli("devices", "add", str(rpc_plugin))
    assert (done.returncode, "cannot write" in done.stderr) == (1, True), done.stderr


def test_a_package_of_a_plugin_is_found(
    rpc_plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """llavao1-edge-rpc, as pip would install it."""
    package = tmp_path / "site" / "llavao1_edge_rpc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copy(rpc_plugin, package)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert kept.files() == [package / rpc_plugin.name]


def test_the_plugins_of_a_bundle_are_found_and_added_ones_come_first(
    rpc_plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    (tmp_path / "plugins-of-bundle" / "plugins").mkdir(parents=True)
    shutil.copy(rpc_plugin, tmp_path / "plugins-of-bundle" / "plugins")
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path / "plugins-of-bundle"), raising=False)
    assert [path.parent.name for path in kept.files()] == ["plugins"]
    folder.mkdir()
    shutil.copy(rpc_plugin, folder)
    assert kept.files() == [folder / rpc_plugin.name]


# --- libraries of other systems -------------------------------------------------------------------
def test_on_windows_only_ggmls_own_dlls_are_opened() -> None:
    """A portable build has a DLL per processor: one for another processor must not be loaded."""
    listing = ["ggml-cpu-zen4.dll", "llama.dll", "ggml.dll", "ggml-base.dll", "ggml-vulkan.dll"]
    assert library.neighbours(listing) == ["ggml-base.dll", "ggml.dll"]
    stock = ["ggml-base.dll", "ggml-cpu.dll", "GGML.dll", "mtmd.dll"]
    assert library.neighbours(stock) == ["GGML.dll", "ggml-base.dll", "ggml-cpu.dll"]
