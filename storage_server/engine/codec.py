"""Records to bytes and back, with a format byte, refused unknown flags and a checksum in each row.

Every row is ``format u8, flags u8, sequence u64, time u64, …, CRC-32 of row key and value``.
Version rows continue with the fields of a listing in ASCII at places known without decoding;
``FORMAT.md`` has the table.
"""

import functools
import struct
import time
from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Final, TypeVar, cast

import msgspec
from isal.isal_zlib import crc32

from storage_server.core.ids import NULL_VERSION, VersionId
from storage_server.engine import keys
from storage_server.engine.errors import Damaged, FormatTooNew
from storage_server.engine.records import (
    Detail,
    Kind,
    ListedFields,
    Usage,
    VersionRecord,
)

FORMAT: Final = 1
FLAG_NULL: Final = 0x01
_KNOWN_FLAGS: Final = FLAG_NULL

# format, flags, seq, time | kind, order, modified, random half of the id, Last-Modified |
# ETag, size and storage class, each in a place of fixed length behind its own length
_VERSION: Final = struct.Struct(">BBQQBQQ8s24s39p16p20p")
_LISTED: Final = struct.Struct(">43x24s39p16p20p")
_ETAG_BYTES_MAX: Final = 38
_SIZE_DIGITS_MAX: Final = 15
_CLASS_BYTES_MAX: Final = 19
_ENVELOPE: Final = struct.Struct(">BBQQ")
_USAGE: Final = struct.Struct(">BBQQ8Q")
_CRC: Final = struct.Struct("<I")
# What CRC-32 over a message and its own little-endian CRC comes to, whatever went before.
_CRC_RESIDUE: Final = 0x2144DF1C
_KIND_AT: Final = 18
_SOUND: Final = frozenset({_CRC_RESIDUE})
_CRC_TABLE: Final = [crc32(bytes((byte,)), 0xFFFFFFFF) ^ 0xFFFFFFFF for byte in range(256)]
_BY_HIGHEST: Final = {entry >> 24: byte for byte, entry in enumerate(_CRC_TABLE)}
# Formats and flags of the rows that a listing takes as they are.
_LISTED_FORMATS: Final = frozenset({FORMAT})
_LISTED_FLAGS: Final = frozenset({0, FLAG_NULL})
_format_of = itemgetter(0)
_flags_of = itemgetter(1)

_encode = msgspec.msgpack.Encoder().encode
_decode_detail = msgspec.msgpack.Decoder(Detail).decode
_decoders: dict[type, msgspec.msgpack.Decoder[object]] = {}

T = TypeVar("T", bound=msgspec.Struct)


def encode_record(row_key: bytes, record: msgspec.Struct, seq: int, time_us: int) -> bytes:
    """Return the row of a record that is not a version."""
    row = _ENVELOPE.pack(FORMAT, 0, seq, time_us) + _encode(record)
    return row + _CRC.pack(crc32(row, crc32(row_key)))


def decode_record(kind: type[T], row_key: bytes, row: bytes) -> T:
    """Return the record in a row.

    Raises:
        Damaged: The checksum does not fit, or the bytes are no such record.
        FormatTooNew: A newer program wrote it.
    """
    _check(row_key, row, 0)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        record = decoder.decode(memoryview(row)[_ENVELOPE.size : -4])
    except msgspec.MsgspecError as error:
        raise Damaged(f"a {kind.__name__} row does not decode") from error
    assert isinstance(record, kind)
    return record


def encode_detail(detail: Detail) -> bytes:
    """Return the tail of a version row; it does not depend on the commit."""
    return _encode(detail)


