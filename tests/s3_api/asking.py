"""Requests straight to the pipeline, without a connection: for tests that need very many."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from defusedxml import ElementTree

from storage_server.s3.reply import Reply
from storage_server.s3_api.handlers.table import TABLE
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.pipeline import Incoming, Pipeline, Trace
from storage_server.services.offload import Offload
from storage_server.services.services import Services
from tests.signing import UNSIGNED, Headers, Keys, SignerV2, SignerV4

HOST = "127.0.0.1:8080"
PEER = "192.0.2.7"


class BytesSource:
    """A body that is there already."""

    def __init__(self, body: bytes) -> None:
        """Give out these bytes."""
        self._body = body

    async def read(self, limit: int, wait_s: float) -> bytes | memoryview | None:
        """Return up to ``limit`` bytes, ``b""`` at the end."""
        del wait_s
        piece, self._body = self._body[:limit], self._body[limit:]
        return piece


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as a test looks at it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    request_id: str

    @property
    def code(self) -> str:
        """The error's code, or an empty text."""
        if not self.body.startswith(b"<?xml"):
            return ""
        return ElementTree.fromstring(self.body).findtext("Code") or ""


@dataclass(frozen=True, slots=True)
class Asker:
    """Sends requests of any sender to one pipeline."""

    pipeline: Pipeline

    async def send(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        peer: str = PEER,
    ) -> Answer:
        """Send a request as it is."""
        full = [("Host", HOST), *(headers or [])]
        if body or method in {"PUT", "POST"}:
            full.append(("Content-Length", str(len(body))))
        raw = [(name.encode(), text.encode()) for name, text in full]
        trace = Trace()
        incoming = Incoming(method, target, raw, peer, False, BytesSource(body), lambda: None)
        reply = await self.pipeline.answer(incoming, trace)
        return Answer(reply.status, reply.headers, await _whole(reply), trace.request_id)

    async def ask(
        self,
        keys: Keys | None,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        token: str = "",
        peer: str = PEER,
    ) -> Answer:
        """Send a request signed in its headers (Signature Version 4); without keys anonymous."""
        named = list((headers or {}).items())
        if keys is None:
            return await self.send(method, target, named, body, peer=peer)
        if token:
            named.append(("x-amz-security-token", token))
        signed = SignerV4(keys).header(method, target, [("Host", HOST), *named], UNSIGNED)
        return await self.send(method, target, signed[1:], body, peer=peer)

    async def ask_presigned(
        self, keys: Keys, method: str, target: str, body: bytes = b""
    ) -> Answer:
        """Send a request signed in its query (Signature Version 4)."""
        return await self.send(method, SignerV4(keys).presign(method, target, HOST), None, body)

    async def ask_v2(
        self, keys: Keys, method: str, target: str, *, is_presigned: bool, body: bytes = b""
    ) -> Answer:
        """Send a request signed with Signature Version 2, in headers or in its query."""
        signer = SignerV2(keys)
        if is_presigned:
            return await self.send(
                method, signer.presign(method, target, int(time.time()) + 60), None, body
            )
        signed = signer.header(method, target, [], datetime.now(UTC))
        return await self.send(method, target, signed, body)


def asker(services: Services, lanes: ThreadPoolExecutor, options: S3Options | None = None) -> Asker:
    """Return an asker over services, with a pipeline of its own."""
    options = options or S3Options()
    return Asker(Pipeline(services, TABLE, options, Offload(lanes), lambda: True))


async def _whole(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    pieces = [bytes(piece) async for piece in reply.body]
    await reply.body.aclose()
    return b"".join(pieces)
