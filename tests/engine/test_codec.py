"""Rows: what goes in comes out, and nothing else is ever taken for a row."""

import struct
import zlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.core.ids import (
    NULL_VERSION,
    BlobId,
    BucketId,
    CanonicalId,
    PrincipalId,
    TenantId,
    UploadId,
    VersionId,
)
from storage_server.engine import codec, keys, rows
from storage_server.engine.errors import Damaged, FormatTooNew
from storage_server.engine.records import (
    Body,
    BucketRecord,
    BucketState,
    Checksum,
    ChecksumType,
    CredentialRecord,
    Detail,
    Due,
    Event,
    Extent,
    Inline,
    Intent,
    Kind,
    Lock,
    ManifestPart,
    ManifestRef,
    ManifestRow,
    NameRecord,
    PartFacts,
    PartRecord,
    PrincipalRecord,
    Taking,
    TenantRecord,
    UploadRecord,
    Usage,
    Versioning,
    VersionRecord,
    Writer,
)
from storage_server.s3 import checksums

NUMBER = st.integers(0, (1 << 63) - 1)
TEXT = st.text(max_size=8)
BYTES = st.binary(max_size=20)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
WRITERS = st.builds(Writer, principal_id=TEXT.map(PrincipalId), access_key_id=TEXT, request_id=TEXT)
# By their numbers in a version's flags, from 1.
ALGORITHMS = [
    "CRC64NVME", "CRC32", "CRC32C", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3",
    "XXHASH128",
]  # fmt: skip
CHECKSUMS = st.builds(
    Checksum,
    algorithm=st.sampled_from(ALGORITHMS) | TEXT,
    value=BYTES,
    type=st.sampled_from(ChecksumType),
)
EXTENTS = st.builds(
    Extent,
    blob_id=st.binary(min_size=16, max_size=16).map(BlobId),
    target=NUMBER,
    container=NUMBER,
    offset=NUMBER,
    stored_bytes=NUMBER,
    blob_bytes=NUMBER,
    blob_offset=NUMBER,
    length=NUMBER,
    algorithm=st.integers(0, 255),
    chunk_log2=st.integers(0, 63),
    holder=BYTES,
    wrapped_key=BYTES,
)
EXTENT_LISTS = st.lists(EXTENTS, max_size=3).map(tuple)
MANIFESTS = st.builds(ManifestRef, manifest_id=BYTES, extents_count=NUMBER, holder=BYTES)
INLINES = st.builds(Inline, blob_id=BYTES.map(BlobId), sealed=BYTES)
BODIES = st.builds(
    Body,
    inline=st.none() | INLINES,
    extents=EXTENT_LISTS,
    manifest=st.none() | MANIFESTS,
    wrapped_key=BYTES,
    key_version=NUMBER,
)
PART_FACTS = st.builds(
    PartFacts,
    part_number=st.integers(1, 10_000),
    size_bytes=NUMBER,
    checksum=st.none() | CHECKSUMS,
)
LOCKS = st.builds(Lock, mode=TEXT, until_us=NUMBER, legal_hold=st.booleans())
CANONICAL = TEXT.map(CanonicalId)
DETAILS = st.builds(
    Detail,
    owner=CANONICAL,
    writer=WRITERS,
    body=st.none() | BODIES,
    headers=PAIRS,
    user_metadata=PAIRS,
    tags=PAIRS,
    checksum=st.none() | CHECKSUMS,
    parts=st.lists(PART_FACTS, max_size=2).map(tuple),
    parts_count=NUMBER,
    lock=st.none() | LOCKS,
    etag_is_md5=st.booleans(),
    blake3=BYTES,
    charged_bytes=NUMBER,
    origin_site=TEXT,
    foreign_version_id=TEXT,
    sse_mode=st.integers(0, 9),
    acl=BYTES,
    replication=PAIRS,
    extensions=st.lists(st.tuples(NUMBER, st.just(False), BYTES), max_size=2).map(tuple),
)
UPLOADS = st.builds(
    UploadRecord,
    upload_id=st.binary(min_size=16, max_size=16).map(lambda raw: UploadId(raw.hex())),
    key=BYTES,
    initiated_us=NUMBER,
    order=NUMBER,
    owner=CANONICAL,
    writer=WRITERS,
    storage_class=TEXT,
    headers=PAIRS,
    user_metadata=PAIRS,
    tags=PAIRS,
    lock=st.none() | LOCKS,
    checksum_algorithm=TEXT,
    checksum_type=st.sampled_from(ChecksumType),
    completed_us=NUMBER,
    result_checksum=st.none() | CHECKSUMS,
    result_versioned=st.booleans(),
)
BUCKETS = st.builds(
    BucketRecord,
    bucket_id=st.binary(min_size=8, max_size=8).map(BucketId),
    name=TEXT,
    tenant_id=st.binary(min_size=8, max_size=8).map(TenantId),
    owner=CANONICAL,
    created_us=NUMBER,
    region=TEXT,
    wrapped_key=BYTES,
    state=st.sampled_from(BucketState),
    versioning=st.sampled_from(Versioning),
    tags=PAIRS,
    documents=st.dictionaries(TEXT, BYTES, max_size=2),
    bytes_max=st.none() | NUMBER,
    objects_max=st.none() | NUMBER,
    pins=st.lists(NUMBER, max_size=2).map(tuple),
    fork_parent=st.none() | st.tuples(BYTES.map(BucketId), NUMBER),
    feeds=st.lists(TEXT, max_size=2).map(tuple),
)
TENANTS = st.builds(
    TenantRecord,
    tenant_id=BYTES.map(TenantId),
    account_id=TEXT,
    canonical_id=CANONICAL,
    name=TEXT,
    wrapped_key=BYTES,
    root_key_version=NUMBER,
)
PRINCIPALS = st.builds(
    PrincipalRecord,
    principal_id=TEXT.map(PrincipalId),
    tenant_id=BYTES.map(TenantId),
    canonical_id=CANONICAL,
    name=TEXT,
    display_name=TEXT,
    revision=NUMBER,
    is_root=st.booleans(),
)
CREDENTIALS = st.builds(
    CredentialRecord,
    access_key_id=TEXT,
    principal_id=TEXT.map(PrincipalId),
    sealed_secret=BYTES,
    created_us=NUMBER,
    revision=NUMBER,
    deleted=st.booleans(),
)
PARTS = st.builds(
    PartRecord,
    part_number=st.integers(1, 10_000),
    size_bytes=NUMBER,
    etag=TEXT,
    md5=BYTES,
    modified_us=NUMBER,
    body=BODIES,
    checksum=st.none() | CHECKSUMS,
)
MANIFEST_ROWS = st.builds(
    ManifestRow,
    parts=st.lists(st.builds(ManifestPart, facts=PART_FACTS, extents=EXTENT_LISTS), max_size=3).map(
        tuple
    ),
)
TAKINGS = st.builds(
    Taking,
    tenant_id=BYTES.map(TenantId),
    holder=BYTES,
    extents=EXTENT_LISTS,
    manifest=st.none() | MANIFESTS,
    source_bucket_id=BYTES.map(BucketId),
    source_key=BYTES,
    source_order=NUMBER,
    source_holder=BYTES,
)
INTENTS = st.builds(
    Intent,
    incarnation=BYTES,
    target=NUMBER,
    container=NUMBER,
    manifest_id=BYTES,
    taking=st.none() | TAKINGS,
)
DUES = st.builds(
    Due,
    extents=EXTENT_LISTS,
    manifest=st.none() | MANIFESTS,
    upload_key=BYTES,
    upload_id=TEXT,
    used_parts=BYTES,
    result_of_upload=st.booleans(),
    segment=NUMBER,
)
EVENTS = st.builds(
    Event,
    name=TEXT,
    key=BYTES,
    version_id=TEXT,
    size_bytes=NUMBER,
    etag=TEXT,
    writer=WRITERS,
    order=NUMBER,
)
NAMES = st.builds(
    NameRecord,
    bucket_id=BYTES.map(BucketId),
    tenant_id=BYTES.map(TenantId),
    owner=CANONICAL,
    state=st.sampled_from(BucketState),
    created_us=NUMBER,
    region=TEXT,
    incarnation=BYTES,
)
RECORDS = st.one_of(
    UPLOADS,
    BUCKETS,
    TENANTS,
    PRINCIPALS,
    CREDENTIALS,
    PARTS,
    MANIFEST_ROWS,
    INTENTS,
    DUES,
    EVENTS,
    NAMES,
)
KEYS = st.binary(min_size=1, max_size=40)
WRITER = Writer(PrincipalId("AIDA"), "AKIA", "REQUEST")
EMPTY = Detail(owner=CanonicalId("a" * 64), writer=WRITER)


