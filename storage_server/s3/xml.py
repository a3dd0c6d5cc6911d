"""XML in, bounded and without surprises; XML out, by joining bytes."""

import re
from collections.abc import Collection, Iterator, Sequence
from pyexpat import ExpatError, ParserCreate
from typing import NoReturn

from storage_server.core import limits
from storage_server.s3.errors import (
    MalformedXML,
    MaxMessageLengthExceeded,
    MissingRequestBodyError,
)

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'

_NAMESPACES = frozenset({"", NAMESPACE, NAMESPACE.rstrip("/")})
_ENCODINGS = frozenset({"", "utf-8", "utf8", "us-ascii"})
_SEPARATOR = " "  # between namespace and name in what expat reports


class Element:
    """One element: its name without namespace, its text and its children, in order."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        """Make an empty element."""
        self.name = name
        self.text = ""
        self.children: list[Element] = []

    def __iter__(self) -> Iterator["Element"]:
        """Walk the children in order."""
        return iter(self.children)

    def only(self, names: Collection[str]) -> "Element":
        """Return the element itself when all its children have one of the names.

        Raises:
            MalformedXML: There is another child: what it asked for would not be done.
        """
        for child in self.children:
            if child.name not in names:
                raise MalformedXML
        return self

    def find(self, name: str) -> "Element | None":
        """Return the child of this name, or None.

        Raises:
            MalformedXML: There are several, and nobody could say which counts.
        """
        found = None
        for child in self.children:
            if child.name == name:
                if found is not None:
                    raise MalformedXML
                found = child
        return found

    def get(self, name: str) -> "Element":
        """Return the child of this name.

        Raises:
            MalformedXML: There is none, or there are several.
        """
        found = self.find(name)
        if found is None:
            raise MalformedXML
        return found

    def text_of(self, name: str) -> str | None:
        """Return the text of the child of this name, or None when there is no such child.

        Raises:
            MalformedXML: There are several, or it has children of its own.
        """
        found = self.find(name)
        return None if found is None else found.leaf()

    def leaf(self) -> str:
        """Return the text of an element that may have no children.

        Raises:
            MalformedXML: It has.
        """
        if self.children:
            raise MalformedXML
        return self.text


class _Builder:
    """Receives expat's events and builds the tree within its bounds."""

    def __init__(self, namespace: str) -> None:
        self.root: Element | None = None
        self._namespace = namespace
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._count = 0

    def start(self, full_name: str, _attributes: list[str]) -> None:
        namespace, _, name = full_name.rpartition(_SEPARATOR)
        self._count += 1
        if (
            (namespace not in _NAMESPACES and namespace != self._namespace)
            or len(self._open) >= limits.XML_DEPTH_MAX
            or self._count > limits.XML_ELEMENTS_MAX
        ):
            raise MalformedXML
        element = Element(name)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def end(self, _name: str) -> None:
        element = self._open.pop()
        text = "".join(self._texts.pop())
        if element.children:
            if text.strip():
                raise MalformedXML
        else:
            element.text = text

    def characters(self, text: str) -> None:
        self._texts[-1].append(text)


def parse(
    body: bytes, root: str, *, size_max: int = limits.XML_BYTES_MAX, namespace: str = NAMESPACE
) -> Element:
    """Return the document's root element, which must have the name ``root``.

    Elements may stand in S3's namespace, in ``namespace`` or in none. There is no way to declare
    an entity, to fetch anything, or to nest deeper than ``XML_DEPTH_MAX``.

    Raises:
        MissingRequestBodyError: The body is empty.
        MaxMessageLengthExceeded: It has more than ``size_max`` bytes.
        MalformedXML: It is not UTF-8, not XML, declares a document type, has processing
            instructions, another namespace or another root, or is too deep.
    """
    if not body:
        raise MissingRequestBodyError
    if len(body) > size_max:
        raise MaxMessageLengthExceeded(MaxMessageLengthBytes=size_max)
    builder = _Builder(namespace)
    # Decoded here, because expat trusts a byte order mark, or the zeros that UTF-16 has beside
    # its ASCII, more than the encoding it was given; a declaration of another one is refused too.
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedXML from None
    if "\x00" in text:
        raise MalformedXML
    parser = ParserCreate("utf-8", _SEPARATOR)
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.XmlDeclHandler = _check_declaration
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.ProcessingInstructionHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(text, True)
    except ExpatError:
        raise MalformedXML from None
    found = builder.root
    if found is None or found.name != root:
        raise MalformedXML
    return found


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    if (encoding or "").lower() not in _ENCODINGS:
        raise MalformedXML


def _refuse(*_arguments: object) -> NoReturn:
    raise MalformedXML


# --- Out -------------------------------------------------------------------------------------

_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"} | {
    chr(code): f"&#x{code:X};" for code in (*range(0x20), 0x7F, 0xFFFE, 0xFFFF)
}
_TRANSLATION = str.maketrans(_REFERENCES)
_NEEDS_ESCAPE = re.compile("[" + re.escape("".join(_REFERENCES)) + "]").search
_INEXPRESSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
MARKUP = bytes(range(0x20)) + b'\x7f&<>"\xef'
"""Bytes that a text without need for escaping has none of (0xEF begins U+FFFE and U+FFFF)."""


def escape(text: str) -> bytes:
    """Return the text as it stands between two tags, control characters as ``&#xN;``.

    Keys may hold characters that XML 1.0 cannot express at all; S3 writes their references
    nevertheless, and clients ask for ``encoding-type=url`` when they mind.
    """
    if _NEEDS_ESCAPE(text):
        text = text.translate(_TRANSLATION)
    return text.encode("utf-8")


def tag(name: bytes, text: str | int | None) -> bytes:
    """Return ``<name>text</name>``, or nothing for None."""
    if text is None:
        return b""
    if isinstance(text, int):
        return b"<%b>%d</%b>" % (name, text, name)
    return b"<%b>%b</%b>" % (name, escape(text), name)


def echo(name: bytes, text: str | int) -> bytes:
    """Return ``<name>text</name>`` with what XML cannot carry replaced by U+FFFD.

    For texts that only explain, as in error documents: a client must be able to read those
    whatever it sent.
    """
    return tag(name, _INEXPRESSIBLE.sub("\ufffd", text) if isinstance(text, str) else text)


def flag(name: bytes, *, value: bool) -> bytes:
    """Return ``<name>true</name>`` or ``<name>false</name>``."""
    return b"<%b>true</%b>" % (name, name) if value else b"<%b>false</%b>" % (name, name)


def wrap(name: bytes, content: bytes) -> bytes:
    """Return finished content between two tags."""
    return b"<%b>%b</%b>" % (name, content, name)


def document(root: bytes, *content: bytes, namespace: str = NAMESPACE) -> bytes:
    """Return a whole document in S3's namespace, or another, its content given in pieces."""
    return document_of(root, content, namespace)


def document_of(root: bytes, content: Sequence[bytes], namespace: str = NAMESPACE) -> bytes:
    """Do the same for thousands of pieces, which are not spread over arguments."""
    # Joined once, not formatted: copies of a large listing cost more than rendering its rows.
    start = b'%b<%b xmlns="%b">' % (DECLARATION, root, namespace.encode())
    return b"".join([start, *content, b"</%b>" % root])
