"""FORMAT.md is enough: stored bytes are read with what it says and nothing of the engine."""

import base64
import hashlib
import json
import struct
from pathlib import Path

import pytest
from awscrt.checksums import crc32c
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from storage_server.engine.records import Body, BucketRecord, Extent, TenantRecord
from tests.engine.opened import INLINE, OWN_FILE, PART, SEGMENT, Opened, body

MASTER = bytes.fromhex("5a" * 32)
CHUNK = 65_536


def be32(number: int) -> bytes:
    """Return a version as the associated data has it."""
    return number.to_bytes(4, "big")


def context(purpose: str, *parts: bytes) -> bytes:
    """Return associated data: each part behind its length, two bytes, big-endian."""
    return b"".join(len(one).to_bytes(2, "big") + one for one in (purpose.encode(), *parts))


def unseal(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Open a sealed value."""
    cipher_key = HKDFExpand(SHA256(), 32, b"holdfast wrapping key 1").derive(key)
    return AESGCMSIV(cipher_key).decrypt(sealed[:12], sealed[12:], bound)


def bucket_key(keyring: Path, tenant: TenantRecord, bucket: BucketRecord) -> bytes:
    """Go down the hierarchy: master, root, tenant, bucket."""
    text = keyring.read_text()
    held = json.loads(text)
    inner = text[text.index("{", 1) : text.rindex("}", 0, text.index('"sha256"')) + 1]
    assert hashlib.sha256(inner.encode()).hexdigest() == held["sha256"]
    assert held["keyring"]["format"] == 1
    version = tenant.root_key_version
    wrapped = next(row["wrapped"] for row in held["keyring"]["roots"] if row["version"] == version)
    root = unseal(MASTER, base64.b64decode(wrapped), context("root key", be32(version)))
    where = (tenant.tenant_id, be32(version), be32(tenant.key_version))
    of_tenant = unseal(root, tenant.wrapped_key, context("tenant key", *where))
    at = (tenant.tenant_id, bucket.bucket_id, be32(bucket.key_version))
    return unseal(of_tenant, bucket.wrapped_key, context("bucket key", *at))


def suffix(*, what: int, last: bool, length: int, number: int, blob_id: bytes) -> bytes:
    """Return what a tag covers behind the ciphertext."""
    return struct.pack("<BBBBIQ", 1, 1, what, last, length, number) + blob_id


def opened_chunk(
    keys: bytes, piece: bytes, tag: bytes, number: int, blob_id: bytes, *, last: bool, what: int = 1
) -> bytes:
    """Verify a chunk and decrypt it."""
    end = suffix(what=what, last=last, length=len(piece), number=number, blob_id=blob_id)
    assert blake3(piece + end, key=keys[32:]).digest(16) == tag
    counter = (number * 4096).to_bytes(16, "big")
    return Cipher(algorithms.AES256(keys[:32]), modes.CTR(counter)).decryptor().update(piece)


def blob_keys(blob_key: bytes, blob_id: bytes) -> bytes:
    """Return cipher key and tag key."""
    return blake3(b"holdfast blob 1" + blob_id, key=blob_key).digest(64)


def read_blob(stored: bytes, extent: Extent, keys: bytes) -> bytes:
    """Read a whole blob from its stored bytes."""
    length, blob_id = extent.blob_bytes, extent.blob_id
    count = max(1, -(-length // CHUNK))
    assert stored[:8] == b"\x89HFBLOB\n"
    assert (stored[8], stored[9], stored[10], stored[11], stored[12]) == (1, 1, 1, 16, 16)
    flags, header = struct.unpack_from("<HI", stored, 14)
    assert stored[32:48] == blob_id
    wrapped, recovery = struct.unpack_from("<HH", stored, 84)
    end = 88 + wrapped + recovery
    covered = stored[:end]
    covered_by = suffix(what=3, last=True, length=end, number=0, blob_id=blob_id)
    assert blake3(covered + covered_by, key=keys[32:]).digest(16) == stored[end : end + 16]
    assert struct.unpack_from("<I", stored, end + 16)[0] == crc32c(stored[: end + 16])
    begin = header if flags else len(stored) - length - 16 * count
    assert begin == (4096 if flags else end + 20)
    if flags:
        check_closing(stored[-64:], length, len(stored), 4096 + length, count, keys, blob_id)
    plain = []
    for number in range(count):
        at = begin + CHUNK * number
        piece = stored[at : min(at + CHUNK, begin + length)]
        tag = stored[begin + length + 16 * number :][:16]
        last = number == count - 1
        plain.append(opened_chunk(keys, piece, tag, number, blob_id, last=last))
    return b"".join(plain)


def check_closing(
    block: bytes, length: int, stored: int, tags: int, count: int, keys: bytes, blob_id: bytes
) -> None:
    """Verify the closing block of a file of its own."""
    assert block[:8] == b"\x89HFSHUT\n"
    assert struct.unpack_from("<QQQQ", block, 8) == (length, stored, tags, count)
    end = suffix(what=4, last=True, length=40, number=0, blob_id=blob_id)
    assert blake3(block[:40] + end, key=keys[32:]).digest(16) == block[40:56]
    assert struct.unpack_from("<II", block, 56) == (0, crc32c(block[:60]))


class Reader:
    """Reads what a bucket's rows refer to."""

    def __init__(self, opened: Opened) -> None:
        """Open the bucket's key."""
        self.folder = opened.folder
        self.tenant, self.bucket = opened.tenant, opened.bucket
        self.key = bucket_key(self.folder / "keys" / "keyring.json", self.tenant, self.bucket)

    def unwrap(self, purpose: str, found: Body, blob_id: bytes) -> bytes:
        """Open the key of a row: that of its blob, or of its manifest."""
        at = (self.tenant.tenant_id, self.bucket.bucket_id, be32(found.key_version), blob_id)
        return unseal(self.key, found.wrapped_key, context(purpose, *at))

    def read(self, found: Body) -> bytes:
        """Return the plain bytes of an object."""
        if found.inline is not None:
            blob_id = found.inline.blob_id
            keys = blob_keys(self.unwrap("blob key", found, blob_id), blob_id)
            piece, tag = found.inline.sealed[:-16], found.inline.sealed[-16:]
            return opened_chunk(keys, piece, tag, 0, blob_id, last=True, what=2)
        if len(found.extents) == 1:
            blob_id = found.extents[0].blob_id
            return self.blob(found.extents[0], self.unwrap("blob key", found, blob_id))
        name = found.extents[0].blob_id if found.extents else b""
        parts = []
        for extent in found.extents:
            manifest_key = self.unwrap("manifest key", found, name)
            bound = context("blob key in a manifest", name, extent.blob_id)
            parts.append(self.blob(extent, unseal(manifest_key, extent.wrapped_key, bound)))
        return b"".join(parts)

    def blob(self, extent: Extent, blob_key: bytes) -> bytes:
        """Return the plain bytes of a blob on disk."""
        folder = self.folder / "objects" / self.tenant.tenant_id.hex()
        name = extent.blob_id.hex()
        if extent.offset:
            stored = (folder / "segments" / f"{extent.container:016x}").read_bytes()
            stored = stored[extent.offset : extent.offset + extent.stored_bytes]
        else:
            stored = (folder / f"{extent.container:016x}" / name[:2] / name).read_bytes()
        return read_blob(stored, extent, blob_keys(blob_key, extent.blob_id))


@pytest.mark.parametrize("size", [0, INLINE, SEGMENT, 70_000, OWN_FILE])
async def test_an_object_is_read_by_the_document_alone(opened: Opened, size: int) -> None:
    """From the master key to the plain bytes, each tag and checksum verified on the way."""
    content = body(size)
    await opened.put(b"k", content)
    found = (await opened.get(b"k")).detail.body
    assert found is not None
    assert Reader(opened).read(found) == content


async def test_an_object_of_parts_is_read_by_the_document_alone(opened: Opened) -> None:
    """Each part is a blob of its own, under the manifest's key."""
    contents = [body(PART, 1), body(SEGMENT, 2)]
    upload = await opened.begin(b"k")
    parts = [await opened.put_part(upload, at + 1, part) for at, part in enumerate(contents)]
    await opened.complete(upload, parts)
    found = (await opened.get(b"k")).detail.body
    assert found is not None
    assert len(found.extents) == 2
    assert Reader(opened).read(found) == b"".join(contents)
