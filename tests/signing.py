"""An independent signer of S3 requests: right by default, and wrong in any single place at will."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote, unquote_to_bytes

UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

Headers = list[tuple[str, str]]

# The sub-resources that SigV2 signs.  Source: "Signing and authenticating REST requests" (V2).
V2_SUBRESOURCES = frozenset(
    {
        *("acl", "cors", "delete", "lifecycle", "location", "logging", "notification"),
        *("partNumber", "policy", "requestPayment", "restore", "tagging", "torrent", "uploadId"),
        *("uploads", "versionId", "versioning", "versions", "website", "response-cache-control"),
        *("response-content-disposition", "response-content-encoding", "response-expires"),
        *("response-content-language", "response-content-type"),
    }
)


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key id and its secret."""

    access_key: str
    secret_key: str


def sha256_hex(body: bytes) -> str:
    """Return the lower-case SHA-256 of a body."""
    return hashlib.sha256(body).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical_path(raw_path: str) -> str:
    """Return the path decoded once and encoded again the way AWS does."""
    return quote(unquote_to_bytes(raw_path), safe="/-_.~")


def canonical_query(raw_query: str, leave_out: Iterable[str] = ()) -> str:
    """Return the query sorted and encoded as SigV4 wants it, less some names."""
    dropped = set(leave_out)
    pairs = []
    for item in raw_query.split("&") if raw_query else []:
        name, _, text = item.partition("=")
        if name not in dropped:
            pairs.append(
                (quote(unquote_to_bytes(name), safe="-_.~"), quote(unquote_to_bytes(text), "-_.~"))
            )
    return "&".join(f"{name}={text}" for name, text in sorted(pairs))


@dataclass(frozen=True, slots=True)
class SignerV4:
    """Signature Version 4; each field may be set wrong for an attack."""

    keys: Keys
    region: str = "us-east-1"
    service: str = "s3"
    terminator: str = "aws4_request"
    scope_date: str = ""

    def scope(self, at: datetime) -> str:
        """Return the credential scope for a moment."""
        date = self.scope_date or at.strftime("%Y%m%d")
        return f"{date}/{self.region}/{self.service}/{self.terminator}"

    def signing_key(self, at: datetime) -> bytes:
        """Derive the signing key for the scope."""
        key = b"AWS4" + self.keys.secret_key.encode()
        for step in self.scope(at).split("/"):
            key = _hmac(key, step)
        return key

    def signature(
        self,
        method: str,
        target: str,
        signed: Mapping[str, str],
        payload_hash: str,
        *,
        at: datetime,
        leave_out: Iterable[str] = (),
    ) -> str:
        """Sign one request; ``signed`` has lower-case names and trimmed values."""
        path, _, query = target.partition("?")
        names = sorted(signed)
        canonical = "\n".join(
            [
                method,
                canonical_path(path),
                canonical_query(query, leave_out),
                *(f"{name}:{signed[name]}" for name in names),
                "",
                ";".join(names),
                payload_hash,
            ]
        )
        text = f"AWS4-HMAC-SHA256\n{stamp(at)}\n{self.scope(at)}\n{sha256_hex(canonical.encode())}"
        return hmac.new(self.signing_key(at), text.encode(), hashlib.sha256).hexdigest()

    def header(
        self,
        method: str,
        target: str,
        headers: Headers,
        payload_hash: str,
        *,
        at: datetime | None = None,
        unsigned: Iterable[str] = (),
    ) -> Headers:
        """Return the headers with date, payload hash and Authorization added.

        All headers are signed but ``unsigned``, content-length and user-agent.
        """
        at = at or datetime.now(UTC)
        full = [*headers, ("x-amz-date", stamp(at)), ("x-amz-content-sha256", payload_hash)]
        left = {"content-length", "user-agent", "expect", "connection", "transfer-encoding"}
        signed = folded(full, left | {name.lower() for name in unsigned})
        mark = self.signature(method, target, signed, payload_hash, at=at)
        credential = f"{self.keys.access_key}/{self.scope(at)}"
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={credential}, "
            f"SignedHeaders={';'.join(sorted(signed))}, Signature={mark}"
        )
        return [*full, ("Authorization", authorization)]

    def presign(
        self,
        method: str,
        target: str,
        host: str,
        *,
        expires: int | str = 300,
        headers: Headers | None = None,
        at: datetime | None = None,
        payload_hash: str = UNSIGNED,
    ) -> str:
        """Return the target with the query that authenticates it."""
        at = at or datetime.now(UTC)
        signed = folded([("host", host), *(headers or [])], ())
        query = "&".join(
            [
                "X-Amz-Algorithm=AWS4-HMAC-SHA256",
                f"X-Amz-Credential={quote(self.keys.access_key + '/' + self.scope(at), safe='')}",
                f"X-Amz-Date={stamp(at)}",
                f"X-Amz-Expires={expires}",
                f"X-Amz-SignedHeaders={quote(';'.join(sorted(signed)), safe='')}",
            ]
        )
        full = f"{target}{'&' if '?' in target else '?'}{query}"
        mark = self.signature(method, full, signed, payload_hash, at=at)
        return f"{full}&X-Amz-Signature={mark}"


