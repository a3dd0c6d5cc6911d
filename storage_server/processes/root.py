"""The root credential: generated at first start, or replaced by the one in the settings."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from storage_server.config import RootOptions
from storage_server.core.clock import Clock
from storage_server.core.ids import (
    new_access_key_id,
    new_canonical_id,
    new_principal_id,
    new_secret_key,
)
from storage_server.engine.errors import AlreadyThere
from storage_server.engine.identity import Identity
from storage_server.engine.records import CredentialRecord, PrincipalRecord
from storage_server.processes.errors import EXIT_CONFIG, StartError

SYSTEM_TENANT: Final = "system"
DEFAULT_TENANT: Final = "default"
_NAME: Final = "root"


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A generated root credential, at the one moment when its secret is known in clear."""

    access_key_id: str
    secret_key: str = field(repr=False)


async def ensure_root(identity: Identity, options: RootOptions, clock: Clock) -> ShownOnce | None:
    """See that a root credential exists, and that it is the one in the settings when they name one.

    Returns:
        The credential when it was generated now; its secret is stored sealed and shown nowhere
        else.

    Raises:
        StartError: The access key id in the settings belongs to somebody, or was deleted.
    """
    await identity.ensure_tenant(DEFAULT_TENANT)
    root = await _ensure_principal(identity, options.display_name)
    live = [
        credential
        for credential in await identity.credentials()
        if credential.principal_id == root.principal_id and credential.enabled
    ]
    if options.access_key:
        await _use_configured(identity, root, live, options, clock)
        return None
    if live:
        return None
    shown = ShownOnce(new_access_key_id(), new_secret_key())
    await _add(identity, root, shown.access_key_id, shown.secret_key, clock)
    return shown


async def _ensure_principal(identity: Identity, display_name: str) -> PrincipalRecord:
    tenant = await identity.ensure_tenant(SYSTEM_TENANT)
    for principal in await identity.principals():
        if principal.is_root:
            if principal.display_name == display_name:
                return principal
            return await identity.change_principal(
                principal.principal_id,
                lambda before: msgspec.structs.replace(before, display_name=display_name),
            )
    root = PrincipalRecord(
        principal_id=new_principal_id(),
        tenant_id=tenant.tenant_id,
        canonical_id=new_canonical_id(),
        name=_NAME,
        display_name=display_name,
        revision=1,
        is_root=True,
    )
    return await identity.add_principal(root)


async def _use_configured(
    identity: Identity,
    root: PrincipalRecord,
    live: list[CredentialRecord],
    options: RootOptions,
    clock: Clock,
) -> None:
    """Replace the root keys by the configured one: new first, so that a crash locks nobody out."""
    wanted = options.access_key
    found = identity.find_credential_now(wanted)
    if found is None:
        try:
            await _add(identity, root, wanted, options.secret_key, clock)
        except AlreadyThere:
            raise _taken(wanted) from None
    elif found.principal_id != root.principal_id:
        raise _taken(wanted)
    elif not found.enabled or identity.unseal_secret(found) != options.secret_key:
        await identity.change_credential(wanted, _enabled, secret=options.secret_key)
    for credential in live:
        if credential.access_key_id != wanted:
            await identity.change_credential(credential.access_key_id, _disabled)


async def _add(
    identity: Identity, root: PrincipalRecord, access_key_id: str, secret_key: str, clock: Clock
) -> None:
    credential = CredentialRecord(
        access_key_id=access_key_id,
        principal_id=root.principal_id,
        sealed_secret=b"",
        created_us=clock.now_us(),
        revision=1,
        description=_NAME,
    )
    await identity.add_credential(credential, secret_key)


def _taken(access_key_id: str) -> StartError:
    return StartError(
        f"root_access_key {access_key_id} is an owner's key or was deleted: choose another id.",
        EXIT_CONFIG,
    )


def _enabled(credential: CredentialRecord) -> CredentialRecord:
    return msgspec.structs.replace(credential, enabled=True)


def _disabled(credential: CredentialRecord) -> CredentialRecord:
    # Not deleted: a deleted id is gone for good, and the settings may name it again.
    return msgspec.structs.replace(credential, enabled=False)
