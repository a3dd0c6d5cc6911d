"""A server of the benchmark's own: started on loopback in a folder, measured, and stopped."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import accounting
from benchmarks.signing import Keys, Signer

HOST = "127.0.0.1"
BUCKET = "bench"
_START_S = 60.0
_STOP_S = 60.0
_POLL_S = 0.005


class Server:
    """One ``holdfast serve``. Its workers' CPU time and memory are what is measured."""

    def __init__(self, folder: Path, keys: Keys, *, workers: int = 1) -> None:
        """Prepare; nothing runs yet."""
        self.data_dir = folder / "data"
        self._log = folder / "server.log"
        self._keys = keys
        self._workers = workers
        self.port = _free_port()
        self._console_port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.worker_pids: list[int] = []
        self.start_s = 0.0
        self.signer = Signer(keys, f"{HOST}:{self.port}")

    def start(self) -> None:
        """Start the processes; return when the port is ready, and remember how long that took."""
        environment = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("HOLDFAST_", "AWS_"))
        }
        environment |= {
            "HOLDFAST_DATA_DIR": str(self.data_dir),
            "HOLDFAST_S3_LISTEN": f"{HOST}:{self.port}",
            "HOLDFAST_CONSOLE_LISTEN": f"{HOST}:{self._console_port}",
            "HOLDFAST_ROOT_ACCESS_KEY": self._keys.access_key,
            "HOLDFAST_ROOT_SECRET_KEY": self._keys.secret_key,
            "HOLDFAST_WORKERS": str(self._workers),
        }
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "storage_server", "serve"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not self._is_ready():
            if self._process.poll() is not None or time.perf_counter() - began > _START_S:
                raise RuntimeError(f"the server did not start:\n{self.log_tail()}")
            time.sleep(_POLL_S)
        self.start_s = time.perf_counter() - began
        self.worker_pids = [
            pid
            for pid in accounting.children_of(self._process.pid)
            if accounting.command_of(pid) == ["holdfast s3"]
        ]
        if len(self.worker_pids) != self._workers:
            raise RuntimeError(f"found workers {self.worker_pids}, not {self._workers}")

    def stop(self) -> None:
        """End the server and wait for it."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children follow by themselves
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """Kill all processes at once, as a crash of the machine would end them."""
        if self._process is None:
            return
        children = accounting.children_of(self._process.pid)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        while any(accounting.command_of(pid) for pid in children):
            time.sleep(_POLL_S)  # nobody tells when another's children have let go of the folder

    def cpu_ns(self) -> int:
        """Return the workers' CPU time."""
        return accounting.cpu_ns(self.worker_pids)

    def rss_bytes(self) -> int:
        """Return the resident memory of the largest worker."""
        return max(map(accounting.rss_bytes, self.worker_pids))

    def peak_rss_bytes(self) -> int:
        """Return the largest peak of a worker's resident memory."""
        return max(map(accounting.peak_rss_bytes, self.worker_pids))

    def reset_peaks(self) -> None:
        """Look for peaks of memory from now on."""
        for pid in self.worker_pids:
            accounting.reset_peak(pid)

    def log_tail(self, count: int = 30) -> str:
        """Return the last lines of the log."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return "\n".join(text.splitlines()[-count:])

    def send(self, request: bytes, *, expect: int = 200) -> bytes:
        """Send one request on a connection of its own and return the reply's body."""
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for line in lines[1:]:
                name, _, text = line.partition(": ")
                connection.putheader(name, text)
            connection.endheaders(body or None)
            reply = connection.getresponse()
            came = reply.read()
        finally:
            connection.close()
        if reply.status != expect:
            raise RuntimeError(f"{lines[0]}: {reply.status} {came[:500]!r}")
        return came

    def create_bucket(self, name: str = BUCKET) -> None:
        """Make a bucket."""
        self.send(self.signer.head("PUT", f"/{name}", length=0))

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/-/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running(
    folder: Path, keys: Keys, *, workers: int = 1, bucket: str | None = BUCKET
) -> Iterator[Server]:
    """Run a server for the time of the block; with ``bucket`` it is made first."""
    server = Server(folder, keys, workers=workers)
    try:
        server.start()
        if bucket is not None:
            server.create_bucket(bucket)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
