"""Cross-origin answers: what a page of the console's origin may read of a presigned request."""

import re
from collections.abc import Mapping
from typing import Final

from storage_server.s3 import errors
from storage_server.s3.request import RequestHead

Pairs = tuple[tuple[str, str], ...]

_METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")
_HEADER_LIST: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{0,4096}", re.ASCII)
_EXPOSED: Final = ("Access-Control-Expose-Headers", "*")  # all: no credentials are sent
_VARY: Final = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_AGE_S: Final = "600"  # for which a browser remembers a preflight; Chromium's ceiling is 7,200


def is_signed_in_query(query: Mapping[str, str]) -> bool:
    """Tell whether a request, or the one that a preflight asks about, is a presigned one."""
    return "X-Amz-Signature" in query or ("Signature" in query and "AWSAccessKeyId" in query)


class ConsoleOrigin:
    """The one origin whose pages may use presigned URLs without any rule of the bucket's.

    The signature in the URL is the permission, so no credentials of the browser's are allowed.
    """

    def __init__(self, origin: str) -> None:
        """Speak for an origin such as ``https://console.example.org``; empty: for none."""
        self._origin = _canonical(origin)

    def is_asking(self, head: RequestHead) -> bool:
        """Tell whether a page of this origin sends the request, with a signature in its query."""
        origin = head.headers.get("origin")
        return (
            origin is not None
            and bool(self._origin)
            and _canonical(origin) == self._origin
            and is_signed_in_query(head.query)
        )

    def reply_headers(self, head: RequestHead) -> Pairs:
        """Return what a reply to such a request carries, be it a success or an error."""
        return (
            ("Access-Control-Allow-Origin", head.headers["origin"]),
            _EXPOSED,
            _VARY,
        )

    def preflight_headers(self, head: RequestHead) -> Pairs:
        """Return the answer to a preflight of such a request.

        Raises:
            AccessForbidden: It asks for a method or header that no presigned request has.
        """
        method = head.headers.get("access-control-request-method", "")
        asked = head.headers.get("access-control-request-headers", "")
        names = {name.strip().lower() for name in asked.split(",")}
        if method not in _METHODS or not _HEADER_LIST.fullmatch(asked) or "authorization" in names:
            raise errors.AccessForbidden(
                "CORSResponse: This CORS request is not allowed.",
                Method=method[:16],
                ResourceType="OBJECT" if head.key else "BUCKET",
            )
        allowed = (("Access-Control-Allow-Headers", asked),) if asked else ()
        return (
            ("Access-Control-Allow-Methods", ", ".join(_METHODS)),
            *allowed,
            ("Access-Control-Max-Age", _AGE_S),
        )


def _canonical(origin: str) -> str:
    """Return an origin as browsers spell it: lower case, no default port."""
    scheme, _, host = origin.strip().lower().partition("://")
    return f"{scheme}://{host.removesuffix(_PORTS.get(scheme, ':'))}" if host else ""


_PORTS: Final = {"http": ":80", "https": ":443"}
