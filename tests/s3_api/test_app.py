"""The port on the wire: what every client sees of HTTP itself."""

import asyncio
import json
from pathlib import Path

import pytest

from storage_server.core import limits
from storage_server.s3_api.options import S3Options
from tests.s3_api.port import ROOT_KEY, RunningPort, running_port
from tests.s3_api.talking import request, talking


async def test_a_connection_carries_many_requests(port: RunningPort) -> None:
    """Put, get and head of one object on one connection."""
    async with talking(port) as talk:
        await talk.send(request(port, "PUT", "/bkt/k", unsigned=("Content-Length: 5",)), b"hello")
        assert (await talk.answer()).status == 200
        await talk.send(request(port, "GET", "/bkt/k"))
        assert (await talk.answer()).body == b"hello"
        await talk.send(request(port, "HEAD", "/bkt/k"))
        head = await talk.answer(has_body=False)
        assert (head.status, head.headers["content-length"]) == (200, "5")
        assert head.headers["x-amz-request-id"]


async def test_pipelined_requests_are_answered_in_order(port: RunningPort) -> None:
    """RFC 9112, 9.3.2."""
    async with talking(port) as talk:
        await talk.send(
            request(port, "PUT", "/bkt/k", unsigned=("Content-Length: 3",)),
            b"one",
            request(port, "GET", "/bkt/k"),
            request(port, "DELETE", "/bkt/k"),
            request(port, "GET", "/bkt/k"),
        )
        assert (await talk.answer()).status == 200
        assert (await talk.answer()).body == b"one"
        assert (await talk.answer()).status == 204
        assert (await talk.answer()).status == 404


async def test_the_body_is_asked_for_when_all_else_is_well(port: RunningPort) -> None:
    """Expect: 100-continue gets its 100."""
    async with talking(port) as talk:
        extra = ("Content-Length: 5", "Expect: 100-continue")
        await talk.send(request(port, "PUT", "/bkt/k", unsigned=extra))
        assert (await talk.answer()).status == 100
        await talk.send(b"hello")
        assert (await talk.answer()).status == 200


@pytest.mark.parametrize(
    ("path", "headers", "key", "status"),
    [
        ("/none/k", {}, None, 404),
        ("/bkt/k", {}, ("AKNOBODY", "secret"), 403),
        ("/bkt/here", {"if-none-match": "*"}, None, 412),
        ("/bkt/gone", {"if-match": "x"}, None, 404),
        ("/bkt/k?partNumber=1&uploadId=0", {}, None, 404),
    ],
)
async def test_a_refused_body_is_never_asked_for(
    port: RunningPort,
    path: str,
    headers: dict[str, str],
    key: tuple[str, str] | None,
    status: int,
) -> None:
    """The error comes at once, and the connection ends: nobody knows whether a body follows."""
    async with talking(port) as talk:
        await talk.send(request(port, "PUT", "/bkt/here", unsigned=("Content-Length: 0",)))
        assert (await talk.answer()).status == 200
        extra = ("Content-Length: 5", "Expect: 100-continue")
        await talk.send(request(port, "PUT", path, headers, unsigned=extra, key=key or ROOT_KEY))
        answer = await talk.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert await talk.is_closed()


async def test_a_body_too_long_is_refused_before_it_is_sent(port: RunningPort) -> None:
    """5 GiB and a byte is EntityTooLarge, and not one byte is waited for."""
    async with talking(port) as talk:
        length = f"Content-Length: {limits.PUT_BYTES_MAX + 1}"
        await talk.send(request(port, "PUT", "/bkt/k", unsigned=(length,)))
        answer = await talk.answer()
        assert answer.status == 400
        assert b"<Code>EntityTooLarge</Code>" in answer.body


async def test_a_short_unread_body_leaves_the_connection_usable(port: RunningPort) -> None:
    """An early error reads the rest, up to 1 MiB."""
    async with talking(port) as talk:
        body = b"x" * 100_000
        await talk.send(
            request(port, "PUT", "/none/k", unsigned=(f"Content-Length: {len(body)}",)), body
        )
        assert (await talk.answer()).status == 404
        await talk.send(request(port, "HEAD", "/bkt"))
        assert (await talk.answer(has_body=False)).status == 200


