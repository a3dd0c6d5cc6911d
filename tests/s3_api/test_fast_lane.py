"""The lane past the parser: the same bytes as the library's way, in order, and in no other case."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from storage_server.s3_api import fast_lane
from storage_server.s3_api.app import S3Protocol
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.plain_head import PlainHead
from storage_server.services.waiting import LightWait
from tests.s3_api.port import RunningPort, running_port
from tests.s3_api.talking import Answer, Talk, request, talking

_OF_ONE_REQUEST = re.compile(rb"[0-9A-F]{16}|Date: [^\r]+|x-amz-id-2: [^\r]+|Last-Modified: [^\r]+")
_BODY = bytes(range(256)) * 16
Case = tuple[str, str, dict[str, str], bytes]
CASES: list[Case] = [
    ("HEAD", "/bkt/k", {}, b""),
    ("GET", "/bkt/k", {}, b""),
    ("GET", "/bkt/k", {"range": "bytes=10-19"}, b""),
    ("GET", "/bkt/k", {"range": "bytes=9999-"}, b""),
    ("GET", "/bkt/k", {"if-none-match": "*"}, b""),
    ("HEAD", "/bkt/k", {"if-match": "other"}, b""),
    ("GET", "/bkt/k?response-content-type=text/x", {}, b""),
    ("GET", "/bkt/k?versionId=null", {}, b""),
    ("GET", "/bkt/k?tagging", {}, b""),
    ("GET", "/bkt/k?nonsense=1", {}, b""),
    ("GET", "/bkt/k%2Fx", {}, b""),
    ("GET", "/bkt/%ff", {}, b""),
    ("GET", "/bkt/" + "k" * 1025, {}, b""),
    ("GET", "/bkt/none", {}, b""),
    ("HEAD", "/bkt/none", {}, b""),
    ("GET", "/none/k", {}, b""),
    ("GET", "/UPPER/k", {}, b""),
    ("GET", "/", {}, b""),
    ("GET", "/bkt?list-type=2", {}, b""),
    ("GET", "/bkt?location", {}, b""),
    ("GET", "/-/healthz", {}, b""),
    ("GET", "/bkt//k", {}, b""),
    ("GET", "//k", {}, b""),
    ("GET", "/bkt/long", {}, b""),
    ("HEAD", "/bkt/long", {}, b""),
    ("PUT", "/bkt/new", {"content-length": "5", "x-amz-meta-a": "b"}, b"hello"),
    (
        "PUT",
        "/bkt/new",
        {"content-length": "5", "content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        b"hello",
    ),
    ("PUT", "/bkt/new", {"content-length": "0"}, b""),
    ("PUT", "/bkt/new", {}, b""),
    ("PUT", "/none/new", {"content-length": "5"}, b"hello"),
    ("PUT", "/bkt/copy", {"content-length": "0", "x-amz-copy-source": "/bkt/none"}, b""),
    ("PUT", "/bkt?versioning", {"content-length": "4"}, b"<a/>"),
    ("POST", "/bkt/k?uploadId=x", {"content-length": "4"}, b"<a/>"),
    ("POST", "/bkt/k", {"content-length": "0"}, b""),
    ("POST", "/", {"content-length": "3"}, b"a=b"),
    ("DELETE", "/bkt/none", {}, b""),
    ("DELETE", "/bkt/k?acl", {}, b""),
    ("GET", "/bkt/k", {"content-length": "3"}, b"abc"),
]


@pytest_asyncio.fixture
async def ports(tmp_path: Path) -> AsyncIterator[tuple[RunningPort, RunningPort]]:
    """A port with the lane and one without it, each with the same two objects."""
    fast, slow = S3Options(), S3Options(has_fast_lane=False)
    async with (
        running_port(tmp_path / "fast", fast) as with_lane,
        running_port(tmp_path / "slow", slow) as without,
    ):
        for port in (with_lane, without):
            async with talking(port) as talk:
                await _fill(port, talk)
        yield with_lane, without


async def _fill(port: RunningPort, talk: Talk) -> None:
    for path, body in (("/bkt", b""), ("/bkt/k", _BODY), ("/bkt/long", _BODY * 128)):
        length = f"Content-Length: {len(body)}"
        await talk.send(request(port, "PUT", path, unsigned=(length,)), body)
        assert (await talk.answer()).status == 200


def _connections(port: RunningPort) -> list[S3Protocol]:
    return [one for one in port.server.connections if isinstance(one, S3Protocol)]


def _lane_count(port: RunningPort) -> int:
    """Return how many requests of the connections that are open took the lane."""
    return sum(connection.lane_count for connection in _connections(port))


async def _settle(port: RunningPort) -> None:
    """Return when the port has seen what was sent before."""
    async with talking(port) as talk:
        await talk.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await talk.answer()).status == 200


async def _bytes_of(port: RunningPort, case: Case, *, key: bool) -> tuple[bytes, int]:
    """Return what a port answers, but for what is random, and how many answers took the lane.

    A probe follows on the same connection.
    """
    method, path, headers, body = case
    raw = request(port, method, path, headers)
    if not key:
        raw = re.sub(rb"authorization:[^\r]*\r\n", b"", raw)
    async with talking(port) as talk:
        await talk.send(raw + body)
        said = await _raw(talk, has_body=method != "HEAD")
        await talk.send(request(port, "HEAD", "/bkt"))
        said += await _raw(talk, has_body=False)
        return _without_chance(said, port), _lane_count(port)


async def _raw(talk: Talk, *, has_body: bool) -> bytes:
    async with asyncio.timeout(10):
        head = await talk.reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"Content-Length: (\d+)", head)
        length = int(found[1]) if found and has_body else 0
        return head + await talk.reader.readexactly(length)


def _without_chance(raw: bytes, port: RunningPort) -> bytes:
    raw = raw.replace(str(port.port).encode(), b"PORT")
    raw = re.sub(
        rb"<(Owner|HostId|StringToSign\w*|CanonicalRequest\w*|CreationDate|LastModified|ID)>.*?</\1>",
        b"",
        raw,
        flags=re.DOTALL,
    )
    return _OF_ONE_REQUEST.sub(b"-", raw)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1][:40]} {case[2]}")
async def test_both_lanes_send_the_same_bytes(
    ports: tuple[RunningPort, RunningPort], case: Case
) -> None:
    """Signed and not, with the connection good for another request behind it."""
    fast, slow = ports
    for key in (True, False):
        by_lane, lane_count = await _bytes_of(fast, case, key=key)
        by_library, none = await _bytes_of(slow, case, key=key)
        assert by_lane == by_library
        assert (lane_count, none) == (2, 0)


async def _say(talk: Talk, *pieces: bytes) -> Answer:
    await talk.send(*pieces)
    return await talk.answer()


async def test_pipelined_requests_are_answered_in_order(
    ports: tuple[RunningPort, RunningPort],
) -> None:
    """Writes that wait for the disk, reads, long replies, and one for the library in between."""
    port, _ = ports
    unusual = request(port, "GET", "/bkt/k", unsigned=("X-Tab: a\tb",))
    async with talking(port) as talk:
        await talk.send(
            request(port, "PUT", "/bkt/a", unsigned=("Content-Length: 3",))
            + b"one"
            + request(port, "GET", "/bkt/a")
            + request(port, "GET", "/bkt/long")
            + request(port, "DELETE", "/bkt/a")
            + request(port, "GET", "/bkt/a")
            + unusual
            + request(port, "GET", "/bkt/k")
        )
        found = [await talk.answer() for _ in range(7)]
        assert _lane_count(port) == 5
    assert [answer.status for answer in found] == [200, 200, 200, 204, 404, 200, 200]
    assert [answer.body for answer in found[1:3]] == [b"one", _BODY * 128]


async def test_a_head_that_comes_in_pieces_is_the_librarys(
    ports: tuple[RunningPort, RunningPort],
) -> None:
    """From then on nobody knows where a request begins: the lane stays closed."""
    port, _ = ports
    raw = request(port, "GET", "/bkt/k")
    async with talking(port) as talk:
        await talk.send(raw[:30])
        await _settle(port)
        assert (await _say(talk, raw[30:])).body == _BODY
        assert (await _say(talk, raw)).body == _BODY
        assert _lane_count(port) == 0


@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
async def test_the_lane_opens_again_behind_a_body(
    ports: tuple[RunningPort, RunningPort], expect: tuple[str, ...]
) -> None:
    """A body that comes after its head is counted; what looks like a request in it is none."""
    port, _ = ports
    inside = request(port, "DELETE", "/bkt/k")
    length = f"Content-Length: {2 * len(inside)}"
    raw = request(port, "PUT", "/bkt/inside", unsigned=(length, *expect))
    async with talking(port) as talk:
        await talk.send(raw)
        if expect:
            assert (await talk.answer()).status == 100
        for _ in range(2):
            await _settle(port)
            await talk.send(inside)
        assert (await talk.answer()).status == 200
        assert _lane_count(port) == 0
        assert (await _say(talk, request(port, "GET", "/bkt/inside"))).body == 2 * inside
        assert (await _say(talk, request(port, "GET", "/bkt/k"))).status == 200
        assert _lane_count(port) == 2


async def test_the_lane_opens_again_behind_a_long_body(
    ports: tuple[RunningPort, RunningPort],
) -> None:
    """One that goes past the parser."""
    port, _ = ports
    body = _BODY * 600
    async with talking(port) as talk:
        await talk.send(request(port, "PUT", "/bkt/n", unsigned=(f"Content-Length: {len(body)}",)))
        await _settle(port)
        assert (await _say(talk, body)).status == 200
        assert (await _say(talk, request(port, "GET", "/bkt/n"))).body == body
        assert _lane_count(port) == 1


SMUGGLED = "GET /bkt/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding:\x0bchunked",),
        ("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"),
        (f"Content-Length: {len(SMUGGLED)}", "Content-Length: 0"),
        ("Content-Length: +0",),
        ("Content-Length: 0\x00",),
        ("Content-Length: 0, 0",),
        ("Content-Length : 0",),
        ("X: a\nContent-Length: 5",),
        ("X: a\rContent-Length: 5",),
        ("X: a", " Content-Length: 5"),
    ],
)
async def test_two_readings_of_a_head_never_take_the_lane(
    ports: tuple[RunningPort, RunningPort], lines: tuple[str, ...]
) -> None:
    """What a proxy may have read otherwise is the library's to judge, with and without the lane."""
    outcomes = []
    for port in ports:
        raw = request(port, "PUT", "/bkt/k", unsigned=lines) + b"0\r\n\r\n" + SMUGGLED.encode()
        async with talking(port) as talk:
            await _settle(port)
            connection = next(one for one in _connections(port) if not one.lane_count)
            talk.writer.write(raw)
            talk.writer.write_eof()
            async with asyncio.timeout(10):
                said = await talk.reader.read()
            assert connection.lane_count == 0
        outcomes.append(re.findall(rb"HTTP/1.1 (\d+)", said))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("lane", [0, 1])
