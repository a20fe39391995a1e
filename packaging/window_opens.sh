#!/usr/bin/env bash
# Waits until the window is on a display of its own (Xvfb), then closes it. Exit code 0: it opened.
#   packaging/window_opens.sh COMMAND [ARGUMENT…]                 a program on this machine
#   packaging/window_opens.sh inside_root ROOT [NAME=VALUE…]      `make gui` in a bare root
# WINDOW_HISTORY=FILE: it is also asked a question, and its history must hold the answer.
# An argument "DISPLAY=:" gets the display's number, for commands that clear the environment.
# The display is this machine's: a bare root has none, and reaches it through its socket.
set -euo pipefail
for tool in Xvfb xdotool; do
    command -v $tool >/dev/null || { echo "skipped: $tool is not installed" >&2; exit 0; }
done

exec {pipe}<> <(:)
Xvfb -displayfd "$pipe" -screen 0 1280x800x24 -nolisten tcp 2>/dev/null &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
read -r -t 20 number <&"$pipe"
export DISPLAY=":$number"

# A placeholder stands where a command clears its environment.
arguments=()
for word in "$@"; do
    [ "$word" = DISPLAY=: ] && word="DISPLAY=$DISPLAY"
    arguments+=("$word")
done
set -- "${arguments[@]}"
if [ "$1" = inside_root ]; then
    root=$2
    shift 2
    mkdir -p "$root/tmp/.X11-unix"
    mount --bind /tmp/.X11-unix "$root/tmp/.X11-unix" 2>/dev/null || true
    set -- chroot "$root" env -i "$@" "DISPLAY=$DISPLAY" make -C /src gui
fi
# Types a question as a person would, and waits until an answer is in the history.
ask_and_wait() {
    sleep 3 # the picture that was given is opened, and the question has the focus
    xdotool type --delay 20 "$(python3 "$(dirname "$0")/sample.py" question)"
    xdotool key Return
    for _ in $(seq 300); do
        found=$(python3 -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("select conclusion from exchanges").fetchone()[0])' \
            "$WINDOW_HISTORY" 2>/dev/null || true)
        [ -z "$found" ] || { echo "the window answered $found"; return 0; }
        sleep 0.2
    done
    return 1
}

"$@" &
program=$!
for _ in $(seq 300); do
    if xdotool search --onlyvisible --name 'llavao1-edge' >/dev/null 2>&1; then
        echo "the window opened"
        if [ -n "${WINDOW_HISTORY:-}" ]; then
            ask_and_wait || { echo "error: the window does not answer" >&2; kill $program; exit 1; }
        fi
        pkill -TERM -P $program 2>/dev/null || true
        kill $program 2>/dev/null || true
        wait $program 2>/dev/null || true
        exit 0
    fi
    kill -0 $program 2>/dev/null || { echo "error: the program ended without a window" >&2; exit 1; }
    sleep 0.2
done
echo "error: no window within a minute" >&2
kill $program
exit 1
