"""Which addresses the program itself may connect to."""

import ipaddress
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class OutboundOptions:
    """The networks that may be reached although they are not public, and without TLS."""

    allowed_networks: tuple[Network, ...] = ()
