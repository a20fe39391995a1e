"""Everything that is measured on a device beside the CPU, in a process that a device may end.

python -m tests.devices.probe --device RPC0 [--rpc HOST:PORT]        prints one JSON object
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge import (
    Answered,
    BestOfN,
    Engine,
    RuntimeSettings,
    SamplingSettings,
    SentenceBeam,
    StageBeam,
    Token,
    demo,
)
from llavao1_edge.errors import OutOfMemory
from llavao1_edge.images import open_picture
from llavao1_edge.mllama.injection import Injection
from llavao1_edge.mllama.weights import Weights

GREEDY = SamplingSettings(temperature=0)
DRAWN = SamplingSettings(temperature=0.7)
CPU = RuntimeSettings(device="cpu")
SEARCHES = {
    "lock-step": StageBeam(candidates=4, scorer="logprob"),
    "judge": StageBeam(candidates=4, scorer="judge"),
    "best-of-n": BestOfN(candidates=4),
    "sentence-beam": SentenceBeam(candidates=2),
}


def difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest, relative to the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


class Prober:
    """Compares a device with the CPU on the demo model."""

    def __init__(self, device: str, rpc: str | None, splits: Sequence[int]) -> None:
        self.device, self.rpc, self.splits = device, rpc, splits
        self.samples = demo.samples()

    def settings(self, **more: Any) -> RuntimeSettings:
        given: dict[str, Any] = {"device": self.device, "rpc": self.rpc, **more}
        return RuntimeSettings(**{"mmproj_device": self.device.split(",")[0], **given})

    def texts(self, settings: RuntimeSettings) -> list[dict[str, str]]:
        with Engine.open("demo", settings=settings) as engine:
            return [
                dict(engine.session(each.picture).ask(each.question, sampling=GREEDY).stages)
                for each in self.samples
            ]

    def run(self) -> dict[str, Any]:
        report: dict[str, Any] = {"device": self.device}
        wanted = self.texts(CPU)
        report["texts"] = {
            str(layers): sum(
                a == b
                for a, b in zip(self.texts(self.settings(gpu_layers=layers)), wanted, strict=True)
            )
            for layers in self.splits
        }
        report["questions"] = len(wanted)
        report |= self.numbers()
        mixed = {
            "pictures on the CPU": self.settings(gpu_layers=999, mmproj_device="cpu"),
            "text on the CPU": self.settings(gpu_layers=0),
        }
        report["mixed"] = {
            name: sum(a == b for a, b in zip(self.texts(each), wanted, strict=True))
            for name, each in mixed.items()
        }
        report["searches"] = self.searches()
        report["cancel"] = self.cancel()
        report["out_of_memory"] = self.out_of_memory(wanted)
        return report

    def numbers(self) -> dict[str, Any]:
        """Keys and values of a picture, logits of a prompt, with F32 keys as well."""
        sample, found = self.samples[0], {}
        for cache in ("f16", "f32"):
            values = []
            for settings in (CPU, self.settings(gpu_layers=999)):
                given = RuntimeSettings(**{**vars(settings), "cache": cache})
                with Engine.open("demo", settings=given) as engine:
                    picture = open_picture(sample.picture)
                    states = engine.runtime.vision.states(picture)
                    kept = [read(tensor, cache) for tensor in (*states.keys, *states.values)]
                    logits = engine.prompt_logits(picture, sample.question)
                    values.append((kept, logits.logits))
                    used = engine.runtime.vision.encoder.backend.device.name
            found[cache] = {
                "device": used,
                "keys": max(difference(b, a) for a, b in zip(*(v[0] for v in values), strict=True)),
                "logits": difference(values[1][1], values[0][1]),
                "likeliest_differ": int(
                    (values[1][1].argmax(axis=1) != values[0][1].argmax(axis=1)).sum()
                ),
            }
        return found

    def searches(self) -> dict[str, bool]:
        """Whether every candidate's text and the answer are equal; the last one has to park."""
        found = {}
        for name, search in SEARCHES.items():
            found[name] = self._same(search, {})
        found["parking"] = self._same(StageBeam(candidates=8, scorer="logprob"), {"context": 512})
        return found

    def _same(self, search: Any, more: dict[str, Any]) -> bool:
        sample, texts = self.samples[0], []
        for settings in (
            RuntimeSettings(device="cpu", **more),
            self.settings(gpu_layers=999, **more),
        ):
            with Engine.open("demo", settings=settings, search=search) as engine:
                session = engine.session(sample.picture)
                answer = session.ask(sample.question, search=search, sampling=DRAWN, seed=3)
                texts.append(dict(answer.stages))
        return texts[0] == texts[1]

    def cancel(self) -> dict[str, int]:
        """Nodes that are still computed after the stop, with half of the layers on the device."""
        sample = self.samples[0]
        with counted() as after:
            with Engine.open("demo", settings=self.settings(gpu_layers=4)) as engine:
                seen = [0]

                def stop() -> bool:
                    return seen[0] >= 5

                stream = engine.session(sample.picture).stream(
                    sample.question, sampling=GREEDY, stop=stop
                )
                for event in stream:
                    seen[0] += isinstance(event, Token)
                    if isinstance(event, Answered):
                        cancelled = event.answer.cancelled
                again = engine.session(sample.picture).ask(sample.question, sampling=GREEDY)
        return {
            "cancelled": int(cancelled),
            "nodes_after": after[0],
            "right_afterwards": int(again.conclusion == sample.answer),
        }

    def out_of_memory(self, wanted: list[dict[str, str]]) -> dict[str, Any]:
        """No room for the vision weights on the device: pictures are read on the CPU."""
        upload = Weights._upload

        def full(*_: Any) -> Any:
            raise OutOfMemory("not enough memory for the vision weights")

        Weights._upload = full  # type: ignore[method-assign]
        try:
            with Engine.open("demo", settings=self.settings(gpu_layers=999)) as engine:
                sample = self.samples[0]
                answer = engine.session(sample.picture).ask(sample.question, sampling=GREEDY)
                read_on = engine.runtime.vision.encoder.backend.device.name
        finally:
            Weights._upload = upload  # type: ignore[method-assign]
        return {"read_on": read_on, "same": dict(answer.stages) == wanted[0]}


def read(tensor: Any, cache: str) -> NDArray[np.float32]:
    """The values of a tensor that may lie on a device."""
    from llavao1_edge.ggml import library as c

    kind = np.float32 if cache == "f32" else np.float16
    values = np.empty(tensor.shape[::-1], dtype=kind)
    c.ggml_backend_tensor_get(tensor.address, values.ctypes.data, 0, values.nbytes)
    return values.astype(np.float32)


@contextmanager
def counted() -> Any:
    """Counts the nodes that are computed after a stop was noticed."""
    after = [0]
    made: Callable[..., Any] = Injection._make_callback

    def counting(self: Injection) -> Any:
        called = made(self)

        def wrapper(address: int, ask: bool, data: object) -> bool:
            stopped = self._error is not None
            answer = bool(called(address, ask, data))
            after[0] += stopped and ask
            return answer

        return wrapper

    Injection._make_callback = counting  # type: ignore[method-assign]
    try:
        yield after
    finally:
        Injection._make_callback = made  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--rpc")
    parser.add_argument("--splits", default="1,4,8,9")
    options = parser.parse_args()
    splits = [int(text) for text in options.splits.split(",")]
    print(json.dumps(Prober(options.device, options.rpc, splits).run(), indent=1))


if __name__ == "__main__":
    main()
