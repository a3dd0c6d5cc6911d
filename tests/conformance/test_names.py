"""Bucket names are public, everything else of another owner is not; guessing gets slow."""

import base64
import zlib
from collections.abc import Iterator

import pytest

from tests.servers import HOST, Server, fresh_name
from tests.wire import S3Wire

ALLOWANCE = 20
DELETE = b"<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>"
CHECKSUM = [
    ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(DELETE).to_bytes(4, "big")).decode())
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows few misses."""
    server = Server(
        tmp_path_factory.mktemp("strict"), FAILED_LOOKUPS_PER_MINUTE=str(ALLOWANCE), WORKERS="1"
    )
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/no-such-{i}/k"), ("HEAD", "/taken"), ("PUT", "/taken")]
)
def test_a_guesser_is_slowed_down_and_nobody_else(strict: Server, method: str, path: str) -> None:
    """After the allowance every miss is 503; hits, other addresses and root go on."""
    root = strict.wire(strict.root_keys)
    assert root.call("PUT", "/taken").status == 200
    guesser = strict.wire(strict.create_owner("guesser"))
    assert guesser.call("PUT", f"/{(mine := fresh_name())}").status == 200
    told = {guesser.call(method, path.replace("{i}", str(i))).status for i in range(ALLOWANCE + 10)}
    assert 503 in told
    assert told <= {403, 404, 409, 503}
    assert guesser.call("HEAD", f"/{mine}").status == 200
    assert {root.call("HEAD", f"/no-such-{i}").status for i in range(ALLOWANCE + 10)} == {404}


def test_each_key_of_a_batch_is_refused_for_itself(
    bucket: str, wire: S3Wire, wire_bob: S3Wire, anonymous: S3Wire
) -> None:
    """As AWS: the request succeeds, its keys do not; nobody at all is refused outright."""
    wire.call("PUT", f"/{bucket}/a", body=b"x")
    refused = wire_bob.call("POST", f"/{bucket}?delete", CHECKSUM, DELETE)
    assert refused.status == 200
    assert refused.texts("Error/Code") == ["AccessDenied", "AccessDenied"]
    assert refused.texts("Error/Key") == ["a", "b"]
    assert anonymous.plain("POST", f"/{bucket}?delete", CHECKSUM, DELETE).status == 403
    assert wire.call("GET", f"/{bucket}/a").status == 200


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("POST", "/", "GET"),
        ("PATCH", "/{b}", "DELETE, GET, HEAD, OPTIONS, POST, PUT"),
        ("POST", "/{b}?versioning", "GET, PUT"),
        ("DELETE", "/{b}?acl", "GET, PUT"),
        ("PUT", "/{b}?versions", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    wire: S3Wire, bucket: str, method: str, target: str, allow: str
) -> None:
    """RFC 9110, 15.5.6: a 405 names what is allowed."""
    answer = wire.call(method, target.replace("{b}", bucket))
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    assert answer.header("Allow") == allow


def test_what_was_never_set_can_be_removed(wire: S3Wire, bucket: str) -> None:
    """SDKs and tools remove settings before they know that there are any."""
    for name in (
        *("policy", "cors", "lifecycle", "website", "replication", "encryption"),
        *("tagging", "publicAccessBlock", "ownershipControls"),
    ):
        assert wire.call("DELETE", f"/{bucket}?{name}").status == 204, name
    answer = wire.call("DELETE", f"/{bucket}?metrics&id=x")
    assert (answer.status, answer.code) == (404, "NoSuchConfiguration")
    assert wire.call("HEAD", f"/{bucket}").status == 200


def test_display_names_can_be_left_out(strict: Server, bucket: str, wire: S3Wire) -> None:
    """By default owners have names; AWS itself has dropped them."""
    assert wire.call("GET", "/").texts("Owner/DisplayName") == ["alice"]
    server = Server(strict.folder / "nameless", DISPLAY_NAMES="off", WORKERS="1")
    try:
        server.start()
        nameless = S3Wire(HOST, server.port, server.root_keys)
        answer = nameless.call("GET", "/")
        nameless.close()
        assert len(answer.texts("Owner/ID")) == 1
        assert answer.texts("Owner/DisplayName") == []
    finally:
        server.close()