async def test_a_long_unread_body_ends_the_connection(port: RunningPort) -> None:
    """More than 1 MiB of refused body is not worth reading."""
    async with talking(port) as talk:
        length = f"Content-Length: {64 * limits.MIB}"
        await talk.send(request(port, "PUT", "/none/k", unsigned=(length,)), b"x" * 1000)
        answer = await talk.answer()
        assert (answer.status, answer.headers["connection"]) == (404, "close")


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /bkt HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        b"GET /bkt HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /b/%FF HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /b?a=1&a=2 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
    ],
)
async def test_a_broken_head_gets_an_error_document(port: RunningPort, raw: bytes) -> None:
    """In S3's words, and the port goes on serving."""
    async with talking(port) as talk:
        await talk.send(raw)
        answer = await talk.answer()
        assert answer.status == 400
        assert b"<Error><Code>" in answer.body
    async with talking(port) as talk:
        await talk.send(request(port, "HEAD", "/bkt"))
        assert (await talk.answer(has_body=False)).status == 200


async def test_an_upload_says_its_length(port: RunningPort) -> None:
    """411 for an object without one; a document's absence is no length missing."""
    async with talking(port) as talk:
        await talk.send(request(port, "PUT", "/bkt/k"))
        answer = await talk.answer()
        assert answer.status == 411
        assert b"<Code>MissingContentLength</Code>" in answer.body


async def test_a_body_that_ends_early_stores_nothing(port: RunningPort) -> None:
    """The client left in the middle of it."""
    for length in (10_000, 10_000_000):
        async with talking(port) as talk:
            extra = (f"Content-Length: {length}",)
            await talk.send(request(port, "PUT", "/bkt/k", unsigned=extra), b"x" * 5_000)
    async with talking(port) as talk:
        await talk.send(request(port, "GET", "/bkt/k"))
        assert (await talk.answer()).status == 404


