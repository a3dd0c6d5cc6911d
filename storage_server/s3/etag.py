"""Entity tags: how S3 makes them, and how conditional headers name them."""

import hashlib
import re
from collections.abc import Iterable

import msgspec

_ITEM = re.compile(r'\s*(W/)?(?:"([^"]*)"|([^\s",]+))\s*(?:,|$)')


class EtagList(msgspec.Struct, frozen=True, gc=False):
    """The value of an If-Match or If-None-Match header; ``is_any`` is ``*``."""

    is_any: bool = False
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    def matches_strongly(self, etag: str) -> bool:
        """Tell whether an existing object with this unquoted ETag satisfies If-Match."""
        return self.is_any or etag in self.strong

    def matches_weakly(self, etag: str) -> bool:
        """Tell whether an existing object with this unquoted ETag fails If-None-Match."""
        return self.is_any or etag in self.strong or etag in self.weak


def parse_list(header: str) -> EtagList:
    """Read an If-Match or If-None-Match value: quoted, bare or weak tags, or ``*``.

    What cannot be read as a list is one tag, as it stands: it will equal no object's.

    Source: RFC 9110, 13.1.1 and 13.1.2; clients of S3 leave the quotes out, and S3 lets them.
    """
    text = header.strip()
    if text == "*":
        return EtagList(is_any=True)
    strong: list[str] = []
    weak: list[str] = []
    position = 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None:
            return EtagList(strong=(text,))
        tag = match[2] if match[2] is not None else match[3]
        (weak if match[1] else strong).append(tag)
        position = match.end()
    return EtagList(strong=tuple(strong), weak=tuple(weak))


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
