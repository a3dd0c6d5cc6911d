"""An incremental parser of multipart/form-data whose last part of interest is the file."""

import enum
import re

import msgspec

from storage_server.core import limits
from storage_server.s3.errors import (
    IncorrectNumberOfFilesInPostRequest,
    MalformedPOSTRequest,
    MaxPostPreDataLengthExceededError,
    RequestIsNotMultiPartContent,
)

FIELDS_COUNT_MAX = limits.HEADERS_COUNT_MAX
"""Most fields become headers, so a form needs no more of them."""

# AWS bounds the fields; part headers and boundaries come on top of them.
_HEAD_BYTES_MAX = 2 * limits.POST_FORM_FIELD_BYTES_MAX
_EPILOGUE_BYTES_MAX = limits.POST_FORM_FIELD_BYTES_MAX
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]", re.ASCII)
_PARAMETER = re.compile(r';\s*([A-Za-z0-9_*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]*))')
_PADDING = b" \t"
# Browsers escape exactly these in file names; a backslash is one of a Windows path.
# Source: HTML Standard, "Multipart form data".
_ESCAPED = {"%22": '"', "%0D": "\r", "%0A": "\n", '\\"': '"'}
_ESCAPES = re.compile(r"%22|%0D|%0A|\\\"")


class FilePart(msgspec.Struct, frozen=True, gc=False):
    """What the form says about its file; ``filename`` is as sent, path and all."""

    filename: str
    content_type: str


