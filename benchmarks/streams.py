"""Streams of large bodies: blocking sockets in threads, one body in flight in each."""

import socket
import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.load import Outcome

_BUFFER_BYTES = 1024 * 1024
_TIMEOUT_S = 60.0
_HEAD_END = b"\r\n\r\n"


class Stream:
    """One keep-alive connection that sends and receives whole bodies."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._buffer = bytearray(_BUFFER_BYTES)

    def exchange(self, pieces: Sequence[bytes]) -> tuple[int, bytes]:
        """Send a request and read its reply; return the status and the reply's beginning."""
        for piece in pieces:
            self._socket.sendall(piece)
        start = b""
        while _HEAD_END not in start:
            came = self._socket.recv(65536)
            if not came:
                raise ConnectionResetError("no reply")
            start += came
        head, _, body = start.partition(_HEAD_END)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, text = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(text)
        left = length - len(body)
        while left > 0:
            count = self._socket.recv_into(self._buffer, min(left, _BUFFER_BYTES))
            if not count:
                raise ConnectionResetError("the reply was cut short")
            left -= count
        return int(head[9:12]), start[:1000]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def run(port: int, jobs: Sequence[Sequence[Sequence[bytes]]]) -> Outcome:
    """Run one thread for each stream; ``jobs`` holds each one's requests, in pieces."""
    outcome = Outcome()
    lock = threading.Lock()
    start = threading.Barrier(len(jobs) + 1)

    def work(requests: Sequence[Sequence[bytes]]) -> None:
        stream = Stream(port)
        start.wait()
        try:
            for pieces in requests:
                began = time.perf_counter_ns()
                status, text = stream.exchange(pieces)
                took = time.perf_counter_ns() - began
                with lock:
                    if status == 200:
                        outcome.latencies.append(took)
                    else:
                        outcome.errors[str(status)] = outcome.errors.get(str(status), 0) + 1
                        outcome.example = text
        except OSError as error:
            with lock:
                outcome.errors[repr(error)] = 1
        finally:
            stream.close()

    threads = [_started(work, requests) for requests in jobs]
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    outcome.seconds = time.perf_counter() - began
    return outcome


def _started(
    work: Callable[[Sequence[Sequence[bytes]]], None], requests: Sequence[Sequence[bytes]]
) -> threading.Thread:
    thread = threading.Thread(target=work, args=(requests,))
    thread.start()
    return thread
