"""Signature Version 4: read a claim out of a request, and prove or refuse it."""

import calendar
import enum
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

import msgspec

from storage_server.core import limits
from storage_server.s3 import uri
from storage_server.s3.checksums import without_empty_promise
from storage_server.s3.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidArgument,
    InvalidRequest,
    NotImplementedByServer,
    RequestTimeTooSkewed,
    S3Error,
    SignatureDoesNotMatch,
)
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import iso_seconds

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()

_PAYLOAD_WORDS = frozenset(
    {UNSIGNED_PAYLOAD, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER}
)
_ASYMMETRIC = "AWS4-ECDSA-P256-SHA256"
_HEX_64 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SPACES = re.compile(r"[ \t]+")
_BASIC_TIME = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SIGNATURE_FIELD = "Signature="
# Parsed prefixes are kept before anyone is authenticated, so an entry's size is bounded as well.
_CACHED_PREFIX_CHARS_MAX = 512
_SCOPES_KEPT = 4  # of one secret: services, regions, and two days around midnight
_KEPT_REGION_CHARS_MAX = 64
_CREDENTIAL_FORM = (
    'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
)
_QUERY_NAMES = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
_NOT_HOISTED = frozenset({*(name.lower() for name in _QUERY_NAMES), "x-amz-security-token"})


class AuthenticationKind(enum.Enum):
    """Which of S3's ways a request uses to say who sent it."""

    NONE = "none"
    V2_HEADER = "v2-header"
    V2_QUERY = "v2-query"
    V4_HEADER = "v4-header"
    V4_QUERY = "v4-query"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"


_V4_HEADER: Final = AuthenticationKind.V4_HEADER  # an enum's attribute costs more than a global


class Scope(msgspec.Struct, frozen=True, gc=False):
    """Whose key signed, and for which day, region and service; the terminator is checked."""

    access_key_id: str
    date: str
    region: str
    service: str

    @property
    def text(self) -> str:
        """The scope as in the string to sign."""
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a request claims about its sender; nothing in it is proven yet.

    ``timestamp`` is in ISO basic form whatever the client used. ``payload`` is the last line of
    the canonical request. ``expires_s`` is 0 unless ``is_presigned``.
    """

    scope: Scope
    scope_text: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    signed_at_s: int
    payload: str
    is_presigned: bool = False
    expires_s: int = 0
    session_token: str = ""

    @property
    def access_key_id(self) -> str:
        """The key that is said to have signed."""
        return self.scope.access_key_id


class VerifyOptions(msgspec.Struct, frozen=True, gc=False):
    """What this endpoint accepts; the region is compared only when it is strict."""

    services: frozenset[str] = frozenset({"s3"})
    region: str = "us-east-1"
    strict_region: bool = False


DEFAULT_OPTIONS: Final = VerifyOptions()


class SigningKey:
    """A derived key, held as the two padded SHA-256 states of HMAC; the secret is not in it."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in padded]))
        self._outer = hashlib.sha256(bytes([byte ^ 0x5C for byte in padded]))

    def sign(self, text: bytes) -> str:
        """Return the hex HMAC-SHA256 of the text."""
        inner = self._inner.copy()
        inner.update(text)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


class SigningKeys:
    """Derived keys by secret, each of a few scopes; the secrets kept first are forgotten first.

    ``version`` stands for the secret (its sealed form, say): another secret is another entry, and
    the secret itself is never kept. A key is kept once something signed with it was proven: what
    anybody claims who knows the id of an access key pushes out nothing.
    """

    def __init__(self, entries_max: int = 4096) -> None:
        self._entries_max = entries_max
        self._kept: OrderedDict[bytes, list[tuple[Scope, SigningKey]]] = OrderedDict()

    def find(self, scope: Scope, version: bytes) -> SigningKey | None:
        """Return the key that signs for the scope, if it is kept."""
        for known, key in self._kept.get(version, ()):
            if known == scope:
                return key
        return None

    def keep(self, scope: Scope, version: bytes, key: SigningKey) -> None:
        """Keep the key of a scope that was proven; the first of a new day drops all earlier ones.

        One of an overlong region is passed over: what is kept is of bounded size.
        """
        if len(scope.region) > _KEPT_REGION_CHARS_MAX:
            return
        kept = self._kept.get(version, [])
        if all(known.date < scope.date for known, _ in kept):
            kept = []
        self._kept[version] = [*kept, (scope, key)][-_SCOPES_KEPT:]
        if len(self._kept) > self._entries_max:
            self._kept.popitem(last=False)