async def test_a_client_that_takes_nothing_is_not_answered_on_and_on(
    ports: tuple[RunningPort, RunningPort], lane: int
) -> None:
    """Once the transport holds enough that nobody took, the next requests wait, in both lanes."""
    port = ports[lane]
    async with talking(port) as talk:
        assert (await _say(talk, request(port, "GET", "/bkt/k"))).status == 200
        (connection,) = _connections(port)
        connection.pause_writing()
        await talk.send(request(port, "GET", "/bkt/k") * 3)
        for _ in range(5):
            await _settle(port)
        assert len(talk.reader._buffer) == 0  # type: ignore[attr-defined]
        assert b"".join(port.lines).count(b"GetObject") <= 1
        connection.resume_writing()
        for _ in range(3):
            assert (await talk.answer()).body == _BODY


async def test_a_connection_in_use_is_kept_and_an_idle_one_is_closed(tmp_path: Path) -> None:
    """Each answer of the lane begins the time anew; half a head does not."""
    options = S3Options(idle_timeout_s=0.2)
    probe = b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        running_port(tmp_path, options) as port,
        talking(port) as talk,
        talking(port) as slow,
    ):
        await slow.send(probe[:15])
        is_closed = asyncio.ensure_future(slow.is_closed())
        while not is_closed.done():
            assert (await _say(talk, probe)).status == 200
        assert is_closed.result()
        assert (await _say(talk, probe)).status == 200
        assert await talk.is_closed()


