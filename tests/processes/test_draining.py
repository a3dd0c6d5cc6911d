"""SIGTERM on a whole server: uploads under way are stored, idle connections go at once."""

import signal
import time

from tests.servers import HOST, Server
from tests.wire import Wire

SIZE_BYTES = 8 * 1024 * 1024


def test_an_upload_that_goes_on_after_sigterm_is_stored(private_server: Server) -> None:
    """The rest of its body is read, its reply says that the connection ends, and it is kept."""
    wire = private_server.wire(private_server.root_keys)
    assert wire.call("PUT", "/kept").status == 200
    with Wire(HOST, private_server.port) as idle, wire.connect() as uploading:
        idle.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.read().status == 200
        body = bytes(SIZE_BYTES)
        uploading.send(wire.signed_head("PUT", "/kept/k", body=body) + body[: SIZE_BYTES // 2])
        assert private_server.process is not None
        private_server.process.send_signal(signal.SIGTERM)
        assert idle.is_closed_by_peer()
        uploading.send(body[SIZE_BYTES // 2 :])
        answer = uploading.read()
        assert (answer.status, answer.header("Connection")) == (200, "close")
    before_s = time.monotonic()
    assert private_server.process.wait(30) == 0
    assert time.monotonic() - before_s < 10
    private_server.process = None
    private_server.start()
    assert len(private_server.wire(private_server.root_keys).call("GET", "/kept/k").body) == len(
        body
    )
