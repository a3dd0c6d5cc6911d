"""The contract of a blob store: immutable byte strings behind opaque references.

The store sees stored bytes only: ciphertext, headers and tags are made above it
(``engine/blobs.py``). ``tests/engine/test_blobstore.py`` is the suite that any driver must pass.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from storage_server.core.ids import BlobId, BucketId, TenantId
from storage_server.engine.metastore import Later


class Place(msgspec.Struct, frozen=True, gc=False):
    """Whose bytes they are: ids only, never names."""

    tenant_id: TenantId
    bucket_id: BucketId


class Ref(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a blob's stored bytes lie.

    ``container`` names the segment (local target: its random u64), or the home bucket of a blob in
    a file of its own (its id as a u64). ``offset`` is 0 for a file of its own; a segment entry
    never starts at 0, because a segment starts with a header.
    """

    blob_id: BlobId
    target: int
    container: int
    offset: int
    stored_bytes: int


class Space(msgspec.Struct, frozen=True, gc=False):
    """Bytes of the device that holds the blobs."""

    total_bytes: int
    free_bytes: int


class BlobHead(msgspec.Struct, frozen=True, gc=False):
    """One blob found by a walk: where it lies, whose it is by path, and its first stored bytes.

    ``cursor`` continues the walk behind it. A stretch of a segment that holds no intact entry is
    told as a blob of id zero: ``parse_header(head)`` refuses it.
    """

    ref: Ref
    tenant_id: TenantId
    head: bytes
    cursor: bytes


class Sink(Protocol):
    """One blob being written. Not shared between tasks."""

    buffered: bool
    """True: no method ever blocks, bytes are only remembered. False: call them from a thread."""

    def write(self, view: bytes | bytearray | memoryview) -> None:
        """Append; the view may be reused when the call returns.

        Raises:
            OutOfSpace: Nothing more will fit; abort.
        """
        ...

    def patch(self, offset: int, view: bytes | memoryview) -> None:
        """Overwrite bytes written before (a header completed at the end)."""
        ...

    def finish(self) -> Ref:
        """Return where the blob will be. It is not durable until ``BlobStore.sync``."""
        ...

    def abort(self) -> None:
        """Forget the blob and remove what was written of it; ``delete`` does so durably."""
        ...


class Reading(Protocol):
    """A large read under way; ``aclose`` lets go of its descriptor and buffers."""

    def __aiter__(self) -> "Reading":
        """Return itself."""
        ...

    async def __anext__(self) -> memoryview:
        """Return the next view; the one before it is dead from now on.

        Raises:
            Damaged: The stored bytes end too early or can't be read, or ``work`` refused them.
        """
        ...

    async def aclose(self) -> None:
        """End the read, also in its middle. No view may be used any more."""
        ...


class BlobStore(Protocol):
    """Immutable blobs."""

    async def begin(self, place: Place, blob_id: BlobId, stored_bytes_hint: int | None) -> Sink:
        """Open a sink. Up to 1 MiB (and a little for tags) goes to a segment, more to a file.

        None means that the length is not known: a file.
        """
        ...

    def append(self, place: Place, blob_id: BlobId, entry: bytes) -> Ref:
        """Take a small blob that is all at hand; return where it will be, not yet durable.

        It never blocks: what ``begin``, ``write`` and ``finish`` do for a segment, in one step.
        """
        ...

    async def sync(self, refs: Sequence[Ref], places: Sequence[Place]) -> None:
        """Make blobs durable, file and folder, all in one round.

        Raises:
            FlushFailed: None of them may be acknowledged; the instance must stop.
            OutOfSpace: A segment could not take its bytes; none of them is written.
        """
        ...

    def flushing(self, refs: Sequence[Ref], places: Sequence[Place]) -> Callable[[], None] | None:
        """Return the call that does what ``sync`` does, for a thread that may block.

        None when there is nothing to do. The call raises what ``sync`` raises.
        """
        ...

    def read_now(self, place: Place, ref: Ref, offset: int, length: int) -> bytes | Later:
        """Return stored bytes if that does not block (they are in the page cache).

        Raises:
            BlobGone: There is no such blob any more.
        """
        ...

    async def read(
        self,
        place: Place,
        ref: Ref,
        offset: int,
        length: int,
        buffer_bytes: int,
        work: Callable[[int, memoryview], None] | None = None,
    ) -> Reading:
        """Read stored bytes in order, in views of ``buffer_bytes`` (the last one may be shorter).

        When this returns, the descriptor is open (and held to the end) and the first view is
        filled. ``work(position, piece)`` is called in the reading thread on each view, whole or
        in pieces of whole chunks' lengths, one view ahead of the consumer; it may change the
        bytes. ``position`` counts from ``offset``.

        Raises:
            BlobGone: There is no such blob any more.
            Damaged: As ``Reading.__anext__``.
        """
        ...

    async def delete(self, place: Place, ref: Ref) -> None:
        """Free a blob's bytes: unlink its file, or count its segment entry as dead. Idempotent.

        When it returns no crash brings them back, also when the file was gone before.

        Raises:
            EngineError: The file may still be there, or come back.
        """
        ...

    def walk(self, after: bytes) -> AsyncIterator[BlobHead]:
        """Yield every blob there is, in a stable order, from behind the cursor ``after``."""
        ...

    async def usage(self) -> Space:
        """Return the device's space."""
        ...

    async def close(self) -> None:
        """Seal open segments and let go of descriptors."""
        ...
