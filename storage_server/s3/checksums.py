"""S3's checksum algorithms: accumulate, declare, combine and print them."""

import base64
import binascii
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec
import xxhash
from awscrt import checksums as crt
from zlib_ng.zlib_ng import crc32

from storage_server.s3.errors import InvalidRequest

COMPOSITE: Final = "COMPOSITE"
FULL_OBJECT: Final = "FULL_OBJECT"
HEADER_PREFIX: Final = "x-amz-checksum-"
_SDK_ALGORITHM: Final = "x-amz-sdk-checksum-algorithm"
# They start like a checksum's header, and say something about one instead.
_ABOUT_CHECKSUMS = frozenset(
    {"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"}
)


class Digest(msgspec.Struct, frozen=True, gc=False):
    """A checksum's bare bytes; a composite one is the checksum of the parts' checksums."""

    algorithm: str
    value: bytes
    is_composite: bool = False


class Accumulator(Protocol):
    """A checksum in the making."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """Return the checksum of everything taken so far, big-endian."""
        ...


class _Crc:
    """A cyclic redundancy check behind the face of a hash."""

    __slots__ = ("_function", "_value", "_width")

    def __init__(self, function: Callable[[bytes | memoryview, int], int], width: int) -> None:
        self._function = function
        self._width = width
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


class Algorithm(msgspec.Struct, frozen=True, eq=False):
    """One row of the table: S3's name, its header, and which types a whole object may have.

    ``types`` starts with the type that multipart uploads have when the client names none.
    """

    name: str
    header: str
    digest_bytes: int
    types: tuple[str, ...]
    new: Callable[[], Accumulator]
    combine: Callable[[int, int, int], int] | None = None


def _row(
    name: str,
    digest_bytes: int,
    new: Callable[[], Accumulator],
    *types: str,
    combine: Callable[[int, int, int], int] | None = None,
) -> Algorithm:
    header = HEADER_PREFIX + name.lower()
    return Algorithm(name, header, digest_bytes, types, new, combine)


# Source: S3 User Guide, "Checking object integrity", tables of algorithms and checksum types.
_TABLE = (
    _row(
        "CRC64NVME", 8, lambda: _Crc(crt.crc64nvme, 8), FULL_OBJECT, combine=crt.combine_crc64nvme
    ),
    _row("CRC32", 4, lambda: _Crc(crc32, 4), COMPOSITE, FULL_OBJECT, combine=crt.combine_crc32),
    _row(
        "CRC32C", 4, lambda: _Crc(crt.crc32c, 4), COMPOSITE, FULL_OBJECT, combine=crt.combine_crc32c
    ),
    _row("SHA1", 20, lambda: hashlib.sha1(usedforsecurity=False), COMPOSITE),
    _row("SHA256", 32, hashlib.sha256, COMPOSITE),
    _row("SHA512", 64, hashlib.sha512, COMPOSITE),
    _row("MD5", 16, lambda: hashlib.md5(usedforsecurity=False), COMPOSITE),
    _row("XXHASH64", 8, xxhash.xxh64, COMPOSITE),
    _row("XXHASH3", 8, xxhash.xxh3_64, COMPOSITE),
    _row("XXHASH128", 16, xxhash.xxh3_128, COMPOSITE),
)
ALGORITHMS: Final = {row.name: row for row in _TABLE}
BY_HEADER: Final = {row.header: row for row in _TABLE}
DEFAULT: Final = ALGORITHMS["CRC64NVME"]
"""What S3 computes when the client names no algorithm."""


_OF_NOTHING: Final = frozenset(
    (row.header, base64.b64encode(row.new().digest()).decode("ascii")) for row in _TABLE
)


class Declared(msgspec.Struct, frozen=True, eq=False):
    """The checksum a client promises; ``value`` is None while it is still to come in a trailer."""

    algorithm: Algorithm
    value: bytes | None


def find_algorithm(name: str) -> Algorithm:
    """Return the row of an algorithm by S3's name, in any case.

    Raises:
        InvalidRequest: There is no such algorithm.
    """
    row = ALGORITHMS.get(name.upper())
    if row is None:
        raise InvalidRequest(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid "
            f"types: [{', '.join(ALGORITHMS)}]"
        )
    return row


def parse_value(algorithm: Algorithm, text: str, header: str = "") -> bytes:
    """Return the digest that a header's base64 stands for.

    Raises:
        InvalidRequest: It is not base64, or not of the algorithm's length.
    """
    value = decode_base64(text)
    if value is None or len(value) != algorithm.digest_bytes:
        raise InvalidRequest(f"Value for {header or algorithm.header} header is invalid.")
    return value


def without_empty_promise(hoisted: dict[str, str]) -> dict[str, str]:
    """Return the headers that a query stands for, less a checksum of an empty body.

    AWS's JavaScript client puts one into each URL that it signs for an upload, because it has no
    body then; AWS takes the upload whatever its body is. Another checksum in a query is meant.
    """
    if _OF_NOTHING.isdisjoint(hoisted.items()):
        return hoisted
    rest = {name: text for name, text in hoisted.items() if (name, text) not in _OF_NOTHING}
    if not BY_HEADER.keys().isdisjoint(rest):
        return hoisted  # with a checksum of something beside it, it is refused as two of them
    rest.pop(_SDK_ALGORITHM, None)
    return rest


def parse_declared(headers: Mapping[str, str]) -> Declared | None:
    """Return the checksum that an upload's headers promise, or None when they promise none.

    Raises:
        InvalidRequest: There is more than one, it is malformed, its algorithm is another one than
            ``x-amz-sdk-checksum-algorithm`` says, or that header stands alone.
    """
    found: list[Declared] = []
    for name in _checksum_names(tuple(headers)):
        algorithm = BY_HEADER.get(name)
        if algorithm is None:
            find_algorithm(name.removeprefix(HEADER_PREFIX))
            continue
        found.append(Declared(algorithm, parse_value(algorithm, headers[name])))
    if "x-amz-trailer" in headers:
        found += [Declared(BY_HEADER[name], None) for name in parse_trailer_names(headers)]
    if len(found) > 1:
        raise InvalidRequest(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    named = headers.get(_SDK_ALGORITHM)
    if named is None:
        return found[0] if found else None
    wanted = find_algorithm(named)
    if not found:
        raise InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
            "x-amz-trailer headers were found."
        )
    if found[0].algorithm is not wanted:
        raise InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    return found[0]


@functools.lru_cache(maxsize=128)  # real clients send a few sets of names, each of some KiB at most
def _checksum_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the headers' names that may be a checksum's, in their order."""
    return tuple(
        name for name in names if name.startswith(HEADER_PREFIX) and name not in _ABOUT_CHECKSUMS
    )


