"""Cross-origin answers: by the rules of a bucket, and for the pages of the console."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from storage_server.s3 import errors
from storage_server.s3.request import RequestHead

Pairs = tuple[tuple[str, str], ...]

METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE")
"""The methods that a rule may allow, and a presigned request may have."""

_HEADER_LIST: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{0,4096}", re.ASCII)
_ORIGIN: Final = re.compile(r"[!-~]{1,2048}", re.ASCII)
_EXPOSED: Final = ("Access-Control-Expose-Headers", "*")  # all: no credentials are sent
VARY: Final = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
"""What every reply says whose cross-origin headers depend on who asks."""
_AGE_S: Final = "600"  # for which a browser remembers a preflight; Chromium's ceiling is 7,200


class CorsRule(msgspec.Struct, frozen=True):
    """One rule of a bucket; ``max_age_s`` None: the browser's own age.

    Origins and headers may hold one ``*`` each.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age_s: int | None = None
    rule_id: str | None = None

    def allows_origin(self, origin: str) -> str | None:
        """Return what to answer to an origin, ``*`` or itself; None: the rule is not about it."""
        for allowed in self.origins:
            if allowed == "*":
                return "*"
            if _covers(allowed, origin):
                return origin
        return None

    def allows_headers(self, names: Sequence[str]) -> bool:
        """Tell whether a page may send headers of these names (in lower case)."""
        return all(
            any(_covers(allowed.lower(), name) for allowed in self.headers) for name in names
        )


def find_headers(rules: Sequence[CorsRule], head: RequestHead) -> Pairs:
    """Return what a reply to a page's request carries, by the first rule that is about it.

    No reply ever allows a browser's credentials: requests here are signed, and a page that may
    send cookies along could be any page. Without a rule the reply still varies by origin.
    """
    origin = head.headers.get("origin", "")
    if _ORIGIN.fullmatch(origin):
        for rule in rules:
            shown = rule.allows_origin(origin)
            if shown is not None and head.method in rule.methods:
                return _rule_headers(rule, shown)
    return (VARY,)


def preflight_headers(rules: Sequence[CorsRule], head: RequestHead) -> Pairs:
    """Return the answer to a preflight, by the first rule that allows all it asks for.

    Raises:
        BadRequest: The request is no preflight.
        AccessForbidden: No rule allows it.
    """
    require_preflight(head)
    origin = head.headers["origin"]
    method = head.headers["access-control-request-method"]
    asked = head.headers.get("access-control-request-headers", "")
    names = [name for name in (part.strip().lower() for part in asked.split(",")) if name]
    if _ORIGIN.fullmatch(origin) and _HEADER_LIST.fullmatch(asked):
        for rule in rules:
            shown = rule.allows_origin(origin)
            if shown is not None and method in rule.methods and rule.allows_headers(names):
                allowed = (("Access-Control-Allow-Headers", ", ".join(names)),) if names else ()
                return (*_rule_headers(rule, shown), *allowed)
    raise _forbidden("This CORS request is not allowed by any rule of the bucket.", head)


def require_preflight(head: RequestHead) -> None:
    """Return when a request is a browser's question about another one.

    Raises:
        BadRequest: It is not.
    """
    if "origin" not in head.headers:
        raise errors.BadRequest("Insufficient information. Origin request header needed.")
    method = head.headers.get("access-control-request-method")
    if method not in METHODS:
        shown = "null" if method is None else method[:16]
        raise errors.BadRequest(f"Invalid Access-Control-Request-Method: {shown}")


def refuse_preflight(head: RequestHead) -> errors.S3Error:
    """Return the answer to a preflight about a bucket without rules."""
    return _forbidden("CORS is not enabled for this bucket.", head)


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
            VARY,
        )

    def preflight_headers(self, head: RequestHead) -> Pairs:
        """Return the answer to a preflight of such a request.

        Raises:
            AccessForbidden: It asks for a method or header that no presigned request has.
        """
        method = head.headers.get("access-control-request-method", "")
        asked = head.headers.get("access-control-request-headers", "")
        names = {name.strip().lower() for name in asked.split(",")}
        if method not in METHODS or not _HEADER_LIST.fullmatch(asked) or "authorization" in names:
            raise _forbidden("This CORS request is not allowed.", head)
        allowed = (("Access-Control-Allow-Headers", asked),) if asked else ()
        return (
            ("Access-Control-Allow-Methods", ", ".join(METHODS)),
            *allowed,
            ("Access-Control-Max-Age", _AGE_S),
        )


def _rule_headers(rule: CorsRule, shown: str) -> Pairs:
    headers = [
        ("Access-Control-Allow-Origin", shown),
        ("Access-Control-Allow-Methods", ", ".join(rule.methods)),
    ]
    if rule.exposed:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed)))
    if rule.max_age_s is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age_s)))
    return (*headers, VARY)


def _covers(pattern: str, text: str) -> bool:
    """Tell whether a text is what a pattern with at most one ``*`` says."""
    before, star, behind = pattern.partition("*")
    if not star:
        return pattern == text
    return (
        len(text) >= len(before) + len(behind) and text.startswith(before) and text.endswith(behind)
    )


def _forbidden(sentence: str, head: RequestHead) -> errors.S3Error:
    return errors.AccessForbidden(
        f"CORSResponse: {sentence}",
        Method=head.headers.get("access-control-request-method", "")[:16],
        ResourceType="OBJECT" if head.key else "BUCKET",
    )


def _canonical(origin: str) -> str:
    """Return an origin as browsers spell it: lower case, no default port."""
    scheme, _, host = origin.strip().lower().partition("://")
    return f"{scheme}://{host.removesuffix(_PORTS.get(scheme, ':'))}" if host else ""


_PORTS: Final = {"http": ":80", "https": ":443"}
