"""S5 to S10: chunked streams with a wrong chunk, trailer, checksum, length or frame."""

import pytest

from tests.digests import ALGORITHMS, checksum, header_of
from tests.servers import S3, Server
from tests.signing import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    Keys,
    SignerV4,
)
from tests.wire import FramesChange, S3Wire

CHUNKS = [b"a" * 65_536, b"b" * 65_536, b"c" * 10]
CRC = [("x-amz-checksum-crc32", checksum("CRC32", b"".join(CHUNKS)))]


def is_absent(wire: S3Wire, bucket: str, key: str = "k") -> bool:
    """Say whether nothing at all is left in the bucket."""
    listed = wire.call("GET", f"/{bucket}?versions")
    return wire.call("HEAD", f"/{bucket}/{key}").status == 404 and not listed.texts("Version/Key")


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("part", ["signature", "data"])
def test_s5_every_chunk_is_verified(wire: S3Wire, bucket: str, index: int, part: str) -> None:
    """A spoiled signature or spoiled data in any chunk: 403 and no object."""
    if part == "signature":
        change = FramesChange(index, b"chunk-signature=", b"chunk-signature=0")
    elif index == 3:
        change = FramesChange(index, b"\r\n\r\n", b"\r\nx\r\n\r\n")
    else:
        change = FramesChange(index, CHUNKS[index][:5], b"EVIL!")
    answer = wire.put_chunked(f"/{bucket}/k", CHUNKS, frames_changed=change)
    assert answer.status in {400, 403}
    if index < 3 and part == "data":
        assert answer.code == "SignatureDoesNotMatch"
    assert is_absent(wire, bucket)


def test_s5_chunks_may_not_change_places(wire: S3Wire, bucket: str) -> None:
    """Each signature covers the one before it."""

    def swapped(frames: list[bytes]) -> list[bytes]:
        return [frames[1], frames[0], *frames[2:]]

    answer = wire.put_chunked(f"/{bucket}/k", CHUNKS, frames_changed=swapped)  # type: ignore[arg-type]
    assert answer.status == 403
    assert is_absent(wire, bucket)


def test_s5_the_closing_chunk_is_needed(wire: S3Wire, bucket: str) -> None:
    """A stream without its last frame is IncompleteBody."""

    def cut(frames: list[bytes]) -> list[bytes]:
        return frames[:-1]

    answer = wire.put_chunked(f"/{bucket}/k", CHUNKS, frames_changed=cut)  # type: ignore[arg-type]
    assert answer.status in {400, 403}
    assert is_absent(wire, bucket)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"trailer-signature:", b"trailer-signature:0"),
        (CRC[0][1].encode(), b"AAAAAA=="),
        (b"", b"\r\n"),
        (b"x-amz-checksum-crc32:", b"x-amz-checksum-sha1:"),
        (b"x-amz-trailer-signature:", b"x-amz-other:"),
    ],
)
def test_s6_the_trailer_is_verified(wire: S3Wire, bucket: str, old: bytes, new: bytes) -> None:
    """A trailer that is altered, dropped or renamed stores nothing."""
    answer = wire.put_chunked(
        f"/{bucket}/k",
        CHUNKS,
        mode=STREAMING_SIGNED_TRAILER,
        trailer=CRC,
        frames_changed=FramesChange(-1, old, new),
    )
    assert answer.status in {400, 403}
    assert is_absent(wire, bucket)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", [STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER])
def test_s7_a_trailer_is_what_was_announced(
    wire: S3Wire, bucket: str, mode: str, algorithm: str
) -> None:
    """A wrong value, another algorithm than x-amz-trailer says, or none at all."""
    name, other = header_of(algorithm), "CRC32" if algorithm != "CRC32" else "SHA256"
    wrong = [(name, checksum(algorithm, b"else"))]
    answer = wire.put_chunked(f"/{bucket}/k", CHUNKS, mode=mode, trailer=wrong)
    assert (answer.status, answer.code) == (400, "BadDigest")
    renamed = FramesChange(-1, name.encode(), header_of(other).encode())
    right = [(name, checksum(algorithm, b"".join(CHUNKS)))]
    answer = wire.put_chunked(
        f"/{bucket}/k", CHUNKS, mode=mode, trailer=right, frames_changed=renamed
    )
    assert answer.status in {400, 403}
    if mode == STREAMING_UNSIGNED_TRAILER:
        gone = FramesChange(-1, b"", b"0\r\n\r\n")
        answer = wire.put_chunked(
            f"/{bucket}/k", CHUNKS, mode=mode, trailer=right, frames_changed=gone
        )
        assert answer.status == 400
    assert is_absent(wire, bucket)


