"""R2: any process may be killed at any moment; what was acknowledged stays, fsck is clean."""

import hashlib
import itertools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.servers import HOST, IS_LONG, Server
from tests.signing import Keys
from tests.wire import Answer, S3Wire

CLIENTS = 8
ROUNDS = 200 if IS_LONG else 8
STEPS_BEFORE_KILL = 120
SIZES = [0, 100, 600, 5_000, 70_000, 400_000, 1_300_000]


@dataclass(slots=True)
class Register:
    """What a key may hold: one value once acknowledged, several while replies are missing."""

    possible: set[str | None] = field(default_factory=lambda: {None})


class Client:
    """Writes keys that only it writes, and knows for each what may be read back."""

    def __init__(self, server: Server, keys: Keys, number: int, bucket: str, kept: str) -> None:
        """Seed by number; ``bucket`` is unversioned, ``kept`` keeps versions."""
        self.server, self.keys, self.number = server, keys, number
        self.bucket, self.kept = bucket, kept
        self.chance = random.Random(number)
        self.registers: dict[str, Register] = {}
        self.versions: dict[tuple[str, str], str] = {}
        self.counter = itertools.count()
        self.steps_count = 0

    def body(self) -> bytes:
        """Return a body that nobody else writes."""
        seed = f"{self.number}-{next(self.counter)}".encode()
        return hashlib.shake_128(seed).digest(self.chance.choice(SIZES)) + seed

    def run(self, is_over: Callable[[], bool]) -> None:
        """Do random operations until the round is over; lost replies are remembered as such."""
        wire = S3Wire(HOST, self.server.port, self.keys)
        try:
            while not is_over():
                act = self.chance.choice(
                    [self.put, self.put, self.put, self.delete, self.keep, self.upload, self.copy]
                )
                try:
                    act(wire)
                except OSError:
                    wire.close()
                self.steps_count += 1
        finally:
            wire.close()

    def change(self, key: str, value: str | None, send: Callable[[], Answer]) -> None:
        """Do one change of a key: known when answered, possible when not."""
        register = self.registers.setdefault(key, Register())
        register.possible.add(value)
        answer = send()
        if answer.status in {200, 204}:
            register.possible = {value}
        else:
            assert answer.status in {404, 500, 503}, answer

    def key(self) -> str:
        """Return one of this client's keys."""
        return f"{self.number}/{self.chance.randrange(12)}"

    def put(self, wire: S3Wire) -> None:
        """PutObject."""
        key, body = self.key(), self.body()
        target = f"/{self.bucket}/{key}"
        self.change(key, digest(body), lambda: wire.call("PUT", target, body=body))

    def delete(self, wire: S3Wire) -> None:
        """DeleteObject."""
        key = self.key()
        self.change(key, None, lambda: wire.call("DELETE", f"/{self.bucket}/{key}"))

    def keep(self, wire: S3Wire) -> None:
        """PutObject where versions stay: each acknowledged one must stay readable."""
        key, body = self.key(), self.body()
        answer = wire.call("PUT", f"/{self.kept}/{key}", body=body)
        if answer.status == 200:
            self.versions[key, answer.header("x-amz-version-id")] = digest(body)

    def upload(self, wire: S3Wire) -> None:
        """A multipart upload of two parts."""
        key, tail = self.key(), self.body()
        target = f"/{self.bucket}/{key}"
        made = wire.call("POST", f"{target}?uploads")
        if made.status != 200:
            return
        upload_id = made.texts("UploadId")[0]
        rows = ""
        for number, body in ((1, FIVE), (2, tail)):
            query = f"?partNumber={number}&uploadId={upload_id}"
            part = wire.call("PUT", target + query, body=body)
            if part.status != 200:
                return
            etag = part.header("ETag")
            rows += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        self.change(
            key,
            digest(FIVE + tail),
            lambda: wire.call("POST", f"{target}?uploadId={upload_id}", body=body),
        )

    def copy(self, wire: S3Wire) -> None:
        """CopyObject of a key whose content is known, onto another."""
        known = [key for key, held in self.registers.items() if held.possible - {None}]
        if not known:
            return
        source, key = self.chance.choice(known), self.key()
        possible = self.registers[source].possible
        if source == key or len(possible) != 1:
            return
        (value,) = possible
        headers = [("x-amz-copy-source", f"/{self.bucket}/{source}")]
        target = f"/{self.bucket}/{key}"
        self.change(key, value, lambda: wire.call("PUT", target, headers))

    def verify(self) -> None:
        """Read everything back; what is read settles what was possible."""
        wire = S3Wire(HOST, self.server.port, self.keys)
        for key, register in self.registers.items():
            got = wire.call("GET", f"/{self.bucket}/{key}")
            assert got.status in {200, 404}, got
            found = digest(got.body) if got.status == 200 else None
            assert found in register.possible, f"{key}: {found} is not in {register.possible}"
            register.possible = {found}
        for (key, version_id), want in self.versions.items():
            got = wire.call("GET", f"/{self.kept}/{key}?versionId={version_id}")
            assert got.status == 200, f"{key} {version_id}: {got}"
            assert digest(got.body) == want
        wire.close()


