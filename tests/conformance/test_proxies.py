"""Behind proxies: PROXY headers and X-Forwarded-For count from trusted peers and nobody else."""

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import HOST, Server
from tests.wire import Answer, Wire

PROXY = "127.0.0.2"
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 5001 8080\r\n"
V2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes((192, 0, 2, 7, 192, 0, 2, 1)) + bytes(4)
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


class From(Wire):
    """A connection from an address of this machine."""

    def __init__(self, port: int, address: str) -> None:
        """Connect from ``address``."""
        self.socket = socket.create_connection((HOST, port), 30, source_address=(address, 0))
        self.received = bytearray()


def ask(server: Server, begin: bytes, address: str, *lines: str, mark: str) -> Answer:
    """Send a GET behind some bytes, from an address; ``mark`` finds its line in the log."""
    head = "\r\n".join(
        ["GET / HTTP/1.1", "Host: x", f"User-Agent: {mark}", *lines, "Connection: close"]
    )
    with From(server.port, address) as wire:
        for piece in (begin[:5], begin[5:], head.encode() + b"\r\n\r\n"):
            wire.send_what_is_taken(piece)
        return wire.read()


def logged_peer(server: Server, mark: str) -> str:
    """Return whose address the access line with this user agent has."""
    server.wait_for_log(mark)
    lines = [line for line in server.log_path.read_text().splitlines() if mark in line]
    peer: str = json.loads(lines[-1])["peer"]
    return peer


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose proxy at 127.0.0.2 speaks the PROXY protocol."""
    server = Server(
        tmp_path_factory.mktemp("proxies"),
        TRUSTED_PROXIES=f"{PROXY},198.51.100.0/24",
        PROXY_PROTOCOL="on",
        WORKERS="1",
    )
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("begin", "lines", "peer"),
    [
        (V1, (), "192.0.2.7"),
        (V2, (), "192.0.2.7"),
        (LOCAL, (), PROXY),
        (b"PROXY UNKNOWN\r\n", (), PROXY),
        (LOCAL, ("X-Forwarded-For: 203.0.113.9",), "203.0.113.9"),
        (V1, ("X-Forwarded-For: 203.0.113.9",), "192.0.2.7"),
        (V1.replace(b"192.0.2.7", b"198.51.100.1"), ("X-Forwarded-For: 1.1.1.1",), "1.1.1.1"),
    ],
)
def test_a_trusted_proxy_says_who_the_client_is(
    behind: Server, begin: bytes, lines: tuple[str, ...], peer: str
) -> None:
    """Both versions count; a client behind it that is no proxy can't say it is somebody else."""
    mark = f"mark-{begin.hex()}-{len(lines)}"[:200]
    assert ask(behind, begin, PROXY, *lines, mark=mark).status == 403
    assert logged_peer(behind, mark) == peer


def test_nobody_else_may_say_it(behind: Server) -> None:
    """From another peer the same bytes are a broken request."""
    assert ask(behind, V1, "127.0.0.3", mark="liar").status == 400
    assert ask(behind, b"", "127.0.0.3", "X-Forwarded-For: 9.9.9.9", mark="plain").status == 403
    assert logged_peer(behind, "plain") == "127.0.0.3"


def test_a_trusted_proxy_without_its_header_is_cut(behind: Server) -> None:
    """The protocol is agreed on, never guessed."""
    with From(behind.port, PROXY) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.is_closed_by_peer()
    behind.wait_for_log("sent no PROXY header")


def test_a_proxy_that_says_nothing_delays_nobody(behind: Server) -> None:
    """Its connections wait for a few seconds and no longer; others are served meanwhile."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(From(behind.port, PROXY)) for _ in range(20)]
        assert ask(behind, V1, PROXY, mark="beside-silent").status == 403
        assert all(wire.is_closed_by_peer() for wire in silent)


def test_the_header_stands_in_front_of_tls(tmp_path: Path) -> None:
    """Bytes of the handshake behind it are not lost, and the end is in order."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"),
            *("-subj", "/CN=localhost"),
        ],
        check=True,
        capture_output=True,
    )
    server = Server(
        tmp_path / "server",
        TRUSTED_PROXIES=PROXY,
        PROXY_PROTOCOL="on",
        TLS_CERTIFICATE=str(certificate),
        TLS_KEY=str(key),
        WORKERS="1",
        CONSOLE_LISTEN=f"{HOST}:0",
    )
    context = ssl.create_default_context(cafile=str(certificate))
    try:
        server.launch()
        server.wait_for_log_count("is ready", 3)
        with From(server.port, PROXY) as wire:
            wire.send(V2)
            wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
            wire.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.read().status == 200
        assert server.stop() == 0
    finally:
        server.close()
