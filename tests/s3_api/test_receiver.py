"""Long bodies on their way past the parser: exactly their bytes, and whoever stalls or leaves."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from storage_server.core import limits
from storage_server.s3.sigv4 import STREAMING_UNSIGNED_TRAILER
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.receiver import BUFFER_BYTES, BodyBuffers, BodyReceiver
from tests.s3_api.port import RunningPort, running_port
from tests.s3_api.talking import Answer, Talk, request, talking

Run = Callable[[Coroutine[Any, Any, None]], None]
LONG = 300_000


class FakeTransport(asyncio.Transport):
    """Remembers what it was told."""

    def __init__(self) -> None:
        """Begin reading."""
        super().__init__()
        self.is_read = True
        self.protocol: object = None

    def pause_reading(self) -> None:
        """Stop."""
        self.is_read = False

    def resume_reading(self) -> None:
        """Go on."""
        self.is_read = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Remember whom to call."""
        self.protocol = protocol


class Owner(asyncio.Protocol):
    """The protocol that is stood in for."""

    lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that it was told."""
        del exc
        self.lost = True


class Received:
    """A receiver over a fake transport."""

    def __init__(self, length: int, *, begin: bytes = b"", buffers_bytes: int = 0) -> None:
        """Await so many bytes behind the beginning."""
        self.transport = FakeTransport()
        self.owner = Owner()
        self.buffers = BodyBuffers(buffers_bytes)
        self.ended = 0
        self.receiver = BodyReceiver(
            self.transport, self.owner, begin, length, self.buffers, self._end
        )

    def _end(self) -> None:
        self.ended += 1
        self.transport.resume_reading()

    def come(self, content: bytes) -> int:
        """Have the transport read once from what came; return how much it took."""
        buffer = self.receiver.get_buffer(65536)
        part = content[: len(buffer)]
        buffer[: len(part)] = part
        self.receiver.buffer_updated(len(part))
        return len(part)


async def test_not_one_byte_behind_the_body_is_read() -> None:
    """What follows stays with the transport, which is the protocol's again."""
    received = Received(10, begin=b"begin", buffers_bytes=BUFFER_BYTES)
    assert isinstance(received.transport.protocol, BodyReceiver)
    assert received.come(b"0123456789GET / HTTP/1.1") == 10
    assert received.ended == 1
    assert isinstance(received.transport.protocol, Owner)
    views = await received.receiver.receive(1)
    assert views is not None
    assert b"".join(views) == b"begin0123456789"
    assert received.receiver.at_end
    assert await received.receiver.receive(1) == []


async def test_a_client_that_is_ahead_waits() -> None:
    """Four buffers are filled and not one more; taking them lets the client go on."""
    received = Received(10 * BUFFER_BYTES, buffers_bytes=64 * BUFFER_BYTES)
    taken = 0
    while received.transport.is_read:
        taken += received.come(bytes(BUFFER_BYTES))
    assert taken == 4 * BUFFER_BYTES
    views = await received.receiver.receive(1)
    assert [len(view) for view in views or ()] == [BUFFER_BYTES] * 4
    assert received.transport.is_read


async def test_without_buffers_a_body_comes_in_small_pieces() -> None:
    """It goes on, slower, and one piece waits at most."""
    received = Received(1_000_000)
    content, out = hashlib.sha256(b"x").digest() * 31_250, b""
    while not received.ended:
        at = len(out)
        while received.transport.is_read and not received.ended:
            at += received.come(content[at:])
        assert at - len(out) <= 64 * limits.KIB
        out += b"".join(await received.receiver.receive(1) or ())
    assert out == content


async def test_who_stalls_holds_no_buffer() -> None:
    """What came is handed on after a moment; then there is nothing."""
    received = Received(1_000_000, buffers_bytes=BUFFER_BYTES)
    received.come(b"a little")
    views = await received.receiver.receive(1)
    assert views is not None
    assert b"".join(views) == b"a little"
    received.buffers.give(views)
    assert await received.receiver.receive(0.01) is None
    assert received.buffers.take() is not None


async def test_who_leaves_is_told_of_and_gives_back() -> None:
    """The reader hears of it, waiting or not, and the protocol as well."""
    received = Received(1_000_000, buffers_bytes=BUFFER_BYTES)
    received.come(b"a little")
    waiting = asyncio.ensure_future(received.receiver.receive(5))
    await asyncio.sleep(0)
    received.receiver.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await waiting
    with pytest.raises(ConnectionResetError):
        await received.receiver.receive(5)
    assert received.owner.lost
    assert received.buffers.take() is not None


