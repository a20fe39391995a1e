"""The program of a bundle: the command line, the window, and the parts that they start."""

from __future__ import annotations

import runpy
import sys

from llavao1_edge.program import MODULE_FLAG

OURS = ("llavao1_edge.", "llavao1_gui.", "llavao1_convert.")


def main() -> int:
    if sys.argv[1:2] == [MODULE_FLAG]:
        module = sys.argv[2] if len(sys.argv) > 2 else ""
        if not module.startswith(OURS):
            print(f"error: {module!r} is no part of this program", file=sys.stderr)
            return 2
        sys.argv = [module, *sys.argv[3:]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return 0
    from llavao1_edge.start import main as run

    return run(sys.argv[1:] or ["gui"])  # a double click opens the window


if __name__ == "__main__":
    sys.exit(main())
