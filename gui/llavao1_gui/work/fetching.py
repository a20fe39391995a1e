"""Model work in a process of its own: fetching from the hub, converting, taking in.

    python -m llavao1_gui.work.fetching pull owner/name[@revision] [QUANT]
    python -m llavao1_gui.work.fetching convert SOURCE [QUANT]
    python -m llavao1_gui.work.fetching import TEXT.gguf
    python -m llavao1_gui.work.fetching describe NAME

Stopped or killed, the same work goes on where it was.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from llavao1_edge.errors import Cancelled, LlavaError
from llavao1_gui.state import messages as m
from llavao1_gui.work.channel import Channel

if TYPE_CHECKING:
    from llavao1_convert.taking import Imported

EVERY_S = 0.1
NUMBER = 0  # a process does one piece of work


class Report:
    """Progress, ten times a second at most."""

    def __init__(self, channel: Channel) -> None:
        self.channel, self._last = channel, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S or done == total:
            self._last = now
            self.channel.send(m.Progress(done, total, what))

    def stop(self) -> bool:
        return self.channel.is_stopped(NUMBER)


def pull(repo: str, quant: str | None, report: Report) -> m.Done:
    """A ready pair is fetched; a checkpoint is converted."""
    from llavao1_convert import taking
    from llavao1_edge.engine.machine import room_for_a_model
    from llavao1_edge.store.catalogue import Store

    wish = taking.PullOptions(repo, quant, memory=room_for_a_model())
    return _done(taking.pull(Store(), wish, report=report, stop=report.stop))


def convert(source: str, quant: str | None, report: Report) -> m.Done:
    """A checkpoint's folder or an old file becomes a model of the store."""
    from llavao1_convert import taking
    from llavao1_edge.store.catalogue import Store

    wish = taking.PullOptions(source, quant)
    return _done(taking.convert(Store(), wish, report=report, stop=report.stop))


def _done(taken: Imported) -> m.Done:
    return m.Done(taken.entry.name, taken.notes)


def take(text: str, _: str | None, report: Report) -> m.Done:
    """A pair of files is copied into the store."""
    from llavao1_edge.locate import model_paths
    from llavao1_edge.store.catalogue import Store

    paths = model_paths(str(Path(text).resolve()))
    total = sum(path.stat().st_size for path in paths)
    entry = Store().add(
        *paths,
        source=str(paths[0]),
        stop=report.stop,
        report=lambda done: report(paths[0].name, done, total),
    )
    return m.Done(entry.name)


def describe(name: str, _: str | None, __: Report) -> m.Described:
    """What a model is and needs here; nothing is loaded."""
    from llavao1_edge.devices import choose, machine_devices
    from llavao1_edge.engine.machine import read_machine
    from llavao1_edge.engine.memory import describe as read
    from llavao1_edge.locate import model_paths
    from llavao1_edge.settings import RuntimeSettings

    found = read(*model_paths(name))
    devices = machine_devices()
    machine = read_machine(choose(devices, RuntimeSettings()))
    keys = ("architecture", "weights", "quantisation", "sizes")
    gpus = [device.description for device in devices if device.is_gpu]
    lines = [found[key] for key in keys] + ([f"GPU: {', '.join(gpus)}"] if gpus else ["CPU"])
    needed = int(found["memory"][0]["gb"] * 1e9)
    return m.Described(name, tuple(lines), needed, machine.free)


def foresee(_: str, __: str | None, ___: Report) -> m.Foreseen:
    """What the real model will take and do here; measures the machine for two seconds."""
    from llavao1_edge.bench.foresight import foresee as measure
    from llavao1_edge.devices import choose, machine_devices
    from llavao1_edge.engine.machine import read_machine
    from llavao1_edge.settings import RuntimeSettings
    from llavao1_edge.store.catalogue import Store

    machine = read_machine(choose(machine_devices(), RuntimeSettings()))
    return m.Foreseen(**asdict(measure(Store().root, machine.free)))


WORK: dict[str, Callable[[str, str | None, Report], m.Message]] = {
    "pull": pull,
    "convert": convert,
    "import": take,
    "describe": describe,
    "foresee": foresee,
}


def main() -> None:
    kind, source, *rest = sys.argv[1:]
    channel = Channel()
    report = Report(channel)
    try:
        channel.send(WORK[kind](source, rest[0] if rest else None, report))
    except Cancelled as error:
        channel.send(m.Failed(NUMBER, error.message, stopped=True))
    except LlavaError as error:
        channel.send(m.Failed(NUMBER, error.message, error.hint))
    except Exception as error:
        channel.send(m.Failed(NUMBER, m.unexpected(error)))
    threading.Timer(1.0, os._exit, (0,)).start()  # a thread of a library must not hold us


if __name__ == "__main__":
    main()
