"""Records to bytes and back, with a format byte, refused unknown flags and a checksum in each row.

Every row is ``format u8, flags u8, sequence u64, time u64, …, CRC-32 of row key and value``.
Version rows hold what a listing prints of them ready to be sent, at a place known without
decoding; ``FORMAT.md`` has the table.
"""

import functools
import struct
import time
from collections.abc import Sequence
from itertools import repeat
from operator import itemgetter
from typing import Final, TypeVar

import msgspec
from zlib_ng.zlib_ng import crc32

from storage_server.core.ids import NULL_VERSION, VersionId
from storage_server.engine import keys
from storage_server.engine.errors import Damaged, FormatTooNew
from storage_server.engine.records import (
    Checksum,
    ChecksumType,
    Detail,
    Kind,
    Usage,
    VersionRecord,
)

FORMAT: Final = 1
FLAG_NULL: Final = 0x01
# Which checksum a version has: bit 1 its type, bits 2 to 5 which of these its algorithm is, from 1.
# An algorithm keeps its place for ever; new ones are put behind, and older programs refuse them.
_ALGORITHMS: Final = (
    "CRC64NVME",
    "CRC32",
    "CRC32C",
    "SHA1",
    "SHA256",
    "SHA512",
    "MD5",
    "XXHASH64",
    "XXHASH3",
    "XXHASH128",
)
_CHECKSUM_FLAGS: Final = {
    (algorithm, kind): number << 2 | kind << 1
    for number, algorithm in enumerate(_ALGORITHMS, 1)
    for kind in ChecksumType
}
# What a listing prints of it, by its flags.
_CHECKSUM_TEXTS: Final = {0: b""} | {
    flags: b"<ChecksumAlgorithm>%b</ChecksumAlgorithm><ChecksumType>%b</ChecksumType>"
    % (algorithm.encode(), kind.name.encode())
    for (algorithm, kind), flags in _CHECKSUM_FLAGS.items()
}
_NO_FLAGS: Final = frozenset((0,))
_KNOWN_FLAGS: Final = frozenset(
    flags | null for flags in _CHECKSUM_TEXTS for null in (0, FLAG_NULL)
)

# format, flags, seq, time | kind, order, modified, random half of the id |
# where the text ends, and the lengths of the ETag and of the storage class in it
_VERSION: Final = struct.Struct(">BBQQBQQ8sBBB")
_TEXT_END_AT: Final = 43
# Time, ETag, size and storage class between the words that S3 puts there. Put together when they
# are written, since a page of a listing has a thousand of them (measured: a sixth of its cost).
_TEXT: Final = b'%b</LastModified><ETag>"%b"</ETag><Size>%d</Size><StorageClass>%b'
_TEXT_AT: Final = _VERSION.size
_ETAG_AT: Final = _TEXT_AT + _TEXT.index(b"%b", 2) + len("2026-01-02T03:04:05.000Z") - len("%b")
_BEFORE_SIZE: Final = len('"</ETag><Size>')
_BEHIND_SIZE: Final = len("</Size><StorageClass>")
_ETAG_BYTES_MAX: Final = 38
_SIZE_DIGITS_MAX: Final = 15
_CLASS_BYTES_MAX: Final = 19
_ENVELOPE: Final = struct.Struct(">BBQQ")
_USAGE: Final = struct.Struct(">BBQQ8Q")
_CRC: Final = struct.Struct("<I")
_KIND_AT: Final = 18
_CRC_TABLE: Final = [crc32(bytes((byte,)), 0xFFFFFFFF) ^ 0xFFFFFFFF for byte in range(256)]
_BY_HIGHEST: Final = {entry >> 24: byte for byte, entry in enumerate(_CRC_TABLE)}
# Format and flags times this go into a row's checksum. With so many bits no bit that flips in one
# checksum makes it that of a row with other flags.
_SPREAD: Final = 0x9E3779B1
_MARKS: Final = {flags: flags * _SPREAD & 0xFFFFFFFF for flags in _KNOWN_FLAGS}
# What CRC-32 over a message and its own little-endian CRC comes to, whatever the message was, by
# what went into that CRC.
_RESIDUES: Final = {mark: crc32(_CRC.pack(mark)) for mark in _MARKS.values()}
# What stands between a key and its text, by what its row comes to. So one look says of a row that
# it is sound, that its format and flags are known here, and what its checksum is.
_BEHIND_KEYS: Final = {
    _RESIDUES[mark]: b"</Key>%b<LastModified>" % _CHECKSUM_TEXTS[flags & ~FLAG_NULL]
    for flags, mark in _MARKS.items()
}

