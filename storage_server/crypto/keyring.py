"""The top of the key hierarchy: master key, root keys and tenant keys; the root keys are on disk.

The master key seals root keys (in ``data/keys/keyring.json``), a root key seals tenant keys (in
tenant rows), a tenant key seals bucket keys (in bucket rows), a bucket key seals blob keys (in
version rows). Each seal is bound to its purpose, to the ids of what it belongs to and to the key's
version, so that no sealed key opens in another's place. Rotation seals one level again.
"""

import base64
import binascii
import contextlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NoReturn

import msgspec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from storage_server.core.ids import BucketId, TenantId
from storage_server.crypto import key_files
from storage_server.crypto.errors import (
    KeyFileExposed,
    KeyringDamaged,
    KeyVersionMissing,
    MasterKeyMalformed,
    MasterKeyMissing,
    WrongKey,
    WrongMasterKey,
)
from storage_server.crypto.wrapping import KEY_BYTES, WrappingKey, context, new_key

KEYRING_FORMAT: Final = 1
KEYRING_NAME: Final = "keyring.json"
MASTER_NAME: Final = "master.key"
SCRYPT_COST_LOG2: Final = 16  # with r=8: 64 MiB and some 0.2 s per guess (OWASP's second choice)
TENANT_KEYS_KEPT: Final = 1024
BUCKET_KEYS_KEPT: Final = 8192  # about 1 KiB each

MasterKind = Literal["value", "passphrase", "generated"]


@dataclass(frozen=True, slots=True)
class MasterSource:
    """Where the master key comes from."""

    kind: MasterKind
    secret: str = field(default="", repr=False)

    @classmethod
    def value(cls, text: str) -> "MasterSource":
        """Take the key itself, 32 bytes in hex or base64, as a setting holds it."""
        return cls("value", secret=text)

    @classmethod
    def passphrase(cls, text: str) -> "MasterSource":
        """Derive the key from a passphrase with scrypt."""
        return cls("passphrase", secret=text)

    @classmethod
    def generated(cls) -> "MasterSource":
        """Use ``master.key`` beside the keyring; the first start makes it."""
        return cls("generated")


class _Root(msgspec.Struct, frozen=True):
    version: int
    wrapped: bytes


class _Scrypt(msgspec.Struct, frozen=True):
    salt: bytes
    cost_log2: int


class _Document(msgspec.Struct, frozen=True):
    """The keyring file, but for its checksum."""

    format: int
    current: int
    roots: list[_Root]
    scrypt: _Scrypt | None = None


