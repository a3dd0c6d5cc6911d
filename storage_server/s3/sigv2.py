"""Signature Version 2: read a claim, prove it, and refuse what its signature does not cover."""

import base64
import hmac
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from storage_server.core import limits
from storage_server.s3 import sigv4, uri
from storage_server.s3.errors import (
    AccessDenied,
    InvalidArgument,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
)
from storage_server.s3.request import RequestHead
from storage_server.s3.timestamps import iso_seconds

# What the canonicalised resource holds, and so what a signature covers.
# Source: S3 User Guide, "Signing and authenticating REST requests (AWS signature version 2)",
# with the configuration names that came later and that AWS's own clients sign.
SUB_RESOURCES: Final = frozenset(
    {
        *("accelerate", "acl", "analytics", "cors", "delete", "inventory", "lifecycle"),
        *("location", "logging", "metrics", "notification", "object-lock", "partNumber"),
        *("policy", "replication", "requestPayment", "restore", "select", "select-type"),
        *("storageClass", "tagging", "torrent", "uploadId", "uploads", "versionId"),
        *("versioning", "versions", "website"),
    }
)
OVERRIDES: Final = frozenset(
    {
        *("response-cache-control", "response-content-disposition", "response-content-encoding"),
        *("response-content-language", "response-content-type", "response-expires"),
    }
)
# These only page or narrow a listing that the signature allows as a whole.
LISTING_PARAMETERS: Final = frozenset(
    {
        *("bucket-region", "continuation-token", "delimiter", "encoding-type", "fetch-owner"),
        *("key-marker", "list-type", "marker", "max-buckets", "max-keys", "max-parts"),
        *("max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker"),
        "version-id-marker",
    }
)
_AUTHENTICATION = frozenset({"AWSAccessKeyId", "Expires", "Signature"})
_TOKEN = "x-amz-security-token"  # noqa: S105 - a header's name
_SIGNED = SUB_RESOURCES | OVERRIDES
_ALLOWED = _SIGNED | LISTING_PARAMETERS | _AUTHENTICATION | {"x-id"}


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a Signature Version 2 request claims about its sender; nothing in it is proven yet.

    ``at_s`` is when it was signed or, presigned, when it expires (epoch seconds).
    """

    access_key_id: str
    signature: str
    at_s: int
    is_presigned: bool = False
    session_token: str = ""


def parse_header(head: RequestHead) -> Claim:
    """Read the claim of an ``AWS <key>:<signature>`` header.

    Raises:
        InvalidArgument: The header is not of that form.
        AccessDenied: There is no valid date.
    """
    text = head.headers["authorization"].removeprefix("AWS ").strip()
    access_key_id, colon, signature = text.rpartition(":")
    if not colon or not access_key_id or not signature or " " in text:
        raise InvalidArgument(
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            ArgumentName="Authorization",
        )
    at_s = sigv4.parse_date(head.header("x-amz-date") or head.header("date"))
    if not at_s:
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header")
    return Claim(access_key_id, signature, at_s, session_token=head.header("x-amz-security-token"))


def parse_query(head: RequestHead) -> Claim:
    """Read the claim of a presigned request.

    Raises:
        AccessDenied: One of its three parameters is missing, or the expiry is not a number.
    """
    query = head.query
    if not all(query.get(name) for name in _AUTHENTICATION):
        raise AccessDenied(
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId "
            "parameters"
        )
    expires = query["Expires"]
    if not (expires.isascii() and expires.isdigit()) or len(expires) > 12:
        raise AccessDenied(f"Invalid date (should be seconds since epoch): {expires}")
    return Claim(
        query["AWSAccessKeyId"],
        query["Signature"],
        int(expires),
        is_presigned=True,
        # Of what could stand in the query for a header, only this is taken: without it nobody
        # with a session could presign, and it is proven as a signed header.
        session_token=head.header(_TOKEN) or query.get(_TOKEN, ""),
    )


def verify(claim: Claim, head: RequestHead, secret: str, now_us: int) -> None:
    """Prove that the holder of the secret signed this head, for now, and all that matters in it.

    Raises:
        RequestTimeTooSkewed: A header was signed more than 15 minutes from now.
        AccessDenied: A presigned request is expired; or the request uses what this signature
            version does not cover (another sub-resource, a hoisted header, a streamed payload).
        SignatureDoesNotMatch: Anything signed is not what arrived.
    """
    assert secret, "an empty secret would let anyone sign"
    _check_time(claim, now_us)
    _refuse_uncovered(head)
    provided = claim.signature.encode("utf-8", "surrogateescape")
    text = ""
    for resource in _canonical_resources(head):
        text = string_to_sign(claim, head, resource)
        if hmac.compare_digest(sign(secret, text).encode(), provided):
            return
    raise SignatureDoesNotMatch(
        AWSAccessKeyId=claim.access_key_id,
        StringToSign=text,
        SignatureProvided=claim.signature,
    )


def sign(secret: str, text: str) -> str:
    """Return the base64 HMAC-SHA1 of a string to sign."""
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), "sha1")
    return base64.b64encode(digest).decode()


def string_to_sign(claim: Claim, head: RequestHead, resource: str) -> str:
    """Return what the client should have signed; ``resource`` is canonicalised already."""
    if claim.is_presigned:
        date = str(claim.at_s)
    else:
        date = "" if "x-amz-date" in head.headers else head.header("date")
    lines = [head.method, head.header("content-md5"), head.header("content-type"), date]
    signed = {name: value for name, value in head.headers.items() if name.startswith("x-amz-")}
    if claim.is_presigned and claim.session_token:
        signed[_TOKEN] = claim.session_token
    lines += [f"{name}:{value.strip()}" for name, value in sorted(signed.items())]
    lines.append(resource)
    return "\n".join(lines)


def sign_header(head: RequestHead, *, access_key_id: str, secret: str) -> dict[str, str]:
    """Return the ``authorization`` header for a head that has its date already."""
    claim = Claim(access_key_id, "", 0)
    text = string_to_sign(claim, head, next(_canonical_resources(head)))
    return {"authorization": f"AWS {access_key_id}:{sign(secret, text)}"}


def presign(head: RequestHead, *, access_key_id: str, secret: str, expires_at_s: int) -> str:
    """Return the query (with the head's own parameters) that makes the request presigned."""
    claim = Claim(access_key_id, "", expires_at_s, is_presigned=True)
    signature = sign(secret, string_to_sign(claim, head, next(_canonical_resources(head))))
    query = {
        **head.query,
        "AWSAccessKeyId": access_key_id,
        "Expires": str(expires_at_s),
        "Signature": signature,
    }
    return uri.canonical_query(query)


def _check_time(claim: Claim, now_us: int) -> None:
    if claim.is_presigned:
        if now_us > claim.at_s * 1_000_000:
            raise AccessDenied(
                "Request has expired",
                Expires=iso_seconds(claim.at_s * 1_000_000),
                ServerTime=iso_seconds(now_us),
            )
    elif abs(now_us - claim.at_s * 1_000_000) > limits.CLOCK_SKEW_SECONDS_MAX * 1_000_000:
        raise RequestTimeTooSkewed(
            RequestTime=iso_seconds(claim.at_s * 1_000_000),
            ServerTime=iso_seconds(now_us),
            MaxAllowedSkewMilliseconds=limits.CLOCK_SKEW_SECONDS_MAX * 1000,
        )


def _refuse_uncovered(head: RequestHead) -> None:
    has_token = _TOKEN not in head.headers and "Signature" in head.query
    for name, value in head.query.items():
        if name == _TOKEN and has_token:
            continue
        if name not in _ALLOWED and not _repeats_a_signed_header(name, value, head.headers):
            raise AccessDenied(
                f"Signature Version 2 does not cover the query parameter {name}; "
                "please use AWS4-HMAC-SHA256."
            )
    payload = head.header("x-amz-content-sha256")
    is_framed = "x-amz-trailer" in head.headers or "x-amz-decoded-content-length" in head.headers
    if is_framed or payload.startswith("STREAMING-"):
        raise AccessDenied(
            "Signature Version 2 does not cover a streamed payload; please use AWS4-HMAC-SHA256."
        )


def _repeats_a_signed_header(name: str, value: str, headers: Mapping[str, str]) -> bool:
    # AWS's Python client writes the headers that it signed into the query as well. They are read
    # from the headers only, so a repetition changes nothing.
    signed = name.startswith("x-amz-") or name in ("content-md5", "content-type")
    return signed and headers.get(name) == value


def _canonical_resources(head: RequestHead) -> Iterator[str]:
    path = head.raw_path or "/"
    if head.is_virtual_hosted:
        path = f"/{head.bucket}{path}"
    paths = [path]
    if head.bucket and not head.key and not path.endswith("/"):
        paths.append(f"{path}/")  # AWS's Python client signs a bucket's path so, and sends it bare
    pairs = sorted((name, value) for name, value in head.query.items() if name in _SIGNED)
    for one in paths:
        if not pairs:
            yield one
            continue
        yield f"{one}?{'&'.join(f'{name}={value}' if value else name for name, value in pairs)}"
        if not all(value for _, value in pairs):
            # Some clients send and sign "?acl=" for "?acl"; it means the same.
            yield f"{one}?{'&'.join(f'{name}={value}' for name, value in pairs)}"