_encode = msgspec.msgpack.Encoder().encode
_decode_detail = msgspec.msgpack.Decoder(Detail).decode
# What a Detail ends in when the fields behind ``charged_bytes`` hold their defaults, and what one
# without them begins with: MessagePack's arrays of 16 to 65,535 and of up to 15 fields.
_DEFAULTS: Final = _encode(("",) * 3 + (0, b"", b"", (), b"", 0, False, ()))[1:]
_DEFAULTS_BYTES: Final = len(_DEFAULTS)
_SHORT_HEAD: Final = bytes((0x90 | 13,))
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
    _check(row_key, row, _NO_FLAGS)
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
    """Return the tail of a version row; it does not depend on the commit.

    The last fields are left out when none of them says anything, which is nearly always.
    """
    row = _encode(detail)
    return _SHORT_HEAD + row[3:-_DEFAULTS_BYTES] if row.endswith(_DEFAULTS) else row


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
    checksum: Checksum | None,
) -> bytes:
    """Return the row of a version; ``id_half`` is the random half of its id, None for ``null``.

    ``checksum`` is the detail's: a listing tells its algorithm and type, and decodes no detail.
    """
    assert len(etag) <= _ETAG_BYTES_MAX, "an ETag is an MD5, and at most five digits of parts"
    assert size_bytes < 10**_SIZE_DIGITS_MAX, "no object has so many bytes"
    assert len(storage_class) <= _CLASS_BYTES_MAX, "no storage class of S3 has a longer name"
    flags = FLAG_NULL if id_half is None else 0
    if checksum is not None:
        flags |= _CHECKSUM_FLAGS.get((checksum.algorithm, checksum.type), 0)
    text = _TEXT % (iso_time(modified_us), etag, size_bytes, storage_class)
    head = _VERSION.pack(
        FORMAT,
        flags,
        seq,
        time_us,
        kind,
        order,
        modified_us,
        id_half or b"",
        _TEXT_AT + len(text),
        len(etag),
        len(storage_class),
    )
    row = b"".join((head, text, detail))
    return row + _CRC.pack(crc32(row, crc32(row_key)) ^ _MARKS[flags])


def rekey_version(old_key: bytes, new_key: bytes, row: bytes) -> bytes:
    """Return a version's row for another row key, its content unchanged (it moves as it is).

    Raises:
        Damaged: The row was not sound under its old key.
    """
    _check(old_key, row, _KNOWN_FLAGS)
    body = row[:-4]
    return body + _CRC.pack(crc32(body, crc32(new_key)) ^ _mark(row))


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
        detail=encode_detail(detail),
        checksum=detail.checksum,
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
            end,
            etag_bytes,
            class_bytes,
        ) = _VERSION.unpack_from(row)
        etag_end, class_at = _ETAG_AT + etag_bytes, end - class_bytes
        detail = _decode_detail(memoryview(row)[end:-4])
        record = VersionRecord(
            kind=Kind.OBJECT if kind == 1 else Kind(kind),
            order=order,
            version_id=NULL_VERSION
            if flags & FLAG_NULL
            else VersionId((order.to_bytes(8, "big") + half).hex()),
            modified_us=modified_us,
            etag=row[_ETAG_AT:etag_end].decode("ascii"),
            size_bytes=int(row[etag_end + _BEFORE_SIZE : class_at - _BEHIND_SIZE]),
            storage_class=row[class_at:end].decode("ascii"),
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
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return the keys of version rows and what a listing prints behind each, in order.

    The rest of a row is not decoded. ``stem`` is what each row key begins with and is no part of.
    What is printed is as ``records.ObjectPage`` has it: behind the keys, and the texts.

    Raises:
        Damaged: A row's checksum does not fit.
        FormatTooNew: A newer program wrote it.
    """
    residues = map(crc32, found, map(crc32, row_keys, repeat(_before(stem))))
    try:
        behind_keys = list(map(_BEHIND_KEYS.__getitem__, residues))
    except KeyError as error:
        for row_key, row in zip(row_keys, found, strict=True):
            _check(row_key[len(stem) :], row, _KNOWN_FLAGS)
        raise Damaged("a version row is of no known format") from error
    plain = list(map(itemgetter(slice(len(stem) + 1, -2)), row_keys))
    if b"\x00" in b"".join(plain):
        plain = [keys.unescape(key) for key in plain]
    try:
        return plain, behind_keys, [row[_TEXT_AT : row[_TEXT_END_AT]] for row in found]
    except IndexError as error:
        raise Damaged("a version row is too short") from error


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
    _check(row_key, row, _NO_FLAGS)
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
    _check(row_key, row, _NO_FLAGS)
    return row[_ENVELOPE.size : -4]


def decode_number(row_key: bytes, row: bytes) -> int:
    """Return the u64 in a row.

    Raises:
        Damaged: The row is not sound.
    """
    _check(row_key, row, _NO_FLAGS)
    return int.from_bytes(row[_ENVELOPE.size : -4], "big")


def time_of(row: bytes) -> int:
    """Return the time of the commit that wrote a row; its checksum is somebody else's concern."""
    time_us: int = _ENVELOPE.unpack_from(row)[3]
    return time_us


def iso_time(time_us: int) -> bytes:
    """Return the 24 ASCII bytes of a time as listings print it: ``2026-01-02T03:04:05.000Z``.

    S3 shows whole seconds with zero milliseconds, so that a listing and Last-Modified agree.
    """
    return _iso_second(time_us // 1_000_000)


@functools.lru_cache(maxsize=64)
def _iso_second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(second)).encode("ascii")


def _mark(row: bytes) -> int:
    """Return what format and flags put into a row's checksum; 0 for a plain row of this format."""
    return ((row[0] ^ FORMAT) << 8 | row[1]) * _SPREAD & 0xFFFFFFFF


def _check(row_key: bytes, row: bytes, known_flags: frozenset[int]) -> None:
    if len(row) < _ENVELOPE.size + 4:
        raise Damaged("a row is too short")
    mark = _mark(row)
    residue = _RESIDUES.get(mark)
    if crc32(row, crc32(row_key)) != (crc32(_CRC.pack(mark)) if residue is None else residue):
        raise Damaged("a row's checksum does not fit")
    if row[0] > FORMAT or row[1] not in known_flags:
        raise FormatTooNew("a row was written by a newer program")


def _refuse_unknown_extensions(detail: Detail) -> None:
    for kind, critical, _ in detail.extensions:
        if critical:
            raise FormatTooNew(f"a version carries the unknown extension {kind}")
