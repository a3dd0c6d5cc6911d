"""R6: conditional writes, deletes, reads and listings of many clients are linearizable per key."""

import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crash.histories import Call, is_linearizable
from tests.servers import HOST, IS_LONG, Server
from tests.signing import Keys
from tests.wire import Answer, S3Wire

KEYS = [f"k{i}" for i in range(5)]
CLIENTS = 16 if IS_LONG else 10
STEPS = 400 if IS_LONG else 60

Told = list[tuple[str, Call]]


class Client:
    """One client with its own connection and its own view of the ETags it has seen."""

    def __init__(self, server: Server, keys: Keys, bucket: str, number: int) -> None:
        """Seed the choices by the client's number."""
        self.wire = S3Wire(HOST, server.port, keys)
        self.bucket, self.number = bucket, number
        self.chance = random.Random(number)
        self.seen: dict[str, str] = {}
        self.told: Told = []

    def run(self) -> Told:
        """Do all steps and return what was seen."""
        try:
            for at in range(STEPS):
                self.one(at)
        finally:
            self.wire.close()
        return self.told

    def one(self, at: int) -> None:
        """Do one random operation."""
        key = self.chance.choice(KEYS)
        kind = self.chance.choice(
            ["put", "put-absent", "put-match", "put-match", "delete", "read", "read", "list"]
        )
        if kind == "list":
            self.list_all()
        elif kind == "read":
            self.read(key)
        elif kind == "delete":
            begin = time.monotonic()
            answer = self.wire.call("DELETE", f"/{self.bucket}/{key}")
            assert answer.status == 204
            self.told.append((key, Call("delete", begin, time.monotonic())))
        else:
            self.write(key, kind, f"{self.number}-{at}".encode())

    def read(self, key: str) -> None:
        """GET a key; the body must belong to the ETag."""
        begin = time.monotonic()
        answer = self.wire.call("GET", f"/{self.bucket}/{key}")
        etag = self.etag(answer)
        self.told.append((key, Call("read", begin, time.monotonic(), etag)))
        if etag:
            self.seen[key] = etag

    def etag(self, answer: Answer) -> str | None:
        """Return the ETag of a found object, None for a missing one."""
        assert answer.status in {200, 404}
        return answer.header("ETag") if answer.status == 200 else None

    def write(self, key: str, kind: str, body: bytes) -> None:
        """PUT a body that nobody else writes, under the kind's condition."""
        expected = self.seen.get(key, '"0123456789abcdef0123456789abcdef"')
        headers = {
            "put": [],
            "put-absent": [("If-None-Match", "*")],
            "put-match": [("If-Match", expected)],
        }[kind]
        if self.chance.random() < 0.2:
            body += bytes(60_000)
        begin = time.monotonic()
        answer = self.wire.call("PUT", f"/{self.bucket}/{key}", headers, body)
        end = time.monotonic()
        etag = f'"{md5(body)}"'
        if answer.status == 200:
            assert answer.header("ETag") == etag
            self.seen[key] = etag
            self.told.append((key, Call(kind, begin, end, etag, expected)))
        elif answer.status == 409:
            assert kind != "put"
        else:
            assert answer.status in {404, 412}
            self.told.append((key, Call(kind, begin, end, etag, expected, ok=False)))

    def list_all(self) -> None:
        """List; each key present or absent counts as a read of it."""
        begin = time.monotonic()
        root = self.wire.call("GET", f"/{self.bucket}?list-type=2").xml
        end = time.monotonic()
        found = {row.findtext("Key"): row.findtext("ETag") for row in root.findall("Contents")}
        assert set(found) <= set(KEYS)
        self.told += [(key, Call("read", begin, end, found.get(key))) for key in KEYS]


def md5(body: bytes) -> str:
    """Return the MD5 of a body."""
    return hashlib.md5(body).hexdigest()


@pytest.mark.parametrize("lap", range(5 if IS_LONG else 1))
def test_answers_have_an_order(server: Server, alice: Keys, bucket: str, lap: int) -> None:
    """Per key there is one order of all calls that explains every answer."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [
            pool.submit(Client(server, alice, bucket, lap * CLIENTS + number).run)
            for number in range(CLIENTS)
        ]
        told = [entry for run in runs for entry in run.result()]
    for key in KEYS:
        calls = [call for named, call in told if named == key]
        assert calls
        assert is_linearizable(calls), key