async def test_an_answer_under_way_outlives_the_time_of_idle_connections(tmp_path: Path) -> None:
    """A client that takes a long reply slowly is not idle."""
    options = S3Options(idle_timeout_s=0.2)
    async with running_port(tmp_path, options) as port, talking(port) as talk:
        await _fill(port, talk)
        (connection,) = _connections(port)
        connection.pause_writing()
        await talk.send(request(port, "GET", "/bkt/k"))
        for _ in range(3):
            async with talking(port) as idle:
                assert await idle.is_closed()
        assert connection.is_busy
        connection.resume_writing()
        assert (await talk.answer()).body == _BODY
        assert (await _say(talk, request(port, "GET", "/bkt/long"))).body == _BODY * 128


async def test_an_answer_under_way_is_waited_for_at_the_end(tmp_path: Path) -> None:
    """Draining ends idle connections at once, and busy ones after their answer."""
    async with running_port(tmp_path) as port, talking(port) as talk, talking(port) as idle:
        await _fill(port, talk)
        (connection,) = (one for one in _connections(port) if one.lane_count)
        connection.pause_writing()
        await talk.send(request(port, "GET", "/bkt/k"))
        await _settle(port)
        draining = asyncio.ensure_future(port.server.drain(10))
        assert await idle.is_closed()
        assert not draining.done()
        await talk.send(request(port, "GET", "/bkt/k"))
        connection.resume_writing()
        assert (await talk.answer()).body == _BODY
        answer = await talk.answer()
        assert (answer.body, answer.headers["connection"]) == (_BODY, "close")
        assert await talk.is_closed()
        await draining


