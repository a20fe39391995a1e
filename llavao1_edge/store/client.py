"""The one HTTP client: of the hub's API and of its files, with one TLS configuration.

Certificates are checked as the system's own programs do (its trust store, SSL_CERT_FILE); proxies
come from the environment. What goes wrong becomes a DownloadError that says what to do.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import os
import ssl
import time
from collections.abc import Iterator, Mapping

import httpx

from llavao1_edge.errors import DownloadError
from llavao1_edge.phrases import Phrase

SILENCE = 10.0  # seconds without a byte until a connection counts as broken
BUSY = (408, 429)  # answers that are worth another try
PATIENCE_S = 60.0  # a longer wait that a server asks for is left to people
TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class UnreachableError(DownloadError):
    """Nobody answered: no network, perhaps. What is here already can still be used."""


class BrokenError(Exception):
    """Worth another try. pause_s: what the server asked to wait; None: nothing."""

    def __init__(self, problem: str, pause_s: float | None = None) -> None:
        super().__init__(problem)
        self.problem, self.pause_s = problem, pause_s


def trust() -> ssl.SSLContext:
    """The system's trust store, and the files that the environment names beside it."""
    return _context(tuple(path for name in TRUST if (path := os.environ.get(name))))


@functools.lru_cache(maxsize=4)
def _context(files: tuple[str, ...]) -> ssl.SSLContext:
    """Kept: reading a system's certificates takes some fifty milliseconds."""
    import certifi
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if os.name == "posix" and not (paths.cafile or _holds_files(paths.capath)):
        files = (*files, certifi.where())  # a bare system has no certificates of its own
    for path in files:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise DownloadError(
                Phrase("cannot read the certificates in {path}: {error}", path=path, error=error),
                hint=Phrase("Check {trust}.", trust=", ".join(TRUST)),
            ) from error
    return context


def _holds_files(folder: str | None) -> bool:
    try:
        return bool(folder) and any(os.scandir(folder))
    except OSError:
        return False


@contextlib.contextmanager
def answer(
    url: str, headers: Mapping[str, str], *, what: str, name: str | None = None
) -> Iterator[httpx.Response]:
    """A response that is good (2xx), its body not read yet. A token goes to its own host only.

    what: for people, such as the repository; name: of the file in it.
    Raises BrokenError, DownloadError.
    """
    try:
        with (
            httpx.Client(
                verify=trust(), timeout=SILENCE, follow_redirects=True, max_redirects=10
            ) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity", **headers}) as found,
        ):
            if found.status_code >= 400:
                raise refusal(found, what, name, has_token="authorization" in _lower(headers))
            yield found
    except (httpx.TransportError, httpx.TooManyRedirects) as error:
        raise _failure(error, what) from error
    except UnicodeError:
        raise DownloadError(
            Phrase("cannot ask for {what}: the token is not plain text", what=what),
            hint="Check HF_TOKEN.",
        ) from None
    except (httpx.InvalidURL, ValueError, ImportError) as error:  # a proxy's address, mostly
        raise DownloadError(
            Phrase("cannot ask for {what}: {error}", what=what, error=error),
            hint="Check HF_ENDPOINT, HTTPS_PROXY and ALL_PROXY.",
        ) from error


def _lower(headers: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in headers}


def _failure(error: Exception, what: str) -> Exception:
    """BrokenError for what may be better at once; DownloadError for what will not."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or _caused_by(error, ssl.SSLCertVerificationError):
        return DownloadError(
            Phrase(
                "the certificate of the server for {what} is not trusted ({text})",
                what=what,
                text=text[0][:160],
            ),
            hint="A proxy or a virus scanner may read the connection: put its certificate into the "
            "system's store or into the file that SSL_CERT_FILE names. Check the clock, too.",
        )
    if isinstance(error, httpx.LocalProtocolError):  # its words hold the header: a token
        return DownloadError(
            Phrase(
                "cannot ask for {what}: a header holds characters that none may have", what=what
            ),
            hint="Check HF_TOKEN: it is letters and digits.",
        )
    if isinstance(error, httpx.ProxyError):
        return _proxy(text[0])
    if isinstance(error, httpx.TooManyRedirects | httpx.UnsupportedProtocol):
        return DownloadError(
            Phrase("cannot ask for {what}: {text}", what=what, text=text[0]),
            hint="Check HF_ENDPOINT.",
        )
    return BrokenError(f"{type(error).__name__}: {text[0][:160]}")


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _proxy(said: str) -> DownloadError:
    return DownloadError(
        Phrase("the proxy refused the connection ({said})", said=said),
        hint="Set HTTPS_PROXY to http://NAME:PASSWORD@HOST:PORT, or ask whoever runs it.",
    )


def refusal(found: httpx.Response, what: str, name: str | None, *, has_token: bool) -> Exception:
    """What a status means, in words."""
    code, reason = found.status_code, found.headers.get("X-Error-Code", "")
    told = Phrase("{name} of {what}", name=name, what=what) if name else what
    said = f"{code} {reason}".strip()
    if code in BUSY or code >= 500:
        pause = _pause_s(found.headers.get("Retry-After", ""))
        if code == 429 and pause is not None and pause > PATIENCE_S:
            return DownloadError(
                Phrase(
                    "the server has had too many requests and asks to wait {pause:.0f} s",
                    pause=pause,
                ),
                hint="Try again then; with a token (HF_TOKEN) the hub's limit is higher.",
            )
        return BrokenError(Phrase("the server answered {code}", code=code), pause)
    if code == 407:
        return _proxy("407 Proxy Authentication Required")
    if code == 401 and has_token:
        return DownloadError(
            Phrase("your token was refused for {what} ({said})", what=told, said=said),
            hint="It is wrong, or was revoked: make a new one on the hub's page and set HF_TOKEN, "
            "or unset it and log out.",
        )
    reasons = {
        "GatedRepo": (
            Phrase("{what} is given out only to those who accepted its licence", what=what),
            Phrase("Accept it on the hub's page, then set HF_TOKEN to your token."),
        ),
        "RevisionNotFound": (
            Phrase("{what} has no such revision", what=what),
            Phrase("Check it on the hub."),
        ),
        "EntryNotFound": (
            Phrase("{what} has no file {name}", what=what, name=name),
            Phrase("Check the repository."),
        ),
        "RepoNotFound": (
            Phrase("there is no repository {what}, or it is private", what=what),
            Phrase("Check the name; for a private one set HF_TOKEN."),
        ),
    }
    if reason not in reasons and code in (401, 404) and name is None:
        reason = "RepoNotFound"
    if reason in reasons:
        message, hint = reasons[reason]
        return DownloadError(message, hint=hint)
    if code == 403:
        return DownloadError(
            Phrase("the server does not give out {what} ({said})", what=told, said=said),
            hint="Access may still be pending, or your token lacks the right to read it.",
        )
    return DownloadError(
        Phrase("cannot fetch {what}: the server answered {said}", what=told, said=said),
        hint="Check the name; for a private repository set HF_TOKEN.",
    )


def _pause_s(text: str) -> float | None:
    """Of `Retry-After`: seconds, or a date."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def refuse_web_page(found: httpx.Response, what: str) -> None:
    """Raises DownloadError where a page for people came instead: of a proxy, or of a hotel."""
    kind = found.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        raise web_page(found, what)


def web_page(found: httpx.Response, what: str) -> DownloadError:
    return DownloadError(
        Phrase("{host} sent a web page in place of {what}", host=found.url.host, what=what),
        hint="Open any page in a browser: the network may want a login first. Behind a company's "
        "proxy, set HTTPS_PROXY.",
    )