def derive_key(secret: str, scope: Scope) -> SigningKey:
    """Derive the signing key of a day, region and service.

    Source: S3 API Reference, "Signature Calculations for the Authorization Header".
    """
    assert secret, "an empty secret would let anyone sign"
    key = ("AWS4" + secret).encode()
    for word in (scope.date, scope.region, scope.service, TERMINATOR):
        key = hmac.digest(key, word.encode("utf-8", "surrogateescape"), "sha256")
    return SigningKey(key)


def authentication_kind(head: RequestHead) -> AuthenticationKind:
    """Tell how a request authenticates, by the names present and not by their values."""
    authorization = head.headers.get("authorization")
    query = head.query
    if not query and authorization is not None and authorization.startswith("AWS4-"):
        return _V4_HEADER
    in_query = AuthenticationKind.NONE
    if query:
        if "X-Amz-Algorithm" in query or "X-Amz-Credential" in query or "X-Amz-Signature" in query:
            in_query = AuthenticationKind.V4_QUERY
        if "AWSAccessKeyId" in query or "Signature" in query:
            if in_query is not AuthenticationKind.NONE:
                return AuthenticationKind.CONFLICT
            in_query = AuthenticationKind.V2_QUERY
    if authorization is None:
        return in_query
    if in_query is not AuthenticationKind.NONE:
        return AuthenticationKind.CONFLICT
    if authorization.startswith("AWS4-"):
        return AuthenticationKind.V4_HEADER
    if authorization.startswith("AWS "):
        return AuthenticationKind.V2_HEADER
    return AuthenticationKind.UNSUPPORTED


def require_one_authentication(head: RequestHead) -> AuthenticationKind:
    """Return how a request authenticates.

    Raises:
        InvalidArgument: It does so in two ways at once, or in one that S3 does not have.
    """
    kind = authentication_kind(head)
    if kind is AuthenticationKind.CONFLICT:
        raise InvalidArgument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature "
            "query string parameter or the Authorization header should be specified",
            ArgumentName="Authorization",
        )
    if kind is AuthenticationKind.UNSUPPORTED:
        raise InvalidArgument("Unsupported Authorization Type", ArgumentName="Authorization")
    return kind


# --- Reading a claim -------------------------------------------------------------------------


def parse_header(head: RequestHead, *, body_sha256: str = "") -> Claim:
    """Read the claim of an Authorization header.

    ``body_sha256`` (hex) is for the services whose clients sign the body without saying so (IAM
    and STS); S3 requires ``x-amz-content-sha256``.

    Raises:
        AuthorizationHeaderMalformed: A part is missing, repeated or not of its form.
        AccessDenied: There is no valid date.
        NotImplementedByServer: The signature is asymmetric (Signature Version 4A).
        InvalidRequest: ``x-amz-content-sha256`` is missing.
        InvalidArgument: ``x-amz-content-sha256`` is neither a digest nor one of S3's words.
    """
    headers = head.headers
    text = headers["authorization"]
    cut = text.rfind(_SIGNATURE_FIELD)
    if cut < 0 or "," in (signature := text[cut + 10 :]):
        # Not the order that all known clients write; the parts decide.
        scope, scope_text, signed_headers, signature = _parse_authorization(text)
    elif cut <= _CACHED_PREFIX_CHARS_MAX:
        scope, scope_text, signed_headers = _parse_prefix(text[:cut])
    else:
        scope, scope_text, signed_headers = _parse_prefix.__wrapped__(text[:cut])
    timestamp = headers.get("x-amz-date") or headers.get("date", "")
    stamp, signed_at_s = _parse_time(timestamp)
    if not signed_at_s:
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header")
    return Claim(
        scope,
        scope_text,
        signed_headers,
        signature.strip(),
        stamp,
        signed_at_s,
        body_sha256 or _declared_payload(headers, None),
        session_token=headers.get("x-amz-security-token", ""),
    )


