"""The guard of every connection that the program makes on somebody's behalf.

It judges the address that a socket is about to connect to, after the name was resolved, so that
neither a name that points inside nor one that changes between two look-ups gets past it.
"""

import ipaddress
import socket
from typing import Any, Final

from storage_server.outbound.options import Network, OutboundOptions

# Addresses that translate into IPv4 ones, which are judged instead.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_IPV4_TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
# Public by the registries' tables, and still where clouds answer questions about a machine.
_METADATA: Final = (
    ipaddress.IPv4Network("168.63.129.16/32"),
    ipaddress.IPv4Network("100.64.0.0/10"),
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv6Network("fd00:ec2::254/128"),
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressBlocked(OSError):
    """The address is not a public one, and is not on the list of allowed networks."""


def is_public(text: str) -> bool:
    """Tell whether an address may be anybody's: nothing of this machine or its own network."""
    try:
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    if address.is_multicast or not address.is_global:
        return False
    return not any(address in network for network in _METADATA)


def is_allowed(text: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address lies in one of the networks."""
    try:
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    return any(address in network for network in networks)


class Guard:
    """Makes sockets only for addresses that may be reached."""

    def __init__(self, options: OutboundOptions) -> None:
        """Allow public addresses and the networks of the options."""
        self._networks = options.allowed_networks

    def open_public(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address that is public or allowed: for connections with TLS.

        Raises:
            AddressBlocked: It is neither.
        """
        host = str(address_info[4][0])
        if not is_public(host) and not is_allowed(host, self._networks):
            raise AddressBlocked("the address is not public")
        return _open(address_info)

    def open_allowed(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address that is allowed: for connections without TLS.

        Raises:
            AddressBlocked: It is not.
        """
        if not is_allowed(str(address_info[4][0]), self._networks):
            raise AddressBlocked("only allowed addresses are asked without TLS")
        return _open(address_info)


def _open(address_info: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol = address_info[:3]
    opened = socket.socket(family, kind, protocol)
    opened.setblocking(False)
    return opened


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and any(
        address in network for network in (_NAT64, _IPV4_COMPATIBLE, _IPV4_TRANSLATED)
    ):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    # The wildcard and loopback addresses of IPv6 lie among the compatible ones.
    return address if inner is None or int(address) <= 1 else inner