async def test_a_reply_that_waits_for_others_keeps_its_connection_busy(port: RunningPort) -> None:
    """Draining must not close a connection between an answer and its sending."""
    async with talking(port) as talk:
        probe = b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        assert (await _say(talk, probe)).status == 200
        connection = next(one for one in _connections(port) if one.lane_count == 1)
        connection.send_soon(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert connection.is_busy
        assert (await talk.answer()).status == 200
        assert not connection.is_busy


async def test_a_client_that_has_said_its_last_gets_its_answer(port: RunningPort) -> None:
    """The end of what it sends may come in the same turn of the loop as its request, over TLS."""
    async with talking(port) as talk:
        assert (await _say(talk, request(port, "GET", "/bkt?location"))).status == 200
        connection = next(one for one in _connections(port) if one.lane_count == 1)
        connection.send_soon(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.eof_received()
        assert not connection.is_busy
        assert (await talk.answer()).status == 204


async def test_replies_leave_together_but_no_more_than_wait_well(port: RunningPort) -> None:
    """The 32nd takes all with it, if not their time; the rest leaves with the loop's next turn."""
    async with contextlib.AsyncExitStack() as stack:
        probe = b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        talks = [await stack.enter_async_context(talking(port)) for _ in range(40)]
        for talk in talks:
            assert (await _say(talk, probe)).status == 200
        connections = [one for one in _connections(port) if one.lane_count == 1][:40]
        for connection in connections:
            connection.send_soon(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert sum(connection.is_busy for connection in connections) < 32
        for talk in talks:
            assert (await talk.answer()).status == 204


class _Lane(fast_lane.LaneHandler):
    """A connection whose answers wait for ``told`` first, lightly, and then for ``more``."""

    __slots__ = ("had_task", "more", "told")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        departures = fast_lane.Departures()
        super().__init__(web.Server(_never), departures, has_lane=True, loop=loop)
        self.told: LightWait[bool] = LightWait(loop=loop)
        self.more: asyncio.Future[bool] = loop.create_future()
        self.had_task: asyncio.Queue[bool] = asyncio.Queue()

    def answer_plain(self, head: PlainHead, body: bytes) -> fast_lane.Answering:
        """Answer when both have come."""
        del head, body
        return self._answer_late()

    async def _answer_late(self) -> bool:
        for wait in (self.told, self.more):
            self.had_task.put_nowait(asyncio.current_task() is not None)
            await wait
        self.had_task.put_nowait(asyncio.current_task() is not None)
        self.send_soon(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True


async def _never(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("the request takes the lane")


@contextlib.asynccontextmanager
async def _writing() -> AsyncIterator[tuple[_Lane, asyncio.StreamReader]]:
    """A connection with a small write under way, and what its client receives."""
    connected: asyncio.Future[_Lane] = asyncio.get_running_loop().create_future()

    def connect() -> _Lane:
        connected.set_result(_Lane())
        return connected.result()

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    writer.write(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    try:
        lane = await connected
        assert not await lane.had_task.get()
        yield lane, reader
    finally:
        writer.close()
        server.close()


async def test_a_small_write_needs_no_task_until_it_waits_for_something_else() -> None:
    """A commit's end is told by a call; whatever else is waited for has a task."""
    async with _writing() as (lane, reader):
        assert lane.is_busy
        lane.told.set_result(True)
        assert not await lane.had_task.get()
        lane.more.set_result(True)
        assert await lane.had_task.get()
        assert await reader.readline() == b"HTTP/1.1 204 No Content\r\n"
        assert not lane.is_busy


@pytest.mark.parametrize("outcome", [ValueError(), None])
async def test_a_write_whose_wait_fails_ends_its_connection(outcome: Exception | None) -> None:
    """The pipeline answers what it knows; what comes through it is an error of the program."""
    async with _writing() as (lane, reader):
        if outcome is None:
            lane.told.cancel()
        else:
            lane.told.set_exception(outcome)
        assert await reader.read() == b""
        assert not lane.is_busy


async def test_a_write_under_way_is_waited_for_at_the_end() -> None:
    """Through both of its waits, so that what is durable is also told."""
    async with _writing() as (lane, reader):
        ending = asyncio.ensure_future(lane.shutdown(10))
        await asyncio.sleep(0)
        lane.told.set_result(True)
        await lane.had_task.get()
        assert not ending.done()
        lane.more.set_result(True)
        await ending
        assert await reader.read() == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_what_waits_goes_on_in_a_task() -> None:
    """Results, errors and cancellations reach a coroutine that was begun outside of a task."""

    async def work(future: "asyncio.Future[bool]") -> bool:
        try:
            return await future
        except ValueError:
            await asyncio.sleep(0)
            return asyncio.current_task() is not None

    async def run() -> list[object]:
        loop = asyncio.get_running_loop()
        found: list[object] = []
        for outcome in (True, ValueError(), None):
            future: asyncio.Future[bool] = loop.create_future()
            begun = work(future)
            task = loop.create_task(fast_lane.go_on(begun, begun.send(None)))
            await asyncio.sleep(0)
            if outcome is None:
                task.cancel()
            elif isinstance(outcome, ValueError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
            found += await asyncio.gather(task, return_exceptions=True)
        return found

    first, second, third = asyncio.run(run())
    assert (first, second, type(third)) == (True, True, asyncio.CancelledError)
