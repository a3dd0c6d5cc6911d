"""Readers and writers at once: a reply is one version, whole, whatever happens meanwhile."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

from tests.servers import HOST, S3, Server
from tests.signing import Keys
from tests.wire import S3Wire

SIZE = 8 << 20


def test_a_read_in_flight_keeps_its_version(wire: S3Wire, s3: S3, bucket: str) -> None:
    """Overwriting and deleting the key, even deleting it twice, does not disturb a slow reader."""
    old = hashlib.shake_128(b"old").digest(SIZE)
    s3.put_object(Bucket=bucket, Key="k", Body=old)
    with wire.connect() as slow, wire.connect() as slower:
        for one in (slow, slower):
            one.send(wire.signed_head("GET", f"/{bucket}/k"))
            one.socket.recv(1000, 2)
        s3.put_object(Bucket=bucket, Key="k", Body=b"new")
        assert slow.read().body == old
        s3.delete_object(Bucket=bucket, Key="k")
        assert slower.read().body == old


def test_an_overwritten_key_is_never_torn(server: Server, alice: Keys, bucket: str) -> None:
    """Readers of a key that several writers replace see whole bodies with their own ETag."""
    bodies = [bytes([n]) * size for n, size in enumerate([10, 600, 5000, 300_000, 1_500_000])]
    etags = {hashlib.md5(body).hexdigest(): body for body in bodies}
    target = f"/{bucket}/k"
    first = S3Wire(HOST, server.port, alice)
    assert first.call("PUT", target, body=bodies[0]).status == 200
    first.close()

    def write(number: int) -> None:
        wire = S3Wire(HOST, server.port, alice)
        for lap in range(15):
            body = bodies[(number + lap) % len(bodies)]
            assert wire.call("PUT", target, body=body).status == 200
        wire.close()

    def read(_: int) -> None:
        wire = S3Wire(HOST, server.port, alice)
        for _ in range(25):
            got = wire.call("GET", target)
            assert got.status == 200
            assert got.body == etags[got.header("ETag").strip('"')]
            part = wire.call("GET", target, [("Range", "bytes=3-7")])
            assert part.body == etags[part.header("ETag").strip('"')][3:8]
        wire.close()

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(act, n) for n in range(4) for act in (write, read)]
        for one in done:
            one.result()


def test_what_one_worker_wrote_every_worker_reads(server: Server, alice: Keys, bucket: str) -> None:
    """Each of many connections sees a write at once, in GET and in a listing."""
    wires = [S3Wire(HOST, server.port, alice) for _ in range(10)]
    for number, writer in enumerate(wires):
        body = str(number).encode()
        assert writer.call("PUT", f"/{bucket}/k", body=body).status == 200
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        for reader in wires:
            assert reader.call("GET", f"/{bucket}/k").body == body
            assert reader.call("GET", f"/{bucket}?list-type=2").texts("Contents/ETag") == [etag]
    assert wires[0].call("PUT", f"/{bucket}-second").status == 200
    assert [wire.call("HEAD", f"/{bucket}-second").status for wire in wires] == [200] * 10
    assert wires[3].call("DELETE", f"/{bucket}-second").status == 204
    assert [wire.call("HEAD", f"/{bucket}-second").status for wire in wires] == [404] * 10
    for wire in wires:
        wire.close()


def test_a_bucket_made_again_is_empty_everywhere(server: Server, alice: Keys) -> None:
    """No worker remembers the content or the settings of the bucket that went."""
    wires = [S3Wire(HOST, server.port, alice) for _ in range(6)]
    name = f"again-{alice.access_key.lower()}"
    on = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    for lap, wire in enumerate(wires):
        assert wire.call("PUT", f"/{name}").status == 200
        for other in wires:
            assert not other.call("GET", f"/{name}?versions").texts("Version/Key")
            assert b"<Status>" not in other.call("GET", f"/{name}?versioning").body
        key = f"/{name}/{lap}"
        assert wire.call("PUT", key, body=b"x").status == 200
        assert wire.call("PUT", f"/{name}?versioning", body=on).status == 200
        version_id = wires[0].call("PUT", key, body=b"y").header("x-amz-version-id")
        assert version_id not in {"", "null"}
        for gone in (version_id, "null"):
            assert wires[-1].call("DELETE", f"{key}?versionId={gone}").status == 204
        assert wire.call("DELETE", f"/{name}").status == 204
    for wire in wires:
        wire.close()