def version_row(row_key: bytes, detail: Detail = EMPTY, *, is_null: bool = False) -> bytes:
    """Return a plain version's row."""
    return codec.encode_version(
        row_key,
        kind=Kind.OBJECT,
        order=7,
        id_half=None if is_null else b"12345678",
        modified_us=1_700_000_000_123_456,
        etag=b"0" * 32,
        size_bytes=12,
        storage_class=b"STANDARD",
        seq=7,
        time_us=1_700_000_000_123_456,
        detail=codec.encode_detail(detail),
        checksum=detail.checksum,
    )


def with_checksum(algorithm: str, kind: ChecksumType) -> Detail:
    """Return a detail that has such a checksum."""
    return msgspec.structs.replace(EMPTY, checksum=Checksum(algorithm, b"", kind))


def shown_of(checksum: Checksum | None) -> bytes:
    """Return what a listing prints behind a key."""
    if checksum is None or checksum.algorithm not in ALGORITHMS:
        return b"</Key><LastModified>"
    kind = ("FULL_OBJECT", "COMPOSITE")[checksum.type]
    return (
        f"</Key><ChecksumAlgorithm>{checksum.algorithm}</ChecksumAlgorithm>"
        f"<ChecksumType>{kind}</ChecksumType><LastModified>"
    ).encode()


