#!/usr/bin/env bash
# The device tests on Vulkan without a GPU: Mesa's software driver (llvmpipe) in a Debian 13 root.
# Debian 12's Mesa is too old. The root and Mesa's cache of shaders are kept in build/trixie.
set -euo pipefail
cd "$(dirname "$0")/.."
root=build/trixie
.venv/bin/python packaging/plugins/build.py vulkan
packaging/bare_root.sh trixie --wheels build/wheels --in $root --tests tests/packaging || exit
mkdir -p $root/src/build/plugins
cp build/plugins/libggml-vulkan.so $root/src/build/plugins/
exec unshare --mount --propagation private bash -c '
    mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev"
    inside() { chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 GGML_VK_VISIBLE_DEVICES=0 MESA_SHADER_CACHE_DIR=/root/.cache "$@"; }
    inside env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1 >/dev/null
    inside make -C /src test TESTS="tests/devices -k vulkan"' $root