def parse_query(head: RequestHead) -> Claim:
    """Read the claim of a presigned request.

    Raises:
        AuthorizationQueryParametersError: A parameter is missing or not of its form.
        NotImplementedByServer: The signature is asymmetric (Signature Version 4A).
        InvalidArgument: A header is given in the query as well, or ``x-amz-content-sha256`` is
            neither a digest nor one of S3's words.
    """
    query = head.query
    if not all(query.get(name) for name in _QUERY_NAMES):
        raise AuthorizationQueryParametersError(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
            "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if query["X-Amz-Algorithm"] != ALGORITHM:
        if query["X-Amz-Algorithm"] == _ASYMMETRIC:
            raise NotImplementedByServer("Signature Version 4A is not implemented.")
        raise AuthorizationQueryParametersError(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    timestamp = query["X-Amz-Date"]
    stamp, signed_at_s = _parse_time(timestamp)
    if not signed_at_s or stamp != timestamp:
        raise AuthorizationQueryParametersError(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    scope = parse_credential(query["X-Amz-Credential"], AuthorizationQueryParametersError, "")
    return Claim(
        scope,
        scope.text,
        _parse_signed_headers(query["X-Amz-SignedHeaders"], AuthorizationQueryParametersError),
        query["X-Amz-Signature"],
        stamp,
        signed_at_s,
        _declared_payload(effective_headers(head), UNSIGNED_PAYLOAD),
        is_presigned=True,
        expires_s=_parse_expires(query["X-Amz-Expires"]),
        session_token=query.get("X-Amz-Security-Token", ""),
    )


def effective_headers(head: RequestHead) -> Mapping[str, str]:
    """Return the headers of a V4 presigned request, hoisted ``x-amz-*`` parameters among them.

    Raises:
        InvalidArgument: One header comes in both forms, or twice in the query.
    """
    hoisted: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in head.query.items():
        lowered = name.lower()
        if not lowered.startswith("x-amz-"):
            continue
        if lowered in seen or lowered in head.headers:
            raise InvalidArgument(
                "A header may be given in the request or in its query, but not in both.",
                ArgumentName=name,
            )
        seen.add(lowered)
        if lowered not in _NOT_HOISTED:
            hoisted[lowered] = value
    return {**head.headers, **without_empty_promise(hoisted)} if hoisted else head.headers


def effective_head(head: RequestHead) -> RequestHead:
    """Return the head of a V4 presigned request with its hoisted parameters as headers.

    For everything *behind* the verification: the signature covers the head as it came.
    """
    headers = effective_headers(head)
    if headers is head.headers:
        return head
    return msgspec.structs.replace(head, headers=headers)


def parse_credential(text: str, error: type[S3Error], prefix: str) -> Scope:
    """Read ``<access key id>/<date>/<region>/<service>/aws4_request``.

    The access key id may hold slashes. ``error`` is raised when the form is another one, its
    sentence starting with ``prefix``.
    """
    words = text.rsplit("/", 4)
    if len(words) != 5 or not words[0]:
        raise error(prefix + _CREDENTIAL_FORM)
    access_key_id, date, region, service, terminator = words
    if terminator != TERMINATOR:
        raise error(
            f'{prefix}incorrect terminal "{terminator}". This endpoint uses "{TERMINATOR}".'
        )
    if len(date) != 8 or not (date.isascii() and date.isdigit()):
        raise error(
            f'{prefix}incorrect date format "{date}". This date in the credential must be '
            'in the format "yyyyMMdd".'
        )
    if not region or not service:
        raise error(prefix + _CREDENTIAL_FORM)
    return Scope(access_key_id, date, region, service)


def parse_basic_time(text: str) -> int:
    """Return the epoch seconds of ``yyyyMMddTHHmmssZ``, or 0 when it is not of that form."""
    if not _BASIC_TIME.fullmatch(text):
        return 0
    try:
        return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return 0


def parse_date(text: str) -> int:
    """Return the epoch seconds of an HTTP date or an ISO basic time, or 0 when it is neither."""
    if at_s := parse_basic_time(text):
        return at_s
    try:
        parsed = parsedate_to_datetime(text)
        return max(0, int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0


@lru_cache(maxsize=512)
def _parse_short_time(text: str) -> tuple[str, int]:
    at_s = parse_date(text)
    return (basic_time(at_s), at_s) if at_s else ("", 0)


def _parse_time(text: str) -> tuple[str, int]:
    # No date form is longer; longer text is not worth a place in the cache.
    return _parse_short_time(text) if len(text) <= 64 else ("", 0)


def basic_time(at_s: int) -> str:
    """Render epoch seconds as ``yyyyMMddTHHmmssZ``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at_s))


@lru_cache(maxsize=10_240)  # keys with their day, and what they sign: 700 bytes each
def _parse_prefix(text: str) -> tuple[Scope, str, tuple[str, ...]]:
    # The text ends where the signature starts; an empty one stands in for it.
    scope, scope_text, signed_headers, _ = _parse_authorization(text + _SIGNATURE_FIELD)
    return scope, scope_text, signed_headers


def _parse_authorization(text: str) -> tuple[Scope, str, tuple[str, ...], str]:
    algorithm, _, rest = text.partition(" ")
    if algorithm.startswith(_ASYMMETRIC):
        raise NotImplementedByServer("Signature Version 4A is not implemented.")
    prefix = "The authorization header is malformed; "
    if algorithm != ALGORITHM:
        raise InvalidArgument("Unsupported Authorization Type", ArgumentName="Authorization")
    fields: dict[str, str] = {}
    for field in rest.split(","):
        name, equals, value = field.strip().partition("=")
        if not equals or name in fields or name not in ("Credential", "SignedHeaders", "Signature"):
            raise AuthorizationHeaderMalformed(
                prefix + "the authorization component is unknown, repeated or has no value."
            )
        fields[name] = value
    if len(fields) != 3:
        raise AuthorizationHeaderMalformed(
            prefix + "it requires Credential, SignedHeaders and Signature."
        )
    scope = parse_credential(fields["Credential"], AuthorizationHeaderMalformed, prefix)
    signed_headers = _parse_signed_headers(fields["SignedHeaders"], AuthorizationHeaderMalformed)
    return scope, scope.text, signed_headers, fields["Signature"]


def _parse_signed_headers(text: str, error: type[S3Error]) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if len(names) > limits.HEADERS_COUNT_MAX:
        raise error("SignedHeaders has more names than a request may have headers.")
    if not all(names) or len(set(names)) != len(names) or text != text.lower():
        raise error("SignedHeaders must be lower-case header names, each once, joined by ';'.")
    # Most clients sort; a client that does not has signed its own order, as AWS lets it.
    return names


def _parse_expires(text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise AuthorizationQueryParametersError("X-Amz-Expires should be a number")
    expires_s = int(text)
    if expires_s < 0:
        raise AuthorizationQueryParametersError("X-Amz-Expires must be non-negative")
    if expires_s == 0:
        raise AuthorizationQueryParametersError("X-Amz-Expires must be at least one second")
    if expires_s > limits.PRESIGN_SECONDS_MAX:
        raise AuthorizationQueryParametersError(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires "
            f"must be less than {limits.PRESIGN_SECONDS_MAX} seconds"
        )
    return expires_s


def _declared_payload(headers: Mapping[str, str], default: str | None) -> str:
    payload = headers.get("x-amz-content-sha256", default)
    if payload is None:
        raise InvalidRequest("Missing required header for this request: x-amz-content-sha256")
    if payload in _PAYLOAD_WORDS or _HEX_64.fullmatch(payload):
        return payload
    if payload.startswith("STREAMING-AWS4-ECDSA"):
        raise NotImplementedByServer("Signature Version 4A is not implemented.")
    raise InvalidArgument(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER "
        "or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=payload,
    )


# --- Proving it --------------------------------------------------------------------------------


def verify(
    claim: Claim,
    head: RequestHead,
    key: SigningKey,
    now_us: int,
    options: VerifyOptions = DEFAULT_OPTIONS,
) -> None:
    """Prove that the holder of the key signed this head, for now and for this endpoint.

    ``key`` is of the claim's scope. The body is not looked at: ``claim.payload`` is what it must
    be found to be.

    Raises:
        AuthorizationHeaderMalformed, AuthorizationQueryParametersError: The scope is of another
            day, service or (when strict) region.
        RequestTimeTooSkewed: A header was signed more than 15 minutes from now.
        AccessDenied: A presigned request is expired or not yet valid; or the host or an
            ``x-amz-*`` header is not signed.
        SignatureDoesNotMatch: Anything signed is not what arrived.
    """
    _check_scope(claim, options)
    if claim.is_presigned:
        _check_presigned_time(claim, now_us)
    elif abs(now_us - claim.signed_at_s * 1_000_000) > limits.CLOCK_SKEW_SECONDS_MAX * 1_000_000:
        raise RequestTimeTooSkewed(
            RequestTime=claim.timestamp,
            ServerTime=iso_seconds(now_us),
            MaxAllowedSkewMilliseconds=limits.CLOCK_SKEW_SECONDS_MAX * 1000,
        )
    if not _covers(claim.signed_headers, tuple(head.headers)):
        _refuse_unsigned(claim, head)
    canonical = canonical_request(claim, head)
    text = string_to_sign(claim, canonical)
    expected = key.sign(text).encode()
    if not hmac.compare_digest(expected, claim.signature.encode("utf-8", "surrogateescape")):
        raise SignatureDoesNotMatch(
            AWSAccessKeyId=claim.scope.access_key_id,
            StringToSign=text.decode("utf-8", "replace"),
            SignatureProvided=claim.signature,
            CanonicalRequest=canonical.decode("utf-8", "replace"),
        )


def canonical_request(claim: Claim, head: RequestHead) -> bytes:
    """Return what the client should have hashed.

    Raises:
        SignatureDoesNotMatch: A header said to be signed is not there.
    """
    headers = head.headers
    lines = [head.method, uri.canonical_path(head.raw_path)]
    without = "X-Amz-Signature" if claim.is_presigned else ""
    lines.append(uri.canonical_query(head.query, without=without))
    for name in claim.signed_headers:
        value = headers.get(name)
        if value is None:
            if name != "host":
                raise SignatureDoesNotMatch(
                    AWSAccessKeyId=claim.scope.access_key_id, SignatureProvided=claim.signature
                )
            value = head.host
        if "  " in value or "\t" in value:
            value = _SPACES.sub(" ", value)
        lines.append(f"{name}:{value.strip()}")
    lines.append(f"\n{';'.join(claim.signed_headers)}\n{claim.payload}")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def string_to_sign(claim: Claim, canonical: bytes) -> bytes:
    """Return what the signing key signs for a canonical request."""
    digest = hashlib.sha256(canonical).hexdigest()
    return f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope_text}\n{digest}".encode(
        "utf-8", "surrogateescape"
    )


def _check_scope(claim: Claim, options: VerifyOptions) -> None:
    scope = claim.scope
    error: type[S3Error] = AuthorizationHeaderMalformed
    prefix = "The authorization header is malformed; "
    if claim.is_presigned:
        error, prefix = AuthorizationQueryParametersError, "Error parsing the X-Amz-Credential "
        prefix += "parameter; "
    if not claim.timestamp.startswith(scope.date):
        raise error(
            f'{prefix}Invalid credential date "{scope.date}". This date is not the same as '
            f'X-Amz-Date: "{claim.timestamp[:8]}".'
        )
    if scope.service not in options.services:
        raise error(
            f'{prefix}incorrect service "{scope.service}". This endpoint belongs to '
            f'"{min(options.services)}".'
        )
    if options.strict_region and scope.region != options.region:
        raise error(
            f"{prefix}the region '{scope.region}' is wrong; expecting '{options.region}'",
            Region=options.region,
        )


def _check_presigned_time(claim: Claim, now_us: int) -> None:
    now_s = now_us / 1_000_000
    if now_s < claim.signed_at_s - limits.CLOCK_SKEW_SECONDS_MAX:
        raise AccessDenied("Request is not yet valid", ServerTime=iso_seconds(now_us))
    if now_s > claim.signed_at_s + claim.expires_s:
        details = {"X-Amz-Expires": claim.expires_s}
        raise AccessDenied(
            "Request has expired",
            Expires=iso_seconds((claim.signed_at_s + claim.expires_s) * 1_000_000),
            ServerTime=iso_seconds(now_us),
            **details,
        )


@lru_cache(maxsize=128)  # real clients send a few sets of names, each of some KiB at most
def _covers(signed: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Tell whether everything of a request is signed that must be, given its headers' names."""
    return "host" in signed and all(name in signed for name in names if name.startswith("x-amz-"))


def _refuse_unsigned(claim: Claim, head: RequestHead) -> None:
    names = [name for name in head.headers if name.startswith("x-amz-")] + ["host"]
    unsigned = sorted(name for name in names if name not in claim.signed_headers)
    raise AccessDenied(
        "There were headers present in the request which were not signed",
        HeadersNotSigned=", ".join(unsigned),
    )


# --- Signing, for our own clients ----------------------------------------------------------------


def sign_header(
    head: RequestHead,
    *,
    access_key_id: str,
    secret: str,
    now_us: int,
    region: str = "us-east-1",
    service: str = "s3",
    payload: str = UNSIGNED_PAYLOAD,
    session_token: str = "",
) -> dict[str, str]:
    """Return the headers to add to a request so that it is signed: date, payload, authorization.

    Every header that the head already has is signed.
    """
    stamp = basic_time(now_us // 1_000_000)
    added = {"x-amz-date": stamp, "x-amz-content-sha256": payload}
    if session_token:
        added["x-amz-security-token"] = session_token
    headers = {"host": head.host, **head.headers, **added}
    names = tuple(sorted(headers))
    scope = Scope(access_key_id, stamp[:8], region, service)
    claim = Claim(scope, scope.text, names, "", stamp, now_us // 1_000_000, payload)
    canonical = canonical_request(claim, msgspec.structs.replace(head, headers=headers))
    signature = derive_key(secret, scope).sign(string_to_sign(claim, canonical))
    added["authorization"] = (
        f"{ALGORITHM} Credential={access_key_id}/{scope.text}, SignedHeaders={';'.join(names)}, "
        f"Signature={signature}"
    )
    return added


def presign(
    head: RequestHead,
    *,
    access_key_id: str,
    secret: str,
    now_us: int,
    expires_s: int,
    region: str = "us-east-1",
    session_token: str = "",
) -> str:
    """Return the query (with the head's own parameters) that makes the request presigned.

    The host and every header that the head has are signed and must be sent with it.
    """
    stamp = basic_time(now_us // 1_000_000)
    headers = {"host": head.host, **head.headers}
    names = tuple(sorted(headers))
    scope = Scope(access_key_id, stamp[:8], region, "s3")
    query = {
        **head.query,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access_key_id}/{scope.text}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": ";".join(names),
    }
    if session_token:
        query["X-Amz-Security-Token"] = session_token
    payload = headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
    claim = Claim(scope, scope.text, names, "", stamp, now_us // 1_000_000, payload, True)
    signed = msgspec.structs.replace(head, headers=headers, query=query)
    signature = derive_key(secret, scope).sign(
        string_to_sign(claim, canonical_request(claim, signed))
    )
    return f"{uri.canonical_query(query)}&X-Amz-Signature={signature}"


# --- Chunks --------------------------------------------------------------------------------------


class ChunkSigner:
    """The chain of signatures over the chunks and the trailer of one streamed body.

    Source: S3 API Reference, "Signature Calculations for the Authorization Header: Transferring
    Payload in Multiple Chunks", and its page on trailing headers.
    """

    __slots__ = ("_key", "_middle", "_previous")

    def __init__(self, claim: Claim, key: SigningKey) -> None:
        self._key = key
        self._middle = f"{claim.timestamp}\n{claim.scope_text}\n"
        self._previous = claim.signature

    def sign_chunk(self, sha256_hex: str) -> str:
        """Return the signature that the next chunk must have, and move the chain past it."""
        text = f"{ALGORITHM}-PAYLOAD\n{self._middle}{self._previous}\n{EMPTY_SHA256}\n{sha256_hex}"
        self._previous = self._key.sign(text.encode("utf-8", "surrogateescape"))
        return self._previous

    def sign_trailer(self, sha256_hex: str) -> str:
        """Return the signature that the trailer must have, and move the chain past it."""
        text = f"{ALGORITHM}-TRAILER\n{self._middle}{self._previous}\n{sha256_hex}"
        self._previous = self._key.sign(text.encode("utf-8", "surrogateescape"))
        return self._previous