# --- Round trips -----------------------------------------------------------------------------


@given(key=KEYS, record=RECORDS, seq=NUMBER, time_us=NUMBER)
@settings(max_examples=150, deadline=None)
def test_a_record_comes_back(key: bytes, record: msgspec.Struct, seq: int, time_us: int) -> None:
    """Every kind of record is what it was."""
    row = codec.encode_record(key, record, seq, time_us)
    assert codec.decode_record(type(record), key, row) == record


@given(
    key=KEYS,
    kind=st.sampled_from(Kind),
    order=NUMBER,
    id_half=st.none() | st.binary(min_size=8, max_size=8),
    modified_us=st.integers(0, 4_102_444_800_000_000),
    etag=st.text(st.characters(codec="ascii"), max_size=38),
    size=st.integers(0, 10**15 - 1),
    storage_class=st.sampled_from(["", "STANDARD", "INTELLIGENT_TIERING"]),
    detail=DETAILS,
)
@settings(max_examples=100, deadline=None)
def test_a_version_comes_back_and_lists_the_same(
    key: bytes,
    kind: Kind,
    order: int,
    id_half: bytes | None,
    modified_us: int,
    etag: str,
    size: int,
    storage_class: str,
    detail: Detail,
) -> None:
    """What a listing reads at fixed places is what decoding reads."""
    row_key = keys.row(rows.CURRENT, key)
    row = codec.encode_version(
        row_key,
        kind=kind,
        order=order,
        id_half=id_half,
        modified_us=modified_us,
        etag=etag.encode(),
        size_bytes=size,
        storage_class=storage_class.encode(),
        seq=order,
        time_us=modified_us,
        detail=codec.encode_detail(detail),
        checksum=detail.checksum,
    )
    record = codec.decode_version(row_key, row)
    version_id = (
        NULL_VERSION if id_half is None else VersionId((order.to_bytes(8, "big") + id_half).hex())
    )
    assert record == VersionRecord(
        kind=kind,
        order=order,
        version_id=version_id,
        modified_us=modified_us,
        etag=etag,
        size_bytes=size,
        storage_class=storage_class,
        seq=order,
        time_us=modified_us,
        detail=detail,
    )
    assert codec.is_marker_row(row) == record.is_marker
    shown = (
        b"<LastModified>%b</LastModified>" % codec.iso_time(modified_us)
        + f'<ETag>"{etag}"</ETag><Size>{size}</Size>'.encode()
        + f"<StorageClass>{storage_class}</StorageClass>".encode()
    )[len("<LastModified>") : -len("</StorageClass>")]
    behind = shown_of(detail.checksum)
    assert codec.listed([row_key], [row]) == ([key], [behind], [shown])
    assert codec.listed([b"partition" + row_key] * 2, [row] * 2, b"partition") == (
        [key] * 2,
        [behind] * 2,
        [shown] * 2,
    )
    with pytest.raises(Damaged):
        codec.listed([b"partition" + row_key], [row], b"partitio")
    changed = codec.encode_changed_version(row_key, record, EMPTY, order + 1, modified_us)
    again = codec.decode_version(row_key, changed)
    assert (again.version_id, again.kind, again.etag) == (version_id, kind, etag)
    assert (again.seq, again.detail) == (order + 1, EMPTY)
    assert codec.listed([row_key], [changed]) == ([key], [shown_of(None)], [shown])


