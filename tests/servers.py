"""Fixtures that start real servers on loopback, in folders of their own, and talk to them."""

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.signing import Keys
from tests.wire import S3Wire

HOST = "127.0.0.1"
DOMAIN = "s3.holdfast.test"
REGION = "us-east-1"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
LOG_TIMEOUT_S = 5.0
POLL_S = 0.02
IS_LONG = os.environ.get("HOLDFAST_TEST_LONG") == "1"
IS_CI = os.environ.get("CI", "").lower() in {"1", "true"}

# What must never be in a log: signatures in any of their spellings.
SIGNATURE = re.compile(rb"[Ss]ignature=(?:[0-9a-f]{64}|[A-Za-z0-9%+/]{26,40}(?:=|%3D))")

# boto3's clients are generated at run time; tests use them as they come.
S3 = Any


def leave_out(reason: str) -> None:
    """Skip a test, or fail it where a skip is a failure."""
    if IS_CI:
        pytest.fail(f"would be skipped: {reason}")
    pytest.skip(reason)


def new_keys() -> Keys:
    """Return a key pair that nobody has used before."""
    return Keys("AK" + secrets.token_hex(9).upper(), secrets.token_urlsafe(30))


def boto_client(url: str, keys: Keys | None, **options: Any) -> S3:
    """Return a boto3 client with the SDK's defaults, path style and no retries."""
    settings: dict[str, Any] = {
        "s3": {"addressing_style": "path"},
        "retries": {"max_attempts": 0, "mode": "standard"},
        "read_timeout": 60,
        "max_pool_connections": 64,
    }
    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=keys.access_key if keys else None,
        aws_secret_access_key=keys.secret_key if keys else None,
        config=Config(**(settings | options)),
    )


