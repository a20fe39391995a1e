#!/bin/sh
# Puts this folder's program into the menus of the user who runs it; --remove takes it out again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=${XDG_DATA_HOME:-$HOME/.local/share}
entry=$data/applications/llavao1-edge.desktop
icon=$data/icons/hicolor/scalable/apps/llavao1-edge.svg
link=$HOME/.local/bin/llavao1-edge
if [ "${1:-}" = --remove ]; then
    rm -f "$entry" "$icon"
    case $(readlink "$link" 2>/dev/null || true) in "$here"/*) rm -f "$link" ;; esac
    echo "removed from the menus; this folder may be deleted"
    exit 0
fi
mkdir -p "$(dirname "$entry")" "$(dirname "$icon")" "$(dirname "$link")"
# In a desktop entry a quoted word escapes four characters with a backslash, itself written twice.
quoted=$(printf '%s' "$here/llavao1-edge" | sed 's/\\/\\\\\\\\/g; s/["`$]/\\\\&/g; s/%/%%/g')
while IFS= read -r line; do
    case $line in
    Exec=*) printf 'Exec="%s" gui %%F\n' "$quoted" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$here/llavao1-edge.desktop" >"$entry"
cp "$here/llavao1-edge.svg" "$icon"
case $(readlink "$link" 2>/dev/null || echo none) in
none | "$here"/*) [ -e "$link" ] && [ ! -L "$link" ] || ln -sf "$here/llavao1-edge" "$link" ;;
*) echo "$link belongs to another installation and is left as it is" ;;
esac
command -v update-desktop-database >/dev/null && update-desktop-database "$(dirname "$entry")" || true
echo "llavao1-edge is in the menus, and in $link"