@pytest.mark.parametrize("is_null", [False, True])
@pytest.mark.parametrize("kind", ChecksumType)
@pytest.mark.parametrize(("number", "algorithm"), list(enumerate(ALGORITHMS, 1)))
def test_a_listing_tells_which_checksum_a_version_has(
    number: int,
    algorithm: str,
    kind: ChecksumType,
    is_null: bool,
) -> None:
    """By the flags, as FORMAT.md has them; wherever the row moves, and when its tags change."""
    key, other = b"ok\0\1", b"ol\0\1"
    detail = with_checksum(algorithm, kind)
    row, plain = version_row(key, detail, is_null=is_null), version_row(key)
    assert row[1] == number << 2 | kind << 1 | is_null
    behind = shown_of(detail.checksum)
    assert codec.listed([key] * 3, [plain, row, plain])[1] == [
        shown_of(None),
        behind,
        shown_of(None),
    ]
    moved = codec.rekey_version(key, other, row)
    assert codec.listed([other], [moved])[1] == [behind]
    tagged = msgspec.structs.replace(detail, tags=(("a", "b"),))
    changed = codec.encode_changed_version(key, codec.decode_version(key, row), tagged, 8, 9)
    assert codec.listed([key], [changed])[1] == [behind]


def test_every_checksum_that_a_client_may_send_is_told() -> None:
    """A new algorithm of the protocol needs a number here."""
    assert sorted(ALGORITHMS) == sorted(checksums.ALGORITHMS)


@given(key=KEYS, usage=st.builds(Usage, *[NUMBER] * 8), number=NUMBER, moved=KEYS)
def test_counters_numbers_and_keys_come_back(
    key: bytes, usage: Usage, number: int, moved: bytes
) -> None:
    """The rows that are no records are what they were."""
    assert codec.decode_usage(key, codec.encode_usage(key, usage, 1, 2)) == usage
    assert codec.decode_number(key, codec.encode_number(key, number, 1, 2)) == number
    assert codec.decode_moved(key, codec.encode_moved(key, moved, 1, 2)) == moved


@pytest.mark.parametrize(
    ("time_us", "shown"),
    [
        (0, b"1970-01-01T00:00:00.000Z"),
        (999_999, b"1970-01-01T00:00:00.000Z"),
        (1_700_000_000_999_999, b"2023-11-14T22:13:20.000Z"),
        (253_402_300_799_000_000, b"9999-12-31T23:59:59.000Z"),
    ],
)
def test_listed_times_are_whole_seconds(time_us: int, shown: bytes) -> None:
    """A listing and Last-Modified show the same time."""
    assert codec.iso_time(time_us) == shown


