#!/usr/bin/env bash
# Proves the README on a machine that has nothing: a Debian root with exactly the README's apt lines.
#   packaging/bare_root.sh SUITE [--tests "PATH…"] [--wheels FOLDER] [--in FOLDER] [--ask-only]
# SUITE: bookworm or trixie. --tests: what `make test` runs there (default: all). --wheels: wheels
# that need not be compiled again. --in: where the root is made (default: a temporary folder, removed
# afterwards). --ask-only: without the apt line of the window; its tests must then skip.
# Exit code 3: a root cannot be made here (not root, no debootstrap, no mirror).
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD

suite=${1:?SUITE is missing: bookworm or trixie}
shift
tests="" wheels="" root="" purposes="ask window"
while [ $# -gt 0 ]; do
    case $1 in
    --tests) tests=$2; shift 2 ;;
    --wheels) wheels=$(realpath "$2"); shift 2 ;;
    --in) root=$2; shift 2 ;;
    --ask-only) purposes="ask"; shift ;;
    *) echo "error: unknown option $1" >&2; exit 2 ;;
    esac
done

say() { printf '[%s] %4d s  %s\n' "$suite" "$SECONDS" "$*"; }
cannot() { echo "no bare root: $*" >&2; exit 3; }

[ "$(id -u)" = 0 ] || cannot "only root can make one"
command -v debootstrap >/dev/null || cannot "debootstrap is not installed"
# Mounts live in a name space of their own and are gone with it, whatever happens here.
if [ -z "${BARE_ROOT_UNSHARED:-}" ]; then
    unshare --mount true 2>/dev/null || cannot "mount name spaces are not allowed here"
    made=""
    if [ -z "$root" ]; then
        root=$(mktemp -d -p "${TMPDIR:-/var/tmp}" bare-root.XXXXXX)
        made=$root
    fi
    # The mounts are gone once unshare has returned, so that removing the folder is safe.
    trap '[ -z "$made" ] || rm -rf --one-file-system "$made"' EXIT
    options=(--in "$root")
    [ -z "$tests" ] || options+=(--tests "$tests")
    [ -z "$wheels" ] || options+=(--wheels "$wheels")
    [ "$purposes" = ask ] && options+=(--ask-only)
    BARE_ROOT_UNSHARED=1 unshare --mount --propagation private "$0" "$suite" "${options[@]}"
    exit
fi

# The mirror of the machine's own apt sources.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
log=$(mktemp)
if [ ! -e "$root/etc/debian_version" ]; then
    debootstrap --variant=minbase "$suite" "$root" "${mirror:-http://deb.debian.org/debian}" >"$log" 2>&1 ||
        { tail -n 5 "$log" >&2; cannot "debootstrap failed"; }
    say "debootstrap"
fi
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" || cannot "mounts are not allowed here"

# Nothing of this machine's environment, but the package index it uses: that is where pip finds things.
settings=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1)
if [ -n "${PIP_CERT:-}" ]; then
    cp "$PIP_CERT" "$root/root/certificates.crt"
    settings+=(PIP_CERT=/root/certificates.crt)
fi
index=$(python3 -m pip config get global.index-url 2>/dev/null || true)
[ -z "${PIP_INDEX_URL:-$index}" ] || settings+=("PIP_INDEX_URL=${PIP_INDEX_URL:-$index}")
[ -z "${PIP_DEFAULT_TIMEOUT:-}" ] || settings+=("PIP_DEFAULT_TIMEOUT=$PIP_DEFAULT_TIMEOUT")
if [ -n "$wheels" ]; then
    mkdir -p "$root/wheels"
    cp "$wheels"/*.whl "$root/wheels/"
    settings+=(PIP_FIND_LINKS=/wheels)
fi
inside() { chroot "$root" env -i "${settings[@]}" "$@"; }

# shellcheck disable=SC2046,SC2086
inside sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends $(python3 -I llavao1_edge/system.py --packages $purposes)" >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; exit 1; }
say "apt-get install, the README's lines ($purposes)"

rm -rf "$root/src" && mkdir -p "$root/src"
git ls-files -z | tar --null -C "$source" -cf - -T - | tar -C "$root/src" -xf -
inside make -C /src demo
say "make demo"
if [ "$purposes" != ask ]; then
    packaging/window_opens.sh inside_root "$root" "${settings[@]}"
    say "make gui, under Xvfb"
fi
inside make -C /src test ${tests:+TESTS="$tests"}
say "make test ${tests:-(all)}"
