"""Requests signed beforehand: the bytes that a load generator only has to send."""

import base64
import hashlib
import hmac
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import quote

REGION = "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_AGENT = "Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux lang/python#3.11 cfg/retry-mode#legacy"
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key id and its secret."""

    access_key: str
    secret_key: str


def new_keys() -> Keys:
    """Return a key pair that nobody has used before."""
    return Keys("BENCH" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))


def crc32_base64(body: bytes) -> str:
    """Return a CRC-32 as its S3 header spells it."""
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


@dataclass(frozen=True)
class Signer:
    """Signature Version 4 by header, for one key and one endpoint."""

    keys: Keys
    host: str

    @cached_property
    def _signing_key(self) -> tuple[str, bytes]:
        date = datetime.now(UTC).strftime("%Y%m%d")
        key = b"AWS4" + self.keys.secret_key.encode()
        for word in (date, REGION, "s3", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        return date, key

    def head(
        self,
        method: str,
        target: str,
        *,
        payload_hash: str = EMPTY_SHA256,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return a signed request's head; ``target`` is encoded and its query sorted."""
        date, key = self._signing_key
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path, _, query = target.partition("?")
        signed = {"host": self.host, "x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
        signed.update(headers or {})
        names = sorted(signed)
        canonical = "\n".join(
            (
                method,
                path,
                query,
                *(f"{name}:{signed[name]}" for name in names),
                "",
                ";".join(names),
                payload_hash,
            )
        )
        scope = f"{date}/{REGION}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        mark = hmac.digest(key, text.encode(), "sha256").hex()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.keys.access_key}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={mark}"
        )
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {signed[name]}" for name in names)]
        lines += [
            f"user-agent: {_AGENT}",
            "accept-encoding: identity",
            f"amz-sdk-invocation-id: {stamp}-benchmark",
            f"Authorization: {authorization}",
        ]
        if length is not None:
            lines.append(f"content-length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def put_unsigned(self, target: str, body: bytes) -> bytes:
        """Return a PUT whose body is not signed and has no checksum."""
        return self.head("PUT", target, payload_hash=UNSIGNED, length=len(body)) + body

    def put_sdk(self, target: str, body: bytes) -> bytes:
        """Return a PUT as SDKs send it over HTTP: body signed, CRC-32 in the head."""
        return (
            self.head(
                "PUT",
                target,
                payload_hash=hashlib.sha256(body).hexdigest(),
                length=len(body),
                headers={
                    "content-type": "application/octet-stream",
                    "x-amz-checksum-crc32": crc32_base64(body),
                    "x-amz-sdk-checksum-algorithm": "CRC32",
                },
            )
            + body
        )

    def put_trailer(self, target: str, body: bytes) -> list[bytes]:
        """Return a PUT as SDKs send it over HTTPS: aws-chunked, CRC-32 behind the body."""
        frames: list[bytes] = []
        for at in range(0, len(body), _CHUNK_BYTES):
            piece = body[at : at + _CHUNK_BYTES]
            frames += [b"%x\r\n" % len(piece), piece, b"\r\n"]
        frames.append(f"0\r\nx-amz-checksum-crc32:{crc32_base64(body)}\r\n\r\n".encode())
        head = self.head(
            "PUT",
            target,
            payload_hash=TRAILER,
            length=sum(map(len, frames)),
            headers={
                "content-encoding": "aws-chunked",
                "content-type": "application/octet-stream",
                "x-amz-decoded-content-length": str(len(body)),
                "x-amz-sdk-checksum-algorithm": "CRC32",
                "x-amz-trailer": "x-amz-checksum-crc32",
            },
        )
        return [head, *frames]

    def get_sdk(self, target: str) -> bytes:
        """Return a GET as SDKs send it: the stored checksum is asked for."""
        return self.head("GET", target, headers={"x-amz-checksum-mode": "ENABLED"})


def query(**parameters: str) -> str:
    """Return a query in canonical order and encoding."""
    return "&".join(
        f"{quote(name, safe='-_.~')}={quote(text, safe='-_.~')}"
        for name, text in sorted(parameters.items())
    )
