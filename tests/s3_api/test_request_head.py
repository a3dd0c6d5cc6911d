"""From the wire to a request head."""

import ipaddress

import pytest

from storage_server.s3 import errors
from storage_server.s3.request import RequestHead
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.request_head import HeadReader

OPTIONS = S3Options(
    domains=("s3.example.org", "alt.example"),
    trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),),
)


def read(target: str, *headers: tuple[bytes, bytes], peer: str = "192.0.2.1") -> RequestHead:
    """Read the head of a GET."""
    if not any(name.lower() == b"host" for name, _ in headers):
        headers = ((b"Host", b"localhost:8080"), *headers)
    return HeadReader(OPTIONS).read("GET", target, headers, peer=peer, is_secure=False)


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        ("/", "", ""),
        ("/b", "b", ""),
        ("/b/", "b", ""),
        ("/b/k", "b", "k"),
        ("/b/a/b", "b", "a/b"),
        ("/b/a//b", "b", "a//b"),
        ("/b/../x", "b", "../x"),
        ("/b/./x", "b", "./x"),
        ("/b/%2F", "b", "/"),
        ("/b/a%2Fb", "b", "a/b"),
        ("/b/%252F", "b", "%2F"),
        ("/b/a+b", "b", "a+b"),
        ("/b/%C3%A4", "b", "ä"),
        ("/b/ä", "b", "ä"),
        ("/b/a?x=1", "b", "a"),
        ("http://other/b/k", "b", "k"),
    ],
)
def test_a_path_is_decoded_once(target: str, bucket: str, key: str) -> None:
    """Signature, permission and store must all see one key (S15)."""
    head = read(target)
    assert (head.bucket, head.key) == (bucket, key)


@pytest.mark.parametrize(
    "target",
    ["*", "", "b/k", "//", "//k", "/b/%", "/b/%f", "/b/%zz", "/b/%FF", "ftp://h/b", "/\udcff"],
)
def test_a_strange_target_is_an_error_reply(target: str) -> None:
    """Never a guess, and never a dead worker."""
    if target == "//":
        assert read(target).bucket == ""
        return
    with pytest.raises(errors.InvalidURI):
        read(target)


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        (b"b.s3.example.org", "b"),
        (b"B.S3.Example.Org:8080", "b"),
        (b"a.b.s3.example.org", "a.b"),
        (b"b.alt.example", "b"),
        (b"s3.example.org", None),
        (b"evils3.example.org", None),
        (b"127.0.0.1:8080", None),
        (b"[::1]:8080", None),
        (b"", None),
    ],
)
def test_a_label_below_a_domain_is_a_bucket(host: bytes, bucket: str | None) -> None:
    """Virtual-hosted style for every configured domain, path style for the rest."""
    head = read("/x/y", (b"Host", host))
    if bucket is None:
        assert (head.bucket, head.key, head.is_virtual_hosted) == ("x", "y", False)
    else:
        assert (head.bucket, head.key, head.is_virtual_hosted) == (bucket, "x/y", True)


def test_a_key_is_bounded_in_bytes() -> None:
    """1,024 bytes pass, one more does not."""
    assert read("/b/" + "a" * 1024).key == "a" * 1024
    for key in ("a" * 1025, "%C3%A4" * 513):
        with pytest.raises(errors.KeyTooLongError):
            read(f"/b/{key}")


def test_a_repeated_header_is_joined_in_order() -> None:
    """As SigV4 canonicalises it (S11)."""
    head = read("/b", (b"X-Amz-Meta-A", b"1"), (b"x-amz-meta-a", b"2"))
    assert head.headers["x-amz-meta-a"] == "1,2"


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Authorization"])
def test_a_header_that_decides_must_not_come_twice(name: bytes) -> None:
    """Two parsers would take two different ones."""
    with pytest.raises(errors.InvalidArgument):
        read("/b", (name, b"1"), (name, b"2"))


def test_a_header_that_is_no_text_is_refused() -> None:
    """What cannot be decoded cannot be signed either."""
    with pytest.raises(errors.InvalidArgument):
        read("/b", (b"x-amz-meta-a", b"\xff"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", b"198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", b"198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", b"1.2.3.4, 198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", b"<script>", "10.0.0.1"),
    ],
)
def test_only_trusted_peers_say_who_the_client_is(
    peer: str, forwarded: bytes, expected: str
) -> None:
    """An address from anybody else is what an attacker would like to be (S29)."""
    head = read("/b", (b"X-Forwarded-For", forwarded), (b"X-Forwarded-Proto", b"https"), peer=peer)
    assert head.peer == expected
    assert head.is_secure is peer.startswith("10.")
