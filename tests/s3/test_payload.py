"""The body verifier: every promise of a head is kept or the upload is refused."""

import base64
import hashlib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core import limits
from storage_server.s3 import checksums, payload, sigv4
from storage_server.s3.checksums import ALGORITHMS, Digest
from storage_server.s3.errors import (
    BadDigest,
    EntityTooLarge,
    IncompleteBody,
    InvalidArgument,
    InvalidDigest,
    InvalidRequest,
    MalformedTrailerError,
    MissingContentLength,
    S3Error,
    SignatureDoesNotMatch,
    XAmzContentSHA256Mismatch,
)
from storage_server.s3.payload import Framing, PayloadFacts, PayloadVerifier

BODY = b"Welcome to Amazon S3."
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = base64.b64encode(hashlib.md5(BODY).digest()).decode()
SCOPE = sigv4.Scope("AK", "20231114", "us-east-1", "s3")
CLAIM = sigv4.Claim(
    SCOPE, SCOPE.text, ("host",), "0" * 64, "20231114T000000Z", 0, sigv4.STREAMING_SIGNED
)


def encoded(algorithm: str, body: bytes = BODY) -> str:
    """Return a checksum as a client declares it."""
    return base64.b64encode(checksums.compute(ALGORITHMS[algorithm], body)).decode()


def chain() -> sigv4.ChunkSigner:
    """Return the start of a chain of chunk signatures."""
    return sigv4.ChunkSigner(CLAIM, sigv4.derive_key("secret", SCOPE))


def receive(
    headers: Mapping[str, str], wire: bytes, signed_as: str = "", step: int = 7
) -> tuple[bytes, PayloadFacts]:
    """Verify a body as the server does, in small pieces."""
    verifier = PayloadVerifier(payload.plan_payload(headers, signed_as), chain())
    plain = b""
    for at in range(0, len(wire), step):
        pieces = verifier.unframe(wire[at : at + step])
        verifier.md5_update(pieces)
        for one in pieces:
            verifier.digest(one)
        plain += b"".join(pieces)
    return plain, verifier.finish()


