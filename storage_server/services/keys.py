"""Access keys as an administrator sees them: made, listed, disabled and deleted."""

import re

import msgspec

from storage_server.core.clock import Clock
from storage_server.core.errors import ApiError
from storage_server.core.ids import (
    new_access_key_id,
    new_canonical_id,
    new_principal_id,
    new_secret_key,
)
from storage_server.engine.errors import AlreadyThere
from storage_server.engine.identity import Identity
from storage_server.engine.records import CredentialRecord, PrincipalRecord

TENANT = "default"
ROOT_NAME = "root"
_OWNER_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)
# AWS's own ids are 16 to 128 word characters; other servers' are shorter and have more signs.
_ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9+=,.@_-]{3,128}", re.ASCII)
_SECRET_CHARS_MIN, _SECRET_CHARS_MAX = 8, 256


class InvalidKey(ApiError, code="InvalidKey", status=400, message="The key is not valid."):
    """A name, id or secret is not of its form."""


class KeyExists(ApiError, code="KeyExists", status=409, message="The access key id is taken."):
    """An access key id is never given twice, not even after its deletion."""


class NoSuchKeyId(ApiError, code="NoSuchKeyId", status=404, message="There is no such key."):
    """No key has this id."""


class NewKey(msgspec.Struct, frozen=True):
    """A key at the one moment when its secret is shown."""

    access_key_id: str
    secret_key: str
    owner: str


class ListedKey(msgspec.Struct, frozen=True):
    """A key without its secret."""

    access_key_id: str
    owner: str
    canonical_id: str
    created_us: int
    enabled: bool
    is_root: bool


class KeyService:
    """Keys of owners; owners are users of the tenant ``default``."""

    def __init__(self, identity: Identity, clock: Clock) -> None:
        """Work on the projection of identities."""
        self._identity = identity
        self._clock = clock

    async def create(
        self, owner: str, *, access_key_id: str = "", secret_key: str = "", description: str = ""
    ) -> NewKey:
        """Make a key, generated or imported, and its owner when there is none of this name yet.

        Raises:
            InvalidKey: Name, id or secret is not of its form; nothing was made.
            KeyExists: The id is taken, be it by a deleted key.
        """
        if not _OWNER_NAME.fullmatch(owner):
            raise InvalidKey("An owner's name has 1 to 64 letters, digits or any of +=,.@_-")
        if owner == ROOT_NAME:
            raise InvalidKey(
                "The name root is the installation's own: its key is root_access_key in the"
                " settings. Choose another name."
            )
        if bool(access_key_id) != bool(secret_key):
            raise InvalidKey("An imported key has both an id and a secret.")
        if access_key_id:
            _require_importable(access_key_id, secret_key)
        else:
            access_key_id, secret_key = new_access_key_id(), new_secret_key()
        if self._identity.find_credential_now(access_key_id) is not None:
            raise KeyExists  # before an owner is made for nothing
        principal = await self._owner(owner)
        credential = CredentialRecord(
            access_key_id=access_key_id,
            principal_id=principal.principal_id,
            sealed_secret=b"",
            created_us=self._clock.now_us(),
            revision=1,
            description=description,
        )
        try:
            await self._identity.add_credential(credential, secret_key)
        except AlreadyThere:
            raise KeyExists from None
        return NewKey(access_key_id, secret_key, owner)

    async def list(self) -> list[ListedKey]:
        """Return every key that is not deleted, by owner and age."""
        principals = {p.principal_id: p for p in await self._identity.principals()}
        listed = [
            _listed(credential, principals[credential.principal_id])
            for credential in await self._identity.credentials()
            if not credential.deleted and credential.principal_id in principals
        ]
        return sorted(listed, key=lambda key: (key.owner, key.created_us, key.access_key_id))

    async def disable(self, access_key_id: str) -> None:
        """Make a key fail from the next request on; ``enable`` brings it back.

        Raises:
            NoSuchKeyId: No key has this id.
        """
        await self._change(access_key_id, enabled=False, deleted=False)

    async def enable(self, access_key_id: str) -> None:
        """Let a disabled key work again.

        Raises:
            NoSuchKeyId: No key has this id.
        """
        await self._change(access_key_id, enabled=True, deleted=False)

    async def delete(self, access_key_id: str) -> None:
        """Make a key fail from the next request on, for good; its id stays taken.

        Raises:
            NoSuchKeyId: No key has this id.
        """
        await self._change(access_key_id, enabled=False, deleted=True)

    async def _owner(self, name: str) -> PrincipalRecord:
        tenant = await self._identity.ensure_tenant(TENANT)
        for principal in await self._identity.principals():
            if principal.tenant_id == tenant.tenant_id and principal.name == name:
                return principal
        principal = PrincipalRecord(
            principal_id=new_principal_id(),
            tenant_id=tenant.tenant_id,
            canonical_id=new_canonical_id(),
            name=name,
            display_name=name,
            revision=1,
        )
        return await self._identity.add_principal(principal)

    async def _change(self, access_key_id: str, *, enabled: bool, deleted: bool) -> None:
        found = self._identity.find_credential_now(access_key_id)
        if found is None or found.deleted:
            raise NoSuchKeyId

        def change(credential: CredentialRecord) -> CredentialRecord:
            return msgspec.structs.replace(
                credential,
                enabled=enabled and not credential.deleted,
                deleted=deleted or credential.deleted,
            )

        await self._identity.change_credential(access_key_id, change)


def _require_importable(access_key_id: str, secret_key: str) -> None:
    if not _ACCESS_KEY_ID.fullmatch(access_key_id):
        raise InvalidKey("An access key id has 3 to 128 letters, digits or any of +=,.@_-")
    if (
        not _SECRET_CHARS_MIN <= len(secret_key) <= _SECRET_CHARS_MAX
        or not secret_key.isprintable()
    ):
        raise InvalidKey(
            f"A secret has {_SECRET_CHARS_MIN} to {_SECRET_CHARS_MAX} printable characters."
        )


def _listed(credential: CredentialRecord, principal: PrincipalRecord) -> ListedKey:
    return ListedKey(
        access_key_id=credential.access_key_id,
        owner=principal.name,
        canonical_id=principal.canonical_id,
        created_us=credential.created_us,
        enabled=credential.enabled and principal.enabled,
        is_root=principal.is_root,
    )
