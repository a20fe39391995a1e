#!/usr/bin/env bash
# Proves a bundle on a machine without Python and compiler, and on an older processor:
#   packaging/bundle/smoke.sh [dist/….tar.xz | dist/….deb] [ROOT]
# ROOT: where the bare Debian root is made; default: a temporary folder, removed afterwards.
# Needs root, debootstrap, Xvfb, xdotool; qemu-user-static for the older processor.
set -euo pipefail
cd "$(dirname "$0")/../.."
file=${1:-$(ls -t dist/llavao1-edge-*-linux-*.tar.xz | head -n 1)}
root=${2:-}
if [ -z "${SMOKE_UNSHARED:-}" ]; then
    made=""
    if [ -z "$root" ]; then root=$(mktemp -d -p /var/tmp bundle-root.XXXXXX); made=$root; fi
    trap '[ -z "$made" ] || rm -rf --one-file-system "$made"' EXIT
    SMOKE_UNSHARED=1 unshare --mount --propagation private "$0" "$file" "$root"
    exit
fi
say() { printf '[bundle] %4d s  %s\n' "$SECONDS" "$*"; }
mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
if [ ! -e "$root/etc/debian_version" ]; then
    debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >/dev/null
    say "a bare Debian 12"
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
inside apt-get update -qq
case $file in
*.deb)
    cp "$file" "$root/tmp/llavao1-edge.deb"
    inside apt-get install -y -qq --no-install-recommends /tmp/llavao1-edge.deb >/dev/null 2>&1
    program=/usr/bin/llavao1-edge
    say "apt-get install $(basename "$file")"
    grep -q 'Exec=llavao1-edge gui %F' "$root/usr/share/applications/llavao1-edge.desktop"
    ;;
*)
    # shellcheck disable=SC2046
    inside apt-get install -y -qq --no-install-recommends $(python3 -I llavao1_edge/system.py --packages window) >/dev/null 2>&1
    mkdir -p "$root/opt/with a space"
    tar -C "$root/opt/with a space" --strip-components 1 -xf "$file"
    program="/opt/with a space/llavao1-edge"
    inside "/opt/with a space/install.sh"
    grep -q "Exec=\"/opt/with a space/llavao1-edge\" gui %F" "$root/root/.local/share/applications/llavao1-edge.desktop"
    say "unpacked, and in the menus"
    ;;
esac
! inside sh -c 'command -v python3 || command -v cc' || { echo "error: not a bare root" >&2; exit 1; }

question=$(python3 packaging/sample.py question)
answer=$(python3 packaging/sample.py answer)
cp "$(python3 packaging/sample.py picture)" "$root/root/a picture.png"
ask() { inside "$@" ask "/root/a picture.png" "$question" --temperature 0; }
[ "$(ask "$program")" = "$answer" ] || { echo "error: a wrong answer" >&2; exit 1; }
printf '{"type": "integer", "minimum": 3, "maximum": 7}' >"$root/root/schema.json"
said=$(inside "$program" ask "/root/a picture.png" "How many?" --temperature 0 --json-schema /root/schema.json)
[ "$said" -ge 3 ] && [ "$said" -le 7 ] || { echo "error: '$said' is not of the schema" >&2; exit 1; }
say "ask answers, also in a form"
inside "$program" doctor | tail -n 3
inside "$program" devices
WINDOW_HISTORY=$root/root/.local/share/llavao1-edge/history.sqlite \
    packaging/window_opens.sh chroot "$root" env -i PATH=/usr/bin:/bin HOME=/root LANG=C.UTF-8 DISPLAY=: \
    "$program" gui "/root/a picture.png"
say "the window opens with a picture given, as a file manager does, and answers"

if command -v qemu-x86_64-static >/dev/null && [ "$(uname -m)" = x86_64 ]; then
    cp "$(command -v qemu-x86_64-static)" "$root/qemu"
    # PyInstaller's program starts itself once more, and Python may start others: both would run on
    # the real processor. So it is told that it has been started, and that everything is on the CPU.
    real=$(inside readlink -f "$program")
    started=("_PYI_ARCHIVE_FILE=$real" _PYI_PARENT_PROCESS_LEVEL=-1
        "LD_LIBRARY_PATH=$(dirname "$real")/_internal" LLAVAO1_LOG=debug)
    for processor in Haswell Nehalem; do
        said=$(inside "${started[@]}" /qemu -cpu $processor "$real" ask "/root/a picture.png" \
            "$question" --temperature 0 --device cpu 2>"$root/log") ||
            { tail -n 5 "$root/log" >&2; echo "error: it fails on $processor" >&2; exit 1; }
        [ "$said" = "$answer" ] || { echo "error: $processor answers '$said'" >&2; exit 1; }
        say "ask answers on an emulated $processor, with $(grep -oE 'libggml-cpu-[a-z0-9]+' "$root/log" | tail -n 1)"
    done
fi
