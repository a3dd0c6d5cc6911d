"""A client on a bare socket: sends any bytes, reads whatever comes back, hides nothing."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from tests.signing import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED,
    ChunkSigner,
    Headers,
    Keys,
    SignerV4,
    sha256_hex,
    unsigned_frames,
)

TIMEOUT_S = 30.0
KEY_SAFE = "/-_.~"


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply: status, headers in the order received, body."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str, default: str = "") -> str:
        """Return the first header of a name."""
        wanted = name.lower()
        return next((text for key, text in self.headers if key.lower() == wanted), default)

    @property
    def xml(self) -> Element:
        """The body as XML, with namespaces dropped."""
        root: Element = fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    @property
    def code(self) -> str:
        """The error code of the body, or an empty string."""
        if b"<Error>" not in self.body:
            return ""
        return self.xml.findtext("Code") or ""

    def texts(self, path: str) -> list[str]:
        """Return the text of each element at a path of the XML body."""
        return [element.text or "" for element in self.xml.findall(path)]


class Wire:
    """One connection."""

    def __init__(self, host: str, port: int, timeout_s: float = TIMEOUT_S) -> None:
        """Connect."""
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = bytearray()

    def __enter__(self) -> Self:
        """Return the open connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(raw)

    def send_what_is_taken(self, raw: bytes) -> None:
        """Send bytes; a server that has answered and closed is no error."""
        try:
            self.socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _more(self) -> bool:
        try:
            got = self.socket.recv(1 << 18)
        except ConnectionResetError:
            return False
        self.received += got
        return bool(got)

    def _take(self, count: int) -> bytes:
        while len(self.received) < count:
            if not self._more():
                raise ConnectionError(f"closed with {count - len(self.received)} bytes missing")
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    def _take_until(self, mark: bytes) -> bytes:
        while (at := self.received.find(mark)) < 0:
            if not self._more():
                raise ConnectionError(f"closed before {mark!r}; had {bytes(self.received[:200])!r}")
        return self._take(at + len(mark))[: -len(mark)]

    def _take_rest(self) -> bytes:
        while self._more():
            pass
        return self._take(len(self.received))

    def is_closed_by_peer(self) -> bool:
        """Wait for the server's end of file; False when more bytes come first."""
        return not self.received and not self._more()

    def read_head(self) -> tuple[int, Headers]:
        """Read one status line with its headers."""
        first, *lines = self._take_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ", 2)
        assert version in {"HTTP/1.1", "HTTP/1.0"}, first
        pairs = [line.partition(":") for line in lines]
        return int(status), [(name, text.strip()) for name, _, text in pairs]

    def read(self, *, is_head: bool = False) -> Answer:
        """Read one final reply; interim ones are passed over."""
        status, headers = self.read_head()
        while status < 200:
            status, headers = self.read_head()
        answer = Answer(status, headers, b"")
        if is_head or status in {204, 304}:
            return answer
        if "chunked" in answer.header("Transfer-Encoding").lower():
            return Answer(status, headers, self._read_chunks())
        if length := answer.header("Content-Length"):
            return Answer(status, headers, self._take(int(length)))
        return Answer(status, headers, self._take_rest())

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := int(self._take_until(b"\r\n").split(b";")[0], 16):
            body += self._take(size)
            self._take_until(b"\r\n")
        while self._take_until(b"\r\n"):
            pass
        return bytes(body)


