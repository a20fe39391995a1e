#!/usr/bin/env bash
# Builds the app that needs neither Python nor a compiler, for the system it is run on (Linux):
#   packaging/bundle/build.sh            → dist/llavao1-edge_VERSION_ARCH.deb and …-linux-ARCH.tar.xz
# llama-cpp-python is built for every processor of this architecture (about eleven minutes on two
# cores, once: build/portable); ggml takes the best code for the processor when it starts.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
release=$($python -c 'from importlib.metadata import version; print(version("llama-cpp-python"))')
version=$($python -c 'import llavao1_edge; print(llavao1_edge.__version__)')
architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)

mkdir -p build/portable dist
if ! ls build/portable/llama_cpp_python-"$release"-*.whl >/dev/null 2>&1; then
    echo "compiling llama-cpp-python $release for every processor: about eleven minutes on two cores"
    # --no-cache-dir: pip would take a wheel that was built for this very processor.
    CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DCMAKE_INSTALL_BINDIR=llama_cpp/lib" \
        $python -m pip wheel -q --no-cache-dir --no-deps --no-binary llama-cpp-python \
        -w build/portable "llama-cpp-python==$release"
fi

rm -rf build/bundle && mkdir -p build/bundle
$python -m venv build/bundle/venv
bin=build/bundle/venv/bin
$python -m pip wheel -q --no-deps -w build/bundle/wheels .
$bin/python -m pip install -q --disable-pip-version-check pyinstaller build/portable/llama_cpp_python-"$release"-*.whl
$bin/python -m pip install -q --disable-pip-version-check "$(echo build/bundle/wheels/llavao1_edge-*.whl)[gui,heic,serve]"
$bin/pyinstaller --noconfirm --log-level WARN --workpath build/bundle/work --distpath build/bundle \
    packaging/bundle/llavao1-edge.spec
made=build/bundle/llavao1-edge
$bin/python packaging/bundle/licences.py $made

resources=gui/llavao1_gui/resources
cp $resources/llavao1-edge.desktop $resources/llavao1-edge.svg packaging/bundle/install.sh $made/

name=llavao1-edge-$version-linux-$architecture
tar -C build/bundle --transform "s/^llavao1-edge/$name/" --owner 0 --group 0 -cf - llavao1-edge |
    xz -T0 -6 >dist/"$name".tar.xz

if command -v dpkg-deb >/dev/null; then
    deb=build/bundle/deb
    mkdir -p $deb/opt $deb/usr/bin $deb/usr/share/applications $deb/usr/share/doc/llavao1-edge \
        $deb/usr/share/icons/hicolor/scalable/apps $deb/DEBIAN
    cp -a $made $deb/opt/llavao1-edge
    ln -s /opt/llavao1-edge/llavao1-edge $deb/usr/bin/llavao1-edge
    cp $resources/llavao1-edge.desktop $deb/usr/share/applications/
    cp $resources/llavao1-edge.svg $deb/usr/share/icons/hicolor/scalable/apps/
    cp $made/licences/README.md $deb/usr/share/doc/llavao1-edge/copyright
    cat >$deb/DEBIAN/control <<CONTROL
Package: llavao1-edge
Version: $version
Architecture: $architecture
Maintainer: the llavao1-edge developers <llavao1-edge@localhost>
Installed-Size: $(du -sk $deb/opt | cut -f1)
Depends: libc6 (>= $(ldd --version | head -n 1 | grep -oE '[0-9.]+$')), $(python3 -I llavao1_edge/system.py --packages window | sed 's/ /, /g')
Recommends: libvulkan1, mesa-vulkan-drivers
Section: graphics
Priority: optional
Description: ask questions about pictures, on this computer
 LLaVA-o1 (LLaVA-CoT) as a desktop app and on the command line: it reasons in four stages and
 searches among candidates, offline. A small demo model is inside.
CONTROL
    dpkg-deb --root-owner-group -Zxz --build $deb dist/llavao1-edge_"$version"_"$architecture".deb >/dev/null
fi
ls -lh dist/llavao1-edge*"$version"*
