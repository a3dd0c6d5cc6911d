"""Blobs as they are stored: encrypted and tagged in chunks, above any BlobStore."""

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import msgspec

from storage_server.core.ids import BlobId, IncarnationId
from storage_server.core.limits import CHUNK_BYTES, SEGMENT_BODY_BYTES_MAX
from storage_server.crypto.chunks import (
    CLOSING,
    HEADER,
    INLINE,
    TAG_BYTES,
    BegunTag,
    ChunkCipher,
    chunks_in,
    sealed_bytes,
)
from storage_server.crypto.errors import TagMismatch
from storage_server.engine.blob_format import (
    CLOSING_BYTES,
    HEADER_BYTES,
    HEADER_CORE_BYTES_MAX,
    PAGE_BYTES,
    BlobHeader,
    BlobKind,
    body_offset,
    closing_block,
    closing_core,
    header_core,
    own_stored_bytes,
    parse_closing,
    parse_header,
    with_crc,
)
from storage_server.engine.blobstore import BlobStore, Place, Reading, Ref, Sink
from storage_server.engine.buffers import TRANSFER_BYTES, BufferPool
from storage_server.engine.errors import Damaged
from storage_server.engine.metastore import LATER, Later

READ_NOW_PLAIN_BYTES_MAX: Final = 5 * CHUNK_BYTES  # 256 KiB lie in up to 5: 90 us
_SKIPPED_TAGS_MAX: Final = 4096  # read past, rather than asking twice
_WRITERS_KEPT: Final = 32
_CIPHERS_KEPT: Final = 4096  # about 300 bytes each
_WRITE_BUFFERS: Final = BufferPool(HEADER_BYTES + TRANSFER_BYTES, _WRITERS_KEPT)
_KINDS: Final = {"object": BlobKind.OBJECT, "part": BlobKind.PART, "manifest": BlobKind.MANIFEST}


# --- Writing ----------------------------------------------------------------------------------


