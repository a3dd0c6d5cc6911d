"""Ports: shared by our workers, refused with a sentence when somebody else has them."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from storage_server.config import Address, ListenOptions, load
from storage_server.processes.errors import StartError
from storage_server.processes.listening import (
    address_of,
    certificate_worries,
    hold_port,
    is_listened_on,
    open_listener,
    tls_context,
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
def test_a_taken_port_is_named_with_its_setting(shares: bool) -> None:
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
def test_the_kernels_table_is_understood(address: Address, taken: bool, tmp_path: Path) -> None:
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


NOW = datetime(2030, 1, 15, tzinfo=UTC)


def _listening(folder: Path, days: tuple[int, int], mode: int) -> ListenOptions:
    """Return options with a certificate that is valid between two days, seen from NOW."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "s3.example.org")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files[1].chmod(mode)
    return load({"tls_certificate": str(files[0]), "tls_key": str(files[1])}, {}).options.listen


@pytest.mark.parametrize(
    ("days", "mode", "told"),
    [
        ((-90, 60), 0o600, []),
        ((-90, 60), 0o640, []),
        ((-90, 7), 0o600, [("expires on 2030-01-22", False)]),
        ((-90, -1), 0o600, [("expired on 2030-01-14", True)]),
        ((1, 90), 0o600, [("is not valid before 2030-01-16", True)]),
        ((-90, 60), 0o644, [("everybody can read the private key", False)]),
    ],
)
def test_what_clients_will_refuse_of_a_certificate_is_said_before(
    tmp_path: Path, days: tuple[int, int], mode: int, told: list[tuple[str, bool]]
) -> None:
    """It can be loaded all the same; that clients fail is found out by them otherwise."""
    options = _listening(tmp_path, days, mode)
    assert tls_context(options) is not None
    worries = certificate_worries(options, NOW)
    assert [worry.is_fatal for worry in worries] == [is_fatal for _, is_fatal in told]
    for worry, (text, _) in zip(worries, told, strict=True):
        assert text in worry.text
        assert worry.remedy


def test_a_certificate_that_openssl_alone_reads_keeps_no_server_from_starting(
    tmp_path: Path,
) -> None:
    """It has worked so far; what can't be looked into is no reason to be away."""
    options = _listening(tmp_path, (-90, -1), 0o600)
    assert options.tls_certificate is not None
    text = options.tls_certificate.read_text()
    options.tls_certificate.write_text(text.replace(" CERTIFICATE", " TRUSTED CERTIFICATE"))
    assert tls_context(options) is not None
    assert certificate_worries(options, NOW) == []
