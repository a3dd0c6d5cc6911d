"""What the server answers, before any transport touches it."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec


class ReplyBody(Protocol):
    """A body too large for one piece; each view dies when the next one is asked for."""

    length: int

    def __aiter__(self) -> AsyncIterator[memoryview | bytes]:
        """Yield the bytes in order."""
        ...

    async def aclose(self) -> None:
        """Let go of descriptors and buffers; called exactly once, also after an error."""
        ...


class Reply(msgspec.Struct, frozen=True):
    """Status, headers in order, and a body in one piece or as a stream."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | ReplyBody = b""
    content_length: int | None = None
    """Only for HEAD: the length the body would have had."""
