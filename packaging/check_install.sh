#!/usr/bin/env bash
# Installs the built files as people do, each into an empty folder, and asks the demo a question.
# Wheel and sdist are built here; llama-cpp-python's wheel comes from the environment that make filled.
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

wheels=build/wheels
mkdir -p $wheels dist
version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("llama-cpp-python"))')
.venv/bin/python -m pip wheel -q --no-deps -w $wheels "llama-cpp-python==$version"
rm -f dist/llavao1_edge-*
.venv/bin/python -m build --outdir dist . >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
export PIP_FIND_LINKS="${PIP_FIND_LINKS:-} $source/$wheels" UV_FIND_LINKS="$source/$wheels"  # pipx may use uv
cd "$work"

sample() { python3 "$source/packaging/sample.py" "$1"; }
ask() {
    said=$("$1" ask "$(sample picture)" "$(sample question)" --temperature 0)
    [ "$said" = "$(sample answer)" ] || { echo "error: $2 answers '$said'" >&2; exit 1; }
    echo "$2: ok ($SECONDS s)"
}

for file in "$source"/dist/llavao1_edge-*.whl "$source"/dist/llavao1_edge-*.tar.gz; do
    python3 -m venv fresh
    fresh/bin/python -m pip install -q "$file"
    ask fresh/bin/llavao1-edge "pip install $(basename "$file")"
    rm -rf fresh
done
tools=$work/tools
python3 -m venv "$tools"
for tool in uv pipx; do
    "$tools/bin/python" -m pip install -q $tool || { echo "skipped: $tool cannot be installed"; continue; }
done
file=$(echo "$source"/dist/llavao1_edge-*.whl)
if [ -x "$tools/bin/uv" ]; then
    UV_TOOL_DIR=$work/uv UV_TOOL_BIN_DIR=$work/bin "$tools/bin/uv" tool install -q --native-tls \
        --python "$(command -v python3)" --find-links "$source/$wheels" "$file"
    ask "$work/bin/llavao1-edge" "uv tool install"
    rm -r "$work/bin"
fi
if [ -x "$tools/bin/pipx" ]; then
    PIPX_HOME=$work/pipx PIPX_BIN_DIR=$work/bin "$tools/bin/pipx" install -q "$file" >/dev/null
    ask "$work/bin/llavao1-edge" "pipx install"
fi