def parse_trailer_names(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the lower-case names that ``x-amz-trailer`` announces; checksums are all S3 knows.

    Raises:
        InvalidRequest: It announces something else.
    """
    text = headers.get("x-amz-trailer")
    if not text:
        return frozenset()
    names = [name.strip().lower() for name in text.split(",")]
    if any(name not in BY_HEADER for name in names) or len(set(names)) != len(names):
        raise InvalidRequest("The value specified in the x-amz-trailer header is not supported")
    return frozenset(names)


def compute(algorithm: Algorithm, data: bytes | memoryview) -> bytes:
    """Return the checksum of bytes at hand."""
    accumulator = algorithm.new()
    accumulator.update(data)
    return accumulator.digest()


def composite(algorithm: Algorithm, part_digests: Iterable[bytes]) -> Digest:
    """Return the checksum of the parts' checksums, in part order."""
    return Digest(algorithm.name, compute(algorithm, b"".join(part_digests)), is_composite=True)


def combine(algorithm: Algorithm, parts: Iterable[tuple[bytes, int]]) -> Digest:
    """Return the checksum of the whole from each part's checksum and length in bytes.

    Raises:
        InvalidRequest: The algorithm cannot be combined: a hash covers a whole only by reading it.
    """
    function = algorithm.combine
    if function is None:
        raise InvalidRequest(
            f"The {FULL_OBJECT} checksum type is not supported for {algorithm.name}."
        )
    whole = 0
    for digest, length in parts:
        whole = function(whole, int.from_bytes(digest, "big"), length)
    return Digest(algorithm.name, whole.to_bytes(algorithm.digest_bytes, "big"))


def resolve_type(algorithm: Algorithm, wanted: str = "") -> str:
    """Return the checksum type of a multipart upload; ``wanted`` is the client's, or empty.

    Raises:
        InvalidRequest: The algorithm has no such type.
    """
    if not wanted:
        return algorithm.types[0]
    if wanted not in algorithm.types:
        raise InvalidRequest(
            f"The {wanted} checksum type cannot be used with the {algorithm.name.lower()} "
            "checksum algorithm."
        )
    return wanted


def render(digest: Digest, parts_count: int = 0) -> str:
    """Print a checksum as S3 does; a composite one ends in ``-`` and the number of its parts."""
    text = base64.b64encode(digest.value).decode()
    return f"{text}-{parts_count}" if digest.is_composite else text


def decode_base64(text: str) -> bytes | None:
    """Return the bytes of strict, padded base64, or None when it is not that."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
