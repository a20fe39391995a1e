"""Where the pictures of a request come from: the request itself, an upload, or an allowed address.

Addresses are fetched only where the operator allowed their host: over TLS, without redirects,
within limits, and never from a private network, whatever a name leads to.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from llavao1_edge.errors import DownloadError
from llavao1_edge.serve.problem import Failure, Problem, too_large, wrong
from llavao1_edge.serve.request import Remote, Source, Uploaded
from llavao1_edge.store.client import trust

FETCH_S = 20.0
MOST_FETCHED = 32 << 20
MOST_UPLOADS = 1000
MOST_UPLOADED = 256 << 20  # bytes of all uploads that are kept; the oldest go first


@dataclass(frozen=True)
class Upload:
    """A file that was sent. created: seconds since 1970."""

    name: str
    filename: str
    data: bytes
    created: int


class Uploads:
    """Kept in memory, by their content."""

    def __init__(self, most: int = MOST_UPLOADED) -> None:
        self._most, self._kept = most, OrderedDict[str, Upload]()
        self._n_bytes = 0

    def add(self, data: bytes, filename: str, created: int) -> Upload:
        name = f"file-{hashlib.sha256(data).hexdigest()[:32]}"
        if name in self._kept:
            self.remove(name)
        made = self._kept[name] = Upload(name, filename, data, created)
        self._n_bytes += len(data)
        while len(self._kept) > 1 and (
            self._n_bytes > self._most or len(self._kept) > MOST_UPLOADS
        ):
            self.remove(next(iter(self._kept)))
        return made

    def get(self, name: str) -> Upload:
        """Raises Problem."""
        if name not in self._kept:
            message = f"there is no file {name[:80]!r}: it was never sent, or others took its place"
            raise Problem(404, message, code="file_not_found")
        self._kept.move_to_end(name)
        return self._kept[name]

    def remove(self, name: str) -> None:
        """Raises Problem."""
        self._n_bytes -= len(self.get(name).data)
        del self._kept[name]


class Fetcher:
    """Fetches pictures from allowed hosts (`example.org`; `*.example.org` for all below it)."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = [host.lower().rstrip(".") for host in allowed]

    async def fetch(self, url: str) -> bytes:
        """Raises Problem."""
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise wrong("messages", f"{url[:80]!r} is no URL") from None
        host = parsed.host.lower().rstrip(".")
        if not self._is_allowed(host):
            raise Problem(
                403,
                f"pictures are not fetched from {host[:80] or url[:80]!r}: send a data URL",
                code="url_not_allowed",
                param="messages",
            )
        if parsed.scheme != "https" or parsed.userinfo:
            raise wrong("messages", f"pictures are fetched over https only, not from {url[:80]!r}")
        try:
            async with asyncio.timeout(FETCH_S):
                return await self._fetch(parsed, await public_address(host, parsed.port or 443))
        except TimeoutError:
            raise _unfetched(url, f"took longer than {FETCH_S:g} s") from None
        except (httpx.HTTPError, DownloadError, OSError, UnicodeError) as error:
            raise _unfetched(url, f"cannot be fetched ({error or type(error).__name__})") from None

    def _is_allowed(self, host: str) -> bool:
        return any(
            host == known or (known.startswith("*.") and host.endswith(known[1:]))
            for known in self._allowed
        )

    async def _fetch(self, url: httpx.URL, address: str) -> bytes:
        """From the address that was checked: another look-up of the name might lead elsewhere."""
        async with httpx.AsyncClient(verify=trust(), trust_env=False) as client:
            request = client.build_request(
                "GET",
                url.copy_with(host=address),
                headers={"Host": url.netloc.decode(), "Accept": "image/*"},
                extensions={"sni_hostname": url.host},
            )
            response = await client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    raise _unfetched(str(url), f"answers {response.status_code}")
                data = bytearray()
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MOST_FETCHED:
                        raise _unfetched(str(url), f"is larger than {MOST_FETCHED >> 20} MB")
                return bytes(data)
            finally:
                await response.aclose()


EMBEDDING = [ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")]


def is_public(address: str) -> bool:
    """Whether an address is of the open internet, also where an older one is part of it."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.teredo is not None or any(found in network for network in EMBEDDING):
            return False
        inner = found.ipv4_mapped or found.sixtofour
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


async def public_address(host: str, port: int) -> str:
    """The first address of a name, all of which must be public. Raises Problem, OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if not is_public(address):
            message = f"{host} leads into a private network ({address})"
            raise Problem(403, message, code="url_not_allowed", param="messages")
    if not addresses:
        raise OSError(f"{host} has no address")
    return addresses[0]


def _unfetched(url: str, why: str) -> Problem:
    return Problem(400, f"the picture {url[:80]!r} {why}", Failure.PICTURE, param="messages")


async def gather(
    sources: Sequence[Source], uploads: Uploads, fetcher: Fetcher, most: int
) -> tuple[bytes, ...]:
    """The files, in their order; together no more than one body holds. Raises Problem."""
    found: list[bytes] = []
    for source in sources:
        match source:
            case Remote(url):
                found.append(await fetcher.fetch(url))
            case Uploaded(name):
                found.append(uploads.get(name).data)
            case bytes():
                found.append(source)
        if sum(map(len, found)) > most:
            raise too_large(most)
    return tuple(found)
