"""Keeps the engine's process alive, and the queue in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import math
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any

from llavao1_edge.errors import BackendError, LlavaError
from llavao1_edge.program import command, import_path
from llavao1_edge.serve import wire
from llavao1_edge.serve.metrics import Metrics
from llavao1_edge.serve.problem import Failure, Problem

LOGGER = logging.getLogger(__name__)
MODULE = "llavao1_edge.serve.worker"
LOADING_S = 900.0  # a model that takes longer to open does not open
TICK_S = 0.25  # between looks at whether an answer takes too long
OPENINGS = 3
GRACE_S = 15.0  # until an engine that does not stop is ended
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # between tries to open a model that does not open
REMEMBERED = 20  # answers whose times tell how long the next will take


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Job:
    """One question on its way. `replies` yields messages, the last is `Done` or `Failed`.

    ended: the last one was sent; over: the engine has nothing more to do with it; suspect: it was
    in work when the engine died, and is tried once more, alone.
    """

    def __init__(self, ask: wire.Ask, process: EngineProcess) -> None:
        self.ask, self._process = ask, process
        self.replies: asyncio.Queue[wire.Message] = asyncio.Queue()
        self.over = asyncio.Event()
        self.stopped = self.ended = self.told = self.suspect = self.sent = False
        self.n_chosen = 0
        self.deadline = math.inf

    def stop(self) -> None:
        """Nobody waits for it any more. May be called several times."""
        if not self.stopped and not self.ended:
            self.stopped = True
            self._process.stop(self)


class EngineProcess:
    """Owns the process. Use it inside one event loop: `start`, `submit`, `close`.

    arguments: for `worker.open_engine`; parallel: answers written at once; most_waiting: questions
    in the queue; timeout: seconds that an answer may take once it has begun.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        *,
        most_waiting: int,
        timeout: float,
        metrics: Metrics,
        parallel: int = 1,
    ) -> None:
        self._arguments = {**arguments, "parallel": parallel}
        self._parallel, self._most, self._timeout = parallel, most_waiting, timeout
        self.metrics = metrics
        self.about: Mapping[str, Any] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._running: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._pause = FIRST_PAUSE_S
        self._try_after = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._door = asyncio.Lock()  # one opens it, the others wait
        self._opening = self._closing = self.is_alive = False

    # --- life ---------------------------------------------------------------------------------
    async def start(self) -> None:
        """Opens the model. Raises LlavaError where that fails."""
        await self._open()
        self._begin(self._work())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends answers that are being written, and the process."""
        self._closing = True
        for job in [*self._waiting, *self._running.values()]:
            self._end(job, Failure.STOPPED, "the server is shutting down")
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.is_alive = False
        await self._give_up(self._process, after=GRACE_S)

    @property
    def state(self) -> str:
        """`ok`, or why nothing is answered now."""
        if self._closing:
            return "shutting_down"
        return "loading" if self._opening else "ok" if self.is_alive else "engine_died"

    @property
    def pid(self) -> int:
        """0 where no process runs."""
        return self._process.pid if self._process is not None and self.is_alive else 0

    async def _open(self) -> None:
        self._opening = True
        try:
            await self._start()
        finally:
            self._opening = False

    async def _start(self) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": import_path(),
            "PYTHONSAFEPATH": "1",
        }
        process = self._process = await asyncio.create_subprocess_exec(
            *command(MODULE, json.dumps(self._arguments)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            limit=wire.MOST_LINE,
            # Ctrl-C in the terminal is the server's to answer, also while the worker starts.
            preexec_fn=None if os.name == "nt" else _ignore_interrupt,
        )
        first: asyncio.Future[wire.Message | None] = asyncio.get_running_loop().create_future()
        self._begin(self._listen(process, first))
        try:
            said = await asyncio.wait_for(asyncio.shield(first), LOADING_S)
        except TimeoutError:
            said = None
        if isinstance(said, wire.Ready):
            self.about, self._pause = said.about, FIRST_PAUSE_S
            return
        await self._give_up(process, after=1.0)
        if isinstance(said, wire.Broken):
            error = LlavaError(said.message, hint=said.hint)
            error.exit_code = said.exit_code
            raise error
        raise BackendError(
            f"the engine ended while it opened the model (exit code {process.returncode})",
            hint="LLAVAO1_LOG=debug shows what llama.cpp says.",
        )

    async def _listen(
        self, process: asyncio.subprocess.Process, first: asyncio.Future[wire.Message | None]
    ) -> None:
        """Hands messages to those who wait for them: the first one to whoever opens the model."""
        assert process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # an endless line; a broken pipe
            while line := await process.stdout.readline():
                message = wire.decode(line, [])
                if first.done():
                    self._hear(message)
                else:
                    self.is_alive = isinstance(message, wire.Ready)
                    first.set_result(message)
        if not first.done():
            first.set_result(None)
        elif self.is_alive:
            self._died()
        await self._give_up(process, after=1.0)

    def _hear(self, message: wire.Message) -> None:
        job = self._running.get(getattr(message, "number", 0))
        if job is None:
            return
        ended = isinstance(message, wire.Done | wire.Failed)
        if not job.ended:
            job.ended, job.told = ended, True
            job.n_chosen += isinstance(message, wire.Chosen)
            job.replies.put_nowait(message)
        if ended:
            job.over.set()

    def _died(self) -> None:
        """Of several answers any may have been the cause: those that nothing is known of yet are
        written again, one by one."""
        self.is_alive = False
        self.metrics.deaths.inc()
        LOGGER.warning("the engine died; it is opened again with the next question")
        asked = [job for job in self._running.values() if job.sent]
        alone = len(asked) == 1
        for job in reversed(asked):
            if job.n_chosen == job.ask.n and not job.ended:  # only its last word is missing
                self._hear(wire.Done(job.ask.number))
            elif alone or job.told or job.stopped or job.suspect:
                self._end(job, Failure.DIED, "the engine died while it answered: ask again")
            else:
                job.suspect, job.sent = True, False
                self._waiting.appendleft(job)
                self.metrics.waiting.set(len(self._waiting))
            job.over.set()

    @staticmethod
    async def _give_up(process: asyncio.subprocess.Process | None, *, after: float) -> None:
        """Ends the process: by closing its input, then by force."""
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), after)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    # --- the queue ----------------------------------------------------------------------------
    def submit(self, fields: Mapping[str, Any], pictures: tuple[bytes, ...]) -> Job:
        """Raises Problem where the queue is full, or the server is about to end."""
        if self._closing:
            raise Problem(503, "the server is shutting down", Failure.STOPPED)
        # Those that are answered, or will be as soon as this loop turns, do not wait.
        if len(self._waiting) + len(self._running) >= self._most + self._parallel:
            self.metrics.refused.inc()
            raise Problem(
                429,
                f"{len(self._waiting)} questions wait already: try again later",
                code="queue_full",
                headers={"Retry-After": str(self.expected_wait_s)},
            )
        job = Job(wire.Ask(next(self._numbers), pictures, **fields), self)
        self._waiting.append(job)
        self.metrics.waiting.set(len(self._waiting))
        self._wake.set()
        return job

    @property
    def expected_wait_s(self) -> int:
        """Until a place in the queue is free, from the answers before."""
        mean = sum(self._seconds) / len(self._seconds) if self._seconds else 1.0
        return max(1, round(mean / self._parallel))

    def stop(self, job: Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
            self.metrics.waiting.set(len(self._waiting))
        elif job.ask.number in self._running:
            self._send(wire.Stop(job.ask.number))

    def _send(self, message: wire.Message) -> None:
        if self._process is not None and self._process.stdin is not None and self.is_alive:
            with contextlib.suppress(OSError, RuntimeError):  # it is going away; `_listen` tells
                self._process.stdin.write(wire.encode(message))

    async def _work(self) -> None:
        while True:
            while not self._may_go_on():
                self._wake.clear()
                await self._wake.wait()
            job = self._waiting.popleft()
            self._running[job.ask.number] = job
            self.metrics.waiting.set(len(self._waiting))
            self.metrics.running.set(len(self._running))
            self._begin(self._see_to(job))

    def _may_go_on(self) -> bool:
        if not self._waiting:
            return False
        if self._waiting[0].suspect or any(job.suspect for job in self._running.values()):
            return not self._running
        return len(self._running) < self._parallel

    async def _see_to(self, job: Job) -> None:
        started = time.monotonic()
        try:
            await self._answer(job)
        finally:
            del self._running[job.ask.number]
            self.metrics.running.set(len(self._running))
            self._wake.set()
        if not job.stopped:
            self._seconds.append(time.monotonic() - started)

    async def _answer(self, job: Job) -> None:
        async with self._door:
            job.over.clear()
            for _ in range(OPENINGS):  # it may die as soon as it is open
                if not self.is_alive and not await self._reopen(job):
                    return
                if self.is_alive:
                    break
            else:
                self._end(job, Failure.DIED, "the engine dies as soon as it is open")
                return
            if job.stopped:  # while the engine was opened: it would not hear of it
                return
            job.sent = True
            self._send(job.ask)
            process = self._process
        job.deadline = time.monotonic() + self._timeout
        ends_by: float | None = None  # once it was told to stop
        while not job.over.is_set():
            now = time.monotonic()
            if ends_by is not None and now > ends_by and self._computes_for_another(job, now):
                ends_by = now + GRACE_S
            elif ends_by is not None and now > ends_by:
                LOGGER.warning("the engine does not stop: it is ended")
                await self._give_up(process, after=0.0)
            elif ends_by is None and (job.stopped or now > job.deadline):
                if not job.stopped:
                    said = f"the answer took longer than {self._timeout:g} s"
                    self._end(job, Failure.TIMEOUT, said)
                    self._send(wire.Stop(job.ask.number))
                ends_by = now + GRACE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.over.wait(), TICK_S)

    def _computes_for_another(self, job: Job, now: float) -> bool:
        """An answer cannot stop while another one's picture is read."""
        others = [other for other in self._running.values() if other is not job and other.sent]
        return any(not other.stopped and now <= other.deadline for other in others)

    async def _reopen(self, job: Job) -> bool:
        """False: it cannot be opened, and the job has its failure."""
        pause = self._try_after - time.monotonic()
        if pause > 0:
            self._end(job, Failure.ENGINE, f"the model does not open; next try in {pause:.0f} s")
            return False
        try:
            await self._open()
        except (LlavaError, OSError) as error:
            self._try_after = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            LOGGER.warning("the model does not open: %s", error)
            self._end(job, Failure.ENGINE, f"the model does not open: {error}")
            return False
        return True

    @staticmethod
    def _end(job: Job, failure: Failure, message: str) -> None:
        if not job.ended:
            job.ended = True
            job.replies.put_nowait(wire.Failed(job.ask.number, failure, message))
