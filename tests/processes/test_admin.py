"""The admin socket: private, bounded, and answered by the background process."""

import os
import socket
from pathlib import Path

import msgspec
import pytest

from tests.servers import Server


def exchange(path: Path, line: bytes) -> dict[str, object]:
    """Send one line and return the answer."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(30)
            asking.connect(f"/proc/self/fd/{folder}/{path.name}")
            asking.sendall(line)
            asking.shutdown(socket.SHUT_WR)
            answer: dict[str, object] = msgspec.json.decode(asking.makefile("rb").readline())
            return answer
    finally:
        os.close(folder)


def test_the_socket_is_private_and_refuses_what_it_does_not_know(private_server: Server) -> None:
    """Only the server's user reaches it; other versions' commands change nothing."""
    private_server.command("key", "list")  # it is up when this returns
    path = private_server.data_dir / "run" / "admin.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    for line in (
        b"",
        b"nonsense\n",
        b'{"command":"key.destroy","wanted":{}}\n',
        b'{"command":"key.list","wanted":{},"more":1}\n',
        b'{"command":"key.list","wanted":{"more":1}}\n',
        b'{"command":"key.list","wanted":{"tenant":"' + b"x" * 300_000 + b'"}}\n',
    ):
        assert "differ in version" in str(exchange(path, line)["error"])
    told = exchange(path, b'{"command":"key.list","wanted":{"tenant":"default"}}\n')["told"]
    assert isinstance(told, dict)
    assert "keys" in told


@pytest.mark.parametrize("owner", ["", "a b", "../x", "x" * 65, "a\nb"])
def test_a_name_that_is_none_is_refused(owner: str, private_server: Server) -> None:
    """Owners' names go to logs and listings, so their letters are few."""
    done = private_server.command("key", "create", f"--owner={owner}", expect=65)
    assert "The name of a user has" in done.stderr
