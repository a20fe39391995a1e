"""Talks to one server: requests run beside each other on a thread of their own, and can be ended.

Certificates are checked as the system does, proxies come from the environment. A key goes over TLS
only, or to this machine. What goes wrong becomes a BackendError that names the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import httpx

from llavao1_edge.errors import Cancelled, ServerError, UsageError
from llavao1_edge.lifetime import Closing
from llavao1_edge.phrases import Phrase
from llavao1_edge.settings import is_here
from llavao1_edge.store.client import trust

KEY = "LLAVAO1_SERVER_KEY"
SERVICE = "llavao1-edge"  # in the system's keyring
CONNECT_S, SILENCE_S = 10.0, 600.0  # a large picture may take minutes before the first token
ASKED_AGAIN, LONGEST_WAIT_S = 4, 30.0
MOST_REPLY, MOST_LINE, MOST_REFUSAL = 64 << 20, 8 << 20, 64 << 10
TICK_S = 0.05
VERSION = re.compile(r"/v\d{1,2}(?:(?:alpha|beta)\d*)?(?:/openai)?$")  # what a path ends with

T = TypeVar("T")
Sink = Callable[[dict[str, Any]], None]
"""Told every event of a stream, from another thread."""


def base_url(text: str) -> httpx.URL:
    """`http://HOST:PORT`, or with a path. `/v1` is added to one that names no version of an
    interface, as `/v1` and `/v1beta/openai` do. Raises UsageError."""
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise UsageError(
            Phrase("the server is {text}", text=repr(text)),
            hint="It must be http://HOST:PORT or https://…",
        )
    if url.userinfo:
        raise UsageError(
            "the server's address holds a password",
            hint=Phrase("Put the key into the environment: {key}=…", key=KEY),
        )
    path = url.path.rstrip("/")
    return url.copy_with(path=path if VERSION.search(path) else f"{path}/v1")


def key_for(url: httpx.URL) -> str:
    """From the environment, else from the system's keyring where that is installed. Raises
    UsageError for a key that others could read on its way."""
    key = os.environ.get(KEY, "").strip() or _from_keyring(url)
    if key and not (key.isascii() and key.isprintable()):
        raise UsageError(
            Phrase("the key in {key} has characters that a key cannot have", key=KEY),
            hint="Check it.",
        )
    if key and url.scheme == "http" and not is_here(url.host):
        raise UsageError(
            Phrase("a key would go to {host} readable for everybody on its way", host=url.host),
            hint="Use https://, or a tunnel to this machine: ssh -L 8080:localhost:8080 …",
        )
    return key


def _from_keyring(url: httpx.URL) -> str:
    try:
        import keyring
    except ImportError:
        return ""
    try:
        return keyring.get_password(SERVICE, url.netloc.decode()) or ""
    except Exception:  # a keyring that is locked or broken is none; its errors are of many kinds
        return ""


class Client(Closing):
    """One server. Use it from one thread; `close` ends whatever still runs."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet. Raises UsageError."""
        self.url = base_url(url)
        self.name = self.url.netloc.decode()
        key = key_for(self.url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._closed = False
        try:
            self._http: httpx.AsyncClient = self._run(self._opened(headers))
        except BaseException:
            self._end_thread()
            raise

    async def _opened(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                headers=dict(headers),
                verify=trust(),
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=64),
                trust_env=not is_here(self.url.host),  # no proxy stands before this machine
            )
        except (ValueError, ImportError) as error:
            raise UsageError(
                Phrase("cannot use the proxy: {error}", error=error),
                hint="Check HTTPS_PROXY and ALL_PROXY.",
            ) from None

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._run(self._http.aclose())
        self._end_thread()

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T], stop: Callable[[], bool] = lambda: False) -> T:
        """Waits for it. Raises Cancelled, and what it raises."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not stop():
                if wait([future], TICK_S).done:
                    return future.result()
            raise Cancelled("stopped")
        finally:
            future.cancel()

    # --- requests -----------------------------------------------------------------------------
    def get(self, path: str, *, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """A JSON object. path: below `/v1`, or from the root with `//`. Raises ServerError,
        Cancelled."""
        return self._run(self._json("GET", path, None), stop)

    def post(
        self, path: str, body: Mapping[str, Any], *, stop: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """A JSON object. Raises ServerError, Cancelled."""
        return self._run(self._json("POST", path, body), stop)

    def begin(self, path: str, body: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """The same as a future; cancelled, it closes the connection."""
        return asyncio.run_coroutine_threadsafe(self._json("POST", path, body), self._loop)

    def stream(self, path: str, body: Mapping[str, Any], sink: Sink) -> Future[None]:
        """Events reach `sink`. The future ends with the stream, raises ServerError, or is
        cancelled: then the connection is closed, and the server stops."""
        return asyncio.run_coroutine_threadsafe(self._events(path, body, sink), self._loop)

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        async with self._reply(method, path, body) as reply:
            data = bytearray()
            async for chunk in self._chunks(reply):
                data += chunk
                if len(data) > MOST_REPLY:
                    raise ServerError(Phrase("{name} sends an endless reply", name=self.name))
        found = self._parsed(bytes(data))
        if not isinstance(found, dict):
            raise self._odd(bytes(data))
        return found

    async def _events(self, path: str, body: Mapping[str, Any], sink: Sink) -> None:
        async with self._reply("POST", path, body) as reply:
            kind = reply.headers.get("content-type", "")
            if "text/event-stream" not in kind:
                raise self._odd(kind.encode())
            rest = b""
            async for chunk in self._chunks(reply):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MOST_LINE:
                    raise ServerError(Phrase("{name} sends an endless line", name=self.name))
                for line in lines:
                    if not line.startswith(b"data:"):
                        continue  # a comment, or another field of an event
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        return
                    event = self._parsed(data)
                    if not isinstance(event, dict):
                        raise self._odd(data)
                    if "error" in event:
                        raise ServerError(
                            Phrase("{name}: {said}", name=self.name, said=_said(event)),
                            hint="Ask again.",
                        )
                    sink(event)
        raise ServerError(
            Phrase("{name} ended the reply early", name=self.name),
            hint="Ask again; its log may say why.",
        )

    @contextlib.asynccontextmanager
    async def _reply(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> AsyncIterator[httpx.Response]:
        """A good reply. Asked again only where the server has not begun: it was busy, or could not
        be reached."""
        for left in range(ASKED_AGAIN - 1, -1, -1):
            request = self._http.build_request(method, self._address(path), json=body)
            try:
                reply = await self._http.send(request, stream=True)
            except httpx.ConnectError as error:
                if left and isinstance(error.__cause__, ConnectionResetError):
                    continue
                raise self._failure(error) from error
            except httpx.HTTPError as error:
                raise self._failure(error) from error
            try:
                if left and _is_busy(reply):
                    wait = _wait(reply.headers.get("retry-after", ""), ASKED_AGAIN - 1 - left)
                elif reply.status_code >= 300:
                    raise await self._refusal(reply)
                else:
                    yield reply
                    return
            except httpx.HTTPError as error:
                raise self._failure(error) from error
            finally:
                await reply.aclose()
            await asyncio.sleep(wait)

    def _address(self, path: str) -> str:
        root = str(self.url).removesuffix("/v1")
        return f"{root}{path[1:]}" if path.startswith("//") else f"{self.url}{path}"

    async def _chunks(self, reply: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for chunk in reply.aiter_bytes():
                yield chunk
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise self._failure(error) from error

    # --- what goes wrong ----------------------------------------------------------------------
    def _parsed(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self._odd(data) from None

    def _odd(self, data: bytes) -> ServerError:
        shown = data[:80].decode("utf-8", "replace")
        return ServerError(
            Phrase(
                "{name} sends {shown}, which is no reply of a chat server",
                name=self.name,
                shown=repr(shown),
            ),
            hint="Check the address: http://HOST:PORT/v1.",
        )

    def _failure(self, error: Exception) -> ServerError:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if isinstance(error, httpx.LocalProtocolError):
            text, hint = Phrase("the key cannot be sent"), Phrase("Check {key}.", key=KEY)
        elif "CERTIFICATE_VERIFY_FAILED" in text:
            hint = Phrase(
                "Its certificate is not trusted: SSL_CERT_FILE may name the one that signed it."
            )
        elif isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            hint = Phrase("Is it running, and is the address right?")
        elif isinstance(error, httpx.TimeoutException):
            hint = Phrase("It does not react; its log may say why.")
        else:
            hint = Phrase("Ask again; its log may say why.")
        return ServerError(Phrase("{name}: {text}", name=self.name, text=text), hint=hint)

    async def _refusal(self, reply: httpx.Response) -> ServerError:
        said, parameter, data = "", "", b""
        async for chunk in reply.aiter_bytes():
            data += chunk
            if len(data) > MOST_REFUSAL:
                break
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(data)
            said, parameter = _said(body), _parameter(body)
        status = reply.status_code
        hints = {
            401: Phrase("Put its key into the environment: {key}=…", key=KEY),
            403: Phrase("Put its key into the environment: {key}=…", key=KEY),
            404: Phrase("Check the address and the model's name."),
            413: Phrase("Use a smaller picture."),
            429: Phrase("It is busy: try again later, or with fewer at a time."),
        }
        hint = hints.get(status, Phrase("Its log may say more."))
        return ServerError(
            Phrase("{name} answers {status}: {said}", name=self.name, status=status, said=said)
            if said
            else Phrase("{name} answers {status}", name=self.name, status=status),
            hint=hint,
            status=status,
            parameter=parameter,
        )


def _said(body: Any) -> str:
    """The message of an error, in any of the forms that servers use."""
    if isinstance(body, dict):
        for name in ("error", "message", "detail"):
            if name in body:
                return _said(body[name])
    return str(body).strip()[:300]


def _parameter(body: Any) -> str:
    """The parameter that an error is about, as OpenAI's interface names it."""
    error = body.get("error") if isinstance(body, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    return named if isinstance(named, str) else ""


def _is_busy(reply: httpx.Response) -> bool:
    """Whether it has not begun, and says so: another 503 may be the end of an engine."""
    return reply.status_code == 429 or (reply.status_code == 503 and "retry-after" in reply.headers)


def _wait(stated: str, tried: int) -> float:
    """Seconds, as the server asks for, or longer each time."""
    try:
        return min(LONGEST_WAIT_S, max(0.0, float(stated)))
    except ValueError:
        return min(LONGEST_WAIT_S, 0.5 * 2.0**tried)
