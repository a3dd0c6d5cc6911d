"""Ports: shared by our workers, refused with a sentence when somebody else has them."""

import socket
from pathlib import Path

import pytest

from storage_server.config import Address
from storage_server.processes.errors import StartError
from storage_server.processes.listening import (
    address_of,
    hold_port,
    is_listened_on,
    open_listener,
    url_of,
)

HERE = "127.0.0.1"


def test_workers_share_a_held_port() -> None:
    """The holder keeps the port; any number of listeners accept on it."""
    with hold_port(Address(HERE, 0), "s3_listen") as holder:
        address = address_of(holder)
        with open_listener(address, "s3_listen"), open_listener(address, "s3_listen"):
            socket.create_connection(address).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


@pytest.mark.parametrize("shares", [False, True])
def test_a_taken_port_is_named_with_its_setting(shares: bool) -> None:  # noqa: FBT001 - a table
    """Also when the other server would share it: two servers behind one port answer at random."""
    with socket.socket() as other:
        if shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((HERE, 0))
        other.listen()
        taken = address_of(other)
        with pytest.raises(StartError, match=f"Port {taken.port} .* set console_listen"):
            hold_port(taken, "console_listen")


def test_an_address_of_another_host_is_refused() -> None:
    """192.0.2.1 is nobody's (RFC 5737)."""
    with pytest.raises(StartError, match="an address of this host"):
        hold_port(Address("192.0.2.1", 0), "s3_listen")


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        (Address("127.0.0.1", 8080), True),
        (Address("10.0.0.1", 8080), False),
        (Address("0.0.0.0", 8080), True),  # noqa: S104 - a value, nothing listens
        (Address("10.0.0.1", 9090), True),
        (Address("127.0.0.1", 8081), False),
        (Address("127.0.0.1", 7070), False),
    ],
)
def test_the_kernels_table_is_understood(address: Address, taken: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a table
    """Loopback on 8080, everything on 9090, an open connection (not a listener) on 7070."""
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:1F90 00000000:0000 0A\n"
        "   1: 00000000:2382 00000000:0000 0A\n"
        "   2: 0100007F:1B9E 0100007F:1234 01\n"
    )
    assert is_listened_on(address, [table]) is taken


def test_urls_are_ones_that_a_client_here_can_open() -> None:
    """All addresses is no address to connect to."""
    assert url_of(Address("0.0.0.0", 80), is_secure=False) == "http://127.0.0.1:80"  # noqa: S104
    assert url_of(Address("::", 443), is_secure=True) == "https://[::1]:443"
