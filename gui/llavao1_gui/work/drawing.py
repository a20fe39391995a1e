"""`python -m llavao1_gui.work.drawing`: draws formulas, a line in (JSON), a line out (JSON).

A process of its own, because a formula of a few letters can keep its parser busy for a minute, and
nothing ends a thread. It loads no Qt and no model.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading


def draw(tex: str, size: float, colour: str) -> str:
    """An SVG; empty where it cannot be drawn: the source is shown then."""
    try:
        import ziamath

        drawn: str = ziamath.Latex(tex, size=size, color=colour).svg()
    except (Exception, RecursionError):  # a parser of foreign text raises anything
        return ""
    return drawn


def main() -> None:
    """Until its input ends; then at once, whatever is being drawn."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library's own words must not come between
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        tex, size, colour = json.loads(lines.get())
        out.write(json.dumps(draw(tex, size, colour)) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
