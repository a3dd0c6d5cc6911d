"""The body of a request, as a service sees it: plain bytes, verified at the end."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Protocol

from storage_server.s3.checksums import Digest


@dataclass(frozen=True, slots=True)
class Batch:
    """Plain bytes of a body that came together; there may be none in it.

    Going through ``views`` decodes and hashes them, so it belongs in a thread; it raises an
    S3Error when the bytes are wrong. ``bytes_max`` is at least what they come to.
    """

    views: Iterable[memoryview]
    bytes_max: int


class Body(Protocol):
    """What a client sends, decoded and checked on the way.

    Read it once: either ``read_all``, or iterate and then ``finish``. Nothing that it yielded may
    be kept as stored before ``finish`` (or ``read_all``) returned.
    """

    @property
    def length_hint(self) -> int | None:
        """The number of plain bytes that the client declared, or None."""
        ...

    @property
    def md5(self) -> bytes:
        """The MD5 of the plain bytes; valid after ``finish`` or ``read_all``."""
        ...

    @property
    def checksum(self) -> Digest:
        """The checksum to store with the bytes; valid after ``finish`` or ``read_all``."""
        ...

    def want_checksum(self, algorithm: str) -> None:
        """Ask for a checksum of this algorithm, before anything is read.

        Raises:
            InvalidRequest: The client promised one of another algorithm.
        """
        ...

    async def read_all(self, limit: int) -> bytes:
        """Return the whole verified body.

        Raises:
            S3Error: The body is longer than ``limit`` bytes, shorter than declared, does not
                match a digest or signature, or the client stalled.
        """
        ...

    async def read_unverified(self, limit: int) -> bytes:
        """Return the whole body; it counts for nothing before ``verify`` has returned.

        Raises:
            S3Error: The body is longer than ``limit`` bytes, or the client stalled; a framed one
                is verified already.
        """
        ...

    def verify(self, whole: bytes) -> None:
        """Verify what ``read_unverified`` returned; it takes as long as hashing does.

        Raises:
            S3Error: A length, digest or checksum does not hold: store nothing.
        """
        ...

    def __aiter__(self) -> AsyncIterator[Batch]:
        """Yield the plain bytes in order; a batch dies when the next one is asked for.

        Each must be gone through, to its end and before the next: that is what verifies it.
        """
        ...

    async def finish(self) -> None:
        """Verify everything that was promised about the body.

        Raises:
            S3Error: A length, digest, trailer or signature does not hold: store nothing.
        """
        ...