class BlobWriter(ABC):
    """One blob being written: plain bytes in, ciphertext out. Used for exactly one byte string.

    ``buffered`` is the sink's: True, and no method blocks; False, and all belong in a thread.
    """

    def __init__(
        self, sink: Sink, place: Place, blob_id: BlobId, cipher: ChunkCipher, facts: "_Facts"
    ) -> None:
        """Begin with nothing written; use ``open``."""
        self.buffered = sink.buffered
        self.blob_bytes = 0
        self._sink = sink
        self._place = place
        self._blob_id = blob_id
        self._cipher = cipher
        self._facts = facts
        self._stream = cipher.stream(0)

    @classmethod
    async def open(
        cls,
        blobs: BlobStore,
        place: Place,
        blob_id: BlobId,
        blob_key: bytes,
        *,
        size_hint: int | None,
        kind: str,
        incarnation: IncarnationId,
        key_version: int,
        created_us: int,
    ) -> "BlobWriter":
        """Begin a blob of up to ``size_hint`` plain bytes, or of unknown length.

        ``kind`` is ``object``, ``part`` or ``manifest``. The key and the id are new and never used
        again: a retry takes new ones.

        Raises:
            OutOfSpace: There is no room for it.
            FlushFailed: The device failed.
        """
        cipher = ChunkCipher(blob_key, blob_id)
        facts = _Facts(_KINDS[kind], incarnation, key_version, created_us)
        if size_hint is not None and size_hint <= SEGMENT_BODY_BYTES_MAX:
            hint = HEADER_CORE_BYTES_MAX + sealed_bytes(size_hint)
            sink = await blobs.begin(place, blob_id, hint)
            return _SmallWriter(sink, place, blob_id, cipher, facts)
        stored = None if size_hint is None else own_stored_bytes(size_hint)
        return _LargeWriter(
            await blobs.begin(place, blob_id, stored), place, blob_id, cipher, facts
        )

    def write(self, view: bytes | bytearray | memoryview) -> None:
        """Encrypt and append, as ``write_all`` does."""
        self.write_all((view,))

    @abstractmethod
    def write_all(self, views: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and append; each view may be reused when the next one is asked for.

        Raises:
            OutOfSpace: Nothing more will fit; abort.
            FlushFailed: The device failed; abort.
        """

    @abstractmethod
    def finish(self, wrapped_key: bytes, recovery_sealed: bytes) -> tuple[Ref, int]:
        """End the blob; return its reference, not yet durable, and its plain length.

        Both arguments go into the header. ``wrapped_key`` is empty for SSE-C.

        Raises:
            OutOfSpace: There is no room; abort.
            FlushFailed: The device failed; abort.
            RecoveryTooLong: The header has no room for the recovery record; leave some out.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written; also after ``finish``, and again."""

    def _header(self, wrapped_key: bytes, recovery: bytes, *, own_file: bool) -> bytes:
        core = header_core(
            kind=self._facts.kind,
            own_file=own_file,
            blob_bytes=self.blob_bytes,
            blob_id=self._blob_id,
            tenant_id=self._place.tenant_id,
            bucket_id=self._place.bucket_id,
            incarnation=self._facts.incarnation,
            created_us=self._facts.created_us,
            key_version=self._facts.key_version,
            wrapped_key=wrapped_key,
            recovery=recovery,
        )
        return with_crc(core + self._cipher.tag(0, core, last=True, what=HEADER))


class _Facts(msgspec.Struct, frozen=True, gc=False):
    kind: BlobKind
    incarnation: IncarnationId
    key_version: int
    created_us: int


def write_entry(
    blobs: BlobStore,
    place: Place,
    blob_id: BlobId,
    blob_key: bytes,
    plain: bytes,
    *,
    kind: str,
    incarnation: IncarnationId,
    key_version: int,
    created_us: int,
    wrapped_key: bytes,
    recovery_sealed: bytes,
) -> Ref:
    """Write a blob of one chunk, all of which is at hand; not yet durable.

    What it stores is what a ``BlobWriter`` stores, without the parts that a stream needs.
    """
    cipher = ChunkCipher(blob_key, blob_id)
    ciphertext, tag = cipher.seal(0, plain, last=True)
    core = header_core(
        kind=_KINDS[kind],
        own_file=False,
        blob_bytes=len(plain),
        blob_id=blob_id,
        tenant_id=place.tenant_id,
        bucket_id=place.bucket_id,
        incarnation=incarnation,
        created_us=created_us,
        key_version=key_version,
        wrapped_key=wrapped_key,
        recovery=recovery_sealed,
    )
    header = with_crc(core + cipher.tag(0, core, last=True, what=HEADER))
    entry = b"".join((header, ciphertext, tag))
    return blobs.append(place, blob_id, entry)


class _SmallWriter(BlobWriter):
    """A segment entry: header, chunks, tags, handed to the sink when all of it is known."""

    def __init__(
        self, sink: Sink, place: Place, blob_id: BlobId, cipher: ChunkCipher, facts: _Facts
    ) -> None:
        super().__init__(sink, place, blob_id, cipher, facts)
        self._chunks: list[bytes] = []  # 64 KiB each: larger ones would be mapped and unmapped
        self._partial: list[bytes] = []
        self._partial_bytes = 0

    def write_all(self, views: Iterable[bytes | bytearray | memoryview]) -> None:
        for view in views:
            self._take(view)

    def _take(self, view: bytes | bytearray | memoryview) -> None:
        self.blob_bytes += len(view)
        if self.blob_bytes > SEGMENT_BODY_BYTES_MAX:
            raise ValueError("the blob is longer than it was said to be")
        if self._partial_bytes + len(view) <= CHUNK_BYTES:
            self._add(self._stream.update(view))
            return
        plain = memoryview(view)
        while plain:
            taken = min(CHUNK_BYTES - self._partial_bytes, len(plain))
            self._add(self._stream.update(plain[:taken]))
            plain = plain[taken:]

    def finish(self, wrapped_key: bytes, recovery_sealed: bytes) -> tuple[Ref, int]:
        header = self._header(wrapped_key, recovery_sealed, own_file=False)
        if self._partial or not self._chunks:
            self._end_chunk()
        last = len(self._chunks) - 1
        tags = [
            self._cipher.tag(index, chunk, last=index == last)
            for index, chunk in enumerate(self._chunks)
        ]
        if last == 0:
            self._sink.write(b"".join((header, self._chunks[0], tags[0])))
        else:
            self._sink.write(header)
            for chunk in self._chunks:
                self._sink.write(chunk)
            self._sink.write(b"".join(tags))
        return self._sink.finish(), self.blob_bytes

    def abort(self) -> None:
        self._sink.abort()
        self._chunks.clear()

    def _add(self, ciphertext: bytes) -> None:
        self._partial.append(ciphertext)
        self._partial_bytes += len(ciphertext)
        if self._partial_bytes == CHUNK_BYTES:
            self._end_chunk()

    def _end_chunk(self) -> None:
        parts = self._partial
        self._chunks.append(parts[0] if len(parts) == 1 else b"".join(parts))
        self._partial = []
        self._partial_bytes = 0


class _LargeWriter(BlobWriter):
    """A file of its own: header, chunks, tags, padding, closing block, in writes of up to 1 MiB.

    Plain bytes are encrypted straight into a buffer, a page for the header and 16 chunks behind
    it, and its whole chunks go to the sink; what is left keeps no buffer, for a client may stall
    here. The header is empty until the blob is finished, so an unfinished file never looks like
    one. Whether a chunk is the blob's last is in its tag, so the newest whole chunk has its tag
    begun, and ended when it is known.
    """

    def __init__(
        self, sink: Sink, place: Place, blob_id: BlobId, cipher: ChunkCipher, facts: _Facts
    ) -> None:
        super().__init__(sink, place, blob_id, cipher, facts)
        self._tags: list[bytes] = []
        self._begun: BegunTag | None = None  # the newest whole chunk's tag
        self._rest = b""  # ciphertext of a chunk that is not whole yet
        self._is_sent = False

    def write_all(self, views: Iterable[bytes | bytearray | memoryview]) -> None:
        buffer = _WRITE_BUFFERS.take()
        try:
            filled, whole = self._refill(buffer), HEADER_BYTES
            for view in views:
                plain = memoryview(view)
                self.blob_bytes += len(plain)
                while plain:
                    if filled == len(buffer):
                        self._send(buffer)
                        filled = whole = HEADER_BYTES
                    taken = min(len(buffer) - filled, len(plain))
                    self._stream.update_into(plain[:taken], buffer[filled : filled + taken])
                    filled += taken
                    plain = plain[taken:]
                    whole = self._tag_whole(buffer, whole, filled)  # what is still in the cache
            self._rest = bytes(buffer[whole:filled])
            if whole > HEADER_BYTES:
                self._send(buffer[:whole])
        finally:
            _WRITE_BUFFERS.give(buffer)

    def finish(self, wrapped_key: bytes, recovery_sealed: bytes) -> tuple[Ref, int]:
        header = self._header(wrapped_key, recovery_sealed, own_file=True)
        is_last = not self._rest and self.blob_bytes > 0
        self._end_tag(last=is_last)
        if not is_last:
            self._tags.append(self._cipher.tag(len(self._tags), self._rest, last=True))
        tags = b"".join(self._tags)
        used = HEADER_BYTES + self.blob_bytes + len(tags) + CLOSING_BYTES
        core = closing_core(self.blob_bytes, len(tags) // TAG_BYTES)
        closing = closing_block(core, self._cipher.tag(0, core, last=True, what=CLOSING))
        buffer = _WRITE_BUFFERS.take()
        try:
            page = buffer[:HEADER_BYTES]
            page[:] = header.ljust(HEADER_BYTES, b"\0")
            was_sent = self._is_sent
            self._send_end(buffer, (self._rest, tags, bytes(-used % PAGE_BYTES), closing))
            if was_sent:
                self._sink.patch(0, page)
        finally:
            _WRITE_BUFFERS.give(buffer)
        return self._sink.finish(), self.blob_bytes

    def abort(self) -> None:
        self._sink.abort()
        self._rest = b""

    def _refill(self, buffer: memoryview) -> int:
        """Begin a buffer with what was left of the one before; return how far it is filled."""
        if not self._is_sent:
            buffer[:HEADER_BYTES] = bytes(HEADER_BYTES)
        filled = HEADER_BYTES + len(self._rest)
        buffer[HEADER_BYTES:filled] = self._rest
        return filled

    def _tag_whole(self, buffer: memoryview, start: int, stop: int) -> int:
        """Tag the whole chunks of a stretch; return where the last of them ends."""
        while start + CHUNK_BYTES <= stop:
            self._end_tag(last=False)
            self._begun = self._cipher.begin_tag(buffer[start : start + CHUNK_BYTES])
            start += CHUNK_BYTES
        return start

    def _end_tag(self, *, last: bool) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            self._tags.append(self._cipher.end_tag(begun, len(self._tags), last=last))

    def _send_end(self, buffer: memoryview, pieces: Iterable[bytes]) -> None:
        filled = HEADER_BYTES
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                if filled == len(buffer):
                    self._send(buffer)
                    filled = HEADER_BYTES
                taken = min(len(buffer) - filled, len(rest))
                buffer[filled : filled + taken] = rest[:taken]
                filled += taken
                rest = rest[taken:]
        self._send(buffer[:filled])

    def _send(self, buffer: memoryview) -> None:
        self._sink.write(buffer[HEADER_BYTES if self._is_sent else 0 :])
        self._is_sent = True


# --- Reading ----------------------------------------------------------------------------------

# Deriving the keys of a blob is a seventh of reading 4 KiB of it; what is read is read again.
_cipher_of = functools.lru_cache(maxsize=_CIPHERS_KEPT)(ChunkCipher)


def read_range_now(
    blobs: BlobStore,
    place: Place,
    ref: Ref,
    blob_key: bytes,
    blob_bytes: int,
    offset: int,
    length: int,
) -> bytes | Later:
    """Return a small range of plain bytes if that does not block; else ``LATER``.

    Raises:
        BlobGone: The blob is not there any more.
        Damaged: A chunk of the range does not verify.
    """
    assert 0 <= offset <= offset + length <= blob_bytes
    if length == 0:
        return b""
    first, start, stop = _chunk_span(blob_bytes, offset, length)
    size = stop - start
    if size > READ_NOW_PLAIN_BYTES_MAX:
        return LATER
    last = stop == blob_bytes
    body_at = body_offset(ref, blob_bytes)
    skipped = first * TAG_BYTES
    tags_bytes = chunks_in(size) * TAG_BYTES
    if last and skipped <= _SKIPPED_TAGS_MAX:
        both = blobs.read_now(place, ref, body_at + start, size + skipped + tags_bytes)
        if isinstance(both, Later):
            return LATER
        chunks, tags = memoryview(both)[:size], both[size + skipped :]
    else:
        body = blobs.read_now(place, ref, body_at + start, size)
        if isinstance(body, Later):
            return LATER
        table = blobs.read_now(place, ref, body_at + blob_bytes + skipped, tags_bytes)
        if isinstance(table, Later):
            return LATER
        chunks, tags = memoryview(body), table
    plain = _open_few(_cipher_of(blob_key, ref.blob_id), first, chunks, tags, last=last)
    if length == size:
        return plain
    return plain[offset - start : offset - start + length]


async def open_range(
    blobs: BlobStore,
    place: Place,
    ref: Ref,
    blob_key: bytes,
    blob_bytes: int,
    offset: int,
    length: int,
) -> Reading:
    """Read a range of any length; the views are plain bytes, and die at the next one.

    When this returns, the descriptor is open and the first view has been verified. Verifying and
    decrypting happen in the reading thread, one buffer ahead.

    Raises:
        BlobGone: The blob is not there any more.
        Damaged: A chunk does not verify (also while iterating); none of it was handed out.
    """
    assert 0 < length <= offset + length <= blob_bytes
    first, start, stop = _chunk_span(blob_bytes, offset, length)
    body_at = body_offset(ref, blob_bytes)
    tags_at = body_at + blob_bytes + first * TAG_BYTES
    tags = await _read_all(blobs, place, ref, tags_at, chunks_in(stop - start) * TAG_BYTES)
    cipher = _cipher_of(blob_key, ref.blob_id)

    def decrypt(position: int, view: memoryview) -> None:
        skipped = position // CHUNK_BYTES
        last = start + position + len(view) == blob_bytes
        table = tags[skipped * TAG_BYTES : (skipped + chunks_in(len(view))) * TAG_BYTES]
        try:
            cipher.open_in_place(first + skipped, view, table, last=last)
        except TagMismatch as mismatch:
            raise _damaged(ref, mismatch) from None

    buffer_bytes = min(TRANSFER_BYTES, -(-(stop - start) // CHUNK_BYTES) * CHUNK_BYTES)
    reading = await blobs.read(place, ref, body_at + start, stop - start, buffer_bytes, decrypt)
    return _Trimmed(reading, offset - start, length)


async def read_range(
    blobs: BlobStore,
    place: Place,
    ref: Ref,
    blob_key: bytes,
    blob_bytes: int,
    offset: int,
    length: int,
) -> AsyncGenerator[memoryview, None]:
    """Yield a range as ``open_range`` does, which is called by the first step."""
    if length == 0:
        return
    reading = await open_range(blobs, place, ref, blob_key, blob_bytes, offset, length)
    try:
        async for view in reading:
            yield view
    finally:
        await reading.aclose()


class _Trimmed:
    """A reading of whole chunks, without what lies before and behind the range asked for."""

    def __init__(self, reading: Reading, skip: int, length: int) -> None:
        self._reading = reading
        self._skip = skip
        self._left = length

    def __aiter__(self) -> "_Trimmed":
        return self

    async def __anext__(self) -> memoryview:
        view = await self._reading.__anext__()
        if self._skip or len(view) > self._left:
            view = view[self._skip : self._skip + self._left]
            self._skip = 0
        self._left -= len(view)
        return view

    async def aclose(self) -> None:
        await self._reading.aclose()


def _chunk_span(blob_bytes: int, offset: int, length: int) -> tuple[int, int, int]:
    """Return the first chunk of a range, and where its whole chunks start and stop."""
    first = offset // CHUNK_BYTES
    stop = -(-(offset + length) // CHUNK_BYTES) * CHUNK_BYTES
    return first, first * CHUNK_BYTES, min(stop, blob_bytes)


def _open_few(
    cipher: ChunkCipher, first: int, chunks: memoryview, tags: bytes, *, last: bool
) -> bytes:
    try:
        if len(chunks) <= CHUNK_BYTES:
            return cipher.open(first, chunks, tags, last=last)
        opened = bytearray(chunks)
        cipher.open_in_place(first, memoryview(opened), tags, last=last)
        return bytes(opened)
    except TagMismatch as mismatch:
        raise Damaged(f"chunk {mismatch} does not verify") from None


def _damaged(ref: Ref, mismatch: TagMismatch) -> Damaged:
    return Damaged(f"blob {ref.blob_id.hex()}: chunk {mismatch} does not verify")


async def _read_all(blobs: BlobStore, place: Place, ref: Ref, offset: int, length: int) -> bytes:
    """Return a stretch of stored bytes whole: tags, a header."""
    found = blobs.read_now(place, ref, offset, length)
    if not isinstance(found, Later):
        return found
    reading = await blobs.read(place, ref, offset, length, TRANSFER_BYTES)
    try:
        return b"".join([bytes(view) async for view in reading])
    finally:
        await reading.aclose()


# --- Inline bodies ----------------------------------------------------------------------------


def seal_inline(blob_key: bytes, blob_id: BlobId, plain: bytes) -> bytes:
    """Return ciphertext and tag of a body small enough for its row."""
    ciphertext, tag = ChunkCipher(blob_key, blob_id).seal(0, plain, last=True, what=INLINE)
    return ciphertext + tag


def open_inline(blob_key: bytes, blob_id: BlobId, sealed: bytes) -> bytes:
    """Return the plain bytes of an inline body.

    Raises:
        Damaged: It does not verify.
    """
    cipher = ChunkCipher(blob_key, blob_id)
    ciphertext, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
    try:
        return cipher.open(0, ciphertext, tag, last=True, what=INLINE)
    except TagMismatch:
        raise Damaged(f"inline body {blob_id.hex()} does not verify") from None


# --- Checking ---------------------------------------------------------------------------------


async def verify_blob(
    blobs: BlobStore, place: Place, ref: Ref, blob_key: bytes | None, blob_bytes: int | None = None
) -> int:
    """Check every stored byte of a blob; return its plain length.

    Without its key, what keys are not needed for is checked: the CRCs, the lengths, the padding
    and that it is the blob and tenant that the reference names.

    Raises:
        BlobGone: The blob is not there.
        Damaged: Something is wrong; the text says what.
        FormatTooNew: A newer program wrote it.
    """
    head = await _read_all(blobs, place, ref, 0, min(HEADER_BYTES, ref.stored_bytes))
    header = parse_header(head)
    cipher = None if blob_key is None else ChunkCipher(blob_key, ref.blob_id)
    _check_header(header, head, place, ref, cipher)
    if header.in_own_file:
        found = await _check_closing(blobs, place, ref, cipher)
    else:
        found = _entry_blob_bytes(header)
    if blob_bytes is not None and found != blob_bytes:
        raise Damaged(f"the blob has {found} bytes, its row says {blob_bytes}")
    if body_offset(ref, found) != header.header_bytes:
        raise Damaged("the header and the lengths disagree")
    if blob_key is not None:
        await _check_chunks(blobs, place, ref, blob_key, found)
    return found


def _check_header(
    header: BlobHeader, head: bytes, place: Place, ref: Ref, cipher: ChunkCipher | None
) -> None:
    if header.blob_id != ref.blob_id or header.tenant_id != place.tenant_id:
        raise Damaged("another blob lies here")
    if header.in_own_file != (ref.offset == 0):
        raise Damaged("a segment entry and a file of its own are not the same")
    if header.in_own_file and any(head[header.used_bytes : HEADER_BYTES]):
        raise Damaged("the header's padding is not empty")
    if not header.in_own_file and header.stored_bytes != ref.stored_bytes:
        raise Damaged("the entry has another length than its reference")
    if cipher is not None:
        try:
            cipher.check(0, header.core, header.tag, last=True, what=HEADER)
        except TagMismatch:
            raise Damaged("the header's tag does not verify") from None


def _entry_blob_bytes(header: BlobHeader) -> int:
    """Return the plain length of a segment entry: what is left without header and tags."""
    sealed = header.stored_bytes - header.header_bytes
    chunks = -(-sealed // (CHUNK_BYTES + TAG_BYTES))
    blob_bytes = sealed - chunks * TAG_BYTES
    if blob_bytes < 0 or sealed_bytes(blob_bytes) != sealed:
        raise Damaged("no blob has an entry of this length")
    return blob_bytes


async def _check_closing(
    blobs: BlobStore, place: Place, ref: Ref, cipher: ChunkCipher | None
) -> int:
    tail_bytes = min(PAGE_BYTES + CLOSING_BYTES, ref.stored_bytes)
    tail = await _read_all(blobs, place, ref, ref.stored_bytes - tail_bytes, tail_bytes)
    closing = parse_closing(tail[-CLOSING_BYTES:])
    expected = closing_core(closing.blob_bytes, chunks_in(closing.blob_bytes))
    if closing.core != expected or closing.stored_bytes != ref.stored_bytes:
        raise Damaged("the closing block's lengths disagree")
    padding_bytes = ref.stored_bytes - HEADER_BYTES - sealed_bytes(closing.blob_bytes)
    if any(tail[-padding_bytes:-CLOSING_BYTES]) or any(tail[-8:-4]):
        raise Damaged("the padding is not empty")
    if cipher is not None:
        try:
            cipher.check(0, closing.core, closing.tag, last=True, what=CLOSING)
        except TagMismatch:
            raise Damaged("the closing block's tag does not verify") from None
    return closing.blob_bytes


async def _check_chunks(
    blobs: BlobStore, place: Place, ref: Ref, blob_key: bytes, blob_bytes: int
) -> None:
    if blob_bytes == 0:
        tag = await _read_all(blobs, place, ref, body_offset(ref, 0), TAG_BYTES)
        _open_few(ChunkCipher(blob_key, ref.blob_id), 0, memoryview(b""), tag, last=True)
        return
    async for _ in read_range(blobs, place, ref, blob_key, blob_bytes, 0, blob_bytes):
        pass
