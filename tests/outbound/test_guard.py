"""S38: the program connects to no address of its own machine or network unless it may."""

import ipaddress
import socket

import pytest

from storage_server.outbound.guard import AddressBlocked, Guard, is_public
from storage_server.outbound.options import OutboundOptions

INSIDE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",  # noqa: S104 - an address to refuse, not to listen on
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:a00:1::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "",
    "localhost",
    "127.1",
    "0x7f000001",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_inner_address_is_not_public(address: str) -> None:
    """However it is written or translated."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_a_public_address_is(address: str) -> None:
    """Also one that is reached through a translator."""
    assert is_public(address)


def info(address: str) -> tuple[object, ...]:
    """Return an address as the resolver hands it to the guard."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))


def test_only_allowed_networks_are_reached_beside_public_ones() -> None:
    """Without TLS nothing but them."""
    guard = Guard(OutboundOptions((ipaddress.ip_network("127.0.0.1/32"),)))
    guard.open_public(info("127.0.0.1")).close()
    guard.open_allowed(info("127.0.0.1")).close()
    guard.open_public(info("1.1.1.1")).close()
    for opened, address in (
        (guard.open_public, "127.0.0.2"),
        (guard.open_allowed, "1.1.1.1"),
        (guard.open_public, "::1"),
    ):
        with pytest.raises(AddressBlocked):
            opened(info(address))
