"""A blob's stored form but for its cipher: header, places of chunks and tags, closing block.

``engine/FORMAT.md`` has the tables. Everything here is arithmetic on bytes, without keys or files.
"""

import enum
import struct
from typing import Final

import msgspec
from awscrt.checksums import crc32c

from storage_server.core.ids import BlobId, BucketId, IncarnationId, TenantId
from storage_server.core.limits import SEGMENT_BODY_BYTES_MAX
from storage_server.crypto.chunks import TAG_BYTES, sealed_bytes
from storage_server.engine.blobstore import Ref
from storage_server.engine.errors import Damaged, FormatTooNew

BLOB_MAGIC: Final = b"\x89HFBLOB\n"
CLOSING_MAGIC: Final = b"\x89HFSHUT\n"
BLOB_FORMAT: Final = 1
CIPHER_AES256_CTR: Final = 1
TAG_BLAKE3: Final = 1
HEADER_BYTES: Final = 4096  # of a file of its own: a page, so that the chunks behind it are aligned
PAGE_BYTES: Final = 4096
CLOSING_BYTES: Final = 64
HEADER_CORE_BYTES_MAX: Final = HEADER_BYTES
OWN_FILE: Final = 1  # flag: chunks at 4 KiB, closing block at the end
KNOWN_FLAGS: Final = OWN_FILE
CRC_BYTES: Final = 4
SEGMENT_ENTRY_BYTES_MAX: Final = HEADER_CORE_BYTES_MAX + sealed_bytes(SEGMENT_BODY_BYTES_MAX)

# magic, format, cipher, tag algorithm, tag size, chunk log2, kind, flags, header bytes,
# key version, stored bytes, blob, tenant, bucket, incarnation, created us, wrapped by,
# wrapped length, recovery length
_HEADER = struct.Struct("<8sBBBBBBHIIQ16s8s8s8sQIHH")
_CLOSING = struct.Struct("<8sQQQQ")
_CRC = struct.Struct("<I")
HEADER_FIXED_BYTES: Final = _HEADER.size


class RecoveryTooLong(ValueError):
    """A blob header has room for some 3,900 bytes of sealed recovery record."""


class BlobKind(enum.IntEnum):
    """What a blob holds."""

    OBJECT = 1
    PART = 2
    MANIFEST = 3  # a sealed list of parts, so that salvage can join them


class WrappedBy(enum.IntEnum):
    """Which key the header's copy of the blob key is wrapped under."""

    NONE = 0  # SSE-C: only the customer has it
    BUCKET_KEY = 1


class BlobHeader(msgspec.Struct, frozen=True, gc=False):
    """The first bytes of a blob: enough to skip it, and to salvage it with the keyring alone.

    ``header_bytes`` is where chunk 0 begins. ``stored_bytes`` is 0 in a file of its own: its
    closing block says. ``core`` is what the keyed tag covers.
    """

    kind: BlobKind
    flags: int
    header_bytes: int
    key_version: int
    stored_bytes: int
    blob_id: BlobId
    tenant_id: TenantId
    bucket_id: BucketId
    incarnation: IncarnationId
    created_us: int
    wrapped_by: WrappedBy
    wrapped_key: bytes
    recovery: bytes
    core: bytes
    tag: bytes

    @property
    def in_own_file(self) -> bool:
        """Tell whether the blob has a file of its own."""
        return bool(self.flags & OWN_FILE)

    @property
    def used_bytes(self) -> int:
        """Return how much of the header is not padding."""
        return len(self.core) + TAG_BYTES + CRC_BYTES


class ClosingBlock(msgspec.Struct, frozen=True, gc=False):
    """The last bytes of a blob in a file of its own; ``core`` is what the keyed tag covers."""

    blob_bytes: int
    stored_bytes: int
    tags_offset: int
    chunks_count: int
    core: bytes
    tag: bytes


def header_core(
    *,
    kind: BlobKind,
    own_file: bool,
    blob_bytes: int,
    blob_id: BlobId,
    tenant_id: TenantId,
    bucket_id: BucketId,
    incarnation: IncarnationId,
    created_us: int,
    key_version: int,
    wrapped_key: bytes,
    recovery: bytes,
) -> bytes:
    """Return a header up to its keyed tag.

    Raises:
        RecoveryTooLong: The recovery record does not fit; leave some of it out.
    """
    used = HEADER_FIXED_BYTES + len(wrapped_key) + len(recovery) + TAG_BYTES + CRC_BYTES
    if used > HEADER_CORE_BYTES_MAX:
        raise RecoveryTooLong(f"{used} bytes do not fit into a blob header")
    fixed = _HEADER.pack(
        BLOB_MAGIC,
        BLOB_FORMAT,
        CIPHER_AES256_CTR,
        TAG_BLAKE3,
        TAG_BYTES,
        16,
        kind,
        OWN_FILE if own_file else 0,
        HEADER_BYTES if own_file else used,
        key_version,
        0 if own_file else used + sealed_bytes(blob_bytes),
        blob_id,
        tenant_id,
        bucket_id,
        incarnation,
        created_us,
        WrappedBy.BUCKET_KEY if wrapped_key else WrappedBy.NONE,
        len(wrapped_key),
        len(recovery),
    )
    return fixed + wrapped_key + recovery


