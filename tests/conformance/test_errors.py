"""Errors on the wire: codes, statuses, XML, empty HEAD replies, 100-continue, kept connections."""

import contextlib

import pytest

from tests.servers import Server, fresh_name
from tests.wire import S3Wire, render_head


def test_an_error_is_a_document_with_its_request(wire: S3Wire, bucket: str) -> None:
    """Code, Message, Resource, RequestId; the id is the header's."""
    answer = wire.call("GET", f"/{bucket}/no%26key")
    root = answer.xml
    assert root.tag == "Error"
    assert root.findtext("Code") == "NoSuchKey"
    assert root.findtext("Message") == "The specified key does not exist."
    assert root.findtext("Key") == "no&key"
    assert root.findtext("RequestId") == answer.header("x-amz-request-id")
    assert answer.header("x-amz-request-id")
    assert answer.header("Content-Type") == "application/xml"
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')


def test_every_reply_has_its_own_request_id(wire: S3Wire, bucket: str) -> None:
    """Successes too."""
    ids = {wire.call("GET", f"/{bucket}").header("x-amz-request-id") for _ in range(5)}
    assert len(ids) == 5
    assert "" not in ids


def test_the_request_id_is_in_the_log(server: Server, wire: S3Wire, bucket: str) -> None:
    """One access line per request can be found by the id that the client saw."""
    request_id = wire.call("GET", f"/{bucket}/logged").header("x-amz-request-id")
    server.wait_for_log(request_id)


def test_a_head_has_no_body_and_keeps_the_connection(wire: S3Wire, bucket: str) -> None:
    """Errors on HEAD are bare; the next request on the connection is answered rightly."""
    with wire.connect() as one:
        for _ in range(3):
            one.send(wire.signed_head("HEAD", f"/{bucket}/none"))
            assert one.read(is_head=True).status == 404
        one.send(wire.signed_head("GET", f"/{bucket}/none"))
        assert one.read().code == "NoSuchKey"


SUBRESOURCES = [
    *("accelerate", "analytics", "cors", "encryption", "intelligent-tiering", "inventory"),
    *("lifecycle", "logging", "metadataTable", "metrics", "notification", "object-lock"),
    *("ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication"),
    *("requestPayment", "website", "torrent", "restore", "legal-hold", "retention", "select"),
    *("unknown", "abac", "session"),
]
REMOVABLE = {
    *("cors", "encryption", "lifecycle", "ownershipControls", "policy", "publicAccessBlock"),
    *("replication", "website"),
}


@pytest.mark.parametrize("name", SUBRESOURCES)
def test_an_unknown_subresource_touches_nothing(wire: S3Wire, bucket: str, name: str) -> None:
    """PUT, POST and DELETE of what is not built never reach bucket or object.

    Removing a setting that a bucket can't have is the one that succeeds: it is not there.
    """
    wire.call("PUT", f"/{bucket}/k", body=b"kept")
    for target in (f"/{bucket}?{name}", f"/{bucket}/k?{name}"):
        for method in ("PUT", "POST", "DELETE"):
            answer = wire.call(method, target, body=b"<x/>" if method != "DELETE" else b"")
            is_removal = method == "DELETE" and target == f"/{bucket}?{name}" and name in REMOVABLE
            assert answer.status == 204 if is_removal else answer.status >= 400, (method, target)
    assert wire.call("GET", f"/{bucket}/k").body == b"kept"


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_an_unknown_query_name_is_not_implemented_on_writes(
    wire: S3Wire, bucket: str, method: str
) -> None:
    """Ignored on GET and HEAD, 501 on writes, but x-id and x-... pass."""
    assert wire.call("GET", f"/{bucket}?anything=1").status == 200
    answer = wire.call(method, f"/{bucket}/k?anything=1")
    allowed = {(501, "NotImplemented")} | (
        {(405, "MethodNotAllowed")} if method == "POST" else set()
    )
    assert (answer.status, answer.code) in allowed
    assert wire.call("PUT", f"/{bucket}/k?x-id=PutObject").status == 200
    assert wire.call("PUT", f"/{bucket}/k?x-thing=1").status == 200


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "FOO", "CONNECT"])
def test_an_unknown_method_is_not_allowed(wire: S3Wire, bucket: str, method: str) -> None:
    """405 MethodNotAllowed, and the server lives."""
    answer = wire.call(method, f"/{bucket}/k")
    assert answer.status in {400, 405, 501}
    assert wire.call("GET", f"/{bucket}").status == 200


def test_the_root_and_health(server: Server, anonymous: S3Wire) -> None:
    """Health answers anybody; a GET of / without a signature is no listing."""
    for path in ("/-/healthz", "/-/readyz"):
        assert server.status_of(path) == 200
        assert server.status_of(path, server.console_port) == 200
    answer = anonymous.plain("GET", "/")
    assert answer.status in {200, 303, 307, 403}
    assert b"<Bucket>" not in answer.body


