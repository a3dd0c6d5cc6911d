"""A store with a control database beside it, as one process has them."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, tenants, users
from storage_server.control_db.migrations import migrate
from storage_server.control_db.session import ControlDb
from storage_server.core.ids import (
    TenantId,
    new_account_id,
    new_canonical_id,
    new_principal_id,
    new_tenant_id,
)
from storage_server.engine.identity import Entity, Identity
from storage_server.engine.store import Store
from storage_server.services.control import By, Changes, Control, Step
from storage_server.services.projection import ProjectionService
from tests.engine.opened import open_store
from tests.fakes.manual_clock import ManualClock

BY = By(principal_id="AIDATEST", source="cli", address="127.0.0.1", request_id="R")
SECRET = "a secret that is long enough"


@dataclass(frozen=True, slots=True)
class Controlled:
    """One process's control of an installation."""

    folder: Path
    clock: ManualClock
    store: Store
    control: Control

    @property
    def identity(self) -> Identity:
        """What the data path sees."""
        return self.store.identity

    @property
    def projection(self) -> ProjectionService:
        """What proves it."""
        return ProjectionService(self.control, self.store.identity)

    @property
    def database_path(self) -> Path:
        """The file of the control database."""
        return database_path(self.folder)

    async def make_tenant(self, name: str = "acme") -> TenantId:
        """Make a tenant."""
        tenant_id = new_tenant_id()
        wrapped_key, root_key_version = self.identity.new_tenant_key(tenant_id)

        def work(session: Session, changes: Changes) -> None:
            tenants.create(
                session,
                tenant_id=tenant_id,
                account_id=new_account_id(),
                canonical_id=new_canonical_id(),
                name=name,
                wrapped_key=wrapped_key,
                root_key_version=root_key_version,
                now_us=changes.now_us,
            )
            changes.touch(Entity("tenant", tenant_id.hex()))
            changes.audit("holdfast:CreateTenant", name)

        await self.control.change(BY, tenant_id, work)
        return tenant_id

    async def make_user(self, tenant_id: TenantId, name: str = "ana", key: str = "") -> str:
        """Make a user, and a key for it if one is named; return the user's id."""
        user_id = new_principal_id()

        def work(session: Session, changes: Changes) -> None:
            users.create(
                session,
                user_id=user_id,
                tenant_id=tenant_id,
                canonical_id=new_canonical_id(),
                name=name,
                now_us=changes.now_us,
            )
            changes.touch(Entity("principal", user_id))
            if key:
                access_keys.create(
                    session,
                    access_key_id=key,
                    tenant_id=tenant_id,
                    user_id=user_id,
                    sealed_secret=self.identity.seal_secret(key, SECRET),
                    now_us=changes.now_us,
                )
                changes.touch(Entity("credential", key))
            changes.audit("iam:CreateUser", name)

        await self.control.change(BY, tenant_id, work)
        return user_id


def database_path(folder: Path) -> Path:
    """Return where the control database of a folder is."""
    return folder / "control.db"


@asynccontextmanager
async def controlled(
    folder: Path,
    clock: ManualClock | None = None,
    reached: Callable[[Step], None] | None = None,
    *,
    is_migrated: bool = True,
    url: str = "",
) -> AsyncIterator[Controlled]:
    """Open an installation in a folder, made when it is new; ``url`` names another database."""
    clock = clock or ManualClock()
    store = await open_store(folder / "data", clock)
    with ThreadPoolExecutor(1) as lane:
        url = url or f"sqlite:///{database_path(folder)}"
        if is_migrated:
            migrate(url)
        database = ControlDb.open(url)
        control = Control(database, store.identity, clock, lane, reached)
        try:
            yield Controlled(folder, clock, store, control)
        finally:
            await control.close()
            await store.close()