async def test_an_upload_whose_client_left_is_a_line_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can leave: that must not fill the log with what looks like faults of the server."""
    async with running_port(tmp_path) as port:
        async with talking(port) as talk:
            await talk.send(request(port, "PUT", "/bkt", unsigned=("Content-Length: 0",)))
            assert (await talk.answer()).status == 200
        for length in (10_000, 10_000_000):
            async with talking(port) as left:
                extra = (f"Content-Length: {length}", "Expect: 100-continue")
                await left.send(request(port, "PUT", f"/bkt/{length}", unsigned=extra))
                assert (await left.answer()).status == 100
                await left.send(b"x" * 5_000)
        async with talking(port) as talk:
            await talk.send(request(port, "GET", "/bkt/10000"))
            assert (await talk.answer()).status == 404
    lines = [json.loads(line) for text in port.lines for line in text.splitlines()]
    gone = [line for line in lines if line.get("error") == "ClientGone"]
    assert [(line["operation"], line["status"]) for line in gone] == [("PutObject", 499)] * 2
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("length", [1_000, 70_000, 3_000_000])
async def test_a_wrong_digest_stores_nothing(port: RunningPort, length: int) -> None:
    """Small, framed in a segment, or a file of its own: all the same."""
    async with talking(port) as talk:
        headers = {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}
        extra = (f"Content-Length: {length}",)
        await talk.send(request(port, "PUT", "/bkt/k", headers, unsigned=extra), b"x" * length)
        answer = await talk.answer()
        assert (answer.status, b"<Code>BadDigest</Code>" in answer.body) == (400, True)
        await talk.send(request(port, "GET", "/bkt/k"))
        assert (await talk.answer()).status == 404


@pytest.mark.parametrize("length", [0, 1, 512, 513, 65_536, 65_537, 300_000, 1_048_577, 5_000_001])
async def test_every_size_comes_back(port: RunningPort, length: int) -> None:
    """Whichever way it takes through the server."""
    body = bytes(range(256)) * (length // 256 + 1)
    body = body[:length]
    async with talking(port) as talk:
        extra = (f"Content-Length: {length}",)
        await talk.send(request(port, "PUT", "/bkt/k", unsigned=extra), body)
        assert (await talk.answer()).status == 200
        await talk.send(request(port, "GET", "/bkt/k"))
        assert (await talk.answer()).body == body
        if length > 1:
            await talk.send(request(port, "GET", "/bkt/k", unsigned=("Range: bytes=1-",)))
            answer = await talk.answer()
            assert (answer.status, answer.body) == (206, body[1:])


async def test_a_stalled_client_is_let_go_and_holds_nobody_up(tmp_path: Path) -> None:
    """RequestTimeout for the one, service for the others meanwhile."""
    async with running_port(tmp_path, S3Options(stall_timeout_s=0.3)) as port:
        async with talking(port) as talk:
            await talk.send(request(port, "PUT", "/bkt", unsigned=("Content-Length: 0",)))
            assert (await talk.answer()).status == 200
        stalled = [await asyncio.open_connection(port.host, port.port) for _ in range(100)]
        for number, (_, writer) in enumerate(stalled):
            extra = (f"Content-Length: {50_000_000 if number % 2 else 50}",)
            writer.write(request(port, "PUT", f"/bkt/s{number}", unsigned=extra) + b"x" * 10)
        async with talking(port) as talk:
            await talk.send(request(port, "PUT", "/bkt/k", unsigned=("Content-Length: 2",)), b"ok")
            assert (await talk.answer()).status == 200
        for reader, writer in stalled:
            answer = await reader.read(20_000)
            assert b"<Code>RequestTimeout</Code>" in answer
            writer.close()


async def test_a_reader_that_leaves_takes_its_buffers_along(port: RunningPort) -> None:
    """Ten aborted downloads, then one that gets everything."""
    body = b"z" * 8_000_000
    async with talking(port) as talk:
        extra = (f"Content-Length: {len(body)}",)
        await talk.send(request(port, "PUT", "/bkt/k", unsigned=extra), body)
        assert (await talk.answer()).status == 200
    for _ in range(10):
        async with talking(port) as talk:
            await talk.send(request(port, "GET", "/bkt/k"))
            await talk.reader.readexactly(1000)
    async with talking(port) as talk:
        await talk.send(request(port, "GET", "/bkt/k"))
        assert (await talk.answer()).body == body


async def test_an_error_document_names_its_request(port: RunningPort) -> None:
    """Body, header and log speak of the same one; the log holds no signature."""
    async with talking(port) as talk:
        await talk.send(request(port, "GET", "/bkt/none"))
        answer = await talk.answer()
    request_id = answer.headers["x-amz-request-id"]
    assert f"<RequestId>{request_id}</RequestId>".encode() in answer.body
    assert b"<Key>none</Key>" in answer.body
    async with asyncio.timeout(5):
        while not port.lines or request_id not in port.lines[-1].decode():
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    line = json.loads(port.lines[-1].splitlines()[-1])
    assert (line["operation"], line["status"], line["error"]) == ("GetObject", 404, "NoSuchKey")
    assert not any(b"ignature" in piece for piece in port.lines)


async def test_an_unknown_subresource_is_not_implemented(port: RunningPort) -> None:
    """501, on reads as on writes."""
    async with talking(port) as talk:
        await talk.send(request(port, "GET", "/bkt?website="))
        assert (await talk.answer()).status in {404, 501}
        await talk.send(request(port, "DELETE", "/bkt?metadataTable="))
        assert (await talk.answer()).status == 501


@pytest.mark.parametrize(
    ("path", "status"), [("/-/healthz", 200), ("/-/readyz", 200), ("/-/x", 400)]
)
async def test_probes_need_no_signature(port: RunningPort, path: str, status: int) -> None:
    """And tell nothing but that."""
    async with talking(port) as talk:
        await talk.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await talk.answer()).status == status


@pytest.mark.parametrize("path", ["/", "/bkt", "/bkt/k", "/bkt?uploads", "/bkt/k?tagging"])
async def test_anonymous_requests_are_denied(port: RunningPort, path: str) -> None:
    """With or without a key there: the same answer (S53)."""
    async with talking(port) as talk:
        await talk.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n".encode())
        answer = await talk.answer()
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.body) == (403, True)
