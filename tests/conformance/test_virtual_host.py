"""Virtual-hosted style: the bucket is in the Host header."""

import pytest

from tests.servers import DOMAIN, Server
from tests.wire import S3Wire


def test_the_host_names_the_bucket(wire: S3Wire, bucket: str) -> None:
    """Objects put by host are the objects of the path."""
    host = f"{bucket}.{DOMAIN}:{wire.port}"
    assert wire.call("PUT", "/a/b%20c", body=b"x", host=host).status == 200
    assert wire.call("GET", f"/{bucket}/a/b%20c").body == b"x"
    assert wire.call("GET", "/a/b%20c", host=host).body == b"x"
    assert wire.call("GET", "/?list-type=2", host=host).texts("Contents/Key") == ["a/b c"]
    assert wire.call("HEAD", "/", host=host).status == 200
    assert wire.call("DELETE", "/a/b%20c", host=host).status == 204


@pytest.mark.parametrize("change", [str.upper, lambda host: host.partition(":")[0]])
def test_case_and_port_of_the_host_do_not_matter(wire: S3Wire, bucket: str, change: object) -> None:
    """Host names are case-insensitive."""
    assert callable(change)
    host = change(f"{bucket}.{DOMAIN}:{wire.port}")
    assert wire.call("HEAD", "/", host=host).status == 200


def test_the_bare_domain_is_path_style(wire: S3Wire, bucket: str) -> None:
    """The domain itself names no bucket."""
    host = f"{DOMAIN}:{wire.port}"
    assert wire.call("HEAD", f"/{bucket}", host=host).status == 200
    assert bucket in wire.call("GET", "/", host=host).texts("Buckets/Bucket/Name")


def test_another_host_is_path_style(wire: S3Wire, bucket: str) -> None:
    """Unknown hosts are names of this machine."""
    assert wire.call("HEAD", f"/{bucket}", host="storage.example:1").status == 200


def test_a_bucket_with_dots_by_host(wire: S3Wire, bucket: str) -> None:
    """Everything before the domain is the bucket."""
    dotted = f"{bucket}.with.dots"
    assert wire.call("PUT", "/", host=f"{dotted}.{DOMAIN}").status == 200
    assert wire.call("HEAD", f"/{dotted}").status == 200


def test_a_key_like_a_health_path_is_a_key_by_host(wire: S3Wire, bucket: str) -> None:
    """Health answers only where the host names no bucket."""
    host = f"{bucket}.{DOMAIN}"
    assert wire.call("PUT", "/-/healthz", body=b"mine", host=host).status == 200
    assert wire.call("GET", "/-/healthz", host=host).body == b"mine"


def test_a_presigned_url_by_host(wire: S3Wire, server: Server, bucket: str) -> None:
    """The signed host must be the sent one."""
    host = f"{bucket}.{DOMAIN}:{server.port}"
    wire.call("PUT", f"/{bucket}/k", body=b"x")
    url = wire.signer.presign("GET", "/k", host)
    head = f"GET {url} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert wire.raw("GET", head).body == b"x"
    head = f"GET {url} HTTP/1.1\r\nHost: other.{host}\r\n\r\n".encode()
    assert wire.raw("GET", head).status in {403, 404}