def encode_version(
    row_key: bytes,
    *,
    kind: Kind,
    order: int,
    id_half: bytes | None,
    modified_us: int,
    etag: bytes,
    size_bytes: int,
    storage_class: bytes,
    seq: int,
    time_us: int,
    detail: bytes,
) -> bytes:
    """Return the row of a version; ``id_half`` is the random half of its id, None for ``null``."""
    size = b"%d" % size_bytes
    assert len(etag) <= _ETAG_BYTES_MAX, "an ETag is an MD5, and at most five digits of parts"
    assert len(size) <= _SIZE_DIGITS_MAX, "no object has so many bytes"
    assert len(storage_class) <= _CLASS_BYTES_MAX, "no storage class of S3 has a longer name"
    row = b"".join(
        (
            _VERSION.pack(
                FORMAT,
                FLAG_NULL if id_half is None else 0,
                seq,
                time_us,
                kind,
                order,
                modified_us,
                id_half or b"",
                iso_ms(modified_us),
                etag,
                size,
                storage_class,
            ),
            detail,
        )
    )
    return row + _CRC.pack(crc32(row, crc32(row_key)))


def rekey_version(old_key: bytes, new_key: bytes, row: bytes) -> bytes:
    """Return a version's row for another row key, its content unchanged (it moves as it is).

    Raises:
        Damaged: The row was not sound under its old key.
    """
    _check(old_key, row, _KNOWN_FLAGS)
    body = row[:-4]
    return body + _CRC.pack(crc32(body, crc32(new_key)))


def encode_changed_version(
    row_key: bytes, record: VersionRecord, detail: Detail, seq: int, time_us: int
) -> bytes:
    """Return a new image of a version: the same identity, another detail."""
    return encode_version(
        row_key,
        kind=record.kind,
        order=record.order,
        id_half=None if record.is_null else bytes.fromhex(record.version_id)[8:],
        modified_us=record.modified_us,
        etag=record.etag.encode(),
        size_bytes=record.size_bytes,
        storage_class=record.storage_class.encode(),
        seq=seq,
        time_us=time_us,
        detail=_encode(detail),
    )


def decode_version(row_key: bytes, row: bytes) -> VersionRecord:
    """Return the version in a row.

    Raises:
        Damaged: The checksum does not fit, or the bytes are no version.
        FormatTooNew: A newer program wrote it, or it carries an unknown critical extension.
    """
    _check(row_key, row, _KNOWN_FLAGS)
    try:
        (
            _,
            flags,
            seq,
            time_us,
            kind,
            order,
            modified_us,
            half,
            _,
            etag,
            size,
            storage_class,
        ) = _VERSION.unpack_from(row)
        detail = _decode_detail(memoryview(row)[_VERSION.size : -4])
        record = VersionRecord(
            kind=Kind.OBJECT if kind == 1 else Kind(kind),
            order=order,
            version_id=NULL_VERSION
            if flags & FLAG_NULL
            else VersionId((order.to_bytes(8, "big") + half).hex()),
            modified_us=modified_us,
            etag=etag.decode("ascii"),
            size_bytes=int(size),
            storage_class=storage_class.decode("ascii"),
            seq=seq,
            time_us=time_us,
            detail=detail,
        )
    except (msgspec.MsgspecError, struct.error, ValueError) as error:
        raise Damaged("a version row does not decode") from error
    if detail.extensions:
        _refuse_unknown_extensions(detail)
    return record


def is_marker_row(row: bytes) -> bool:
    """Tell whether a version row is a delete marker, without decoding it."""
    return row[_KIND_AT] == Kind.MARKER


def listed(
    row_keys: Sequence[bytes], found: Sequence[bytes], stem: bytes = b""
) -> tuple[list[bytes], list[ListedFields]]:
    """Return the keys of version rows and what a listing prints of them, in order.

    The rest of a row is not decoded. ``stem`` is what each row key begins with and is no part of.

    Raises:
        Damaged: A row's checksum does not fit.
        FormatTooNew: A newer program wrote it.
    """
    checksums = set(map(crc32, found, map(crc32, row_keys, repeat(_before(stem)))))
    is_plain = checksums <= _SOUND and _LISTED_FORMATS.issuperset(map(_format_of, found))
    if not is_plain or not _LISTED_FLAGS.issuperset(map(_flags_of, found)):
        for row_key, row in zip(row_keys, found, strict=True):
            _check(row_key[len(stem) :], row, _KNOWN_FLAGS)
    start = len(stem) + 1
    plain = [row_key[start:-2] for row_key in row_keys]
    if b"\x00" in b"".join(plain):
        plain = [keys.unescape(key) for key in plain]
    try:
        fields = list(map(_LISTED.unpack_from, found))
    except struct.error as error:
        raise Damaged("a version row is too short") from error
    return plain, cast("list[ListedFields]", fields)


