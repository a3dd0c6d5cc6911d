"""The machine's own rates, measured in the same run as the server that is held against them."""

import contextlib
import hashlib
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import accounting

MIB = 1024 * 1024
_BLOCK = 4096
_STREAM_BYTES = 64 * MIB


def flush_p50_us(folder: Path, count: int = 300) -> float:
    """Return the median time of a 4 KiB write into written space and its fdatasync."""
    path = folder / "flush"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    took = []
    try:
        os.pwrite(descriptor, bytes(_BLOCK * count), 0)
        os.fsync(descriptor)
        block = os.urandom(_BLOCK)
        for at in range(count):
            began = time.perf_counter_ns()
            os.pwrite(descriptor, block, at * _BLOCK)
            os.fdatasync(descriptor)
            took.append(time.perf_counter_ns() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(took) / 1000


def file_write_p50_us(folder: Path, count: int = 100) -> float:
    """Return the median time of writing 4 KiB durably into a new file of a folder."""
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    block = os.urandom(_BLOCK)
    took = []
    try:
        for at in range(count):
            began = time.perf_counter_ns()
            descriptor = os.open(folder / f"file-{at}", os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, block)
            os.fsync(descriptor)
            os.close(descriptor)
            os.fsync(parent)
            took.append(time.perf_counter_ns() - began)
        for at in range(count):
            (folder / f"file-{at}").unlink()
    finally:
        os.close(parent)
    return median(took) / 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """Megabytes (10^6 bytes) in a second."""

    mb_per_s: float

    def __str__(self) -> str:
        """Return the rate with its unit."""
        return f"{self.mb_per_s:,.0f} MB/s"


def disk_write_rate(folder: Path, count: int = 3) -> Rate:
    """Return the rate of writing 64 MiB past the page cache and flushing it."""
    path = folder / "stream"
    buffer = mmap.mmap(-1, 4 * MIB)
    buffer.write(os.urandom(4 * MIB))
    took = []
    for _ in range(count):
        began = time.perf_counter()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
        except OSError:  # the file system has no direct writes
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with contextlib.suppress(OSError):
            os.posix_fallocate(descriptor, 0, _STREAM_BYTES)
        for at in range(0, _STREAM_BYTES, len(buffer)):
            os.pwrite(descriptor, buffer, at)
        os.fdatasync(descriptor)
        os.close(descriptor)
        took.append(time.perf_counter() - began)
        path.unlink()
    return Rate(_STREAM_BYTES / 1e6 / median(took))


def digest_rate(name: str) -> Rate:
    """Return the rate of one digest on one core."""
    piece = os.urandom(MIB)
    digest = hashlib.new(name, usedforsecurity=False)
    began = time.process_time()
    for _ in range(128):
        digest.update(piece)
    return Rate(128 * MIB / 1e6 / (time.process_time() - began))


def sendfile_rate(folder: Path, count: int = 8) -> Rate:
    """Return what one process sends per second of its CPU time, from the page cache by sendfile."""
    path = folder / "sent"
    path.write_bytes(os.urandom(_STREAM_BYTES))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        peer, _ = listener.accept()
        with path.open("rb") as body:
            began = time.process_time_ns()
            for _ in range(count):
                sent = 0
                while sent < _STREAM_BYTES:
                    sent += os.sendfile(peer.fileno(), body.fileno(), sent, _STREAM_BYTES - sent)
            os.write(writes, str(time.process_time_ns() - began).encode())
        os._exit(0)
    listener.close()
    with socket.create_connection(("127.0.0.1", port)) as client:
        buffer = bytearray(MIB)
        left = count * _STREAM_BYTES
        while left > 0:
            came = client.recv_into(buffer)
            if not came:
                break
            left -= came
    took_ns = int(os.read(reads, 32))
    os.waitpid(child, 0)
    os.close(reads)
    os.close(writes)
    path.unlink()
    return Rate(count * _STREAM_BYTES / 1e6 / (took_ns / 1e9))


@dataclass(frozen=True, slots=True)
class Echo:
    """A bare uvloop server that answers every request with the same bytes."""

    port: int
    pid: int

    def cpu_ns(self) -> int:
        """Return its CPU time."""
        return accounting.cpu_ns([self.pid])


@contextmanager
def echo_server(body_bytes: int) -> Iterator[Echo]:
    """Run the least server that Python allows, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.echo", str(body_bytes)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Echo(port, process.pid)
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
