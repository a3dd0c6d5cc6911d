"""S58: races have exactly one winner."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.routes import Scene
from tests.servers import HOST, Server
from tests.signing import Keys
from tests.wire import Answer, S3Wire

RIVALS = 16


def at_once(server: Server, keys: Keys, acts: list[Callable[[S3Wire], Answer]]) -> list[Answer]:
    """Do all acts at the same time, each on its own connection."""

    def run(act: Callable[[S3Wire], Answer]) -> Answer:
        rival = S3Wire(HOST, server.port, keys)
        try:
            return act(rival)
        finally:
            rival.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def completion(wire: S3Wire, scene: Scene, number: int, body: bytes) -> Callable[[S3Wire], Answer]:
    """Upload a part and return the completion with just that part."""
    target = f"/{scene.bucket}/upload?uploadId={scene.upload_id}"
    part = wire.call("PUT", f"{target}&partNumber={number}", body=body)
    etag = part.header("ETag")
    document = (
        f"<CompleteMultipartUpload><Part><PartNumber>{number}</PartNumber>"
        f"<ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    return lambda rival: rival.call("POST", target, body=document)


def test_s58_two_different_completions(
    server: Server, alice: Keys, wire: S3Wire, scene: Scene
) -> None:
    """Completions with different parts: one wins, the others find no upload."""
    acts = [completion(wire, scene, n, b"part %d" % n) for n in range(1, RIVALS + 1)]
    answers = at_once(server, alice, acts)
    won = [n for n, answer in enumerate(answers, 1) if answer.status == 200]
    assert len(won) == 1
    assert {answer.status for answer in answers} <= {200, 404, 409}
    assert wire.call("GET", f"/{scene.bucket}/upload").body == b"part %d" % won[0]


def test_s58_the_same_completion_many_times(
    server: Server, alice: Keys, wire: S3Wire, scene: Scene
) -> None:
    """Repeats of one completion are all answered alike and make one object."""
    act = completion(wire, scene, 1, b"part")
    answers = at_once(server, alice, [act] * RIVALS)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.texts("ETag")[0] for answer in answers}) == 1
    rows = wire.call("GET", f"/{scene.bucket}?versions&prefix=upload").xml.findall("Version")
    assert len(rows) == 1


def test_s58_completion_against_abortion(
    server: Server, alice: Keys, wire: S3Wire, scene: Scene
) -> None:
    """Either the object is there or the upload is gone; both say so."""
    complete = completion(wire, scene, 1, b"part")
    target = f"/{scene.bucket}/upload?uploadId={scene.upload_id}"

    def abort(rival: S3Wire) -> Answer:
        return rival.call("DELETE", target)

    answers = at_once(server, alice, [complete, abort])
    found = wire.call("GET", f"/{scene.bucket}/upload")
    if answers[0].status == 200:
        assert (found.status, found.body) == (200, b"part")
    else:
        assert answers[0].status == 404
        assert answers[1].status == 204
        assert found.status == 404
    assert not wire.call("GET", f"/{scene.bucket}?uploads").texts("Upload/UploadId")


@pytest.mark.parametrize("size", [5, 200_000])
def test_s58_fifty_creators(
    server: Server, alice: Keys, wire: S3Wire, scene: Scene, size: int
) -> None:
    """PUT If-None-Match * by fifty clients: one 200."""

    def create(number: int) -> Callable[[S3Wire], Answer]:
        body = bytes([number]) * size
        return lambda rival: rival.call(
            "PUT", f"/{scene.bucket}/new", [("If-None-Match", "*")], body
        )

    answers = at_once(server, alice, [create(number) for number in range(50)])
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 412}
    winner = statuses.index(200)
    assert wire.call("GET", f"/{scene.bucket}/new").body == bytes([winner]) * size


def test_s58_one_bucket_name_for_many_owners(server: Server, alice: Keys, bob: Keys) -> None:
    """Rival CreateBucket calls of two owners: one owner has it, the other is told so."""
    for lap in range(5):
        name = f"rivals-{alice.access_key.lower()}-{lap}"

        def create(rival: S3Wire, name: str = name) -> Answer:
            return rival.call("PUT", f"/{name}")

        with ThreadPoolExecutor(2) as pool:
            mine = pool.submit(at_once, server, alice, [create] * 4)
            theirs = pool.submit(at_once, server, bob, [create] * 4)
            told = [{answer.status for answer in run.result()} for run in (mine, theirs)]
        assert sorted(told, key=str) == [{200}, {409}]


def test_s58_bucket_deletion_against_a_put(server: Server, alice: Keys, wire: S3Wire) -> None:
    """Either the bucket is gone and the object refused, or the object is there."""
    for lap in range(10):
        name = f"vanish-{alice.access_key.lower()}-{lap}"
        wire.call("PUT", f"/{name}")

        def put(rival: S3Wire, name: str = name) -> Answer:
            return rival.call("PUT", f"/{name}/k", body=b"x")

        def remove(rival: S3Wire, name: str = name) -> Answer:
            return rival.call("DELETE", f"/{name}")

        stored, removed = at_once(server, alice, [put, remove])
        if stored.status == 200:
            assert removed.status == 409
            assert wire.call("GET", f"/{name}/k").body == b"x"
        else:
            assert (stored.status, removed.status) == (404, 204)