class ReservedPort:
    """A port that stays ours until the server listens on it with SO_REUSEPORT."""

    def __init__(self, *, shared: bool) -> None:
        """Bind a free port; ``shared`` keeps it bound (never listening) while the server runs."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if shared:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((HOST, 0))
        self.number: int = self._socket.getsockname()[1]
        if not shared:
            self._socket.close()

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()


class Server:
    """One ``holdfast serve`` with its folder, its root key and the owners made in it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Prepare a server; nothing runs yet. ``settings`` are HOLDFAST_ names without prefix."""
        self.folder = folder
        self.data_dir = folder / "data"
        self.log_path = folder / "server.log"
        self.root_keys = new_keys()
        self.settings = settings
        self.program = ["-m", "storage_server"]
        self.secrets = [self.root_keys.secret_key]
        self._reserved = ReservedPort(shared=True)
        self.port = self._reserved.number
        self.console_port = ReservedPort(shared=False).number
        self.process: subprocess.Popen[bytes] | None = None
        self._closers: list[Callable[[], None]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The S3 endpoint."""
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server and of commands about it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST_", "AWS_"))}
        return kept | {
            "HOLDFAST_DATA_DIR": str(self.data_dir),
            "HOLDFAST_S3_LISTEN": f"{HOST}:{self.port}",
            "HOLDFAST_CONSOLE_LISTEN": f"{HOST}:{self.console_port}",
            "HOLDFAST_ROOT_ACCESS_KEY": self.root_keys.access_key,
            "HOLDFAST_ROOT_SECRET_KEY": self.root_keys.secret_key,
            "HOLDFAST_WORKERS": "2",
            "HOLDFAST_DOMAIN": DOMAIN,
            **{f"HOLDFAST_{name}": text for name, text in self.settings.items()},
        }

    def start(self) -> None:
        """Start the processes and return when the S3 port is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the processes."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "serve"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )

    def wait_until_ready(self) -> None:
        """Return when /-/readyz answers 200; fail when the server dies or takes too long."""
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.status_of("/-/readyz") != 200:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(POLL_S)
                raise AssertionError(f"server ended early:\n{self.log_tail()}")
            assert time.monotonic() < deadline, f"not ready in time:\n{self.log_tail()}"

    def status_of(self, path: str, port: int | None = None) -> int:
        """Return the status of a plain GET, or 0 when nobody answers."""
        connection = http.client.HTTPConnection(HOST, port or self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def log_tail(self, count: int = 60) -> str:
        """Return the last lines of the log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-count:])

    def processes(self) -> list[psutil.Process]:
        """Return the supervisor and everything under it."""
        assert self.process is not None
        try:
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> int:
        """Ask the server to end and return its exit status; -9 when it had to be killed."""
        if self.process is None:
            return 0
        family = self.processes()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = -9
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if member.is_running():
                    member.kill()
        self.process.wait(STOP_TIMEOUT_S)
        self.process = None
        return status

    def kill_supervisor(self) -> None:
        """Kill the supervisor and return when all of its family has gone by itself."""
        family = self.processes()
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)
        self.process = None
        _, alive = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
        for member in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        assert not alive, f"outlived their supervisor: {alive}"

    def close(self) -> None:
        """Stop, close every client, and check that no log line holds a secret."""
        for close in self._closers:
            close()
        self._closers.clear()
        try:
            self.stop()
            assert not self.leaks(), "the log holds secrets"
        finally:
            self._reserved.close()
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def wait_for_log(self, text: str) -> None:
        """Return when the log holds a text; lines are written in batches, after the reply."""
        deadline = time.monotonic() + LOG_TIMEOUT_S
        while text not in self.log_path.read_text(errors="replace"):
            assert time.monotonic() < deadline, f"not logged: {text}"
            assert self.status_of("/-/healthz") == 200

    def wait_for_log_count(self, text: str, count: int) -> None:
        """Return when the log holds a text so many times; the server may be restarting."""
        deadline = time.monotonic() + LOG_TIMEOUT_S
        while self.log_path.read_text(errors="replace").count(text) < count:
            assert time.monotonic() < deadline, f"not logged: {text}"
            self.status_of("/-/healthz")

    def leaks(self) -> list[bytes]:
        """Return the log lines that hold a secret key or a signature."""
        if not self.log_path.exists():
            return []
        known = [secret.encode() for secret in self.secrets]
        return [
            line
            for line in self.log_path.read_bytes().splitlines()
            if SIGNATURE.search(line) or any(secret in line for secret in known)
        ]

    def command(
        self, *arguments: str, stdin: str = "", expect: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run ``holdfast`` about this server's folder."""
        done = subprocess.run(
            [sys.executable, "-m", "storage_server", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.folder,
        )
        said = f"holdfast {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert expect is None or done.returncode == expect, said
        return done

    def create_owner(self, name: str, keys: Keys | None = None) -> Keys:
        """Give an owner a key; owners are made when first named."""
        keys = keys or new_keys()
        self.secrets.append(keys.secret_key)
        done = self.command(
            *("key", "create", "--owner", name, "--access-key", keys.access_key),
            *("--secret-key", "-", "--json"),
            stdin=keys.secret_key + "\n",
        )
        assert json.loads(done.stdout)
        return keys

    def boto(self, keys: Keys | None, **options: Any) -> S3:
        """Return a boto3 client that ends with the server."""
        client = boto_client(self.url, keys, **options)
        self._closers.append(client.close)
        return client

    def wire(self, keys: Keys | None) -> S3Wire:
        """Return a raw client that ends with the server."""
        wire = S3Wire(HOST, self.port, keys)
        self._closers.append(wire.close)
        return wire


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """Return code and status of the error that a boto3 call must end in."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response: Any = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def fresh_name(stem: str = "bucket") -> str:
    """Return a bucket name that nobody has."""
    return f"{stem}-{uuid.uuid4().hex[:16]}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that many tests share; each uses buckets of its own."""
    shared = Server(tmp_path_factory.mktemp("shared"))
    try:
        shared.start()
        yield shared
    finally:
        shared.close()


@pytest.fixture
def private_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, started, to be killed or reconfigured."""
    own = Server(tmp_path / "server")
    try:
        own.start()
        yield own
    finally:
        own.close()


@pytest.fixture(scope="session")
def alice(server: Server) -> Keys:
    """The keys of the first owner."""
    return server.create_owner("alice")


@pytest.fixture(scope="session")
def bob(server: Server) -> Keys:
    """The keys of another owner."""
    return server.create_owner("bob")


@pytest.fixture(scope="session")
def s3(server: Server, alice: Keys) -> S3:
    """The first owner's boto3 client, with the SDK's defaults."""
    return server.boto(alice)


@pytest.fixture(scope="session")
def s3_bob(server: Server, bob: Keys) -> S3:
    """The other owner's boto3 client."""
    return server.boto(bob)


@pytest.fixture
def wire(server: Server, alice: Keys) -> Iterator[S3Wire]:
    """The first owner's raw client."""
    client = S3Wire(HOST, server.port, alice)
    yield client
    client.close()


@pytest.fixture
def wire_bob(server: Server, bob: Keys) -> Iterator[S3Wire]:
    """The other owner's raw client."""
    client = S3Wire(HOST, server.port, bob)
    yield client
    client.close()


@pytest.fixture
def anonymous(server: Server) -> Iterator[S3Wire]:
    """A raw client without keys."""
    client = S3Wire(HOST, server.port, None)
    yield client
    client.close()


@pytest.fixture
def bucket(s3: S3) -> str:
    """A new bucket of the first owner."""
    name = fresh_name()
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned(s3: S3) -> str:
    """A new bucket with versioning enabled."""
    name = fresh_name("versioned")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name