@functools.lru_cache(maxsize=4096)
def _before(stem: bytes) -> int:
    """Return what a CRC-32 starts from so that it has come to nothing behind the stem.

    A CRC can be run backwards: the byte that was shifted in last is told by the highest one.
    """
    register = 0xFFFFFFFF
    for byte in reversed(stem):
        at = _BY_HIGHEST[register >> 24]
        register = ((register ^ _CRC_TABLE[at]) << 8 | at ^ byte) & 0xFFFFFFFF
    return register ^ 0xFFFFFFFF


def encode_usage(row_key: bytes, usage: Usage, seq: int, time_us: int) -> bytes:
    """Return the row of a bucket's counters."""
    row = _USAGE.pack(
        FORMAT,
        0,
        seq,
        time_us,
        usage.keys,
        usage.objects,
        usage.markers,
        usage.object_bytes,
        usage.uploads,
        usage.parts,
        usage.part_bytes,
        usage.history_bytes,
    )
    return row + _CRC.pack(crc32(row, crc32(row_key)))


def decode_usage(row_key: bytes, row: bytes) -> Usage:
    """Return a bucket's counters.

    Raises:
        Damaged: The row is not sound.
    """
    _check(row_key, row, 0)
    if len(row) != _USAGE.size + 4:
        raise Damaged("a usage row has a wrong length")
    return Usage(*_USAGE.unpack_from(row)[4:])


def encode_number(row_key: bytes, number: int, seq: int, time_us: int) -> bytes:
    """Return a row that holds one u64."""
    row = _ENVELOPE.pack(FORMAT, 0, seq, time_us) + number.to_bytes(8, "big")
    return row + _CRC.pack(crc32(row, crc32(row_key)))


def encode_moved(row_key: bytes, key: bytes, seq: int, time_us: int) -> bytes:
    """Return a row that holds an object key."""
    row = _ENVELOPE.pack(FORMAT, 0, seq, time_us) + key
    return row + _CRC.pack(crc32(row, crc32(row_key)))


def decode_moved(row_key: bytes, row: bytes) -> bytes:
    """Return the object key in a row.

    Raises:
        Damaged: The row is not sound.
    """
    _check(row_key, row, 0)
    return row[_ENVELOPE.size : -4]


def decode_number(row_key: bytes, row: bytes) -> int:
    """Return the u64 in a row.

    Raises:
        Damaged: The row is not sound.
    """
    _check(row_key, row, 0)
    return int.from_bytes(row[_ENVELOPE.size : -4], "big")


def iso_ms(time_us: int) -> bytes:
    """Return the 24 ASCII bytes of a time as listings print it: ``2026-01-02T03:04:05.000Z``.

    S3 shows whole seconds with zero milliseconds, so that a listing and Last-Modified agree.
    """
    return _iso_second(time_us // 1_000_000)


@functools.lru_cache(maxsize=64)
def _iso_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(second)).encode("ascii")


def _check(row_key: bytes, row: bytes, flags: int) -> None:
    if len(row) < _ENVELOPE.size + 4:
        raise Damaged("a row is too short")
    if crc32(row, crc32(row_key)) != _CRC_RESIDUE:
        raise Damaged("a row's checksum does not fit")
    if row[0] > FORMAT or row[1] & ~flags & 0xFF:
        raise FormatTooNew("a row was written by a newer program")


def _refuse_unknown_extensions(detail: Detail) -> None:
    for kind, critical, _ in detail.extensions:
        if critical:
            raise FormatTooNew(f"a version carries the unknown extension {kind}")
