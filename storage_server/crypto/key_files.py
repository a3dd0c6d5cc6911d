"""Small files of sealed keys: written whole or not at all, and read only when nothing changed them.

Such a file is JSON: ``{"<what>": {…}, "sha256": "…"}``, where the hash (hex) is that of the exact
bytes of the inner value. It finds damage before a key that does not open looks like a wrong one.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

from storage_server.crypto.errors import KeyringDamaged, KeyringTooNew

Document = TypeVar("Document", bound=msgspec.Struct)


class _Version(msgspec.Struct, frozen=True):
    format: int


def encode(what: str, document: msgspec.Struct) -> bytes:
    """Return the file of a document; ``what`` names it inside."""
    inner = msgspec.json.encode(document)
    outer = {what: msgspec.Raw(inner), "sha256": hashlib.sha256(inner).hexdigest()}
    return msgspec.json.encode(outer) + b"\n"


def decode(
    path: Path, what: str, kind: type[Document], *, format_max: int, remedy: str
) -> Document | None:
    """Return the document of a file, or None when there is no file.

    ``remedy`` says what to do about a damaged one. A document has a ``format``.

    Raises:
        KeyringDamaged: It does not parse, or its checksum does not match.
        KeyringTooNew: Its format is above ``format_max``.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        outer = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        inner, told = bytes(outer[what]), msgspec.json.decode(outer["sha256"], type=str)
        if hashlib.sha256(inner).hexdigest() != told:
            raise KeyringDamaged(f"the checksum of {path.name} does not match: {remedy}")
        if msgspec.json.decode(inner, type=_Version).format > format_max:
            raise KeyringTooNew(f"{path.name} was written by a newer program")
        return msgspec.json.decode(inner, type=kind)
    except (msgspec.MsgspecError, KeyError):
        raise KeyringDamaged(f"{path.name} can't be read: {remedy}") from None


def make_private(folder: Path) -> None:
    """Make the folder durably, or close one that is there to other users."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
    else:
        _sync_folder(folder.parent)


def create(path: Path, content: bytes) -> bool:
    """Make a whole file durably, or leave the one that is there; a crash leaves none or all."""
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _sync_folder(path.parent)
    return True


def replace(path: Path, content: bytes) -> None:
    """Replace a whole file durably, or make it; a crash leaves the old one or the new one."""
    _draft(path, content).replace(path)
    _sync_folder(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink()
        raise
    return draft


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
