"""Builds a ggml backend as a plug-in for the llama-cpp-python that is installed here.

    python packaging/plugins/build.py rpc|vulkan [--out FOLDER] [--root FOLDER]

Nothing of llama-cpp-python is built again: the plug-in is compiled from the source archive of the
very version that is installed, and linked to the libggml-base that is installed. --root: a Debian
13 root whose Vulkan headers and shader compiler are used where this system's are too old.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build"
LIBRARY = {"linux": "libggml-base.so", "darwin": "libggml-base.dylib", "win32": "ggml-base.lib"}
# The oldest Vulkan headers that this ggml compiles with; Debian 12 has 239.
LEAST_VULKAN_HEADERS = 283


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("plugin", choices=("rpc", "vulkan"))
    parser.add_argument("--out", type=Path, default=BUILD / "plugins")
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--wheel", type=Path, default=None, metavar="FOLDER")
    options = parser.parse_args()
    made = build(options.plugin, options.out, options.root)
    print(made)
    if options.wheel is not None:
        print(wheel(options.plugin, made, options.wheel))
    return 0


PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "llavao1-edge-{plugin}"
version = "{version}"
description = "ggml's {plugin} backend as a plug-in of llavao1-edge, for llama-cpp-python {release}"
requires-python = ">=3.11"
license = "MIT"
dependencies = ["llama-cpp-python=={release}"]
[tool.hatch.build.targets.wheel]
packages = ["llavao1_edge_{plugin}"]
artifacts = ["*.so", "*.dll"]
"""


def wheel(plugin: str, made: Path, out: Path) -> Path:
    """A wheel of the plug-in for this platform: `pip install` is all it takes to add it."""
    release = version("llama-cpp-python")
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / f"llavao1_edge_{plugin}"
        package.mkdir()
        text = f'"""The plug-in file of ggml\'s {plugin} backend; llavao1-edge finds it here."""\n'
        (package / "__init__.py").write_text(text)
        shutil.copy2(made, package)
        licence = ggml_source().parent / "LICENSE"
        if licence.exists():
            shutil.copy2(licence, temporary)
        text = PROJECT.format(plugin=plugin, version=release, release=release)
        (Path(temporary) / "pyproject.toml").write_text(text)
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", temporary, temporary)
        (built,) = Path(temporary).glob("*.whl")
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        run(sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, built)
        (tagged,) = Path(temporary).glob("*.whl")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(tagged, out))


def build(plugin: str, out: Path, root: Path | None = None) -> Path:
    """The plug-in's file. An existing one of the same versions is kept."""
    name = {"win32": f"ggml-{plugin}.dll", "darwin": f"libggml-{plugin}.so"}
    made = out / name.get(sys.platform, f"libggml-{plugin}.so")
    wanted = stamp(plugin)
    if made.exists() and wanted.encode() in made.read_bytes():
        return made
    folder = BUILD / f"plugin-{plugin}-{version('llama-cpp-python')}"
    definitions = {
        "PLUGIN": plugin,
        "GGML_SOURCE": ggml_source(),
        "GGML_BASE": libraries() / LIBRARY[sys.platform],
        "STAMP": wanted,
        "CMAKE_BUILD_TYPE": "Release",
    }
    if plugin == "vulkan":
        definitions |= vulkan(root, folder)
    options = [f"-D{key}={value}" for key, value in definitions.items()]
    run("cmake", "-S", HERE, "-B", folder, "-G", "Ninja", *options)
    run("cmake", "--build", folder, "--target", f"ggml-{plugin}")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy2(folder / made.name, made)
    return made


def stamp(plugin: str) -> str:
    """What the plug-in fits; `llavao1_edge.ggml.plugins` reads it before it loads the file."""
    return (
        f"plugin={plugin} llama-cpp-python={version('llama-cpp-python')} ggml={ggml_version()} "
        f"platform={sys.platform}-{platform.machine().lower()}"
    )


def ggml_version() -> str:
    from llavao1_edge.ggml.plugins import installed_ggml

    return installed_ggml()


def libraries() -> Path:
    found = find_spec("llama_cpp")
    if found is None or found.origin is None:
        sys.exit("error: llama-cpp-python is not installed")
    return Path(found.origin).parent / "lib"


