"""Keys are fetched when they are needed, kept for a while, and never at a stranger's pace."""

import ipaddress
import json

import pytest

from storage_server.outbound.fetch import Fetcher, FetchFailed
from storage_server.outbound.jwks import FRESH_US, PAUSE_US, STALE_US, KeySets, parse_keys
from storage_server.outbound.options import OutboundOptions
from tests.fakes.manual_clock import ManualClock
from tests.fakes.oidc_issuer import OidcIssuer

ISSUER = "https://provider.example/tenant"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
KEYS_URL = "https://keys.example/keys"


class Web:
    """Documents by URL; what is not there fails."""

    def __init__(self) -> None:
        """Serve a provider with one key."""
        self.asked: list[str] = []
        self.documents = {
            DISCOVERY: json.dumps({"issuer": ISSUER, "jwks_uri": KEYS_URL}).encode(),
            KEYS_URL: b'{"keys":[{"kid":"one","kty":"RSA"}]}',
        }

    async def fetch(self, url: str) -> bytes:
        """Return a document."""
        self.asked.append(url)
        if url not in self.documents:
            raise FetchFailed("not there")
        return self.documents[url]


@pytest.fixture
def web() -> Web:
    """What the provider serves."""
    return Web()


@pytest.fixture
def clock() -> ManualClock:
    """Time that a test moves."""
    return ManualClock()


@pytest.fixture
def sets(web: Web, clock: ManualClock) -> KeySets:
    """The key sets of one process."""
    return KeySets(web, clock)


def ids(keys: tuple[dict[str, object], ...]) -> list[object]:
    """Return the ids of keys."""
    return [key["kid"] for key in keys]


async def test_keys_are_where_the_discovery_document_says(sets: KeySets, web: Web) -> None:
    """They are asked for once."""
    assert ids(await sets.find(ISSUER, "", "one")) == ["one"]
    assert ids(await sets.find(ISSUER, "", None)) == ["one"]
    assert web.asked == [DISCOVERY, KEYS_URL]


async def test_a_known_url_needs_no_discovery(sets: KeySets, web: Web) -> None:
    """The provider's row may name it."""
    await sets.find(ISSUER, KEYS_URL, "one")
    assert web.asked == [KEYS_URL]


async def test_an_unknown_key_has_the_set_fetched_again_but_not_often(
    sets: KeySets, web: Web, clock: ManualClock
) -> None:
    """A rotation is seen at once, and a flood of forged ids asks once in half a minute."""
    await sets.find(ISSUER, KEYS_URL, "one")
    web.documents[KEYS_URL] = b'{"keys":[{"kid":"two","kty":"RSA"}]}'
    for number in range(20):
        assert ids(await sets.find(ISSUER, KEYS_URL, f"forged-{number}")) == ["one"]
    assert len(web.asked) == 1
    clock.advance(us=PAUSE_US)
    assert ids(await sets.find(ISSUER, KEYS_URL, "two")) == ["two"]
    assert len(web.asked) == 2


async def test_a_dropped_key_goes_within_the_hour(
    sets: KeySets, web: Web, clock: ManualClock
) -> None:
    """Although nobody asked for an unknown one."""
    await sets.find(ISSUER, KEYS_URL, "one")
    web.documents[KEYS_URL] = b'{"keys":[]}'
    clock.advance(us=FRESH_US)
    assert await sets.find(ISSUER, KEYS_URL, "one") == ()


async def test_a_provider_that_is_away_is_believed_for_a_day(
    sets: KeySets, web: Web, clock: ManualClock
) -> None:
    """And then not any more."""
    await sets.find(ISSUER, KEYS_URL, "one")
    web.documents.clear()
    clock.advance(us=STALE_US)
    assert ids(await sets.find(ISSUER, KEYS_URL, "one")) == ["one"]
    clock.advance(us=PAUSE_US)
    assert await sets.find(ISSUER, KEYS_URL, "one") == ()


async def test_a_provider_that_was_never_there_has_no_keys(sets: KeySets, web: Web) -> None:
    """And is not asked again at once."""
    web.documents.clear()
    assert await sets.find(ISSUER, "", "one") == ()
    assert await sets.find(ISSUER, "", "one") == ()
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"issuer":"https://other.example","jwks_uri":"https://keys.example/keys"}',
        b'{"issuer":"https://provider.example/tenant/","jwks_uri":"https://keys.example/keys"}',
        b'{"issuer":5,"jwks_uri":"x"}',
        b"[" * 100_000,
    ],
)
async def test_a_discovery_document_that_is_not_the_issuers_is_worth_nothing(
    sets: KeySets, web: Web, document: bytes
) -> None:
    """It must name the very issuer that was asked."""
    web.documents[DISCOVERY] = document
    assert await sets.find(ISSUER, "", "one") == ()
    assert web.asked == [DISCOVERY]


@pytest.mark.parametrize("text", [b"", b"{}", b'{"keys":5}', b'{"keys":["a"]}', b"[" * 100_000])
def test_a_key_set_is_one_or_none(text: bytes) -> None:
    """Nothing is taken in part."""
    with pytest.raises(FetchFailed):
        parse_keys(text)


async def test_a_real_providers_rotation_is_followed(clock: ManualClock) -> None:
    """Discovery, keys, another kind of key: over HTTP, from a server that may be asked."""
    issuer = OidcIssuer().start()
    try:
        allowed = OutboundOptions((ipaddress.ip_network("127.0.0.1/32"),))
        sets = KeySets(Fetcher(allowed), clock)
        assert ids(await sets.find(issuer.url, "", "rsa-1")) == ["rsa-1"]
        issuer.rotate("ES256", "ec-2")
        clock.advance(us=PAUSE_US)
        assert ids(await sets.find(issuer.url, "", "ec-2")) == ["ec-2"]
        assert issuer.asked == ["/.well-known/openid-configuration", "/keys"] * 2
    finally:
        issuer.stop()