# --- What is not a row -----------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"o/a", b"b", b"x" * 500])
def test_every_flipped_bit_is_refused(key: bytes) -> None:
    """No single bit of any row can change unnoticed, and none is ever served."""
    summed = version_row(key, with_checksum("XXHASH128", ChecksumType.COMPOSITE), is_null=True)
    rows_of_a_kind: list[tuple[bytes, Callable[[bytes], object]]] = [
        (version_row(key), lambda row: codec.decode_version(key, row)),
        (version_row(key), lambda row: codec.listed([key], [row])),
        (summed, lambda row: codec.decode_version(key, row)),
        (summed, lambda row: codec.listed([key], [row])),
        (
            codec.encode_record(key, Due(upload_key=b"k"), 1, 2),
            lambda row: codec.decode_record(Due, key, row),
        ),
        (codec.encode_usage(key, Usage(1, 1), 1, 2), lambda row: codec.decode_usage(key, row)),
        (codec.encode_number(key, 5, 1, 2), lambda row: codec.decode_number(key, row)),
        (codec.encode_moved(key, b"k", 1, 2), lambda row: codec.decode_moved(key, row)),
    ]
    for row, decode in rows_of_a_kind:
        for bit in range(len(row) * 8):
            flipped = bytearray(row)
            flipped[bit >> 3] ^= 1 << (bit & 7)
            with pytest.raises(Damaged):
                decode(bytes(flipped))


def test_no_flipped_bit_makes_a_row_one_with_other_flags() -> None:
    """A page is sound when each row comes to one of some numbers: none is a bit from another."""
    known = [0, *(number << 2 | kind << 1 for number in range(1, 11) for kind in (0, 1))]
    marks = [(flags | null) * 0x9E3779B1 & 0xFFFFFFFF for flags in known for null in (0, 1)]
    sound = {zlib.crc32(mark.to_bytes(4, "little")) for mark in marks}
    assert len(sound) == len(marks)
    between = {one ^ other for one in sound for other in sound if one != other}
    steps = [zlib.crc32(bytes((byte,)), 0xFFFFFFFF) ^ 0xFFFFFFFF for byte in range(256)]
    # What each bit of a byte changes when it flips, then in the byte before it; no row has 64 KiB.
    flipped = [steps[1 << bit] for bit in range(8)]
    for _ in range(65_536):
        assert between.isdisjoint(flipped)
        flipped = [steps[register & 0xFF] ^ register >> 8 for register in flipped]


@given(key=KEYS, other=KEYS)
def test_a_row_does_not_decode_under_another_key(key: bytes, other: bytes) -> None:
    """A row that lies where another belongs is damage, not that other's content."""
    row = version_row(key)
    if key == other:
        return
    with pytest.raises(Damaged):
        codec.decode_version(other, row)
    with pytest.raises(Damaged):
        codec.rekey_version(other, key, row)
    moved = codec.rekey_version(key, other, row)
    assert codec.decode_version(other, moved) == codec.decode_version(key, row)
    with pytest.raises(Damaged):
        codec.decode_version(key, moved)


@given(noise=st.binary(max_size=200))
def test_noise_is_never_a_row(noise: bytes) -> None:
    """Bytes that nobody wrote are refused, never crashed over."""
    attempts: list[Callable[[], object]] = [
        lambda: codec.decode_version(b"k", noise),
        lambda: codec.decode_record(Due, b"k", noise),
        lambda: codec.decode_usage(b"k", noise),
        lambda: codec.listed([b"ok\x00\x01"], [noise]),
    ]
    for decode in attempts:
        with pytest.raises((Damaged, FormatTooNew)):
            decode()


@pytest.mark.parametrize("length", [0, 1, 18, 21, 22, 40])
def test_a_cut_row_is_damage(length: int) -> None:
    """A row that ends too early is refused."""
    with pytest.raises(Damaged):
        codec.decode_version(b"k", version_row(b"k")[:length])


@pytest.mark.parametrize("length", [18, 39])
def test_a_sound_row_too_short_for_a_listing_is_damage(length: int) -> None:
    """A listing takes its text from a place that such a row does not have."""
    row = version_row(b"k")[:length]
    with pytest.raises(Damaged):
        codec.listed([b""], [_with_crc(row)])


