"""Small documents of other servers, fetched with bounds on everything."""

import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

from storage_server.outbound.guard import Guard
from storage_server.outbound.options import OutboundOptions

DOCUMENT_BYTES_MAX: Final = 256 * 1024
TIMEOUT_S: Final = 5.0
_HEADERS: Final = {"Accept": "application/json", "User-Agent": "holdfast"}


class FetchFailed(Exception):
    """The document was not had; the sentence is for the log, never for a client."""


class Fetcher:
    """Fetches documents by URL: TLS or an allowed address, no redirects, no proxies, no cookies."""

    def __init__(
        self,
        options: OutboundOptions,
        resolver: Callable[[], AbstractResolver] = ThreadedResolver,
    ) -> None:
        """Prepare; connections are made when something is fetched, and not kept."""
        self._guard = Guard(options)
        self._resolver = resolver

    async def fetch(self, url: str) -> bytes:
        """Return a document.

        Raises:
            FetchFailed: The URL or its address is not allowed, the server answers anything but
                200, or it is too slow, too long or not there.
        """
        is_secure = _is_secure(url)
        opened = self._guard.open_public if is_secure else self._guard.open_allowed
        connector = aiohttp.TCPConnector(
            socket_factory=opened,
            resolver=self._resolver(),
            force_close=True,
            use_dns_cache=False,
            limit=4,
        )
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=timeout,
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers=_HEADERS,
                ) as session,
                session.get(url, allow_redirects=False) as reply,
            ):
                if reply.status != 200:
                    raise FetchFailed(f"the server answered {reply.status}")
                return await _read(reply)
        except (TimeoutError, aiohttp.ClientError, OSError, ssl.SSLError) as error:
            raise FetchFailed(f"{type(error).__name__}: {error}"[:200]) from error


def _is_secure(url: str) -> bool:
    """Tell whether a URL asks for TLS.

    Raises:
        FetchFailed: It is none that is fetched here.
    """
    try:
        parts = urlsplit(url)
        is_plain = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        raise FetchFailed("the URL can't be read") from None
    if not is_plain or parts.scheme not in {"https", "http"}:
        raise FetchFailed("only plain http and https URLs are fetched")
    return parts.scheme == "https"


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    pieces = bytearray()
    async for piece in reply.content.iter_chunked(64 * 1024):
        pieces += piece
        if len(pieces) > DOCUMENT_BYTES_MAX:
            raise FetchFailed(f"the document has more than {DOCUMENT_BYTES_MAX} bytes")
    return bytes(pieces)