def test_the_100_comes_after_the_checks(wire: S3Wire, bucket: str) -> None:
    """Expect: 100-continue is answered before the body, or the error is instead."""
    expect = [("Expect", "100-continue")]
    with wire.connect() as one:
        one.send(wire.signed_head("PUT", f"/{bucket}/k", expect, b"abc"))
        assert one.read_head()[0] == 100
        one.send(b"abc")
        assert one.read().status == 200
    with wire.connect() as one:
        one.send(wire.signed_head("PUT", f"/{fresh_name()}/k", expect, b"abc"))
        assert one.read_head()[0] == 404


def test_the_100_comes_for_an_empty_body_too(wire: S3Wire, bucket: str) -> None:
    """Botocore misreads the next reply on a connection where a success came without its 100."""
    expect = [("Expect", "100-continue")]
    with wire.connect() as one:
        for body in (b"", b"abc", b""):
            one.send(wire.signed_head("PUT", f"/{bucket}/k", expect, body))
            assert one.read_head()[0] == 100
            one.send(body)
            assert one.read().status == 200


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_refusal_instead_of_a_100_ends_the_connection(
    wire: S3Wire, bucket: str, body: bytes
) -> None:
    """The client may or may not send its body, and botocore must not reuse the connection."""
    expect = [("Expect", "100-continue"), ("If-Match", '"0"')]
    with wire.connect() as one:
        one.send(wire.signed_head("PUT", f"/{bucket}/none", expect, body))
        answer = one.read()
        assert (answer.status, answer.header("Connection").lower()) == (404, "close")
        assert one.is_closed_by_peer()


def test_a_refused_body_does_not_become_a_request(wire: S3Wire, bucket: str) -> None:
    """After an early error the rest of the body is read or the connection closes."""
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" * 20
    with wire.connect() as one:
        one.send(wire.signed_head("PUT", f"/{fresh_name()}/k", body=body) + body)
        assert one.read().status == 404
        one.send_what_is_taken(wire.signed_head("GET", f"/{bucket}"))
        try:
            assert one.read().status == 200
        except ConnectionError:
            return


def test_a_large_refused_body_ends_the_connection(wire: S3Wire) -> None:
    """The server answers early and does not read gigabytes."""
    head = wire.signed_head("PUT", f"/{fresh_name()}/k", [("Content-Length", str(1 << 33))])
    with wire.connect() as one:
        one.send(head)
        assert one.read().status == 404


def test_requests_may_be_pipelined(wire: S3Wire, bucket: str) -> None:
    """Several requests sent at once are answered in order."""
    bodies = [b"x" * n for n in range(1, 6)]
    with wire.connect() as one:
        puts = [
            wire.signed_head("PUT", f"/{bucket}/k{n}", body=body) + body
            for n, body in enumerate(bodies)
        ]
        one.send(b"".join(puts))
        assert [one.read().status for _ in puts] == [200] * 5
        one.send(b"".join(wire.signed_head("GET", f"/{bucket}/k{n}") for n in range(5)))
        assert [one.read().body for _ in range(5)] == bodies


@pytest.mark.parametrize(
    "raw",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET " + b"/x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 2000 + b"\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /b/%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /b?%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /b?a=1&a=2 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_strange_request_is_an_error_not_a_crash(
    server: Server, anonymous: S3Wire, raw: bytes
) -> None:
    """4xx or a closed connection; the server answers the next one."""
    with anonymous.connect() as one:
        one.send_what_is_taken(raw)
        if raw.startswith(b"\x16"):
            one.socket.shutdown(1)
        with contextlib.suppress(ConnectionError):
            assert 400 <= one.read().status < 600
    assert server.status_of("/-/healthz") == 200


def test_http_one_zero_is_answered_and_closed(server: Server, anonymous: S3Wire) -> None:
    """Load balancers still probe with HTTP/1.0."""
    with anonymous.connect() as one:
        one.send(b"GET /-/healthz HTTP/1.0\r\n\r\n")
        assert one.read().status == 200
        assert one.is_closed_by_peer()


def test_a_connection_is_kept_through_errors(wire: S3Wire, bucket: str) -> None:
    """Refusals of small requests do not cost the connection."""
    with wire.connect() as one:
        for target, status in [(f"/{bucket}/none", 404), (f"/{bucket}?versionId=x", 200)] * 3:
            one.send(wire.signed_head("GET", target))
            assert one.read().status in {status, 400}
        one.send(render_head("GET", f"/{bucket}", [("Host", wire.netloc)]))
        assert one.read().status == 403
        one.send(wire.signed_head("GET", f"/{bucket}"))
        assert one.read().status == 200


def test_a_wrong_account_is_refused(wire: S3Wire, bucket: str) -> None:
    """x-amz-expected-bucket-owner that is not the bucket's tenant is 403."""
    answer = wire.call("GET", f"/{bucket}", [("x-amz-expected-bucket-owner", "000000000000")])
    assert (answer.status, answer.code) == (403, "AccessDenied")
