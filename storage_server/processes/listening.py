"""Ports: a holder that reserves one, and the shared sockets that workers accept on."""

import errno
import ipaddress
import socket
import ssl
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from storage_server.config import Address, ListenOptions
from storage_server.processes.errors import EXIT_CONFIG, StartError

SOCKET_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING: Final = "0A"

RENEWED_BEFORE: Final = timedelta(days=14)
"""A certificate that is renewed by a timer is renewed earlier than this before its end."""

BACKLOG: Final = 1024  # connections that wait while a worker is busy; the kernel caps it further


def hold_port(address: Address, setting: str) -> socket.socket:
    """Bind without listening, so that the port stays ours while workers come and go.

    Raises:
        StartError: Somebody else listens there, or the address is not this machine's.
    """
    # Another server of this user that shares its port as ours do would not keep us from binding.
    if address.port and is_listened_on(address):
        raise StartError(_taken(address, setting), EXIT_CONFIG)
    return _bind(address, setting)


def open_listener(address: Address, setting: str) -> socket.socket:
    """Bind and listen beside other processes of this user on the same port.

    Raises:
        StartError: Somebody else listens there, or the address is not this machine's.
    """
    listener = _bind(address, setting)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def address_of(bound: socket.socket) -> Address:
    """Return where a socket is bound, with the port that the kernel chose."""
    host, port = bound.getsockname()[:2]
    return Address(str(host), int(port))


def url_of(address: Address, *, is_secure: bool) -> str:
    """Return an address that a client on this machine can open."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - shown
    return f"{'https' if is_secure else 'http'}://{Address(host, address.port)}"


def tls_context(options: ListenOptions) -> ssl.SSLContext | None:
    """Return the context for both ports, or None when there is no certificate.

    Raises:
        StartError: The certificate or its key can't be used.
    """
    if options.tls_certificate is None or options.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, options.tls_certificate, options.tls_key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Load or reload a certificate; connections that are open keep theirs.

    Raises:
        StartError: The certificate or its key can't be used; the old one stays.
    """
    try:
        # Tried in a context of its own first: a failure half-way would leave a mixed pair.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, _no_passphrase)
        context.load_cert_chain(certificate, key, _no_passphrase)
    except ssl.SSLError as error:
        raise StartError(
            f"The certificate {certificate} and key {key} can't be used "
            f"({error.reason or 'not PEM'}): give a PEM chain and its unencrypted key.",
            EXIT_CONFIG,
        ) from None
    except OSError as error:
        raise StartError(
            f"Can't read the certificate {certificate} or its key {key}: {error.strerror}.",
            EXIT_CONFIG,
        ) from None


class Worry(NamedTuple):
    """What is wrong with a certificate that can be used, and what to do."""

    text: str
    remedy: str
    is_fatal: bool


def certificate_worries(options: ListenOptions, now: datetime) -> list[Worry]:
    """Return what clients will, or soon will, refuse of the certificate; and who can read its key.

    The files are those that ``tls_context`` has accepted.
    """
    if options.tls_certificate is None or options.tls_key is None:
        return []
    found = []
    name = options.tls_certificate
    until, since = _validity(name)
    renew = "renew it, then send SIGHUP to the server"
    if until < now:
        found.append(Worry(f"certificate {name} expired on {until:%Y-%m-%d}", renew, is_fatal=True))
    elif until < now + RENEWED_BEFORE:
        found.append(
            Worry(f"certificate {name} expires on {until:%Y-%m-%d}", renew, is_fatal=False)
        )
    if since > now:
        text = f"certificate {name} is not valid before {since:%Y-%m-%d}"
        found.append(Worry(text, "check the clock, or wait", is_fatal=True))
    if options.tls_key.stat().st_mode & 0o007:
        text = f"everybody can read the private key {options.tls_key}"
        found.append(Worry(text, f"chmod 600 {options.tls_key}", is_fatal=False))
    return found


def _validity(certificate: Path) -> tuple[datetime, datetime]:
    """Return until when and since when a certificate is valid.

    One that OpenSSL takes and this library does not read must not keep a server from starting:
    nothing is known of it then, so it is taken for valid.
    """
    try:
        own = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except ValueError:
        return datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    return own.not_valid_after_utc, own.not_valid_before_utc


def _no_passphrase() -> str:
    return ""


def is_listened_on(address: Address, tables: Sequence[Path] = SOCKET_TABLES) -> bool:
    """Tell whether any process accepts connections to the address, also on all addresses.

    Source: proc_pid_net(5), tcp: local address in hexadecimal words of host order, state 0A.
    """
    wanted = ipaddress.ip_address(address.host) if _is_ip(address.host) else None
    for table in tables:
        for line in table.read_text(encoding="ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            host, _, port = local.partition(":")
            if state != _LISTENING or int(port, 16) != address.port:
                continue
            found = _from_table(host)
            if wanted is None or found == wanted or found.is_unspecified or wanted.is_unspecified:
                return True
    return False


def _from_table(words: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    packed = b"".join(
        int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8)
    )
    return ipaddress.ip_address(packed)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bind(address: Address, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # [::] answers IPv4 clients too; that is what people expect of "all addresses".
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        raise StartError(_bind_sentence(address, setting, error), EXIT_CONFIG) from None
    return bound


def _taken(address: Address, setting: str) -> str:
    return (
        f"Port {address.port} on {address.host} is taken by another program: "
        f"stop it, or set {setting} to a free port."
    )


def _bind_sentence(address: Address, setting: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return _taken(address, setting)
    if error.errno == errno.EACCES:
        return (
            f"Port {address.port} needs privileges: set {setting} to a port of 1024 or above, "
            "or grant CAP_NET_BIND_SERVICE."
        )
    return (
        f"Can't listen on {address} ({error.strerror}): set {setting} to an address of this host."
    )
