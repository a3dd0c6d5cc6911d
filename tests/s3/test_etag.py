"""Entity tags: quotes, and the multipart one."""

import hashlib

from storage_server.s3 import etag


def test_a_multipart_tag_counts_its_parts() -> None:
    """MD5 of the parts' MD5s, a hyphen and their number."""
    parts = [hashlib.md5(b"a").digest(), hashlib.md5(b"b").digest()]
    assert etag.of_parts(parts) == hashlib.md5(b"".join(parts)).hexdigest() + "-2"
    assert etag.unquote(etag.quote("x-2")) == "x-2"