class Keyring:
    """The root keys in memory, and what hangs below them. Shared by threads."""

    def __init__(self, folder: Path, master: WrappingKey, document: _Document) -> None:
        """Hold an opened keyring; use ``open_or_create``.

        Raises:
            WrongMasterKey: The master key opens none of the root keys.
        """
        self._folder = folder
        self._master = master
        self._document = document
        self._roots = {root.version: _unwrap_root(master, root) for root in document.roots}
        self._tenant_keys = _Kept(TENANT_KEYS_KEPT)
        self._bucket_keys = _Kept(BUCKET_KEYS_KEPT)

    @classmethod
    def open_or_create(
        cls, folder: Path, source: MasterSource, *, scrypt_cost_log2: int = SCRYPT_COST_LOG2
    ) -> "Keyring":
        """Open the keyring of a data folder, or make one with a first root key.

        Two processes may do this at once: one makes it, both open it.

        Raises:
            WrongMasterKey: The keyring was locked by another master key.
            MasterKeyMissing: There is a keyring, but no master key.
            MasterKeyMalformed: What was found is not a key.
            KeyFileExposed: Other users can read the master key.
            KeyringDamaged: The keyring file can't be read.
            KeyringTooNew: A newer program wrote it.
        """
        key_files.make_private(folder)
        document = _load(folder)
        if document is None:
            scrypt = None
            if source.kind == "passphrase":
                scrypt = _Scrypt(os.urandom(16), scrypt_cost_log2)
            master = _master_key(folder, source, scrypt, may_create=True)
            first = _Root(1, master.wrap(new_key(), _root_context(1)))
            made = _Document(KEYRING_FORMAT, 1, [first], scrypt)
            if key_files.create(folder / KEYRING_NAME, _encode(made)):
                return cls(folder, master, made)
            document = _load(folder)
            assert document is not None
        return cls(folder, _master_key_for(folder, source, document), document)

    @property
    def root_key_version(self) -> int:
        """Return the version under which new tenant keys and secrets are sealed."""
        return self._document.current

    def new_tenant_key(self, tenant_id: TenantId) -> tuple[bytes, int]:
        """Make a tenant's key; return it sealed, and the version of the root key that sealed it."""
        version = self.root_key_version
        return self._root(version).wrap(new_key(), _tenant_context(tenant_id, version, 1)), version

    def tenant_key(
        self, tenant_id: TenantId, wrapped: bytes, root_key_version: int, key_version: int = 1
    ) -> WrappingKey:
        """Return a tenant's key, unsealed once and then kept.

        Raises:
            WrongKey: It is another tenant's, or was changed.
            KeyVersionMissing: That root key is gone.
        """
        sealed_for = _tenant_context(tenant_id, root_key_version, key_version)
        return self._tenant_keys.get(
            wrapped + sealed_for,
            lambda: self._root(root_key_version).unwrap(wrapped, sealed_for),
        )

    def new_bucket_key(
        self, tenant_id: TenantId, tenant_key: WrappingKey, bucket_id: BucketId
    ) -> bytes:
        """Make a bucket's key and return it, sealed under its tenant's."""
        return tenant_key.wrap(new_key(), _bucket_context(tenant_id, bucket_id, 1))

    def bucket_key(
        self,
        tenant_id: TenantId,
        tenant_key: WrappingKey,
        bucket_id: BucketId,
        wrapped: bytes,
        key_version: int = 1,
    ) -> WrappingKey:
        """Return a bucket's key, unsealed once and then kept.

        Raises:
            WrongKey: It is another bucket's or version's, or was changed.
        """
        sealed_for = _bucket_context(tenant_id, bucket_id, key_version)
        return self._bucket_keys.get(
            wrapped + sealed_for, lambda: tenant_key.unwrap(wrapped, sealed_for)
        )

    def seal_secret(self, access_key_id: str, secret: str) -> bytes:
        """Seal an access key's secret: the root key's version (4 bytes), then the sealed secret."""
        version = self.root_key_version
        key = self._root(version).subkey("access key secrets")
        sealed = key.seal(secret.encode(), context("secret", access_key_id.encode()))
        return version.to_bytes(4, "big") + sealed

    def unseal_secret(self, access_key_id: str, sealed: bytes) -> str:
        """Return an access key's secret.

        Raises:
            WrongKey: It is another access key's, or was changed.
            KeyVersionMissing: The root key it was sealed under is gone.
        """
        key = self._root(int.from_bytes(sealed[:4], "big")).subkey("access key secrets")
        return key.open(sealed[4:], context("secret", access_key_id.encode())).decode()

    def seal_session_key(self, version: int, key: bytes) -> bytes:
        """Seal a key for session tokens: the root key's version (4 bytes), then the sealed key."""
        root_version = self.root_key_version
        sealed_for = context("session key", version.to_bytes(4, "big"))
        sealed = self._root(root_version).subkey("session keys").wrap(key, sealed_for)
        return root_version.to_bytes(4, "big") + sealed

    def open_session_key(self, version: int, sealed: bytes) -> WrappingKey:
        """Return a key for session tokens.

        Raises:
            WrongKey: It is another version's, or was changed.
            KeyVersionMissing: The root key it was sealed under is gone.
        """
        key = self._root(int.from_bytes(sealed[:4], "big")).subkey("session keys")
        sealed_for = context("session key", version.to_bytes(4, "big"))
        return WrappingKey(key.unwrap(sealed[4:], sealed_for))

    def add_root_key(self) -> int:
        """Add a root key, durably, and make it the current one; return its version.

        What older ones sealed still opens; sealing it again is the caller's job.
        """
        version = max(self._roots) + 1
        key = new_key()
        root = _Root(version, self._master.wrap(key, _root_context(version)))
        document = msgspec.structs.replace(
            self._document, current=version, roots=[*self._document.roots, root]
        )
        key_files.replace(self._folder / KEYRING_NAME, _encode(document))
        self._document = document
        self._roots[version] = WrappingKey(key)
        return version

    def change_master(
        self,
        old: MasterSource,
        new: MasterSource,
        *,
        scrypt_cost_log2: int = SCRYPT_COST_LOG2,
    ) -> None:
        """Seal the root keys under another master key, in one durable step.

        The old master key opens only old copies of the keyring from then on. A generated one is
        kept as it is: it can be the new one only if it is not the old one.

        Raises:
            WrongMasterKey: ``old`` is not the one that is in force.
        """
        was = _master_key_for(self._folder, old, self._document)
        scrypt = _Scrypt(os.urandom(16), scrypt_cost_log2) if new.kind == "passphrase" else None
        now = _master_key(self._folder, new, scrypt, may_create=True)
        roots = []
        for root in self._document.roots:
            try:
                key = was.unwrap(root.wrapped, _root_context(root.version))
            except WrongKey:
                raise WrongMasterKey("the old master key is another one") from None
            roots.append(_Root(root.version, now.wrap(key, _root_context(root.version))))
        document = msgspec.structs.replace(self._document, roots=roots, scrypt=scrypt)
        key_files.replace(self._folder / KEYRING_NAME, _encode(document))
        self._document = document
        self._master = now

    def _root(self, version: int) -> WrappingKey:
        try:
            return self._roots[version]
        except KeyError:
            raise KeyVersionMissing(f"root key {version} is not in the keyring") from None

    def __repr__(self) -> str:
        return f"Keyring({self._folder})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


