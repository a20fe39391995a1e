"""Builds llama.cpp's server from the source archive of the llama-cpp-python that is installed here,
and prints its path. The same commit: what it answers can be compared with what we compute.

    python packaging/servers/llama_server.py

It takes some ten minutes on two idle cores, and nothing but the archive is fetched.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

BUILD = Path(__file__).resolve().parent.parent.parent / "build"
# Its web page would be fetched from elsewhere; processors that lie about what they can are common
# in virtual machines.
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "GGML_NATIVE": "OFF",
}


def main() -> int:
    release = version("llama-cpp-python")
    folder = BUILD / f"llama-server-{release}"
    made = folder / "build" / "bin" / "llama-server"
    if not made.exists():
        source = fetch(release, folder)
        options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
        run("cmake", "-S", source, "-B", folder / "build", "-G", "Ninja", *options)
        run("cmake", "--build", folder / "build", "--target", "llama-server")
    print(made)
    return 0


def fetch(release: str, folder: Path) -> Path:
    """llama.cpp's source; complete or not at all."""
    source = folder / "source"
    if source.exists():
        return source
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary)
        run(*pip, "--no-binary", "llama-cpp-python", f"llama-cpp-python=={release}")
        (archive,) = Path(temporary).glob("llama_cpp_python-*.tar.gz")
        with tarfile.open(archive) as file:
            file.extractall(temporary, filter="data")
        (found,) = Path(temporary).glob("llama_cpp_python-*/vendor/llama.cpp")
        found.rename(source)
    return source


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
