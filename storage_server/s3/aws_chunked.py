"""The aws-chunked framing: an incremental decoder for its signed, trailed and unsigned forms."""

import enum
import hashlib
import hmac
import re

from storage_server.core import limits
from storage_server.s3.errors import (
    EntityTooLarge,
    IncompleteBody,
    InvalidRequest,
    MalformedTrailerError,
    SignatureDoesNotMatch,
)
from storage_server.s3.sigv4 import ChunkSigner

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?", re.ASCII)
_TRAILER_LINE = re.compile(rb"([A-Za-z0-9-]+)[ \t]*:[ \t]*([\x21-\x7e]*(?: [\x21-\x7e]+)*)[ \t]*")
_TRAILER_SIGNATURE = "x-amz-trailer-signature"
_CRLF = b"\r\n"
# A usual size line has 90 bytes; a longer look into the piece is taken only when this one fails.
_WINDOW_BYTES = 128
_SMALL_BYTES = 4 * limits.KIB


class _State(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()
    END = enum.auto()


class ChunkedDecoder:
    """Turns framed pieces into plain ones; pieces may be cut anywhere.

    Bytes are handed out as they come, so a chunk whose signature proves wrong at its end has been
    handed out by then: nothing may become visible before ``finish`` has returned. A decoder that
    has raised is spent.

    Source: S3 API Reference, "Transferring Payload in Multiple Chunks (Chunked Upload)" and
    "Including trailing headers".
    """

    def __init__(
        self,
        *,
        decoded_length: int | None,
        signer: ChunkSigner | None = None,
        trailer_names: frozenset[str] | None = None,
    ) -> None:
        """Begin a body.

        Args:
            decoded_length: What the chunks must sum up to; None when the client did not say.
            signer: The chain that every chunk must continue; None for unsigned chunks.
            trailer_names: The lower-case headers that the trailer must hold, all of them and no
                others; None when the form has no trailer.
        """
        self.trailers: dict[str, str] = {}
        """The trailing headers, complete and proven once ``finish`` has returned."""
        self.length = 0
        """Plain bytes handed out so far."""
        self._decoded_length = decoded_length
        self._signer = signer
        self._trailer_names = trailer_names
        self._state = _State.SIZE
        self._line = bytearray()
        self._left = 0
        self._is_last = False
        self._signature = b""
        self._sha256 = hashlib.sha256()
        self._trailer_bytes = 0
        self._trailer_text = b""
        self._rest = b""

    def feed(self, piece: bytes | memoryview) -> list[memoryview]:
        """Return the plain bytes of a piece, as views into it unless they are many and tiny.

        Raises:
            InvalidRequest: The framing is wrong, or something follows its end.
            IncompleteBody: There is more data than the declared decoded length.
            SignatureDoesNotMatch: A chunk or the trailer is not the one that was signed.
            MalformedTrailerError: The trailer is malformed or holds another header.
        """
        view = memoryview(piece)
        plain: list[memoryview] = []
        position, end = 0, len(view)
        while position < end:
            if self._state is _State.DATA:
                stop = min(end, position + self._left)
                part = view[position:stop]
                self._left -= stop - position
                if self._signer is not None:
                    self._sha256.update(part)
                plain.append(part)
                position = stop
                if not self._left:
                    self._end_chunk()
            elif self._state is _State.END:
                self._take_rest(bytes(view[position : position + len(_CRLF) + 1]))
                position = end
            else:
                position = self._read_line(view, position)
        return _joined(plain)

    def finish(self) -> None:
        """Confirm that the body has ended.

        Raises:
            IncompleteBody: It has not, or it is shorter than declared.
        """
        if self._state is not _State.END or self._rest == b"\n":
            raise IncompleteBody
        if self._decoded_length is not None and self.length != self._decoded_length:
            raise IncompleteBody

    def _read_line(self, view: memoryview, position: int) -> int:
        """Take what the piece has of the current line; act on it when it is whole."""
        limit = limits.CHUNK_HEADER_BYTES_MAX
        if self._state is _State.TRAILER:
            limit = limits.TRAILER_BYTES_MAX - self._trailer_bytes
        room = limit + 2 - len(self._line)
        width = min(room, _WINDOW_BYTES)
        while True:
            window = bytes(view[position : position + width])
            cut = window.find(b"\n")
            if cut >= 0 or width >= room or len(window) < width:
                break
            width = room
        if cut < 0:
            self._line += window
            if len(self._line) >= limit + 2:
                raise _too_long(self._state)
            return position + len(window)
        if self._line:
            line = bytes(self._line) + window[:cut]
            self._line.clear()
        else:
            line = window[:cut]
        self._take_line(line)
        return position + cut + 1

    def _take_line(self, line: bytes) -> None:
        if self._state is _State.TRAILER:
            self._trailer_bytes += len(line) + 1
            self._take_trailer_line(line.removesuffix(b"\r"))
            return
        if not line.endswith(b"\r"):
            raise InvalidRequest("A line of the chunked body does not end in CRLF.")
        if self._state is _State.SIZE:
            self._begin_chunk(line[:-1])
        elif line != b"\r":
            raise InvalidRequest("A chunk is longer than its size says.")
        else:
            self._state = _State.END if self._is_last else _State.SIZE

    def _begin_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise InvalidRequest("A chunk does not begin with its size in hex digits.")
        size_text, signature = match.groups()
        if (signature is None) != (self._signer is None):
            raise InvalidRequest(
                "A chunk has a signature although its body's form has none, "
                "or none although it has."
            )
        size = int(size_text, 16)
        self.length += size
        if self._decoded_length is not None and self.length > self._decoded_length:
            raise IncompleteBody
        if self.length > limits.PUT_BYTES_MAX:
            raise EntityTooLarge
        self._signature = signature or b""
        if size:
            self._left = size
            self._state = _State.DATA
            return
        self._is_last = True
        self._end_chunk()
        self._state = _State.DATA_END if self._trailer_names is None else _State.TRAILER

    def _end_chunk(self) -> None:
        """Prove the chunk that has just ended, and begin another digest."""
        self._state = _State.DATA_END
        if self._signer is None:
            return
        expected = self._signer.sign_chunk(self._sha256.hexdigest())
        self._sha256 = hashlib.sha256()
        if not hmac.compare_digest(expected.encode(), self._signature):
            raise SignatureDoesNotMatch

    def _take_trailer_line(self, line: bytes) -> None:
        assert self._trailer_names is not None
        if not line:
            # AWS's own description of the signed form has an empty line before the signature.
            if self._signer is None:
                self._end_trailer()
            elif _TRAILER_SIGNATURE in self.trailers:
                self._end_signed_trailer(self._signer)
            return
        match = _TRAILER_LINE.fullmatch(line)
        if match is None:
            raise MalformedTrailerError
        name, value = match[1].decode().lower(), match[2].decode()
        if name in self.trailers or _TRAILER_SIGNATURE in self.trailers:
            raise MalformedTrailerError
        if name == _TRAILER_SIGNATURE and self._signer is not None:
            self.trailers[name] = value
            return
        if name not in self._trailer_names:
            raise MalformedTrailerError
        self.trailers[name] = value
        self._trailer_text += f"{name}:{value}\n".encode()

    def _end_signed_trailer(self, signer: ChunkSigner) -> None:
        provided = self.trailers.pop(_TRAILER_SIGNATURE)
        expected = signer.sign_trailer(hashlib.sha256(self._trailer_text).hexdigest())
        if not hmac.compare_digest(expected.encode(), provided.encode()):
            raise SignatureDoesNotMatch
        self._end_trailer()

    def _end_trailer(self) -> None:
        if self._trailer_names != self.trailers.keys():
            raise MalformedTrailerError
        self._state = _State.END
        if self._signer is None:
            self._rest = _CRLF

    def _take_rest(self, found: bytes) -> None:
        """Pass over what may stand behind the end.

        Behind an unsigned trailer MinIO's Go client, and so all that is built on it, sends a
        second empty line. It says nothing, and the body's length covers it.
        """
        if len(found) > len(self._rest) or not self._rest.startswith(found):
            raise InvalidRequest("The request body has bytes behind its last chunk.")
        self._rest = self._rest[len(found) :]


def _joined(plain: list[memoryview]) -> list[memoryview]:
    # One-byte chunks would cost everything behind the decoder a call for each byte.
    if len(plain) > 1 and sum(map(len, plain)) < len(plain) * _SMALL_BYTES:
        return [memoryview(b"".join(plain))]
    return plain


def _too_long(state: _State) -> MalformedTrailerError | InvalidRequest:
    if state is _State.TRAILER:
        return MalformedTrailerError()
    return InvalidRequest("A line of the chunked body is too long.")
