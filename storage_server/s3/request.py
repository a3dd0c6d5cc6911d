"""The head of a request: everything but its body, as one value."""

from collections.abc import Mapping

import msgspec


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """A request without its body.

    ``headers`` has lower-case names; the values of a repeated header are joined with ``,`` in the
    order received, as SigV4 canonicalises them. ``raw_path`` and ``raw_query`` are exactly as on
    the wire (no ``?``), for signatures. ``query`` is decoded; names are case-sensitive and a
    name without ``=`` has the value ``""``; a repeated name never gets this far (400).
    ``bucket`` and ``key`` are decoded once, here, and nowhere again; ``""`` when absent.
    """

    method: str
    raw_path: str
    raw_query: str
    host: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    is_virtual_hosted: bool = False
    is_secure: bool = False
    peer: str = ""

    def header(self, name: str, default: str = "") -> str:
        """Return a header by its lower-case name."""
        return self.headers.get(name, default)
