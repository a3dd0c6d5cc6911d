"""Bodies on their way in."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core import limits
from storage_server.s3 import checksums, errors
from storage_server.s3.payload import plan_payload
from storage_server.s3.sigv4 import STREAMING_UNSIGNED_TRAILER, UNSIGNED_PAYLOAD
from storage_server.s3_api.body import RequestBody
from storage_server.s3_api.receiver import BUFFER_BYTES, BodyBuffers
from storage_server.services.offload import Offload

T = TypeVar("T")


class Pieces:
    """A source that hands out what it was given, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        """Hold the pieces."""
        self.pieces = list(pieces)

    async def read(self, limit: int, wait_s: float) -> bytes | memoryview | None:
        """Return the next piece, cut to the limit."""
        del wait_s
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > limit:
            self.pieces.insert(0, piece[limit:])
        return piece[:limit]


class Silence:
    """A source that never says anything."""

    async def read(self, limit: int, wait_s: float) -> bytes | memoryview | None:
        """Return nothing in time."""
        del limit, wait_s
        return None


def body_of(
    source: Pieces | Silence,
    headers: dict[str, str],
    payload: str = UNSIGNED_PAYLOAD,
    *,
    offload: Offload,
    buffers: BodyBuffers | None = None,
    still: Callable[[], None] | None = None,
) -> RequestBody:
    """Return a body over a source."""
    return RequestBody(
        source,
        plan_payload(headers, payload),
        None,
        before_read=lambda: None,
        buffers=buffers or BodyBuffers(8 * limits.MIB),
        offload=offload,
        stall_s=1,
        still=still,
    )


def framed(content: bytes, step: int) -> bytes:
    """Return the content in unsigned chunks with a CRC32 trailer."""
    chunks = [content[start : start + step] for start in range(0, len(content), step)]
    algorithm = checksums.ALGORITHMS["CRC32"]
    digest = checksums.render(checksums.Digest("CRC32", checksums.compute(algorithm, content)))
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\nx-amz-checksum-crc32:%b\r\n\r\n" % digest.encode()
    )


@pytest.mark.parametrize("buffers_bytes", [0, BUFFER_BYTES, 8 * BUFFER_BYTES])
@given(
    size=st.integers(0, 3 * BUFFER_BYTES),
    cut=st.integers(1, BUFFER_BYTES),
    step=st.sampled_from([100, 65_536, 200_000]),
    is_framed=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_what_comes_out_is_what_was_sent(
    buffers_bytes: int, size: int, cut: int, step: int, *, is_framed: bool
) -> None:
    """However it is cut, framed and buffered, also when no buffer is left."""
    content = (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]
    headers, payload, wire = {"content-length": str(size)}, UNSIGNED_PAYLOAD, content
    if is_framed:
        step = max(step, size // 1000 + 1)
        wire, payload = framed(content, step), STREAMING_UNSIGNED_TRAILER
        headers = {
            "content-length": str(len(wire)),
            "x-amz-decoded-content-length": str(size),
            "x-amz-trailer": "x-amz-checksum-crc32",
        }
    cut = max(cut, len(wire) // 500 + 1)
    source = Pieces(*(wire[start : start + cut] for start in range(0, len(wire), cut)))

    async def read() -> None:
        with ThreadPoolExecutor(2) as lanes:
            body = body_of(
                source,
                headers,
                payload,
                offload=Offload(lanes),
                buffers=BodyBuffers(buffers_bytes),
            )
            out = bytearray()
            async for batch in body:
                out += b"".join(batch.views)
            await body.finish()
            assert bytes(out) == content
            assert body.md5 == hashlib.md5(content).digest()

    asyncio.run(read())


async def test_buffers_come_back_when_a_reader_gives_up() -> None:
    """A service that fails in the middle leaves nothing behind."""
    buffers = BodyBuffers(BUFFER_BYTES)
    with ThreadPoolExecutor(1) as lanes:
        headers = {"content-length": str(3 * BUFFER_BYTES)}
        source = Pieces(*([b"x" * BUFFER_BYTES] * 3))
        body = body_of(source, headers, offload=Offload(lanes), buffers=buffers)
        async for _ in body:
            break
        await body.close()
    assert buffers.take() is not None


async def test_silence_is_a_timeout() -> None:
    """RequestTimeout, as AWS says it, for a body taken whole and for one in pieces."""
    with ThreadPoolExecutor(1) as lanes:
        whole = body_of(Silence(), {"content-length": "5"}, offload=Offload(lanes))
        with pytest.raises(errors.RequestTimeout):
            await whole.read_all(10)
        pieces = aiter(body_of(Silence(), {"content-length": "5"}, offload=Offload(lanes)))
        with pytest.raises(errors.RequestTimeout):
            await anext(pieces)


async def test_a_document_is_bounded() -> None:
    """By what its head says, and by what comes."""
    with ThreadPoolExecutor(1) as lanes:
        body = body_of(Pieces(b"x" * 50), {"content-length": "50"}, offload=Offload(lanes))
        with pytest.raises(errors.MaxMessageLengthExceeded):
            await body.read_all(49)


async def test_a_body_that_waited_to_be_wanted_has_its_sender_asked_about_again() -> None:
    """What let it in may be gone by then, however fast its bytes come at last."""

    def refuse() -> None:
        raise errors.AccessDenied

    with ThreadPoolExecutor(1) as lanes:
        headers = {"content-length": "4"}
        body = body_of(Pieces(b"late"), headers, offload=Offload(lanes), still=refuse)
        let_in = time.monotonic()
        while time.monotonic() < let_in + 0.03:
            pass
        with pytest.raises(errors.AccessDenied):
            await body.read_all(4)


async def test_a_wanted_checksum_is_computed_beside_the_default() -> None:
    """An upload of parts with SHA256 gets one for a part that came without."""
    with ThreadPoolExecutor(1) as lanes:
        body = body_of(Pieces(b"abc"), {"content-length": "3"}, offload=Offload(lanes))
        body.want_checksum("SHA256")
        assert await body.read_all(10) == b"abc"
        assert body.checksum.value == hashlib.sha256(b"abc").digest()


async def test_another_checksum_than_the_uploads_is_refused() -> None:
    """Before a byte is read."""
    with ThreadPoolExecutor(1) as lanes:
        headers = {"content-length": "3", "x-amz-checksum-crc32": "NSRBwg=="}
        body = body_of(Pieces(b"abc"), headers, offload=Offload(lanes))
        with pytest.raises(errors.InvalidRequest):
            body.want_checksum("SHA256")


async def test_the_loop_does_not_unframe_long_bodies() -> None:
    """A megabyte of one-byte chunks would hold everybody up: a thread goes through them."""
    threads: list[str] = []

    class Telling(Offload):
        """Says when a thread is asked for."""

        def start(self, call: Callable[[], T]) -> "asyncio.Future[T]":
            """Remember it."""
            threads.append("asked")
            return super().start(call)

    content = bytes(100_000)
    wire = framed(content, 1)
    headers = {
        "content-length": str(len(wire)),
        "x-amz-decoded-content-length": str(len(content)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    with ThreadPoolExecutor(2) as lanes:
        source = Pieces(wire)
        body = body_of(source, headers, STREAMING_UNSIGNED_TRAILER, offload=Telling(lanes))
        out = bytearray()
        async for batch in body:
            assert threads
            out += b"".join(batch.views)
        await body.finish()
        assert bytes(out) == content