def folded(headers: Headers, leave_out: Iterable[str]) -> dict[str, str]:
    """Return headers as SigV4 canonicalises them: lower case, trimmed, repeated ones joined."""
    dropped = set(leave_out)
    joined: dict[str, str] = {}
    for name, text in headers:
        lower = name.lower()
        if lower in dropped:
            continue
        clean = " ".join(text.split())
        joined[lower] = f"{joined[lower]},{clean}" if lower in joined else clean
    return joined


def stamp(at: datetime) -> str:
    """Return a moment as x-amz-date spells it."""
    return at.strftime("%Y%m%dT%H%M%SZ")


@dataclass(frozen=True, slots=True)
class ChunkSigner:
    """Frames a body as aws-chunked, signed chunk by chunk from a seed signature."""

    signer: SignerV4
    at: datetime
    seed: str

    def frames(self, chunks: Sequence[bytes], trailer: Headers | None = None) -> list[bytes]:
        """Return one frame per chunk, the closing frame, and the trailer with its signature."""
        key = self.signer.signing_key(self.at)
        scope = self.signer.scope(self.at)
        previous, frames = self.seed, []
        for chunk in [*chunks, b""]:
            text = "\n".join(
                [
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    stamp(self.at),
                    scope,
                    previous,
                    EMPTY_SHA256,
                    sha256_hex(chunk),
                ]
            )
            previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            line = f"{len(chunk):x};chunk-signature={previous}\r\n".encode()
            frames.append(line + chunk + b"\r\n" if chunk else line)
        if trailer is None:
            frames[-1] += b"\r\n"
            return frames
        block = "".join(f"{name}:{text}\n" for name, text in trailer)
        text = "\n".join(
            [
                "AWS4-HMAC-SHA256-TRAILER",
                stamp(self.at),
                scope,
                previous,
                sha256_hex(block.encode()),
            ]
        )
        mark = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        lines = "".join(f"{name}:{text}\r\n" for name, text in trailer)
        frames.append(f"{lines}x-amz-trailer-signature:{mark}\r\n\r\n".encode())
        return frames


def unsigned_frames(chunks: Sequence[bytes], trailer: Headers) -> list[bytes]:
    """Return the frames of STREAMING-UNSIGNED-PAYLOAD-TRAILER."""
    frames = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks]
    lines = "".join(f"{name}:{text}\r\n" for name, text in trailer)
    return [*frames, f"0\r\n{lines}\r\n".encode()]


@dataclass(frozen=True, slots=True)
class SignerV2:
    """Signature Version 2."""

    keys: Keys

    def signature(self, method: str, target: str, headers: Headers, date: str) -> str:
        """Sign one request; ``date`` is the Date header, or Expires of a presigned request."""
        path, _, query = target.partition("?")
        have = {name.lower(): text for name, text in headers}
        amz = folded([item for item in headers if item[0].lower().startswith("x-amz-")], ())
        resources = []
        for item in sorted(query.split("&")) if query else []:
            name, equals, text = item.partition("=")
            if name in V2_SUBRESOURCES:
                shown = unquote_to_bytes(text).decode()
                resources.append(f"{name}={shown}" if equals else name)
        resource = path + (f"?{'&'.join(resources)}" if resources else "")
        text = "\n".join(
            [
                method,
                have.get("content-md5", ""),
                have.get("content-type", ""),
                date,
                *(f"{name}:{amz[name]}" for name in sorted(amz)),
                resource,
            ]
        )
        mark = hmac.new(self.keys.secret_key.encode(), text.encode(), hashlib.sha1).digest()
        return base64.b64encode(mark).decode()

    def header(
        self, method: str, target: str, headers: Headers, at: datetime | None = None
    ) -> Headers:
        """Return the headers with Date and Authorization added."""
        date = format_datetime(at or datetime.now(UTC), usegmt=True)
        mark = self.signature(method, target, headers, date)
        return [
            *headers,
            ("Date", date),
            ("Authorization", f"AWS {self.keys.access_key}:{mark}"),
        ]

    def presign(self, method: str, target: str, expires: int | str) -> str:
        """Return the target with AWSAccessKeyId, Expires (Unix seconds) and Signature."""
        mark = self.signature(method, target, [], str(expires))
        return (
            f"{target}{'&' if '?' in target else '?'}AWSAccessKeyId={self.keys.access_key}"
            f"&Expires={expires}&Signature={quote(mark, safe='')}"
        )


def sign_policy_v4(signer: SignerV4, policy_base64: str, at: datetime) -> str:
    """Return the x-amz-signature field of a POST form."""
    return hmac.new(signer.signing_key(at), policy_base64.encode(), hashlib.sha256).hexdigest()
