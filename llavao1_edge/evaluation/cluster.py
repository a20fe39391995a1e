"""Answers the questions of a run on a Ray cluster: an engine in each worker, rows as they come.

The file of rows is the checkpoint: what is known is not asked again, and a worker or a node that is
lost has its questions answered by another one. Ray Data does all the rest.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from llavao1_edge.errors import LlavaError, PictureError, UsageError
from llavao1_edge.evaluation.asking import answer
from llavao1_edge.evaluation.items import Item
from llavao1_edge.evaluation.plan import Asked, Pair, Plan, Served, Variant, known_row
from llavao1_edge.evaluation.rows import Row
from llavao1_edge.lifetime import Closing

LOCAL = "local"
BLOCK = 4  # questions that one task answers, and that are answered again if its node is lost
SPARE_CPUS = 1  # for what Ray itself does: a pool that takes all starves it
QUIET = ("ray", "ray.data", "ray.data._internal")


def _with_picture(item: Item) -> Item:
    """Other computers of a cluster need not have the data set whose row holds the picture."""
    if not callable(item.picture):
        return item
    with suppress(PictureError):  # its row will say so
        return replace(item, picture=item.picture_bytes())
    return item


class ClusterAnswerers(Closing):
    """Like `runs.Answerers`, on many machines. Rows come in the order in which they are done."""

    def __init__(self, plan: Plan, pair: Pair | Served, identity: str, address: str) -> None:
        """address: of the cluster, or `local`. Raises UsageError, LlavaError."""
        self._plan, self._pair, self._identity = plan, pair, identity
        try:
            import ray
            import ray.data
        except ImportError:
            raise UsageError(
                "--ray needs the package ray", hint="pip install 'llavao1-edge[ray]'"
            ) from None
        self._ray = ray
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            ray.init(
                address=None if address == LOCAL else address,
                ignore_reinit_error=True,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"there is no Ray cluster at {address!r} ({str(error).splitlines()[0]})",
                hint="Give the address that `ray start --head` printed, or local.",
            ) from None
        ray.data.DataContext.get_current().enable_progress_bars = False

    def close(self) -> None:
        with suppress(Exception):
            self._ray.shutdown()

    @property
    def n_workers(self) -> int:
        """As many as the cluster has room for."""
        free = self._ray.cluster_resources().get("CPU", 1) - SPARE_CPUS
        return max(1, int(free // self._cpus))

    @property
    def _cpus(self) -> int:
        return 1 if isinstance(self._pair, Served) else self._plan.runtime.threads or 1

    def rows(
        self, todo: Iterable[tuple[Item, Variant]], known: Mapping[str, Row]
    ) -> Iterator[Asked]:
        """Those that are known come first. Raises LlavaError where no worker can open the model."""
        asked: list[dict[str, Any]] = []
        for item, variant in todo:
            identity, row = known_row(item, variant, self._identity, self._plan, known)
            if row is not None:
                yield variant, identity, row, 0.0
            else:
                asked.append({"id": identity, "item": _with_picture(item), "variant": variant})
        if not asked:
            return
        data = self._ray.data.from_items(asked, override_num_blocks=-(-len(asked) // BLOCK))
        answered = data.map(
            Worker,
            fn_constructor_args=(self._plan, self._pair),
            concurrency=min(self.n_workers, len(asked)),
            num_cpus=self._cpus,
        )
        variants = {variant.name: variant for variant in self._plan.cells}
        try:
            for told in answered.iter_rows():
                if told["problem"]:
                    raise LlavaError(
                        told["problem"], hint="It was said by a worker of the cluster."
                    )
                made: Row = json.loads(told["row"])
                yield variants[made["cell"]], told["id"], made, told["seconds"]
        except self._ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise LlavaError(
                f"the cluster failed: {last}", hint="The same command goes on where it stopped."
            ) from None


class Worker:
    """Runs in a process of the cluster, which has the product and the model's files."""

    def __init__(self, plan: Plan, pair: Pair | Served) -> None:
        self._plan, self._pair = plan, pair
        self._engine, self._problem = None, ""
        try:
            self._engine = pair.open(plan, lambda: False)
        except LlavaError as error:
            self._problem = str(error)  # an exception here would be tried again without an end

    def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        started = time.monotonic()
        row = None
        if self._engine is not None:
            item, variant = asked["item"], asked["variant"]
            row = answer(self._engine, self._plan, self._pair, variant, item, lambda: False)
        seconds = time.monotonic() - started
        told = json.dumps(row, ensure_ascii=False)
        return {"id": asked["id"], "row": told, "seconds": seconds, "problem": self._problem}
