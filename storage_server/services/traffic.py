"""How many requests and bytes a second an address, a key and a tenant may have."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from storage_server.engine.records import PrincipalRecord
from storage_server.s3 import errors
from storage_server.services.actor import Actor
from storage_server.services.options import TrafficOptions
from storage_server.services.rates import Rate, Rates, piece_bytes

Pause = Callable[[float], Awaitable[object]]

_IPV6_SITE_BITS: Final = 64  # what one customer has at the least


class Pacer:
    """Lets bytes pass no faster than the limits of one request allow."""

    def __init__(self, rates: Rates, asked: Sequence[Rate], pause: Pause) -> None:
        """Pace by these limits."""
        self._rates = rates
        self._asked = asked
        self._pause = pause
        self._piece_bytes = piece_bytes(asked, 1 << 62)

    async def let_pass(self, size_bytes: int) -> None:
        """Return when so many bytes may go on their way."""
        while size_bytes > 0:
            piece = min(size_bytes, self._piece_bytes)
            # Room comes with time, and other processes take some of it: there is no event for it.
            while wait_us := self._rates.wait_us(self._asked, piece):
                await self._pause(wait_us / 1e6)
            size_bytes -= piece

    async def paced(
        self, views: AsyncIterator[bytes | memoryview]
    ) -> AsyncIterator[bytes | memoryview]:
        """Yield the same bytes when each may go; in small pieces, so that none waits for long."""
        async for view in views:
            whole = memoryview(view)
            for start in range(0, len(whole), self._piece_bytes):
                piece = whole[start : start + self._piece_bytes]
                await self.let_pass(len(piece))
                yield piece


class Traffic:
    """The limits, as the pipeline asks for them. With none set nothing is counted."""

    def __init__(self, rates: Rates, options: TrafficOptions, pause: Pause = asyncio.sleep) -> None:
        """Count with the counters that all workers share; ``pause`` waits so many seconds."""
        self._rates = rates
        self._options = options
        self._pause = pause
        self._has_key_limits = bool(options.key_requests_per_s or options.key_bytes_per_s)

    def admit_address(self, peer: str) -> None:
        """Count a request of an address, before anything of it is believed.

        Raises:
            SlowDown: The address has had as many as it may in this second.
        """
        if most := self._options.address_requests_per_s:
            self._count(b"ar:" + site(peer).encode(), most)

    def admit(self, actor: Actor) -> None:
        """Count a request of a proven sender against its key's, user's and tenant's limits.

        Raises:
            SlowDown: One of them is reached.
        """
        tenant, principal = actor.tenant, actor.principal
        if tenant is None or principal is None:
            return
        of_tenant, of_user = tenant.limits, principal.limits
        if not (of_tenant or of_user or self._has_key_limits):
            return
        if most := of_tenant.get("key_requests_per_s", self._options.key_requests_per_s):
            self._count(b"kr:" + _key(actor, principal), most)
        if most := of_user.get("requests_per_s", 0):
            self._count(b"ur:" + principal.principal_id.encode(), most)
        if most := of_tenant.get("requests_per_s", 0):
            self._count(b"tr:" + tenant.tenant_id, most, _key(actor, principal))

    def pacer(self, actor: Actor, peer: str) -> Pacer | None:
        """Return what paces the bytes of a request; None when nothing limits them."""
        options, tenant, principal = self._options, actor.tenant, actor.principal
        asked = []
        if options.address_bytes_per_s:
            asked.append(Rate(b"ab:" + site(peer).encode(), options.address_bytes_per_s))
        if principal is not None and tenant is not None:
            of_tenant, of_user = tenant.limits, principal.limits
            if most := of_tenant.get("key_bytes_per_s", options.key_bytes_per_s):
                asked.append(Rate(b"kb:" + _key(actor, principal), most))
            if most := of_user.get("bytes_per_s", 0):
                asked.append(Rate(b"ub:" + principal.principal_id.encode(), most))
            if most := of_tenant.get("bytes_per_s", 0):
                asked.append(Rate(b"tb:" + tenant.tenant_id, most))
        return Pacer(self._rates, asked, self._pause) if asked else None

    def _count(self, name: bytes, most: int, sharer: bytes = b"") -> None:
        if not self._rates.admit([Rate(name, most)], sharer):
            raise slow_down()


def _key(actor: Actor, principal: PrincipalRecord) -> bytes:
    """Return whom a key's limit is for; all sessions of one principal are one."""
    return (principal.principal_id if actor.session is not None else actor.access_key_id).encode()


def site(peer: str) -> str:
    """Return an address as one asker: of IPv6 the network, which its owner may roam in."""
    if ":" not in peer:
        return peer
    try:
        address = ipaddress.IPv6Address(peer)
    except ValueError:
        return peer
    if address.ipv4_mapped is not None:  # as a proxy says it that listens to both
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _IPV6_SITE_BITS), strict=False))


def slow_down() -> errors.S3Error:
    """Return the answer to one who is too fast; clients wait and try again."""
    return errors.SlowDown().with_headers(("Retry-After", "1"))