def with_crc(block: bytes) -> bytes:
    """Return the block with its CRC32C behind it."""
    return block + _CRC.pack(crc32c(block))


def parse_header(head: bytes) -> BlobHeader:
    """Read a header without any key; ``head`` may be longer than it.

    The CRC finds accidents. Only the keyed tag (``blobs.verify_blob``) finds forgery.

    Raises:
        Damaged: There is no intact header here.
        FormatTooNew: A newer program wrote it.
    """
    if len(head) < HEADER_FIXED_BYTES or head[:8] != BLOB_MAGIC:
        raise Damaged("no blob header")
    fields = _HEADER.unpack_from(head)
    _, form, cipher, tag_algorithm, tag_bytes, chunk_log2, kind, flags, *rest = fields
    (header_bytes, key_version, stored_bytes, *ids, wrapped_by, wrapped_len, recovery_len) = rest
    core_end = HEADER_FIXED_BYTES + wrapped_len + recovery_len
    tag_end = core_end + TAG_BYTES
    block = bytes(head[:tag_end])
    if bytes(head[tag_end : tag_end + CRC_BYTES]) != _CRC.pack(crc32c(block)):
        raise Damaged("the blob header's CRC does not match")
    if (form, cipher, tag_algorithm, tag_bytes, chunk_log2) != (
        BLOB_FORMAT,
        CIPHER_AES256_CTR,
        TAG_BLAKE3,
        TAG_BYTES,
        16,
    ) or flags & ~KNOWN_FLAGS:
        raise FormatTooNew(f"blob format {form}, cipher {cipher}, flags {flags:#x}")
    blob_id, tenant_id, bucket_id, incarnation, created_us = ids
    try:
        return BlobHeader(
            kind=BlobKind(kind),
            flags=flags,
            header_bytes=header_bytes,
            key_version=key_version,
            stored_bytes=stored_bytes,
            blob_id=BlobId(blob_id),
            tenant_id=TenantId(tenant_id),
            bucket_id=BucketId(bucket_id),
            incarnation=IncarnationId(incarnation),
            created_us=created_us,
            wrapped_by=WrappedBy(wrapped_by),
            wrapped_key=block[HEADER_FIXED_BYTES : HEADER_FIXED_BYTES + wrapped_len],
            recovery=block[HEADER_FIXED_BYTES + wrapped_len : core_end],
            core=block[:core_end],
            tag=block[core_end:],
        )
    except ValueError:
        raise FormatTooNew(f"blob kind {kind}, wrapped by {wrapped_by}") from None


def closing_core(blob_bytes: int, chunks_count: int) -> bytes:
    """Return a closing block up to its keyed tag."""
    stored = own_stored_bytes(blob_bytes)
    return _CLOSING.pack(CLOSING_MAGIC, blob_bytes, stored, HEADER_BYTES + blob_bytes, chunks_count)


def closing_block(core: bytes, tag: bytes) -> bytes:
    """Return the whole closing block: what the tag covers, the tag, four zero bytes, CRC32C."""
    return with_crc(core + tag + bytes(4))


def parse_closing(block: bytes) -> ClosingBlock:
    """Read a closing block without any key.

    Raises:
        Damaged: There is no intact closing block here: the file was cut, or never finished.
    """
    if len(block) != CLOSING_BYTES or block[:8] != CLOSING_MAGIC:
        raise Damaged("no closing block")
    if block[-CRC_BYTES:] != _CRC.pack(crc32c(block[:-CRC_BYTES])):
        raise Damaged("the closing block's CRC does not match")
    core = block[: _CLOSING.size]
    _, blob_bytes, stored_bytes, tags_offset, chunks_count = _CLOSING.unpack(core)
    tag = block[_CLOSING.size : _CLOSING.size + TAG_BYTES]
    return ClosingBlock(blob_bytes, stored_bytes, tags_offset, chunks_count, core, tag)


def own_stored_bytes(blob_bytes: int) -> int:
    """Return the length of a file that holds one blob: whole pages."""
    return -(-(HEADER_BYTES + sealed_bytes(blob_bytes) + CLOSING_BYTES) // PAGE_BYTES) * PAGE_BYTES


def body_offset(ref: Ref, blob_bytes: int) -> int:
    """Return where chunk 0 begins, counted from the blob's first stored byte.

    Raises:
        Damaged: The reference can't be that of a blob of this length.
    """
    if ref.offset == 0:
        if ref.stored_bytes != own_stored_bytes(blob_bytes):
            raise Damaged("the reference and the blob's length disagree")
        return HEADER_BYTES
    start = ref.stored_bytes - sealed_bytes(blob_bytes)
    if start < HEADER_FIXED_BYTES:
        raise Damaged("the reference and the blob's length disagree")
    return start
