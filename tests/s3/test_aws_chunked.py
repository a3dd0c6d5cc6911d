"""The aws-chunked decoder: AWS's own examples, arbitrary cuts, and framing bombs."""

import contextlib
import hashlib
import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core import limits
from storage_server.s3 import sigv4
from storage_server.s3.aws_chunked import ChunkedDecoder
from storage_server.s3.errors import (
    EntityTooLarge,
    IncompleteBody,
    InvalidRequest,
    MalformedTrailerError,
    S3Error,
    SignatureDoesNotMatch,
)

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SCOPE = sigv4.Scope(KEY_ID, "20130524", "us-east-1", "s3")
CRC = "x-amz-checksum-crc32c"
TRAILER = frozenset({CRC})

# S3 API Reference, the two pages on chunked uploads: 66,560 times "a", in chunks of 64 KiB.
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = (
    (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)
TRAILED_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILED_CHUNKS = (
    (65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
    (1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
    (0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
)
TRAILER_SIGNATURE = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


def signer(seed: str) -> sigv4.ChunkSigner:
    """Return the chain that starts at a seed signature of AWS's examples."""
    claim = sigv4.Claim(
        SCOPE, SCOPE.text, ("host",), seed, "20130524T000000Z", 0, sigv4.STREAMING_SIGNED
    )
    return sigv4.ChunkSigner(claim, sigv4.derive_key(SECRET, SCOPE))


def framed(chunks: tuple[tuple[int, str], ...]) -> bytes:
    """Frame AWS's example body, up to its last chunk's line."""
    return b"".join(
        b"%x;chunk-signature=%s\r\n" % (size, signature.encode())
        + (b"a" * size + b"\r\n" if size else b"")
        for size, signature in chunks
    )


def decode(decoder: ChunkedDecoder, *pieces: bytes) -> bytes:
    """Decode a whole body from pieces."""
    plain = b"".join(bytes(view) for piece in pieces for view in decoder.feed(piece))
    decoder.finish()
    return plain


def plain_decoder(decoded_length: int | None = None) -> ChunkedDecoder:
    """Return a decoder of unsigned chunks with an empty trailer."""
    return ChunkedDecoder(decoded_length=decoded_length, trailer_names=frozenset())


@pytest.mark.parametrize("step", [1 << 20, 65536, 1000, 1])
def test_the_documented_signed_chunks_are_accepted(step: int) -> None:
    """However they are cut."""
    body = framed(CHUNKS) + b"\r\n"
    decoder = ChunkedDecoder(decoded_length=66560, signer=signer(SEED))
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    assert decode(decoder, *pieces) == b"a" * 66560


@pytest.mark.parametrize("gap", [b"\r\n", b"\n\r\n", b"\n"])
def test_the_documented_signed_trailer_is_accepted(gap: bytes) -> None:
    """Also with the line ends as AWS's page prints them."""
    decoder = ChunkedDecoder(
        decoded_length=66560, signer=signer(TRAILED_SEED), trailer_names=TRAILER
    )
    trailer = b"x-amz-checksum-crc32c:sOO8/Q==" + gap
    trailer += f"x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n".encode()
    assert decode(decoder, framed(TRAILED_CHUNKS) + trailer) == b"a" * 66560
    assert decoder.trailers == {CRC: "sOO8/Q=="}


@pytest.mark.parametrize(("place", "fake"), [(0, "0" * 64), (1, SEED), (2, "f" * 64)])
def test_s5_an_altered_chunk_signature_is_refused(place: int, fake: str) -> None:
    """S5: the first, a middle or the last one."""
    chunks = list(CHUNKS)
    chunks[place] = (chunks[place][0], fake)
    with pytest.raises(SignatureDoesNotMatch):
        decode(
            ChunkedDecoder(decoded_length=66560, signer=signer(SEED)),
            framed(tuple(chunks)) + b"\r\n",
        )


def test_altered_or_reordered_data_is_refused() -> None:
    """The chain binds each chunk's bytes and its place."""
    body = framed(CHUNKS).replace(b"aaaa\r\n", b"aaab\r\n", 1) + b"\r\n"
    with pytest.raises(SignatureDoesNotMatch):
        decode(ChunkedDecoder(decoded_length=66560, signer=signer(SEED)), body)
    turned = framed((CHUNKS[1], CHUNKS[0], CHUNKS[2])) + b"\r\n"
    with pytest.raises(SignatureDoesNotMatch):
        decode(ChunkedDecoder(decoded_length=66560, signer=signer(SEED)), turned)


@pytest.mark.parametrize(
    ("trailer", "error"),
    [
        (f"{CRC}:sOO8/Q==\r\nx-amz-trailer-signature:{'0' * 64}\r\n\r\n", SignatureDoesNotMatch),
        (
            f"{CRC}:AAAAAA==\r\nx-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n",
            SignatureDoesNotMatch,
        ),
        (f"{CRC}:sOO8/Q==\r\n\r\n", IncompleteBody),
        ("\r\n", IncompleteBody),
        ("", IncompleteBody),
        (f"x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n", SignatureDoesNotMatch),
        (
            f"x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n{CRC}:sOO8/Q==\r\n\r\n",
            MalformedTrailerError,
        ),
    ],
)
def test_s6_an_altered_or_dropped_signed_trailer_is_refused(
    trailer: str, error: type[S3Error]
) -> None:
    """S6: the trailer's signature covers exactly what it holds."""
    decoder = ChunkedDecoder(
        decoded_length=66560, signer=signer(TRAILED_SEED), trailer_names=TRAILER
    )
    with pytest.raises(error):
        decode(decoder, framed(TRAILED_CHUNKS) + trailer.encode())


@pytest.mark.parametrize(
    "trailer",
    [
        "\r\n",
        "x-amz-checksum-crc32:sOO8/Q==\r\n\r\n",
        f"{CRC}:sOO8/Q==\r\n{CRC}:sOO8/Q==\r\n\r\n",
        f"{CRC}:sOO8/Q==\r\nx-amz-acl:public-read\r\n\r\n",
        f"{CRC}:sOO8/Q==\r\nx-amz-trailer-signature:{'0' * 64}\r\n\r\n",
        f"{CRC}\r\n\r\n",
        f"{CRC}:a\x00b\r\n\r\n",
        ": x\r\n\r\n",
        f"{CRC}:{'A' * limits.TRAILER_BYTES_MAX}\r\n\r\n",
    ],
)
def test_an_unannounced_or_malformed_trailer_is_refused(trailer: str) -> None:
    """The trailer holds the announced headers, each once, and nothing else."""
    decoder = ChunkedDecoder(decoded_length=1, trailer_names=TRAILER)
    with pytest.raises(MalformedTrailerError):
        decode(decoder, b"1\r\nx\r\n0\r\n" + trailer.encode())


MINIO_GO = b"5\r\nhello\r\n0\r\n" + CRC.encode() + b":sOO8/Q==\n\r\n\r\n"
"""What minio-go sends: a bare line feed behind the trailer, then two empty lines."""


@given(st.lists(st.integers(0, len(MINIO_GO)), max_size=6))
def test_a_second_empty_line_behind_an_unsigned_trailer_is_passed_over(cuts: list[int]) -> None:
    """MinIO's Go client sends one, however its body is cut on the way."""
    at = [0, *sorted(cuts), len(MINIO_GO)]
    decoder = ChunkedDecoder(decoded_length=5, trailer_names=TRAILER)
    pieces = [MINIO_GO[first:last] for first, last in itertools.pairwise(at)]
    assert decode(decoder, *pieces) == b"hello"
    assert decoder.trailers == {CRC: "sOO8/Q=="}


@pytest.mark.parametrize("step", [1, 1 << 24])
@pytest.mark.parametrize("rest", [b"\r\n", b"x", b"\n", b"0\r\n\r\n", b"PUT / HTTP/1.1\r\n"])
def test_s9_nothing_else_follows_an_unsigned_trailer(rest: bytes, step: int) -> None:
    """S9: one more empty line says nothing; anything else might mean something to somebody."""
    for body in (MINIO_GO + rest, MINIO_GO.removesuffix(b"\r\n") + b"\r" + rest[1:] + b"x"):
        decoder = ChunkedDecoder(decoded_length=5, trailer_names=TRAILER)
        with pytest.raises(InvalidRequest):
            decode(decoder, *[body[at : at + step] for at in range(0, len(body), step)])


def test_half_an_empty_line_behind_an_unsigned_trailer_is_incomplete() -> None:
    """The line was begun, so more was to come."""
    decoder = ChunkedDecoder(decoded_length=5, trailer_names=TRAILER)
    with pytest.raises(IncompleteBody):
        decode(decoder, MINIO_GO.removesuffix(b"\n"))


@pytest.mark.parametrize(
    "body",
    [
        b"-1\r\nx\r\n0\r\n\r\n",
        b"+1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"1_0\r\nx\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"10\nx\r\n0\r\n\r\n",
        b"1\r\nxx\r\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"1;a=b\r\nx\r\n0\r\n\r\n",
        b"1;chunk-signature=" + b"0" * 64 + b"\r\nx\r\n0\r\n\r\n",
        b"1;" + b"a;" * 10_000,
        b"0" * 17 + b"\r\n\r\n",
        b"f" * (10 << 20),
        b"1\r\nx\r\n0\r\n\r\nmore",
        b"1\r\nx\r\n0\r\n\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1 << 24, 4096])
def test_s9_bent_framing_is_refused(body: bytes, step: int) -> None:
    """S9: one form of a size line, no extension, and nothing behind the end."""
    decoder = plain_decoder()
    with pytest.raises(InvalidRequest):
        decode(decoder, *[body[at : at + step] for at in range(0, len(body), step)])


def test_s9_an_endless_line_is_never_kept() -> None:
    """S9: memory is bounded by the limit of a line, not by what comes."""
    decoder = plain_decoder()
    for _ in range(limits.CHUNK_HEADER_BYTES_MAX + 1):
        decoder.feed(b"0")
    with pytest.raises(InvalidRequest):
        decoder.feed(b"0")


def test_s9_a_chunk_larger_than_any_object_is_refused_at_its_size() -> None:
    """S9: before one byte of it has come, declared length or not."""
    with pytest.raises(EntityTooLarge):
        plain_decoder().feed(b"FFFFFFFFFFFFFFFF\r\n")
    with pytest.raises(IncompleteBody):
        plain_decoder(10).feed(b"FFFFFFFFFFFFFFFF\r\n")


def test_s9_one_byte_chunks_cost_linear_time_and_few_pieces() -> None:
    """S9: eight times the chunks take some eight times as long, and come out joined."""

    def cost_s(chunks: int) -> float:
        body = memoryview(b"1\r\nx\r\n" * chunks + b"0\r\n\r\n")
        decoder = plain_decoder(chunks)
        began = time.process_time()
        for at in range(0, len(body), 65536):
            assert len(decoder.feed(body[at : at + 65536])) <= 1
        decoder.finish()
        return time.process_time() - began

    small = min(cost_s(2_000) for _ in range(5))
    assert cost_s(16_000) < small * 8 * 6


@pytest.mark.parametrize("declared", [0, 4, 6, 1 << 40])
def test_s8_the_declared_length_must_be_exact(declared: int) -> None:
    """S8: neither cut off nor filled up."""
    with pytest.raises(IncompleteBody):
        decode(plain_decoder(declared), b"5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("cut", range(16))
def test_an_early_end_is_refused_wherever_it_is(cut: int) -> None:
    """A client that vanishes has stored nothing."""
    with pytest.raises(IncompleteBody):
        decode(plain_decoder(5), b"5\r\nhello\r\n0\r\n\r\n"[:cut][:14])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
@settings(max_examples=80, deadline=None)
def test_any_cut_decodes_to_the_whole(chunks: list[bytes], data: st.DataObject) -> None:
    """Signed with a trailer: pieces of any size give the same bytes and trailers."""
    chain, seeds = signer(SEED), signer(SEED)
    body = b""
    for chunk in [*chunks, b""]:
        signature = chain.sign_chunk(hashlib.sha256(chunk).hexdigest()).encode()
        body += b"%x;chunk-signature=%s\r\n" % (len(chunk), signature)
        body += chunk + b"\r\n" if chunk else b""
    line = f"{CRC}:sOO8/Q=="
    signature = chain.sign_trailer(hashlib.sha256(f"{line}\n".encode()).hexdigest()).encode()
    body += line.encode() + b"\r\nx-amz-trailer-signature:" + signature + b"\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    whole = b"".join(chunks)
    decoder = ChunkedDecoder(decoded_length=len(whole), signer=seeds, trailer_names=TRAILER)
    assert decode(decoder, *pieces) == whole
    assert decoder.trailers == {CRC: "sOO8/Q=="}


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    """Never an exception that is no answer."""
    for decoder in (plain_decoder(), ChunkedDecoder(decoded_length=None, signer=signer(SEED))):
        with contextlib.suppress(
            InvalidRequest, IncompleteBody, EntityTooLarge, SignatureDoesNotMatch
        ):
            decode(decoder, body)


def test_large_chunks_are_handed_out_without_a_copy() -> None:
    """The views are into the piece that was fed."""
    piece = bytearray(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
    (view,) = plain_decoder().feed(memoryview(piece))
    assert view.obj is piece