def ggml_source() -> Path:
    """The ggml folder of the installed version's source archive; fetched once."""
    release = version("llama-cpp-python")
    folder = BUILD / f"llama-cpp-python-{release}"
    if not (folder / "ggml").exists():
        with tempfile.TemporaryDirectory() as temporary:
            pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary)
            run(*pip, "--no-binary", "llama-cpp-python", f"llama-cpp-python=={release}")
            (archive,) = Path(temporary).glob("llama_cpp_python-*.tar.gz")
            extract(archive, folder)
    return folder / "ggml"


def extract(archive: Path, folder: Path) -> None:
    """Only ggml; complete or not at all."""
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as file:
        wanted = ("/vendor/llama.cpp/ggml/", "/vendor/llama.cpp/LICENSE/")
        members = [
            member
            for member in file.getmembers()
            if any(start in f"/{member.name}/" for start in wanted)
        ]
        for member in members:
            member.name = member.name.split("/vendor/llama.cpp/", 1)[1]
        file.extractall(partial, members, filter="data")
    partial.rename(folder)


def vulkan(root: Path | None, folder: Path) -> dict[str, object]:
    """Headers, loader and shader compiler: this system's, or those of a newer root."""
    if root is None:
        if shutil.which("glslc") and header_version(Path("/")) >= LEAST_VULKAN_HEADERS:
            return {}
        root = vulkan_root()
    triplet = f"{platform.machine()}-linux-gnu"
    folder.mkdir(parents=True, exist_ok=True)
    # The root's compiler of shaders runs on the root's own libraries, wherever we are.
    loader = next((root / "lib64").glob("ld-linux-*"), root / "lib64/ld-linux-x86-64.so.2")
    wrapper = folder / "glslc"
    wrapper.write_text(
        f'#!/bin/sh\nexec "{loader}" --library-path "{root}/usr/lib/{triplet}" '
        f'"{root}/usr/bin/glslc" "$@"\n'
    )
    wrapper.chmod(0o755)
    # Only these headers: the rest of the root's belong to another C library.
    include = folder / "include"
    for name in ("vulkan", "vk_video", "spirv"):
        if (root / "usr/include" / name).exists() and not (include / name).exists():
            shutil.copytree(root / "usr/include" / name, include / name)
    return {
        "Vulkan_INCLUDE_DIR": include,
        "Vulkan_LIBRARY": root / "usr/lib" / triplet / "libvulkan.so",
        "Vulkan_GLSLC_EXECUTABLE": wrapper,
        "SPIRV-Headers_DIR": root / "usr/share/cmake/SPIRV-Headers",
        "CMAKE_CXX_FLAGS": f"-I{include}",
    }


def vulkan_root() -> Path:
    """A Debian 13 root with headers and shader compiler; made once, kept in the build folder."""
    root = BUILD / "vulkan-root"
    if header_version(root) >= LEAST_VULKAN_HEADERS:
        return root
    if shutil.which("debootstrap") is None or os.name == "nt" or os.getuid() != 0:
        sys.exit(
            "error: Vulkan's headers or glslc are missing here, or too old\n"
            "  Debian 13 and later: `python3 llavao1_edge/system.py vulkan` has the line to type. "
            "Elsewhere, root with debootstrap can take them from a Debian 13."
        )
    print("making a Debian 13 root for its Vulkan headers: a minute", file=sys.stderr)
    packages = "libvulkan-dev,glslc,spirv-headers"
    command = ("debootstrap", "--variant=minbase", f"--include={packages}", "trixie", root)
    run(*command, mirror())
    return root


def mirror() -> str:
    """Of this machine's own apt sources."""
    for path in sorted(Path("/etc/apt").rglob("*.sources")) + sorted(
        Path("/etc/apt").rglob("*.list")
    ):
        for word in path.read_text(encoding="utf-8", errors="replace").split():
            if word.startswith("http") and word.rstrip("/").endswith("/debian"):
                return word
    return "http://deb.debian.org/debian"


def header_version(root: Path) -> int:
    """Of the Vulkan headers, 0 without any."""
    header = root / "usr/include/vulkan/vulkan_core.h"
    if not header.exists():
        return 0
    for line in header.read_text(encoding="utf-8").splitlines():
        if line.startswith("#define VK_HEADER_VERSION "):
            return int(line.split()[-1])
    return 0


def run(*command: object) -> None:
    words = [str(word) for word in command]
    # cmake and ninja may have come with pip, beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(words, text=True, capture_output=True, env={**os.environ, "PATH": path})
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        sys.exit(f"{tail}\nerror: {' '.join(words[:4])} failed")


if __name__ == "__main__":
    sys.exit(main())