# --- On the wire -----------------------------------------------------------------------------


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a test in either loop: they read into buffers in ways of their own."""
    chosen: Run = request.param
    return chosen


def content_of(length: int) -> bytes:
    """Return bytes of which no stretch is like another."""
    return b"".join(hashlib.sha256(b"%d" % at).digest() for at in range(length // 32 + 1))[:length]


def put(port: RunningPort, key: str, length: int, *unsigned: str) -> bytes:
    """Return the head of an upload."""
    return request(port, "PUT", f"/bkt/{key}", unsigned=(f"Content-Length: {length}", *unsigned))


async def get(port: RunningPort, talk: Talk, key: str) -> Answer:
    """Read an object."""
    await talk.send(request(port, "GET", f"/bkt/{key}"))
    return await talk.answer()


async def make_bucket(port: RunningPort) -> None:
    """Make the bucket of the tests."""
    async with talking(port) as talk:
        await talk.send(request(port, "PUT", "/bkt", unsigned=("Content-Length: 0",)))
        assert (await talk.answer()).status == 200


@pytest.mark.parametrize("length", [LONG, 2 * BUFFER_BYTES + 17])
def test_requests_behind_long_bodies_are_answered_in_order(
    tmp_path: Path, run: Run, length: int
) -> None:
    """Sent at once: the parser sees the heads, and nothing of the bodies comes to it twice."""
    first, second = content_of(length), content_of(length + 7)[7:]

    async def scenario() -> None:
        async with running_port(tmp_path) as port:
            await make_bucket(port)
            async with talking(port) as talk:
                pieces = (put(port, "a", length), first, put(port, "b", length), second)
                small = (put(port, "c", 2), b"ok", request(port, "GET", "/bkt/a"))
                sending = asyncio.ensure_future(talk.send(*pieces, *small))
                for _ in range(3):
                    assert (await talk.answer()).status == 200
                assert (await talk.answer()).body == first
                await sending
                assert (await get(port, talk, "b")).body == second
                assert (await get(port, talk, "c")).body == b"ok"

    run(scenario())


@pytest.mark.parametrize("expects", [False, True])
def test_a_long_body_may_come_in_any_pieces(tmp_path: Path, run: Run, *, expects: bool) -> None:
    """A byte alone at the beginning and at the end; also when it is waited to be asked for."""
    content = content_of(LONG)

    async def scenario() -> None:
        async with running_port(tmp_path) as port, talking(port) as talk:
            await make_bucket(port)
            extra = ("Expect: 100-continue",) if expects else ()
            await talk.send(put(port, "k", LONG, *extra))
            if expects:
                assert (await talk.answer()).status == 100
            for start, stop in ((0, 1), (1, 70_000), (70_000, LONG - 1), (LONG - 1, LONG)):
                await talk.send(content[start:stop])
                await asyncio.sleep(0)
            assert (await talk.answer()).status == 200
            assert (await get(port, talk, "k")).body == content

    run(scenario())


def test_framing_may_be_cut_by_the_end_of_a_buffer(tmp_path: Path, run: Run) -> None:
    """Between any two bytes of a chunk's line."""

    async def scenario() -> None:
        async with running_port(tmp_path) as port, talking(port) as talk:
            await make_bucket(port)
            for before in range(12):
                # The line of the second chunk begins so many bytes before the buffer's end.
                first = BUFFER_BYTES - len("100000\r\n") - len("\r\n") - before
                content = content_of(first + 100_000)
                wire = b"%06x\r\n%b\r\n" % (first, content[:first])
                wire += b"%x\r\n%b\r\n0\r\n\r\n" % (100_000, content[first:])
                headers = {
                    "x-amz-decoded-content-length": str(len(content)),
                    "content-encoding": "aws-chunked",
                    "content-length": str(len(wire)),
                }
                head = request(port, "PUT", "/bkt/k", headers, payload=STREAMING_UNSIGNED_TRAILER)
                await talk.send(head, wire)
                assert (await talk.answer()).status == 200
                assert (await get(port, talk, "k")).body == content

    run(scenario())


def test_an_error_in_a_long_body_ends_it_early(tmp_path: Path, run: Run) -> None:
    """Broken framing, with more to come: the client gets its answer, and nothing is stored."""

    async def scenario() -> None:
        async with running_port(tmp_path) as port:
            await make_bucket(port)
            for rest in (500_000, 8_000_000):
                async with talking(port) as talk:
                    wire = b"ffff\r\n" + bytes(rest)
                    headers = {
                        "x-amz-decoded-content-length": str(rest),
                        "content-encoding": "aws-chunked",
                        "content-length": str(len(wire)),
                    }
                    head = request(
                        port, "PUT", "/bkt/k", headers, payload=STREAMING_UNSIGNED_TRAILER
                    )
                    sending = asyncio.ensure_future(talk.send(head, wire))
                    assert (await talk.answer()).status == 400
                    sending.cancel()
            async with talking(port) as talk:
                assert (await get(port, talk, "k")).status == 404

    run(scenario())


@pytest.mark.parametrize("sent", [1, 70_000, 2 * BUFFER_BYTES])
def test_a_client_that_leaves_in_a_long_body_stores_nothing(
    tmp_path: Path, run: Run, sent: int
) -> None:
    """Its connection may be reset or closed; the next one finds all buffers free."""

    async def scenario() -> None:
        options = S3Options(body_buffers_bytes=BUFFER_BYTES)
        async with running_port(tmp_path, options) as port:
            await make_bucket(port)
            for _ in range(3):
                async with talking(port) as talk:
                    await talk.send(put(port, "k", 5_000_000), bytes(sent))
            async with talking(port) as talk:
                assert (await get(port, talk, "k")).status == 404
                content = content_of(3 * BUFFER_BYTES)
                await talk.send(put(port, "k", len(content)), content)
                assert (await talk.answer()).status == 200
                assert (await get(port, talk, "k")).body == content

    run(scenario())


def test_a_client_that_stalls_in_a_long_body_is_let_go(tmp_path: Path, run: Run) -> None:
    """RequestTimeout, after what it sent was taken."""

    async def scenario() -> None:
        async with running_port(tmp_path, S3Options(stall_timeout_s=0.2)) as port:
            await make_bucket(port)
            async with talking(port) as talk:
                await talk.send(put(port, "k", 5_000_000), bytes(2_000_000))
                answer = await talk.answer()
                assert (answer.status, b"RequestTimeout" in answer.body) == (400, True)
                assert await talk.is_closed()

    run(scenario())
