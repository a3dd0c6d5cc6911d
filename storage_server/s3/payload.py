"""The body verifier: what a request's head promises about its body, and whether it is kept."""

import enum
import hashlib
import hmac
from collections.abc import Iterable, Mapping

import msgspec
from cryptography.hazmat.primitives.hashes import MD5, Hash

from storage_server.core import limits
from storage_server.s3 import checksums, sigv4
from storage_server.s3.aws_chunked import ChunkedDecoder
from storage_server.s3.checksums import Digest
from storage_server.s3.errors import (
    BadDigest,
    EntityTooLarge,
    IncompleteBody,
    InvalidArgument,
    InvalidDigest,
    InvalidRequest,
    MissingContentLength,
    XAmzContentSHA256Mismatch,
)


class Framing(enum.Enum):
    """How the bytes of the body are wrapped on the wire."""

    PLAIN = "plain"
    SIGNED = "signed chunks"
    SIGNED_TRAILER = "signed chunks and a signed trailer"
    UNSIGNED_TRAILER = "chunks and a trailer"


_FRAMINGS = {
    sigv4.STREAMING_SIGNED: Framing.SIGNED,
    sigv4.STREAMING_SIGNED_TRAILER: Framing.SIGNED_TRAILER,
    sigv4.STREAMING_UNSIGNED_TRAILER: Framing.UNSIGNED_TRAILER,
}


class PayloadPlan(msgspec.Struct, frozen=True, eq=False):
    """Everything that must be found true of a body before it may be stored.

    ``wire_length`` counts bytes as received, ``length`` plain ones; None is "not said".
    ``sha256`` is hex, empty where none was promised; ``md5`` and ``checksum`` are None then.
    """

    framing: Framing
    wire_length: int | None
    length: int | None
    sha256: str
    md5: bytes | None
    checksum: checksums.Declared | None
    trailer_names: frozenset[str] = frozenset()


class PayloadFacts(msgspec.Struct, frozen=True, gc=False):
    """What is true of a body that kept every promise."""

    md5: bytes
    checksum: Digest
    length: int


def plan_payload(
    headers: Mapping[str, str], payload: str = "", *, default_length: int | None = None
) -> PayloadPlan:
    """Say what the body of an upload must be found to be.

    Args:
        headers: The effective headers (hoisted parameters among them).
        payload: ``Claim.payload`` of a V4 request. Empty for V2 and anonymous requests: then only
            the header itself counts, and signed chunks have nobody who could have signed them.
        default_length: What to take for a missing Content-Length; None requires one, unless the
            body is framed.

    Raises:
        MissingContentLength: The length of the body is not said.
        EntityTooLarge: It is larger than any upload may be.
        InvalidDigest: Content-MD5 is not the base64 of 16 bytes.
        InvalidArgument: A length or ``x-amz-content-sha256`` is malformed.
        InvalidRequest: The checksum headers contradict each other, or a chunked body is announced
            in a way that no form of it has.
    """
    is_anonymous = not payload
    payload = payload or headers.get("x-amz-content-sha256", "") or _implied_payload(headers)
    framing = _FRAMINGS.get(payload, Framing.PLAIN)
    if is_anonymous and framing in (Framing.SIGNED, Framing.SIGNED_TRAILER):
        raise InvalidRequest("The chunks of an unsigned request cannot be signed.")
    trailer_names = checksums.parse_trailer_names(headers)
    if trailer_names and framing not in (Framing.SIGNED_TRAILER, Framing.UNSIGNED_TRAILER):
        raise InvalidRequest("x-amz-trailer needs a payload that ends in a trailer.")
    wire_length, length = _lengths(headers, framing, default_length)
    return PayloadPlan(
        framing,
        wire_length,
        length,
        _declared_sha256(payload, framing),
        _declared_md5(headers),
        checksums.parse_declared(headers),
        trailer_names,
    )


