"""The key sets of web identity providers: discovered, fetched, and kept for a while."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from storage_server.core.clock import Clock
from storage_server.outbound.fetch import FetchFailed

_LOG: Final = logging.getLogger("holdfast.outbound")

_SECOND_US: Final = 1_000_000
FRESH_US: Final = 3_600 * _SECOND_US  # asked again after an hour, so that dropped keys go
# A token with an unknown key makes us ask at once, but not at the sender's pace.
PAUSE_US: Final = 30 * _SECOND_US
# A provider that cannot be reached is believed for a day, then nobody is.
STALE_US: Final = 86_400 * _SECOND_US
SETS_MAX: Final = 256
KEYS_MAX: Final = 100

Jwk = dict[str, object]


class Fetch(Protocol):
    """Fetches a document by URL."""

    async def fetch(self, url: str) -> bytes:
        """Return the document, or raise FetchFailed."""
        ...


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[Jwk]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A key set, when it was had and when it was last asked for."""

    keys: tuple[Jwk, ...]
    had_us: int
    asked_us: int


class KeySets:
    """Keys by issuer; one question at a time to each."""

    def __init__(self, fetcher: Fetch, clock: Clock) -> None:
        """Ask with the fetcher, forget by the clock."""
        self._fetcher = fetcher
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}

    async def find(self, issuer: str, jwks_url: str, key_id: str | None) -> tuple[Jwk, ...]:
        """Return an issuer's keys; a ``key_id`` that is not among them has them asked for again.

        Without ``jwks_url`` the issuer's discovery document says where they are. Nothing is
        returned when there are none to be had, which means that nobody is believed.
        """
        place = (issuer, jwks_url)
        kept = self._kept.get(place)
        if kept is None or self._must_ask(kept, key_id):
            lock = self._asking.setdefault(place, asyncio.Lock())
            async with lock:
                kept = self._kept.get(place)
                if kept is None or self._must_ask(kept, key_id):
                    kept = await self._ask(place, kept)
            if not lock.locked():
                self._asking.pop(place, None)
        if self._clock.now_us() - kept.had_us > STALE_US:
            return ()
        return kept.keys

    def _must_ask(self, kept: _Kept, key_id: str | None) -> bool:
        now = self._clock.now_us()
        if 0 <= now - kept.asked_us < PAUSE_US:
            return False
        is_old = not 0 <= now - kept.had_us < FRESH_US
        return is_old or (key_id is not None and not has_key(kept.keys, key_id))

    async def _ask(self, place: tuple[str, str], before: _Kept | None) -> _Kept:
        now = self._clock.now_us()
        try:
            keys = await self._fetch(*place)
        except FetchFailed as error:
            _LOG.warning("no keys from web identity provider %r: %s", place[0][:200], error)
            kept = _Kept(before.keys, before.had_us, now) if before else _Kept((), now, now)
        else:
            kept = _Kept(keys, now, now)
        self._kept[place] = kept
        self._kept.move_to_end(place)
        if len(self._kept) > SETS_MAX:
            self._kept.popitem(last=False)
        return kept

    async def _fetch(self, issuer: str, jwks_url: str) -> tuple[Jwk, ...]:
        return await fetch_keys(self._fetcher.fetch, issuer, jwks_url)


async def fetch_keys(
    fetch: Callable[[str], Awaitable[bytes]], issuer: str, jwks_url: str
) -> tuple[Jwk, ...]:
    """Return an issuer's keys as it publishes them now.

    Raises:
        FetchFailed: They can't be had, or the issuer says that it is another one.

    Source: OpenID Connect Discovery 1.0, 4.
    """
    if not jwks_url:
        text = await fetch(issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            found = msgspec.json.decode(text, type=_Discovery)
        except (msgspec.MsgspecError, RecursionError):
            raise FetchFailed("the discovery document is none") from None
        if found.issuer != issuer:
            raise FetchFailed("the discovery document is another issuer's")
        jwks_url = found.jwks_uri
    return parse_keys(await fetch(jwks_url))


def parse_keys(text: bytes) -> tuple[Jwk, ...]:
    """Return the keys of a key set document.

    Raises:
        FetchFailed: It is none, or has more than ``KEYS_MAX`` keys.
    """
    try:
        keys = msgspec.json.decode(text, type=_KeySet).keys
    except (msgspec.MsgspecError, RecursionError):
        raise FetchFailed("the key set is none") from None
    if len(keys) > KEYS_MAX:
        raise FetchFailed(f"the key set has more than {KEYS_MAX} keys")
    return tuple(keys)


def has_key(keys: tuple[Jwk, ...], key_id: str) -> bool:
    """Tell whether a key of this id is among the keys."""
    return any(key.get("kid") == key_id for key in keys)