@pytest.mark.parametrize("length", ["0", "10", "131081", "131083", "-1", "abc", "9" * 30])
@pytest.mark.parametrize("mode", [STREAMING_SIGNED, STREAMING_UNSIGNED_TRAILER])
def test_s8_the_decoded_length_is_exact(wire: S3Wire, bucket: str, mode: str, length: str) -> None:
    """Smaller, larger or no number: 400, and no truncated object."""
    headers = [("x-amz-decoded-content-length", length)]
    keys = wire.keys
    assert keys
    answer = wire.put_chunked(
        f"/{bucket}/k",
        CHUNKS,
        mode=mode,
        trailer=None if mode == STREAMING_SIGNED else CRC,
        headers=headers,
        decoded_length=None,
        signer=SignerV4(keys),
    )
    assert answer.status in {400, 403}
    only = int(length) if length.isdigit() else None
    if only is not None and only < 10**9:
        answer = wire.put_chunked(
            f"/{bucket}/k",
            CHUNKS,
            mode=mode,
            trailer=None if mode == STREAMING_SIGNED else CRC,
            decoded_length=only,
        )
        assert answer.status == 400
    assert is_absent(wire, bucket)


BOMBS = {
    "ten megabytes of digits": b"1" * 10_000_000,
    "a huge size": b"FFFFFFFFFFFFFFFF\r\nx",
    "a larger size": b"F" * 40 + b"\r\nx",
    "a negative size": b"-5\r\nx",
    "a signed size": b"+5\r\nabcde\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\nabcdeabcdeabcdea\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nabcde\r\n0\r\n\r\n",
    "no digits": b"\r\nabcde\r\n0\r\n\r\n",
    "spaces": b" 5 \r\nabcde\r\n0\r\n\r\n",
    "no line end": b"5\nabcde\n0\n\n",
    "no line end after data": b"5\r\nabcdeXX0\r\n\r\n",
    "endless extensions": b"5;" + b"x=y;" * 500_000 + b"\r\nabcde\r\n0\r\n\r\n",
    "endless trailer": b"5\r\nabcde\r\n0\r\n" + b"x-amz-checksum-crc32:AAAA\r\n" * 100_000,
    "NUL": b"5\x00\r\nabcde\r\n0\r\n\r\n",
    "data behind the end": b"5\r\nabcde\r\n0\r\nx-amz-checksum-crc32:hYfYUg==\r\n\r\nMORE",
}


@pytest.mark.parametrize("name", BOMBS)
def test_s9_a_frame_bomb_is_refused(server: Server, wire: S3Wire, bucket: str, name: str) -> None:
    """400 within bounded memory and time, and the next request works."""
    raw = BOMBS[name]
    headers = [
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "5"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("Content-Length", str(len(raw))),
    ]
    head = wire.signed_head("PUT", f"/{bucket}/k", headers, payload_hash=STREAMING_UNSIGNED_TRAILER)
    before = memory_of(server)
    answer = wire.raw("PUT", head + raw)
    assert answer.status in {400, 403}, answer
    assert memory_of(server) - before < 64 << 20
    assert is_absent(wire, bucket)


def memory_of(server: Server) -> int:
    """Return the resident bytes of the whole family."""
    return sum(member.memory_info().rss for member in server.processes())


def test_s9_a_hundred_thousand_tiny_chunks(wire: S3Wire, bucket: str) -> None:
    """Chunks below AWS's minimum are refused or taken, in bounded time either way."""
    body = b"x" * 100_000
    raw = b"1\r\nx\r\n" * len(body) + b"0\r\nx-amz-checksum-crc32:"
    raw += checksum("CRC32", body).encode() + b"\r\n\r\n"
    headers = [
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(len(body))),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("Content-Length", str(len(raw))),
    ]
    head = wire.signed_head("PUT", f"/{bucket}/k", headers, payload_hash=STREAMING_UNSIGNED_TRAILER)
    answer = wire.raw("PUT", head + raw)
    assert answer.status in {200, 400}
    if answer.status == 200:
        assert wire.call("GET", f"/{bucket}/k").body == body


def test_s10_a_stream_without_any_length(wire: S3Wire, bucket: str) -> None:
    """A signed stream with neither length: 411 or 400, no crash (GHSA-v2ch)."""
    headers = [("Content-Encoding", "aws-chunked"), ("Transfer-Encoding", "chunked")]
    head = wire.signed_head("PUT", f"/{bucket}/k", headers, payload_hash=STREAMING_SIGNED)
    answer = wire.raw("PUT", head + b"5\r\nabcde\r\n0\r\n\r\n")
    assert answer.status in {400, 403, 411}
    assert is_absent(wire, bucket)


def test_s5_an_empty_secret_signs_nothing(wire: S3Wire, s3: S3, bucket: str) -> None:
    """A chunk chain made with an empty secret is refused at its seed."""
    assert wire.keys
    signer = SignerV4(Keys(wire.keys.access_key, ""))
    answer = wire.put_chunked(f"/{bucket}/k", CHUNKS, signer=signer)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert is_absent(wire, bucket)