@pytest.mark.parametrize("is_null", [False, True])
def test_a_page_takes_versions_of_both_kinds_of_id(is_null: bool) -> None:
    """Null versions have a mark of their own in the checksum, and keep it wherever they move."""
    row = codec.rekey_version(b"k", b"ok\0\1", version_row(b"k", is_null=is_null))
    other = version_row(b"ol\0\1", is_null=not is_null)
    assert codec.listed([b"ok\0\1", b"ol\0\1"], [row, other])[0] == [b"k", b"l"]
    assert codec.decode_version(b"ok\0\1", row).is_null == is_null


def test_fields_that_say_nothing_take_no_room() -> None:
    """Nearly every row ends in them, and a page of a listing reads a thousand rows."""
    short = codec.encode_detail(EMPTY)
    full = codec.encode_detail(msgspec.structs.replace(EMPTY, annotations_count=1))
    assert len(full) - len(short) >= 14
    assert msgspec.msgpack.decode(short, type=Detail) == EMPTY
    assert short.startswith(bytes((0x90 | 13,)))


def test_a_record_of_another_kind_is_damage() -> None:
    """A sound row with other content than its key promises is refused."""
    row = codec.encode_record(b"k", Due(upload_key=b"k"), 1, 2)
    with pytest.raises(Damaged):
        codec.decode_record(BucketRecord, b"k", row)
    with pytest.raises(Damaged):
        codec.decode_version(b"k", codec.encode_usage(b"k", Usage(), 1, 2))


def _with_crc(row: bytes) -> bytes:
    """Return a row with a checksum that fits it under the empty row key, as FORMAT.md has it."""
    mark = ((row[0] ^ 1) << 8 | row[1]) * 0x9E3779B1 & 0xFFFFFFFF
    return row + (zlib.crc32(row) ^ mark).to_bytes(4, "little")


@pytest.mark.parametrize("flag", [0x02, 0x03, 0x2C, 0x2E, 0x3C, 0x3F, 0x40, 0x44, 0x80, 0xFF])
def test_an_unknown_flag_is_refused(flag: int) -> None:
    """A row that says more than this program understands is not read half."""
    row = bytearray(version_row(b"k")[:-4])
    row[1] |= flag
    with pytest.raises(FormatTooNew):
        codec.decode_version(b"", _with_crc(bytes(row)))
    with pytest.raises(FormatTooNew):
        codec.listed([b""], [_with_crc(bytes(row))])
    envelope = bytearray(codec.encode_record(b"k", Due(), 1, 2)[:-4])
    for unknown in (flag, codec.FLAG_NULL, 0x04):
        envelope[1] = unknown
        with pytest.raises(FormatTooNew):
            codec.decode_record(Due, b"", _with_crc(bytes(envelope)))


@pytest.mark.parametrize("form", [2, 3, 255])
def test_a_newer_format_is_refused(form: int) -> None:
    """Rows of a newer program are told apart from damage, in listings too."""
    row = bytearray(version_row(b"k")[:-4])
    row[0] = form
    with pytest.raises(FormatTooNew):
        codec.decode_version(b"", _with_crc(bytes(row)))
    with pytest.raises(FormatTooNew):
        codec.listed([b""], [_with_crc(bytes(row))])


def test_an_unknown_critical_extension_is_refused_and_another_is_kept() -> None:
    """A later program decides what an older one may ignore."""
    harmless = ((900, False, b"later"),)
    detail = msgspec.structs.replace(EMPTY, extensions=harmless)
    assert codec.decode_version(b"k", version_row(b"k", detail)).detail.extensions == harmless
    critical = msgspec.structs.replace(EMPTY, extensions=(*harmless, (901, True, b"")))
    with pytest.raises(FormatTooNew):
        codec.decode_version(b"k", version_row(b"k", critical))


def test_fields_that_came_later_have_their_defaults() -> None:
    """A record written before a field existed decodes with the field's default."""
    row = struct.pack(">BBQQ", codec.FORMAT, 0, 1, 2) + msgspec.msgpack.encode([[], None, b"key"])
    due = codec.decode_record(Due, b"", _with_crc(row))
    assert due == Due(upload_key=b"key")
