"""S38: what is fetched is small, soon there, and from where it was asked for."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from storage_server.outbound.fetch import DOCUMENT_BYTES_MAX, Fetcher, FetchFailed
from storage_server.outbound.options import OutboundOptions
from tests.fakes.oidc_issuer import OidcIssuer

ALLOWED = OutboundOptions((ipaddress.ip_network("127.0.0.1/32"),))


@pytest.fixture
def issuer() -> Iterator[OidcIssuer]:
    """A server on loopback."""
    served = OidcIssuer().start()
    yield served
    served.stop()


async def test_an_allowed_address_is_asked(issuer: OidcIssuer) -> None:
    """The list of the settings opens it."""
    assert await Fetcher(ALLOWED).fetch(f"{issuer.url}/keys") == issuer.key_set()


async def test_loopback_is_blocked_when_nobody_allowed_it(issuer: OidcIssuer) -> None:
    """By address and by name, with TLS and without; the server is never asked."""
    port = issuer.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::1]", "127.1", "0x7f.1", "[::ffff:127.0.0.1]"):
        for scheme in ("http", "https"):
            with pytest.raises(FetchFailed):
                await Fetcher(OutboundOptions()).fetch(f"{scheme}://{host}:{port}/keys")
    assert issuer.asked == []


class Rebinding(aiohttp.abc.AbstractResolver):
    """A name server that says what an attacker wants at the moment of the connection."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:  # noqa: ARG002 - aiohttp passes it
        """Return loopback for any name."""
        return [
            {
                "hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET,
                "proto": 0, "flags": 0,
            }
        ]  # fmt: skip

    async def close(self) -> None:
        """Do nothing."""


async def test_a_name_that_leads_inside_is_blocked(issuer: OidcIssuer) -> None:
    """The address is judged when the socket is made, after the last look-up."""
    fetcher = Fetcher(OutboundOptions(), resolver=Rebinding)
    port = issuer.url.rpartition(":")[2]
    for scheme in ("http", "https"):
        with pytest.raises(FetchFailed):
            await fetcher.fetch(f"{scheme}://provider.example:{port}/keys")
    assert issuer.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(issuer: OidcIssuer, status: int) -> None:
    """Wherever it leads."""
    issuer.replies["/keys"] = (status, {"Location": f"{issuer.url}/inner"}, b"")
    with pytest.raises(FetchFailed):
        await Fetcher(ALLOWED).fetch(f"{issuer.url}/keys")
    assert issuer.asked == ["/keys"]


async def test_a_long_document_is_refused(issuer: OidcIssuer) -> None:
    """Its first byte too many ends it."""
    issuer.replies["/keys"] = (200, {}, bytes(DOCUMENT_BYTES_MAX + 1))
    with pytest.raises(FetchFailed):
        await Fetcher(ALLOWED).fetch(f"{issuer.url}/keys")
    issuer.replies["/keys"] = (200, {}, bytes(DOCUMENT_BYTES_MAX))
    assert len(await Fetcher(ALLOWED).fetch(f"{issuer.url}/keys")) == DOCUMENT_BYTES_MAX


@pytest.mark.parametrize(
    "url",
    ["", "keys", "file:///etc/passwd", "gopher://127.0.0.1/", "http://", "ftp://127.0.0.1/x",
     "http://user:word@127.0.0.1/", "http://[::1", "unix:///run/socket"],
)  # fmt: skip
async def test_other_urls_are_refused(url: str) -> None:
    """Nothing but plain http and https is understood."""
    with pytest.raises(FetchFailed):
        await Fetcher(ALLOWED).fetch(url)


async def test_errors_and_nobody_at_all_are_failures(issuer: OidcIssuer) -> None:
    """Nothing else leaves the fetcher."""
    with pytest.raises(FetchFailed):
        await Fetcher(ALLOWED).fetch(f"{issuer.url}/nothing")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(FetchFailed):
            await Fetcher(ALLOWED).fetch(f"http://127.0.0.1:{port}/keys")