def sized(**more: str) -> dict[str, str]:
    """Return the headers of the example body, with dashes for underscores."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"content-length": str(len(BODY)), **named}


def trailed(value: str, *, body: bytes = BODY, name: str = "x-amz-checksum-crc32") -> bytes:
    """Frame a body in one unsigned chunk and a trailer."""
    frame = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    return frame + f"0\r\n{name}:{value}\r\n\r\n".encode()


def trailed_headers(wire: bytes, **more: str) -> dict[str, str]:
    """Return the headers that an SDK sends with an unsigned trailer."""
    return {
        "content-length": str(len(wire)),
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": sigv4.STREAMING_UNSIGNED_TRAILER,
        "x-amz-decoded-content-length": str(len(BODY)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


@pytest.mark.parametrize(
    ("headers", "signed_as", "algorithm"),
    [
        (sized(), "UNSIGNED-PAYLOAD", "CRC64NVME"),
        (sized(), SHA256, "CRC64NVME"),
        (sized(content_md5=MD5), SHA256, "CRC64NVME"),
        *(
            (sized(**{f"x-amz-checksum-{name.lower()}": encoded(name)}), SHA256, name)
            for name in ALGORITHMS
        ),
    ],
)
def test_a_body_that_keeps_its_promises_has_its_facts(
    headers: dict[str, str], signed_as: str, algorithm: str
) -> None:
    """Every algorithm; CRC64NVME when the client names none; at once or in pieces."""
    facts = PayloadFacts(
        hashlib.md5(BODY).digest(),
        Digest(algorithm, checksums.compute(ALGORITHMS[algorithm], BODY)),
        len(BODY),
    )
    assert receive(headers, BODY, signed_as) == (BODY, facts)
    assert payload.check_whole(payload.plan_payload(headers, signed_as), BODY) == facts


@pytest.mark.parametrize(
    ("headers", "signed_as", "error"),
    [
        (sized(), "0" * 64, XAmzContentSHA256Mismatch),
        (sized(content_md5=base64.b64encode(b"0" * 16).decode()), SHA256, BadDigest),
        *(
            (
                sized(**{f"x-amz-checksum-{name.lower()}": encoded(name, b"other")}),
                SHA256,
                BadDigest,
            )
            for name in ALGORITHMS
        ),
    ],
)
def test_s7_a_broken_promise_is_refused(
    headers: dict[str, str], signed_as: str, error: type[S3Error]
) -> None:
    """S7 for headers: each digest on its own is enough to refuse."""
    with pytest.raises(error):
        receive(headers, BODY, signed_as)
    with pytest.raises(error):
        payload.check_whole(payload.plan_payload(headers, signed_as), BODY)


@pytest.mark.parametrize("wire", [b"", BODY[:-1], BODY + b"x"])
def test_a_body_of_another_length_is_incomplete(wire: bytes) -> None:
    """Shorter or longer than Content-Length."""
    with pytest.raises(IncompleteBody):
        receive(sized(), wire, "UNSIGNED-PAYLOAD")
    with pytest.raises(IncompleteBody):
        payload.check_whole(payload.plan_payload(sized(), "UNSIGNED-PAYLOAD"), wire)


@pytest.mark.parametrize(
    ("headers", "signed_as", "error"),
    [
        ({}, "UNSIGNED-PAYLOAD", MissingContentLength),
        ({"transfer-encoding": "chunked"}, "UNSIGNED-PAYLOAD", MissingContentLength),
        ({}, sigv4.STREAMING_SIGNED, MissingContentLength),
        ({"content-length": "9"}, sigv4.STREAMING_SIGNED, MissingContentLength),
        ({"content-length": "9"}, sigv4.STREAMING_UNSIGNED_TRAILER, MissingContentLength),
        (
            {"x-amz-decoded-content-length": "9"},
            sigv4.STREAMING_UNSIGNED_TRAILER,
            MissingContentLength,
        ),
        ({"content-length": "-1"}, "UNSIGNED-PAYLOAD", InvalidArgument),
        ({"content-length": "1 1"}, "UNSIGNED-PAYLOAD", InvalidArgument),
        ({"content-length": str(5 * limits.GIB + 1)}, "UNSIGNED-PAYLOAD", EntityTooLarge),
        (sized(content_md5=""), "UNSIGNED-PAYLOAD", InvalidDigest),
        (sized(content_md5="AAAA"), "UNSIGNED-PAYLOAD", InvalidDigest),
        (sized(content_md5="\u00e9" * 24), "UNSIGNED-PAYLOAD", InvalidDigest),
        (sized(x_amz_trailer="x-amz-checksum-crc32"), "UNSIGNED-PAYLOAD", InvalidRequest),
        (sized(x_amz_content_sha256=sigv4.STREAMING_SIGNED), "", InvalidRequest),
        (sized(x_amz_content_sha256="rubbish"), "", InvalidArgument),
        (
            sized(content_encoding="aws-chunked", x_amz_decoded_content_length="5"),
            "UNSIGNED-PAYLOAD",
            InvalidRequest,
        ),
    ],
)
def test_a_contradictory_head_is_refused_before_the_body(
    headers: dict[str, str], signed_as: str, error: type[S3Error]
) -> None:
    """S10 among them: neither length is a clear answer and no crash."""
    with pytest.raises(error):
        payload.plan_payload(headers, signed_as)


def test_an_unsigned_trailer_is_checked_and_its_framing_removed() -> None:
    """What SDKs send by default over TLS; the transfer encoding may hide the length."""
    wire = trailed(encoded("CRC32"))
    plain, facts = receive(trailed_headers(wire), wire, sigv4.STREAMING_UNSIGNED_TRAILER)
    assert plain == BODY
    assert facts.checksum.algorithm == "CRC32"
    streamed = {
        "transfer-encoding": "chunked",
        "x-amz-content-sha256": sigv4.STREAMING_UNSIGNED_TRAILER,
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    assert receive(streamed, wire, sigv4.STREAMING_UNSIGNED_TRAILER)[1] == facts
    # An anonymous client says it with fewer headers.
    anonymous = trailed_headers(wire)
    anonymous.pop("x-amz-content-sha256")
    assert receive(anonymous, wire)[1] == facts


@pytest.mark.parametrize("name", ALGORITHMS)
def test_s7_a_wrong_trailing_checksum_is_refused(name: str) -> None:
    """S7: each of the ten algorithms, wrong, misshapen or of another name."""
    header = f"x-amz-checksum-{name.lower()}"
    for value, told, error in (
        (encoded(name, b"other"), header, BadDigest),
        ("AAA=", header, InvalidRequest),
        (encoded(name), "x-amz-checksum-foo", MalformedTrailerError),
    ):
        wire = trailed(value, name=told)
        headers = trailed_headers(wire, x_amz_trailer=header)
        with pytest.raises(error):
            receive(headers, wire, sigv4.STREAMING_UNSIGNED_TRAILER)
    wire = trailed(encoded(name), name=header)
    receive(trailed_headers(wire, x_amz_trailer=header), wire, sigv4.STREAMING_UNSIGNED_TRAILER)


@pytest.mark.parametrize("declared", ["20", "22", "0"])
def test_s8_a_wrong_decoded_length_is_refused(declared: str) -> None:
    """S8: smaller and larger."""
    wire = trailed(encoded("CRC32"))
    headers = trailed_headers(wire, x_amz_decoded_content_length=declared)
    with pytest.raises(IncompleteBody):
        receive(headers, wire, sigv4.STREAMING_UNSIGNED_TRAILER)


def test_a_framed_body_fills_its_content_length() -> None:
    """Frames that end early leave the connection out of step."""
    wire = trailed(encoded("CRC32"))
    headers = trailed_headers(wire, content_length=str(len(wire) + 1))
    with pytest.raises(IncompleteBody):
        receive(headers, wire, sigv4.STREAMING_UNSIGNED_TRAILER)


@pytest.mark.parametrize("is_forged", [False, True])
def test_signed_chunks_are_proven(*, is_forged: bool) -> None:
    """The chain starts at the head's signature."""
    own = chain()
    first = own.sign_chunk(hashlib.sha256(BODY).hexdigest())
    if is_forged:
        first = "0" * 64
    last = own.sign_chunk(sigv4.EMPTY_SHA256)
    wire = b"%x;chunk-signature=%s\r\n%s\r\n" % (len(BODY), first.encode(), BODY)
    wire += f"0;chunk-signature={last}\r\n\r\n".encode()
    headers = {
        "content-length": str(len(wire)),
        "x-amz-decoded-content-length": str(len(BODY)),
    }
    if is_forged:
        with pytest.raises(SignatureDoesNotMatch):
            receive(headers, wire, sigv4.STREAMING_SIGNED)
    else:
        assert receive(headers, wire, sigv4.STREAMING_SIGNED)[0] == BODY


def test_sha256_is_computed_only_when_it_was_signed() -> None:
    """Half a millisecond per megabyte is not spent for nobody."""
    plan = payload.plan_payload(sized(), "UNSIGNED-PAYLOAD")
    assert plan.sha256 == ""
    assert plan.framing is Framing.PLAIN
    assert PayloadVerifier(plan)._sha256 is None


@given(st.binary(max_size=400), st.integers(1, 100))
@settings(max_examples=50)
def test_pieces_and_whole_have_the_same_facts(body: bytes, step: int) -> None:
    """The two ways to receive a plain body agree."""
    headers = {"content-length": str(len(body))}
    signed_as = hashlib.sha256(body).hexdigest()
    whole = payload.check_whole(payload.plan_payload(headers, signed_as), body)
    assert receive(headers, body, signed_as, step) == (body, whole)
