"""A bounded load generator: keep-alive connections that replay requests signed beforehand."""

import multiprocessing
import select
import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing.connection import Connection

_HEAD_END = b"\r\n\r\n"
_RECEIVE_BYTES = 64 * 1024  # from 128 KiB on each buffer is mapped and unmapped
_SILENCE_S = 30.0
_LENGTH = b"\r\ncontent-length:"


@dataclass(slots=True)
class Outcome:
    """What came of a run. Latencies are in nanoseconds, from the last byte sent to the last one."""

    seconds: float = 0.0
    latencies: "array[int]" = field(default_factory=lambda: array("Q"))
    errors: dict[str, int] = field(default_factory=dict)
    example: bytes = b""

    @property
    def count(self) -> int:
        """Replies with the status that was asked for."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Good replies in a second."""
        return self.count / self.seconds if self.seconds else 0.0

    def percentile_us(self, percent: float) -> float:
        """Return a percentile of the latencies in microseconds."""
        if not self.latencies:
            return 0.0
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] / 1000

    def add(self, other: "Outcome") -> None:
        """Take in what another client process saw in the same time."""
        self.seconds = max(self.seconds, other.seconds)
        self.latencies.extend(other.latencies)
        for name, count in other.errors.items():
            self.errors[name] = self.errors.get(name, 0) + count
        self.example = self.example or other.example


class _Channel:
    """One connection and the reply that it waits for."""

    __slots__ = ("body_left", "buffer", "sent_ns", "sock", "status")

    def __init__(self, port: int) -> None:
        """Connect."""
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=_SILENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.body_left = -1  # -1: the head is not complete
        self.status = b""
        self.sent_ns = 0

    def send(self, request: bytes) -> None:
        """Send a request; it is short enough for the socket to take it."""
        self.sent_ns = time.perf_counter_ns()
        self.sock.sendall(request)

    def receive(self, *, has_body: bool) -> bool | None:
        """Take what came; True when the reply is complete, None when the server hung up."""
        try:
            came = self.sock.recv(_RECEIVE_BYTES)
        except ConnectionError:
            return None
        if not came:
            return None
        if self.body_left >= 0:
            self.body_left -= len(came)
            return self.body_left <= 0
        if self.buffer:
            came = self.buffer + came
        end = came.find(_HEAD_END)
        if end < 0:
            self.buffer = came
            return False
        self.status = came[9:12]
        self.buffer = came if came[9:10] != b"2" else b""
        length = _content_length(came, end) if has_body and self.status != b"204" else 0
        self.body_left = length - (len(came) - end - 4)
        return self.body_left <= 0


def _content_length(reply: bytes, end: int) -> int:
    at = reply.find(b"\r\nContent-Length: ", 0, end)
    if at < 0:
        at = reply[:end].lower().find(_LENGTH)
        if at < 0:
            return 0
    start = at + len(_LENGTH)
    stop = reply.find(b"\r\n", start, end + 2)
    return int(reply[start : stop if stop >= 0 else end])


def run(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    status: int = 200,
    seconds: float | None = None,
    clients: int = 1,
) -> Outcome:
    """Send requests over connections that each have one in flight, and wait for every reply.

    With ``seconds`` the requests are sent over and over for so long, without it each one once.
    ``clients`` processes share connections and requests.
    """
    assert requests
    if clients == 1:
        return _run_here(port, requests, connections, status, seconds)
    context = multiprocessing.get_context("fork")
    ends: list[Connection] = []
    workers = []
    for index in range(clients):
        near, far = context.Pipe(duplex=False)
        share = requests[index::clients]
        arguments = (far, port, share, connections // clients, status, seconds)
        worker = context.Process(target=_run_and_tell, args=arguments)
        worker.start()
        far.close()
        ends.append(near)
        workers.append(worker)
    total = Outcome()
    for end, worker in zip(ends, workers, strict=True):
        total.add(end.recv())
        worker.join()
    return total


def _run_and_tell(
    far: Connection,
    port: int,
    requests: Sequence[bytes],
    connections: int,
    status: int,
    seconds: float | None,
) -> None:
    far.send(_run_here(port, requests, connections, status, seconds))
    far.close()


def _run_here(
    port: int, requests: Sequence[bytes], connections: int, status: int, seconds: float | None
) -> Outcome:
    outcome = Outcome()
    has_body = not requests[0].startswith(b"HEAD ")
    coming: Iterator[bytes] = iter(requests) if seconds is None else cycle(requests)
    channels = [_Channel(port) for _ in range(min(connections, len(requests)))]
    table = {channel.sock.fileno(): channel for channel in channels}
    wanted = b"%d" % status
    poller = select.epoll()
    for descriptor in table:
        poller.register(descriptor, select.EPOLLIN)
    began = time.perf_counter_ns()
    deadline = None if seconds is None else began + int(seconds * 1e9)
    for channel in channels:
        channel.send(next(coming))
    latencies = outcome.latencies
    now = began
    while table:
        events = poller.poll(_SILENCE_S)
        if not events:
            outcome.errors["silence"] = len(table)
            break
        for descriptor, _ in events:
            channel = table[descriptor]
            complete = channel.receive(has_body=has_body)
            if complete is False:
                continue
            now = time.perf_counter_ns()
            if complete is None:
                outcome.errors["hung up"] = outcome.errors.get("hung up", 0) + 1
                del table[descriptor]
                channel.sock.close()
                continue
            if channel.status == wanted:
                latencies.append(now - channel.sent_ns)
            else:
                name = channel.status.decode()
                outcome.errors[name] = outcome.errors.get(name, 0) + 1
                outcome.example = channel.buffer
            channel.buffer = b""
            channel.body_left = -1
            request = None if deadline is not None and now > deadline else next(coming, None)
            if request is None:
                del table[descriptor]
                channel.sock.close()
            else:
                channel.send(request)
    poller.close()
    outcome.seconds = (now - began) / 1e9
    return outcome
