"""S61 and the truth of encryption: what lies on disk is unreadable, and a swap is noticed."""

import http.client
import json
import os
import random
from pathlib import Path

import pytest

from tests.servers import HOST, Server
from tests.wire import S3Wire

MARK = b"HOLDFAST-PLAINTEXT-MARK-0123456789"


def blobs_of(server: Server) -> list[Path]:
    """Return the large files that bodies live in, largest first; never LMDB's."""
    files = [path for path in server.data_dir.rglob("*") if path.is_file()]
    bodies = [path for path in files if path.suffix != ".mdb" and path.stat().st_size >= 1 << 20]
    return sorted(bodies, key=lambda path: path.stat().st_size, reverse=True)


def test_s61_no_plaintext_on_disk(private_server: Server) -> None:
    """Marked bodies of every size, a part and a copy leave no readable trace in any file."""
    wire = S3Wire(HOST, private_server.port, private_server.root_keys)
    wire.call("PUT", "/marked")
    for size in (1, 20, 2_000, 60_000):
        wire.call("PUT", f"/marked/k{size}", body=MARK * size)
    upload_id = wire.call("POST", "/marked/open?uploads").texts("UploadId")[0]
    wire.call("PUT", f"/marked/open?partNumber=1&uploadId={upload_id}", body=MARK * 100)
    wire.call("PUT", "/marked/copy", [("x-amz-copy-source", "/marked/k2000")])
    wire.close()
    private_server.stop()
    windows = [MARK[at : at + 16] for at in range(len(MARK) - 15)]
    secret = private_server.root_keys.secret_key.encode()
    for path in private_server.data_dir.rglob("*"):
        if path.is_file():
            content = read_sparse(path)
            assert not any(window in content for window in windows), path
            assert secret not in content, path


def read_sparse(path: Path) -> bytes:
    """Return the bytes of a file without its holes."""
    out = bytearray()
    with path.open("rb") as file:
        at, size = 0, path.stat().st_size
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            out += file.read(at - start)
    return bytes(out)


def test_s61_exchanged_and_flipped_bodies_are_noticed(private_server: Server) -> None:
    """Two bodies exchanged on disk, a flipped bit, a cut file: an error, never other bytes."""
    server = private_server
    wire = S3Wire(HOST, server.port, server.root_keys)
    wire.call("PUT", "/swapped")
    chance = random.Random(61)
    bodies = {name: chance.randbytes(2_000_000) for name in ("a", "b", "c", "d")}
    for name, body in bodies.items():
        assert wire.call("PUT", f"/swapped/{name}", body=body).status == 200
    wire.close()
    server.stop()
    files = [path for path in blobs_of(server) if 2_000_000 <= path.stat().st_size < 3_000_000]
    assert len(files) == len(bodies)
    first, second, third, fourth = files
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    flipped = bytearray(third.read_bytes())
    flipped[1_000_000] ^= 1
    third.write_bytes(flipped)
    os.truncate(fourth, fourth.stat().st_size - 70_000)
    server.start()
    intact = []
    for name, body in bodies.items():
        try:
            got = wire.call("GET", f"/swapped/{name}")
        except ConnectionError:
            wire.close()
            continue
        if got.status == 200 and got.body == body:
            intact.append(name)
        assert got.status >= 500 or got.body == body
    wire.close()
    assert not intact
    server.stop()
    assert server.command("fsck", expect=None).returncode != 0


def test_s61_what_is_damaged_is_told_to_the_one_who_runs_the_server(
    private_server: Server,
) -> None:
    """A reply that had to be broken off has its access line, and the log names bucket and key."""
    server = private_server
    wire = S3Wire(HOST, server.port, server.root_keys)
    wire.call("PUT", "/worn")
    assert wire.call("PUT", "/worn/film", body=random.Random(1).randbytes(4_000_000)).status == 200
    (file,) = [path for path in blobs_of(server) if 4_000_000 <= path.stat().st_size < 5_000_000]
    with file.open("r+b") as blob:
        blob.seek(3_500_000)
        blob.write(b"not what was written")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        wire.call("GET", "/worn/film")
    wire.close()
    server.stop()
    log = server.log_path.read_text()
    assert "stored bytes can't be read: bucket 'worn', key 'film'" in log
    assert "Traceback" not in log
    lines = [json.loads(line) for line in log.splitlines() if '"operation":"GetObject"' in line]
    assert {line["error"] for line in lines} == {"InternalError"}  # the client may ask twice


def test_s61_equal_bodies_look_different_on_disk(private_server: Server) -> None:
    """The same body twice shares no ciphertext: keys are unique per blob."""
    wire = S3Wire(HOST, private_server.port, private_server.root_keys)
    wire.call("PUT", "/twins")
    body = bytes(1_500_000)
    for name in ("a", "b", "a"):
        wire.call("PUT", f"/twins/{name}", body=body)
    wire.close()
    private_server.stop()
    files = [path for path in blobs_of(private_server) if path.stat().st_size < 3_000_000]
    blocks = [
        content[at : at + 64]
        for content in map(Path.read_bytes, files)
        for at in range(8192, 1_400_000, 65_536)
    ]
    assert len(blocks) >= 40
    assert len(set(blocks)) == len(blocks)