def render_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return a request head; header values are sent as Latin-1 when they can be, else as UTF-8."""
    lines = [f"{method} {target} HTTP/1.1".encode()]
    for name, text in headers:
        try:
            lines.append(f"{name}: {text}".encode("latin-1"))
        except UnicodeEncodeError:
            lines.append(f"{name}: {text}".encode())
    return b"\r\n".join([*lines, b"", b""])


def path_of(bucket: str, key: str = "") -> str:
    """Return the path-style path of a key, encoded as SDKs do."""
    return f"/{bucket}" + (f"/{quote(key, safe=KEY_SAFE)}" if key else "")


class S3Wire:
    """Signs requests and sends them on one connection that is opened again when it has closed."""

    def __init__(self, host: str, port: int, keys: Keys | None) -> None:
        """Remember where and as whom; ``keys`` None sends unsigned requests."""
        self.host, self.port, self.keys = host, port, keys
        self._wire: Wire | None = None

    @property
    def netloc(self) -> str:
        """The Host header."""
        return f"{self.host}:{self.port}"

    @property
    def signer(self) -> SignerV4:
        """A right signer of these keys."""
        assert self.keys
        return SignerV4(self.keys)

    def close(self) -> None:
        """Close the connection."""
        if self._wire:
            self._wire.close()
            self._wire = None

    def connect(self) -> Wire:
        """Return a fresh connection, for the caller to close."""
        return Wire(self.host, self.port)

    def raw(self, method: str, raw: bytes) -> Answer:
        """Send bytes on a connection of their own and read one reply."""
        with self.connect() as wire:
            wire.send_what_is_taken(raw)
            return wire.read(is_head=method == "HEAD")

    def signed_head(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        payload_hash: str | None = None,
        host: str | None = None,
        signer: SignerV4 | None = None,
        at: datetime | None = None,
    ) -> bytes:
        """Return the head of a request, signed in its headers."""
        full = [("Host", host or self.netloc), *(headers or [])]
        given = {name.lower() for name, _ in full}
        if "content-length" not in given and "transfer-encoding" not in given:
            full.append(("Content-Length", str(len(body))))
        if self.keys is not None:
            hashed = sha256_hex(body) if payload_hash is None else payload_hash
            full = (signer or self.signer).header(method, target, full, hashed, at=at)
        return render_head(method, target, full)

    def call(
        self,
        method: str,
        target: str,
        headers: Headers | None = None,
        body: bytes = b"",
        *,
        payload_hash: str | None = None,
        host: str | None = None,
        signer: SignerV4 | None = None,
        at: datetime | None = None,
    ) -> Answer:
        """Send one signed request and return its reply."""
        head = self.signed_head(
            method,
            target,
            headers,
            body,
            payload_hash=payload_hash,
            host=host,
            signer=signer,
            at=at,
        )
        return self.exchange(head + body, is_head=method == "HEAD")

    def plain(
        self, method: str, target: str, headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        """Send one request without adding a signature (a presigned one, or an anonymous one)."""
        head = [("Host", self.netloc), ("Content-Length", str(len(body))), *(headers or [])]
        return self.exchange(render_head(method, target, head) + body, is_head=method == "HEAD")

    def exchange(self, raw: bytes, *, is_head: bool = False) -> Answer:
        """Send one request on the kept connection; a kept one that has died is replaced once."""
        if self._wire is not None:
            try:
                self._wire.send(raw)
                return self._finish(self._wire.read(is_head=is_head))
            except OSError:
                self.close()
        self._wire = self.connect()
        self._wire.send_what_is_taken(raw)
        return self._finish(self._wire.read(is_head=is_head))

    def _finish(self, answer: Answer) -> Answer:
        if answer.header("Connection").lower() == "close":
            self.close()
        return answer

    def put_chunked(
        self,
        target: str,
        chunks: Sequence[bytes],
        *,
        mode: str = STREAMING_SIGNED,
        trailer: Headers | None = None,
        headers: Headers | None = None,
        signer: SignerV4 | None = None,
        decoded_length: int | None = None,
        method: str = "PUT",
        frames_changed: "FramesChange | None" = None,
    ) -> Answer:
        """Send an aws-chunked body; ``frames_changed`` may spoil the frames before they leave."""
        signer, at = signer or self.signer, datetime.now(UTC)
        size = sum(map(len, chunks)) if decoded_length is None else decoded_length
        full: Headers = [
            ("Host", self.netloc),
            ("Content-Encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", str(size)),
            *(headers or []),
        ]
        if trailer is not None and trailer:
            full.append(("x-amz-trailer", ",".join(name for name, _ in trailer)))
        signed = signer.header(method, target, full, mode, at=at)
        if mode == STREAMING_UNSIGNED_TRAILER:
            frames = unsigned_frames(chunks, trailer or [])
        else:
            seed = signed[-1][1].rpartition("Signature=")[2]
            with_trailer = (trailer or []) if mode == STREAMING_SIGNED_TRAILER else None
            frames = ChunkSigner(signer, at, seed).frames(chunks, with_trailer)
        if frames_changed is not None:
            frames = frames_changed(frames)
        raw = b"".join(frames)
        signed.append(("Content-Length", str(len(raw))))
        return self.exchange(render_head(method, target, signed) + raw)


class FramesChange:
    """A change to the frames of a chunked body, for tests that spoil one place of it."""

    def __init__(self, index: int, old: bytes, new: bytes) -> None:
        """Replace the first ``old`` of one frame by ``new``; an empty ``old`` means the frame."""
        self.index, self.old, self.new = index, old, new

    def __call__(self, frames: list[bytes]) -> list[bytes]:
        """Return the changed frames."""
        changed = list(frames)
        frame = changed[self.index]
        changed[self.index] = frame.replace(self.old, self.new, 1) if self.old else self.new
        assert changed[self.index] != frame, "nothing was spoiled"
        return changed


__all__ = [
    "UNSIGNED",
    "Answer",
    "FramesChange",
    "S3Wire",
    "Wire",
    "path_of",
    "render_head",
]