class PayloadVerifier:
    """Checks a body against its plan while it passes.

    Hand each piece to ``unframe``, and what that returns to ``md5_update`` and ``digest``, in
    order. The three touch nothing in common, so the MD5 may run in a thread of its own;
    ``finish`` comes after all.
    """

    def __init__(self, plan: PayloadPlan, signer: sigv4.ChunkSigner | None = None) -> None:
        """Begin a body; ``signer`` continues the head's signature for signed framings."""
        is_signed = plan.framing in (Framing.SIGNED, Framing.SIGNED_TRAILER)
        assert not is_signed or signer is not None, "signed chunks need their signature chain"
        self._plan = plan
        self._length = 0
        self._wire_length = 0
        # What a long body waits for: this one takes a twentieth less time than the standard one.
        self._md5 = Hash(MD5())  # noqa: S303 - S3 demands it, and it protects nothing
        self._sha256 = hashlib.sha256() if plan.sha256 else None
        self._algorithm = plan.checksum.algorithm if plan.checksum else checksums.DEFAULT
        # Content-MD5 and an MD5 checksum cost one computation.
        self._checksum = None if self._algorithm.name == "MD5" else self._algorithm.new()
        self._decoder: ChunkedDecoder | None = None
        if plan.framing is not Framing.PLAIN:
            has_trailer = plan.framing is not Framing.SIGNED
            self._decoder = ChunkedDecoder(
                decoded_length=plan.length,
                signer=signer if is_signed else None,
                trailer_names=plan.trailer_names if has_trailer else None,
            )

    def unframe(self, piece: bytes | memoryview) -> list[memoryview]:
        """Take a piece as received and return its plain bytes, still to be hashed.

        Raises:
            IncompleteBody: The body is longer than announced.
            EntityTooLarge: A body of unknown length grew beyond what an upload may be.
            S3Error: The framing is wrong, as ``ChunkedDecoder.feed`` says.
        """
        self._wire_length += len(piece)
        if self._plan.wire_length is not None and self._wire_length > self._plan.wire_length:
            raise IncompleteBody
        if self._decoder is None:
            pieces = [memoryview(piece)] if len(piece) else []
        else:
            pieces = self._decoder.feed(piece)
        self._length += sum(map(len, pieces))
        if self._length > limits.PUT_BYTES_MAX:
            raise EntityTooLarge
        return pieces

    def digest(self, plain: bytes | memoryview) -> None:
        """Take a plain piece that ``unframe`` returned, for everything but the MD5."""
        if self._sha256 is not None:
            self._sha256.update(plain)
        if self._checksum is not None:
            self._checksum.update(plain)

    def md5_update(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Take the plain pieces that ``unframe`` returned, in order."""
        for piece in pieces:
            self._md5.update(piece)

    def finish(self) -> PayloadFacts:
        """Confirm every promise about the body.

        Raises:
            IncompleteBody: It ended early.
            BadDigest: Content-MD5 or the checksum is another one.
            XAmzContentSHA256Mismatch: The signed SHA-256 is another one.
            MalformedTrailerError: The trailer is not the announced one.
            InvalidRequest: The trailer's checksum is malformed.
        """
        if self._decoder is not None:
            self._decoder.finish()
        if self._plan.wire_length is not None and self._wire_length != self._plan.wire_length:
            raise IncompleteBody
        if self._plan.length is not None and self._length != self._plan.length:
            raise IncompleteBody
        if self._sha256 is not None:
            _check_sha256(self._plan.sha256, self._sha256.hexdigest())
        md5 = self._md5.finalize()
        _check_md5(self._plan.md5, md5)
        value = md5 if self._checksum is None else self._checksum.digest()
        if self._plan.checksum is not None:
            _check_checksum(self._plan.checksum, self._promised(self._plan.checksum), value)
        return PayloadFacts(md5, Digest(self._algorithm.name, value), self._length)

    def _promised(self, declared: checksums.Declared) -> bytes:
        if declared.value is not None:
            return declared.value
        assert self._decoder is not None
        header = declared.algorithm.header
        text = self._decoder.trailers[header]
        return checksums.parse_value(declared.algorithm, text, f"{header} trailing")


def check_whole(plan: PayloadPlan, body: bytes) -> PayloadFacts:
    """Confirm every promise about a plain body that is all here: what a small upload needs.

    Raises: as ``PayloadVerifier.finish``.
    """
    assert plan.framing is Framing.PLAIN
    if plan.length is not None and len(body) != plan.length:
        raise IncompleteBody
    if plan.sha256:
        _check_sha256(plan.sha256, hashlib.sha256(body).hexdigest())
    md5 = hashlib.md5(body, usedforsecurity=False).digest()
    _check_md5(plan.md5, md5)
    declared = plan.checksum
    algorithm = declared.algorithm if declared else checksums.DEFAULT
    value = md5 if algorithm.name == "MD5" else checksums.compute(algorithm, body)
    if declared is not None:
        assert declared.value is not None, "a plain body has no trailer"
        _check_checksum(declared, declared.value, value)
    return PayloadFacts(md5, Digest(algorithm.name, value), len(body))


# --- Reading the promises ------------------------------------------------------------------------


def _implied_payload(headers: Mapping[str, str]) -> str:
    """Return what an unsigned request's framing says when ``x-amz-content-sha256`` does not.

    AWS's Python client frames anonymous uploads over TLS and leaves that header out.
    """
    if _is_framed(headers):
        return sigv4.STREAMING_UNSIGNED_TRAILER
    return sigv4.UNSIGNED_PAYLOAD


def _is_framed(headers: Mapping[str, str]) -> bool:
    return "x-amz-decoded-content-length" in headers and "aws-chunked" in headers.get(
        "content-encoding", ""
    )


def _lengths(
    headers: Mapping[str, str], framing: Framing, default_length: int | None
) -> tuple[int | None, int | None]:
    wire_length = _parse_length(headers, "content-length")
    is_transfer_chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    if framing is Framing.PLAIN:
        if _is_framed(headers):
            # The frames would be stored as if they were the object.
            raise InvalidRequest(
                "An aws-chunked body needs a STREAMING- value of x-amz-content-sha256."
            )
        length = wire_length if wire_length is not None else default_length
        if length is None:
            raise MissingContentLength
    else:
        length = _parse_length(headers, "x-amz-decoded-content-length")
        may_be_unknown = framing is Framing.UNSIGNED_TRAILER and is_transfer_chunked
        if length is None and not may_be_unknown:
            raise MissingContentLength
        if wire_length is None and not is_transfer_chunked:
            raise MissingContentLength
    if length is not None and length > limits.PUT_BYTES_MAX:
        raise EntityTooLarge(ProposedSize=length, MaxSizeAllowed=limits.PUT_BYTES_MAX)
    return wire_length, length


def _parse_length(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 16:
        raise InvalidArgument(f"The value of {name} is invalid.", ArgumentName=name)
    return int(text)


def _declared_sha256(payload: str, framing: Framing) -> str:
    if framing is not Framing.PLAIN or payload == sigv4.UNSIGNED_PAYLOAD:
        return ""
    if len(payload) != 64 or not payload.isascii():
        raise InvalidArgument(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a valid sha256 "
            "value.",
            ArgumentName="x-amz-content-sha256",
        )
    return payload


def _declared_md5(headers: Mapping[str, str]) -> bytes | None:
    text = headers.get("content-md5")
    if text is None:
        return None
    value = checksums.decode_base64(text)
    if value is None or len(value) != 16:
        raise InvalidDigest(**{"Content-MD5": text})
    return value


# --- Comparing them with the truth ---------------------------------------------------------------


def _check_sha256(promised: str, found: str) -> None:
    if not hmac.compare_digest(promised, found):
        raise XAmzContentSHA256Mismatch(
            ClientComputedContentSHA256=promised, S3ComputedContentSHA256=found
        )


def _check_md5(promised: bytes | None, found: bytes) -> None:
    if promised is not None and promised != found:
        raise BadDigest(ExpectedDigest=promised.hex(), CalculatedDigest=found.hex())


def _check_checksum(declared: checksums.Declared, promised: bytes, found: bytes) -> None:
    if promised != found:
        raise BadDigest(
            f"The {declared.algorithm.name} you specified did not match the calculated checksum."
        )