class _State(enum.Enum):
    PREAMBLE = enum.auto()
    BOUNDARY = enum.auto()
    HEADERS = enum.auto()
    FIELD = enum.auto()
    FILE = enum.auto()
    EPILOGUE = enum.auto()


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary of a multipart/form-data Content-Type.

    Raises:
        RequestIsNotMultiPartContent: The body is of another type.
        MalformedPOSTRequest: The boundary is missing or not of RFC 2046's form.
    """
    kind, _, _ = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise RequestIsNotMultiPartContent
    boundary = _parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise MalformedPOSTRequest
    return boundary.encode()


class FormReader:
    """Reads a form in pieces cut anywhere: first its fields, then its file as a stream.

    ``fields`` (names in lower case, values decoded) and ``file`` are complete as soon as ``file``
    is not None: check them before taking what ``feed`` returns. What follows the file is ignored,
    within a bound.

    Source: RFC 7578; S3 API Reference, "POST Object" (the file must be the last field).
    """

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.file: FilePart | None = None
        self._mark = b"\r\n--" + boundary
        self._state = _State.PREAMBLE
        # The first boundary need not be preceded by a line end.
        self._kept = b"\r\n"
        self._searched = 0
        self._field_bytes = 0
        self._epilogue_bytes = 0
        self._name = ""

    def feed(self, piece: bytes | memoryview) -> list[memoryview]:
        """Return the bytes of the file that are certain by now; they lag by a boundary's length.

        Raises:
            MalformedPOSTRequest: The body is not a form, or a field comes twice.
            MaxPostPreDataLengthExceededError: The fields before the file are too large.
        """
        if self._state is _State.EPILOGUE:
            self._skip(len(piece))
            return []
        self._kept += piece
        found: list[memoryview] = []
        while self._step(found):
            pass
        if self.file is None and len(self._kept) > _HEAD_BYTES_MAX:
            raise MaxPostPreDataLengthExceededError
        return found

    def finish(self) -> None:
        """Confirm that the form has ended.

        Raises:
            IncorrectNumberOfFilesInPostRequest: It has no file.
            MalformedPOSTRequest: It ended early.
        """
        if self._state is not _State.EPILOGUE:
            raise MalformedPOSTRequest
        if self.file is None:
            raise IncorrectNumberOfFilesInPostRequest

    def _step(self, found: list[memoryview]) -> bool:
        """Take one element out of what is kept; tell whether there may be another."""
        if self._state is _State.FILE:
            return self._take_file(found)
        if self._state is _State.BOUNDARY:
            return self._take_boundary_end()
        if self._state is _State.HEADERS:
            return self._take_headers()
        if self._state is _State.EPILOGUE:
            self._skip(len(self._kept))
            self._kept = b""
            return False
        cut = self._find(self._mark)
        if cut < 0:
            return False
        if self._state is _State.FIELD:
            self._add_field(self._kept[:cut])
        elif self._kept[:cut].strip(b"\r\n"):
            raise MalformedPOSTRequest
        self._drop(cut + len(self._mark))
        self._state = _State.BOUNDARY
        return True

    def _take_boundary_end(self) -> bool:
        if self._kept.startswith(b"--"):
            self._drop(2)
            self._state = _State.EPILOGUE
            return True
        cut = self._find(b"\r\n")
        if cut < 0:
            is_garbage = len(self._kept) > 2 and self._kept.rstrip(b"\r").strip(_PADDING)
            if is_garbage or len(self._kept) > limits.CHUNK_HEADER_BYTES_MAX:
                raise MalformedPOSTRequest
            return False
        if self._kept[:cut].strip(_PADDING):
            raise MalformedPOSTRequest
        self._drop(cut + 2)
        if self.file is not None:
            self._state = _State.EPILOGUE
            return True
        # A part without headers starts with its empty line at once.
        self._kept = b"\r\n" + self._kept
        self._state = _State.HEADERS
        return True

    def _take_headers(self) -> bool:
        cut = self._find(b"\r\n\r\n")
        if cut < 0:
            if len(self._kept) > limits.CHUNK_HEADER_BYTES_MAX:
                raise MalformedPOSTRequest
            return False
        if cut > limits.CHUNK_HEADER_BYTES_MAX:
            raise MalformedPOSTRequest
        headers = _part_headers(self._kept[2:cut] if cut else b"")
        self._drop(cut + 4)
        disposition = headers.get("content-disposition", "")
        parameters = _parameters(disposition)
        name = parameters.get("name", "").lower()
        if not disposition.lower().startswith("form-data") or not name:
            raise MalformedPOSTRequest
        # The file's bytes, as a field's, end at a mark that may follow the headers at once.
        if name == "file":
            self.file = FilePart(parameters.get("filename", ""), headers.get("content-type", ""))
            self._state = _State.FILE
            return True
        if name in self.fields or len(self.fields) >= FIELDS_COUNT_MAX:
            raise MalformedPOSTRequest
        self._name = name
        self._state = _State.FIELD
        return True

    def _add_field(self, value: bytes) -> None:
        self._field_bytes += len(self._name) + len(value)
        if self._field_bytes > limits.POST_FORM_FIELD_BYTES_MAX:
            raise MaxPostPreDataLengthExceededError
        try:
            self.fields[self._name] = value.decode()
        except UnicodeDecodeError:
            raise MalformedPOSTRequest from None

    def _take_file(self, found: list[memoryview]) -> bool:
        cut = self._kept.find(self._mark)
        if cut >= 0:
            if cut:
                found.append(memoryview(self._kept)[:cut])
            self._drop(cut + len(self._mark))
            self._state = _State.BOUNDARY
            return True
        sure = len(self._kept) - len(self._mark) + 1
        if sure > 0:
            found.append(memoryview(self._kept)[:sure])
            self._kept = self._kept[sure:]
        return False

    def _find(self, mark: bytes) -> int:
        """Find a mark in what is kept, without looking at any byte twice."""
        cut = self._kept.find(mark, max(0, self._searched - len(mark) + 1))
        self._searched = len(self._kept)
        return cut

    def _drop(self, count: int) -> None:
        self._kept = self._kept[count:]
        self._searched = 0

    def _skip(self, count: int) -> None:
        self._epilogue_bytes += count
        if self._epilogue_bytes > _EPILOGUE_BYTES_MAX:
            raise MalformedPOSTRequest


def _part_headers(text: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    if not text:
        return headers
    for line in text.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name or name in headers:
            raise MalformedPOSTRequest
        headers[name] = value.strip()
    return headers


def _parameters(value: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        name = match[1].lower()
        if name in parameters:
            raise MalformedPOSTRequest
        if match[2] is None:
            parameters[name] = match[3]
        elif name == "filename":
            parameters[name] = _ESCAPES.sub(lambda found: _ESCAPED[found[0]], match[2])
        else:
            parameters[name] = match[2].replace('\\"', '"')
    return parameters
