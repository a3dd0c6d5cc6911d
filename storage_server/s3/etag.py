"""Entity tags: how S3 makes them, and their quotes."""

import hashlib
from collections.abc import Iterable


def quote(etag: str) -> str:
    """Return the tag in the quotes that headers and documents show it in."""
    return f'"{etag}"'


def unquote(text: str) -> str:
    """Return a tag that a client wrote, with or without its quotes."""
    return text.strip().removeprefix('"').removesuffix('"')


def of_parts(part_md5s: Iterable[bytes]) -> str:
    """Return a multipart object's tag: the MD5 of the parts' MD5s, and their number."""
    digests = list(part_md5s)
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"
