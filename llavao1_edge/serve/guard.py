"""In front of every request: who may ask, from where, and how much may be sent."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from llavao1_edge.serve.problem import Problem, too_large

OPEN = ("/health",)
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Guard:
    """ASGI middleware. keys: any of them opens the door; none: everybody may ask, and then only
    under the names of this machine (or `names`), so that no web page can reach it through a name of
    its own; and what comes from a web page must come from one of `origins`.

    most_body: bytes, as the request announces them; bodies without an announcement are counted
    where they are read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Sequence[str],
        most_body: int,
        names: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        self._app, self._most, self._origins = app, most_body, origins
        self._names = {name.lower() for name in (*LOOPBACK, *names)}
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Problem as problem:
                await answer(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if self._keys:
            if scope["path"] not in OPEN and not self._knows(headers.get("authorization", "")):
                raise Problem(
                    401,
                    "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        elif (host := _name(headers.get("host", ""))) not in self._names:
            raise Problem(403, f"this server is not called {host[:80]!r}", code="wrong_host")
        origin = headers.get("origin")
        if not self._keys and origin is not None and origin not in self._origins:
            message = f"the page {origin[:80]!r} may not ask here: --cors-origin lets it"
            raise Problem(403, message, code="wrong_origin")
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._most:
            raise too_large(self._most)

    def _knows(self, given: str) -> bool:
        kind, _, key = given.partition(" ")
        # All are compared, so that the time tells nothing.
        matches = [hmac.compare_digest(key.strip().encode(), known) for known in self._keys]
        return kind.lower() == "bearer" and any(matches)


def _name(host: str) -> str:
    """Without the port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")


def answer(problem: Problem) -> JSONResponse:
    return JSONResponse(problem.body(), problem.status, headers=dict(problem.headers))
