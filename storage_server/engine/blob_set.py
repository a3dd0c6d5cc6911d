"""A set of places of blobs, small enough for a hundred million of them."""

import hashlib
from typing import Final

from storage_server.engine.blobstore import Ref

_SHARD_BYTES: Final = 2
_KEPT_BYTES: Final = 8  # with the shard 80 bits: two of 10^8 places collide once in 10^8 checks


class BlobSet:
    """Places of blobs: an own file by its id, an entry of a segment by its offset."""

    def __init__(self) -> None:
        """Begin empty."""
        self._shards: dict[bytes, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many places it holds."""
        return self._count

    def __contains__(self, ref: Ref) -> bool:
        """Tell whether the place is in it."""
        digest = _digest(ref)
        shard = self._shards.get(digest[:_SHARD_BYTES])
        return shard is not None and _is_in(shard, digest[_SHARD_BYTES:])

    def add(self, ref: Ref) -> bool:
        """Add a place; False when it was there."""
        digest = _digest(ref)
        shard = self._shards.setdefault(digest[:_SHARD_BYTES], bytearray())
        kept = digest[_SHARD_BYTES:]
        if _is_in(shard, kept):
            return False
        shard += kept
        self._count += 1
        return True


def _digest(ref: Ref) -> bytes:
    place = ref.container.to_bytes(8, "big") + ref.offset.to_bytes(8, "big")
    name = b"" if ref.offset else ref.blob_id
    size = _SHARD_BYTES + _KEPT_BYTES
    return hashlib.blake2b(place + name, digest_size=size).digest()


def _is_in(shard: bytearray, kept: bytes) -> bool:
    at = shard.find(kept)
    while at >= 0 and at % _KEPT_BYTES:
        at = shard.find(kept, at + 1)
    return at >= 0
