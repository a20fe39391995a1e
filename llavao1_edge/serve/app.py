"""The HTTP side: routes, bodies, and replies that end when their reader goes away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llavao1_edge import __version__
from llavao1_edge.serve import wire
from llavao1_edge.serve.guard import Guard, answer
from llavao1_edge.serve.pictures import Fetcher, Uploads, gather
from llavao1_edge.serve.problem import Failure, Problem, failed, too_large, written
from llavao1_edge.serve.process import EngineProcess, Job
from llavao1_edge.serve.reply import KEEP_ALIVE, Reply, event
from llavao1_edge.serve.request import ChatRequest, Defaults, chat_request

LOGGER = logging.getLogger(__name__)
BODY_S = 60.0  # a body must have come by then
FIRST_S = 5.0  # an error within this time still has its status; then the stream begins
ALIVE_S = 15.0  # between signs of life in a stream that says nothing
MOST_BODY = 64 << 20
GONE = 499  # the status, in the metrics, of requests whose client went away


@dataclass(frozen=True)
class Options:
    """What the operator decides. keys: none for everybody; origins: of web pages that may ask;
    names: what this server is called besides the names of this machine."""

    defaults: Defaults
    keys: Sequence[str] = ()
    allowed_urls: Sequence[str] = ()
    origins: Sequence[str] = ()
    names: Sequence[str] = ()
    most_body: int = MOST_BODY


@dataclass
class Server:
    """The routes of one engine."""

    engine: EngineProcess
    options: Options
    uploads: Uploads = field(default_factory=Uploads)
    started: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.fetcher = Fetcher(self.options.allowed_urls)

    def app(self) -> Starlette:
        middleware = [
            Middleware(
                Guard,
                keys=self.options.keys,
                most_body=self.options.most_body,
                names=self.options.names,
                origins=self.options.origins,
            ),
        ]
        if self.options.origins:
            middleware.insert(
                0,
                Middleware(
                    CORSMiddleware,
                    allow_origins=list(self.options.origins),
                    allow_methods=["GET", "POST", "DELETE"],
                    allow_headers=["*"],
                ),
            )
        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/metrics", self.metrics),
                Route("/v1/models", self.models),
                Route("/v1/models/{name}", self.model),
                Route("/v1/files", self.upload, methods=["POST"]),
                Route("/v1/files/{name}", self.remove, methods=["DELETE"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
            ],
            middleware=middleware,
            exception_handlers={Problem: _problem, HTTPException: _unknown, Exception: _bug},
        )

    # --- what there is ------------------------------------------------------------------------
    async def health(self, _: Request) -> Response:
        state = self.engine.state
        status = {"status": state, "version": __version__}
        return JSONResponse(status, 200 if state == "ok" else 503)

    async def metrics(self, _: Request) -> Response:
        return Response(self.engine.metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        names = self.options.defaults.models()
        return JSONResponse({"object": "list", "data": [self._model(name) for name in names]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.options.defaults.models():
            raise Problem(404, f"there is no model {name[:80]!r}", code="model_not_found")
        return JSONResponse(self._model(name))

    def _model(self, name: str) -> dict[str, Any]:
        about = self.engine.about
        return {
            "id": name,
            "object": "model",
            "created": self.started,
            "owned_by": "llavao1-edge",
            "max_model_len": about.get("context"),
        }

    # --- files --------------------------------------------------------------------------------
    async def upload(self, request: Request) -> Response:
        """A picture that several requests name. Kept in memory until others need the room."""
        body = await self._body(request)
        sent = Request(request.scope, _whole(body))
        try:
            async with sent.form(max_files=4, max_fields=16) as fields:
                file = fields.get("file")
                if file is None or isinstance(file, str):
                    raise Problem(400, "the form has no file", param="file")
                data, name = await file.read(), written(file.filename or "picture")
        except (HTTPException, ValueError) as error:
            raise Problem(400, f"the form cannot be read: {error}") from None
        made = self.uploads.add(data, name, int(time.time()))
        return JSONResponse(
            {
                "id": made.name,
                "object": "file",
                "bytes": len(made.data),
                "created_at": made.created,
                "filename": made.filename,
                "purpose": "vision",
            }
        )

    async def remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        self.uploads.remove(name)
        return JSONResponse({"id": name, "object": "file", "deleted": True})

    # --- answers ------------------------------------------------------------------------------
    async def chat(self, request: Request) -> Response:
        started = time.monotonic()
        metrics = self.engine.metrics
        try:
            response = await self._chat(request, started)
        except Problem as problem:
            metrics.requests.labels(problem.status).inc()
            raise
        except ClientDisconnect:
            metrics.requests.labels(GONE).inc()
            return Response(status_code=GONE)
        if not isinstance(response, EventStream):
            metrics.requests.labels(200).inc()
        return response

    async def _chat(self, request: Request, started: float) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # what a web page may send anywhere is refused
            raise Problem(415, "the content type must be application/json", code="content_type")
        body = await self._body(request)
        # In a thread: a large body, or a schema that is compiled, must not hold up the others.
        wanted = await asyncio.to_thread(self._read, body)
        most = self.options.most_body
        pictures = await gather(wanted.pictures, self.uploads, self.fetcher, most)
        job = self.engine.submit(wanted.ask(), pictures)
        reply = Reply(wanted)
        if not wanted.stream:
            return JSONResponse(reply.whole(await _unless_gone(request, self._all(job, started))))
        try:
            first = await _unless_gone(request, _first(job))
            if isinstance(first, wire.Failed):
                raise failed(Failure(first.failure), first.message, first.hint)
        except BaseException:
            job.stop()
            raise
        gone = self.engine.metrics.requests.labels(GONE)
        return EventStream(self._events(job, reply, first, started), job, gone.inc)

    def _read(self, body: bytes) -> ChatRequest:
        return chat_request(_json(body), self.options.defaults)

    async def _all(self, job: Job, started: float) -> list[wire.Chosen]:
        """All choices of an answer. Raises Problem."""
        choices = []
        try:
            while True:
                message = await job.replies.get()
                if isinstance(message, wire.Chosen):
                    choices.append(message)
                elif isinstance(message, wire.Failed):
                    raise failed(Failure(message.failure), message.message, message.hint)
                elif isinstance(message, wire.Done):
                    self._count(choices, started)
                    return choices
        finally:
            job.stop()

    async def _events(
        self,
        job: Job,
        reply: Reply,
        message: wire.Message | None,
        started: float,
    ) -> AsyncIterator[bytes]:
        choices: list[wire.Chosen] = []
        told = False
        metrics = self.engine.metrics
        while True:
            match message:
                case None:
                    yield KEEP_ALIVE
                case wire.Delta():
                    if not told:
                        told = True
                        metrics.first_token.observe(time.monotonic() - started)
                    yield reply.delta(message)
                case wire.Chosen():
                    choices.append(message)
                    yield reply.end(message)
                case wire.Failed():
                    problem = failed(Failure(message.failure), message.message, message.hint)
                    metrics.requests.labels(problem.status).inc()
                    yield event(problem.body())
                    return
                case wire.Done():
                    metrics.requests.labels(200).inc()
                    self._count(choices, started)
                    yield reply.last(choices)
                    return
            message = await _next(job, ALIVE_S)

    def _count(self, choices: Sequence[wire.Chosen], started: float) -> None:
        metrics = self.engine.metrics
        metrics.latency.observe(time.monotonic() - started)
        for chosen in choices:
            counted = chosen.trace["counters"]
            metrics.prompt_tokens.inc(counted["prefill_tokens"] + counted["cached_tokens"])
            metrics.cached_tokens.inc(counted["cached_tokens"])
            metrics.sampled_tokens.inc(counted["sampled_tokens"])

    async def _body(self, request: Request) -> bytes:
        """Raises Problem where it is too large or too slow."""
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > self.options.most_body:
                        raise too_large(self.options.most_body)
        except TimeoutError:
            raise Problem(408, f"the body did not come within {BODY_S:g} s", code="slow") from None
        return bytes(data)


class EventStream(Response):
    """Server-sent events. The answer is stopped when its reader goes away."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], job: Job, left: Callable[[], None]) -> None:
        """left: called where the reader went away before the end."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._job, self._left = events, job, left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not writing.done():
                self._left()
            for task in (writing, leaving):
                task.cancel()
            ended = await asyncio.gather(writing, leaving, return_exceptions=True)
            self._job.stop()
            if isinstance(ended[0], Exception):
                LOGGER.error("a stream broke off", exc_info=ended[0])

    async def _write(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        with contextlib.suppress(OSError):  # its reader is gone
            await send(start)
            async for data in self._events:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _next(job: Job, patience: float) -> wire.Message | None:
    """None where nothing came in time."""
    try:
        return await asyncio.wait_for(job.replies.get(), patience)
    except TimeoutError:
        return None


async def _first(job: Job) -> wire.Message | None:
    return await _next(job, FIRST_S)


async def _unless_gone(request: Request, waiting: Any) -> Any:
    """What `waiting` gives. Raises ClientDisconnect where the client goes away before that."""
    task = asyncio.ensure_future(waiting)
    leaving = asyncio.create_task(_gone(request.receive))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, leaving):
            one.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


def _whole(body: bytes) -> Receive:
    """A body that has been read already."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}", code="invalid_json") from None


async def _problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return answer(problem)


async def _bug(_: Request, error: Exception) -> Response:
    """Nothing of ours: told as an error of the server, and logged with its trace by uvicorn."""
    message = f"unexpected {type(error).__name__}; the server's log says more"
    return answer(Problem(500, message, code="internal_error"))


async def _unknown(request: Request, error: Exception) -> Response:
    """Routes that are not there, and methods that they do not have."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what}: {error.detail}. There is POST /v1/chat/completions"
    return answer(Problem(error.status_code, message, code="not_found"))
