"""Where the command begins. Ctrl-C is answered by a word from the first moment on: while the
program is read in, which takes seconds on a slow disk, it would be a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

STOPPED = 130  # as `errors.Cancelled` has it, which is not read in yet


def main(given: Sequence[str] | None = None) -> int:
    """The exit code. given: the arguments, where they are not those of the process."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where somebody has it ignored
        signal.signal(signal.SIGINT, _stop)
    from llavao1_edge.cli.main import main as run

    signal.signal(signal.SIGINT, before)
    return run(given)


def _stop(*_: object) -> None:
    os.write(2, b"stopped\n")
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