FIVE = bytes(5 << 20)


def digest(body: bytes) -> str:
    """Return what stands for a body in the registers."""
    return hashlib.sha256(body).hexdigest()


def under_load(clients: list[Client], strike: Callable[[], None]) -> None:
    """Let all clients work, strike when enough was done, and end when all have met the blow."""
    over = threading.Event()
    threads = [threading.Thread(target=client.run, args=(over.is_set,)) for client in clients]
    start = sum(client.steps_count for client in clients)
    for thread in threads:
        thread.start()
    while sum(client.steps_count for client in clients) < start + STEPS_BEFORE_KILL:
        threads[0].join(0.005)
    strike()
    over.set()
    for thread in threads:
        thread.join()


@pytest.mark.timeout(3600 if IS_LONG else 240)
def test_r2_kill_of_any_process_loses_nothing(private_server: Server) -> None:
    """Workers, jobs, console and supervisor in turn; then fsck finds nothing to repair."""
    server = private_server
    keys = server.create_owner("crash")
    s3 = server.boto(keys)
    s3.create_bucket(Bucket="plain-bucket")
    s3.create_bucket(Bucket="kept-bucket")
    s3.put_bucket_versioning(Bucket="kept-bucket", VersioningConfiguration={"Status": "Enabled"})
    clients = [Client(server, keys, n, "plain-bucket", "kept-bucket") for n in range(CLIENTS)]
    chance = random.Random(2)
    for lap in range(ROUNDS):
        family = server.processes()
        victims = [family[0]] if lap % 5 == 4 else family[1:]
        victim = chance.choice(victims)
        under_load(clients, lambda victim=victim: strike(server, victim))  # type: ignore[misc]
        if server.process is None:
            server.start()
        server.wait_until_ready()
        for client in clients:
            client.verify()
    assert server.stop() == 0
    server.command("fsck")


def strike(server: Server, victim: psutil.Process) -> None:
    """Kill one process; with the supervisor its whole family must go."""
    assert server.process is not None
    if victim.pid == server.process.pid:
        server.kill_supervisor()
    else:
        victim.kill()


def test_a_killed_worker_is_replaced(private_server: Server) -> None:
    """The supervisor restarts what dies, and the port answers meanwhile and afterwards."""
    server = private_server
    before = {member.pid for member in server.processes()}
    victims = server.processes()[1:]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)
    server.wait_until_ready()
    wire = S3Wire(HOST, server.port, server.root_keys)
    assert wire.call("GET", "/").status == 200
    wire.close()
    after = {member.pid for member in server.processes()}
    assert server.process is not None
    assert before & after == {server.process.pid}


def test_a_second_server_is_refused(private_server: Server, tmp_path: Path) -> None:
    """It says so and exits; the first one goes on."""
    other = Server(tmp_path / "other", DATA_DIR=str(private_server.data_dir))
    done = other.command("serve", expect=None)
    other.close()
    assert done.returncode != 0
    assert done.stderr + done.stdout
    assert private_server.status_of("/-/readyz") == 200


def test_a_drained_server_finishes_what_it_began(private_server: Server) -> None:
    """On SIGTERM a request in flight is answered; the exit status is 0."""
    server = private_server
    wire = S3Wire(HOST, server.port, server.root_keys)
    assert wire.call("PUT", "/drained").status == 200
    body = bytes(2_000_000)
    head = wire.signed_head("PUT", "/drained/k", body=body)
    with wire.connect() as slow:
        slow.send(head + body[:1_000_000])
        assert wire.call("HEAD", "/drained").status == 200
        assert server.process is not None
        server.process.terminate()
        slow.send(body[1_000_000:])
        assert slow.read().status == 200
    wire.close()
    assert server.process.wait(30) == 0
    server.process = None
    server.start()
    assert wire.call("HEAD", "/drained/k").header("Content-Length") == "2000000"
    wire.close()