class _Kept:
    """The keys used last, by what they were unsealed from: a changed row never finds an old key."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._keys: OrderedDict[bytes, WrappingKey] = OrderedDict()

    def get(self, name: bytes, unseal: Callable[[], bytes]) -> WrappingKey:
        """Return the key of this name, unsealing it when it is not here."""
        found = self._keys.get(name)
        if found is None:
            found = WrappingKey(unseal())
            self._keys[name] = found
            while len(self._keys) > self._count_max:
                with contextlib.suppress(KeyError):  # another thread may have emptied it
                    self._keys.popitem(last=False)
            return found
        with contextlib.suppress(KeyError):  # another thread may have dropped it since
            self._keys.move_to_end(name)
        return found


def _root_context(version: int) -> bytes:
    return context("root key", version.to_bytes(4, "big"))


def _tenant_context(tenant_id: TenantId, root_key_version: int, key_version: int) -> bytes:
    versions = root_key_version.to_bytes(4, "big"), key_version.to_bytes(4, "big")
    return context("tenant key", tenant_id, *versions)


def _bucket_context(tenant_id: TenantId, bucket_id: BucketId, key_version: int) -> bytes:
    return context("bucket key", tenant_id, bucket_id, key_version.to_bytes(4, "big"))


def _unwrap_root(master: WrappingKey, root: _Root) -> WrappingKey:
    try:
        return WrappingKey(master.unwrap(root.wrapped, _root_context(root.version)))
    except WrongKey:
        raise WrongMasterKey(
            "the keyring was locked by another master key; nothing can be read without that one"
        ) from None


# --- The master key ---------------------------------------------------------------------------


def _master_key_for(folder: Path, source: MasterSource, document: _Document) -> WrappingKey:
    if (source.kind == "passphrase") != (document.scrypt is not None):
        was = "a passphrase" if document.scrypt is not None else "a key, not a passphrase"
        raise WrongMasterKey(f"the keyring was locked by {was}")
    return _master_key(folder, source, document.scrypt, may_create=False)


def _master_key(
    folder: Path, source: MasterSource, scrypt: _Scrypt | None, *, may_create: bool
) -> WrappingKey:
    if source.kind == "passphrase":
        assert scrypt is not None
        return WrappingKey(_stretched(source.secret, scrypt))
    if source.kind == "value":
        return WrappingKey(_key_of_text(source.secret))
    path = folder / MASTER_NAME
    if may_create:
        key_files.create(path, base64.b64encode(new_key()) + b"\n")  # an existing one is used
    return WrappingKey(_key_of_text(_read_secret(path)))


def _stretched(passphrase: str, scrypt: _Scrypt) -> bytes:
    if not passphrase:
        raise MasterKeyMalformed("the passphrase is empty")
    if not 10 <= scrypt.cost_log2 <= 22:
        raise KeyringDamaged("the keyring names an impossible scrypt cost")
    kdf = Scrypt(salt=scrypt.salt, length=KEY_BYTES, n=1 << scrypt.cost_log2, r=8, p=1)
    return kdf.derive(passphrase.encode())


def _key_of_text(text: str) -> bytes:
    text = text.strip()
    with contextlib.suppress(ValueError, binascii.Error):
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
        if len(key) == KEY_BYTES:
            return key
    raise MasterKeyMalformed("the master key must be 32 random bytes in hex or base64")


def _read_secret(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MasterKeyMissing(f"no master key at {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise KeyFileExposed(f"{path} has mode {mode:04o}: run chmod 0600 on it")
        return file.read(4096).decode("ascii", "replace")


# --- The keyring file -------------------------------------------------------------------------


def _encode(document: _Document) -> bytes:
    return key_files.encode("keyring", document)


def _load(folder: Path) -> _Document | None:
    document = key_files.decode(
        folder / KEYRING_NAME,
        "keyring",
        _Document,
        format_max=KEYRING_FORMAT,
        remedy="restore a copy",
    )
    if document is not None and document.current not in {root.version for root in document.roots}:
        raise KeyringDamaged(f"{KEYRING_NAME} lacks its current root key")
    return document
