"""The services of accounts over a real store and a real SQLite file."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from storage_server.control_db import audit
from storage_server.control_db.migrations import migrate
from storage_server.control_db.session import ControlDb
from storage_server.control_db.views import AuditView
from storage_server.core.clock import SystemClock
from storage_server.core.ids import CanonicalId, PrincipalId, TenantId
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.options import StoreOptions
from storage_server.engine.records import BucketRecord, PrincipalRecord, TenantRecord
from storage_server.engine.store import Store
from storage_server.services.account_views import User
from storage_server.services.accounts import Accounts
from storage_server.services.control import By, Control
from storage_server.services.founding import Founding
from storage_server.services.offload import Offload

ALLOW = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
DENY = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}'
BY = By(source="cli", request_id="R")


@dataclass
class Moment:
    """A clock that stands still until it is moved."""

    time_us: int = field(default_factory=lambda: SystemClock().now_us())

    def now_us(self) -> int:
        """Return the time."""
        return self.time_us


@dataclass(frozen=True, slots=True)
class AccountsHouse:
    """Everything that a test of accounts needs; the tenant is ``default``."""

    store: Store
    control: Control
    accounts: Accounts
    clock: Moment

    @property
    def tenant(self) -> TenantRecord:
        """The tenant of the first users."""
        found = self.store.identity.find_tenant_by_name_now("default")
        assert found is not None
        return found

    @property
    def here(self) -> TenantId:
        """The id of that tenant."""
        return self.tenant.tenant_id

    def principal(self, principal_id: str) -> PrincipalRecord | None:
        """Return what the data path knows of a principal."""
        return self.store.identity.find_principal_now(PrincipalId(principal_id))

    async def user(self, name: str = "ana", tenant_id: TenantId | None = None) -> User:
        """Make a user."""
        return await self.accounts.users.create(BY, tenant_id or self.here, name)

    async def policy(self, name: str = "all", document: str = ALLOW) -> str:
        """Make a managed policy and return its ARN."""
        return (await self.accounts.policies.create(BY, self.here, name, document)).arn

    async def bucket(
        self, name: str, owner: str, tenant: TenantRecord | None = None, *, locks: bool = False
    ) -> BucketRecord:
        """Make a bucket that a canonical id owns."""
        return await self.store.buckets.create(
            name=name,
            tenant=tenant or self.tenant,
            owner=CanonicalId(owner),
            region="us-east-1",
            object_lock=locks,
        )

    def owner_of(self, bucket: str) -> str:
        """Return the canonical id that owns a bucket now."""
        found = self.store.buckets.find_now(bucket)
        assert found is not None
        return found.owner

    async def notes(self) -> list[AuditView]:
        """Return the whole audit, the oldest first, with what is told of buckets by now."""
        await self.accounts.audit.feed.run_all()
        found = await self.control.read(lambda session: audit.list_page(session, limit=1000))
        return sorted(found, key=lambda note: note.sequence)

    async def notes_text(self) -> str:
        """Return everything that the audit says, in one text."""
        return "\n".join(
            f"{note.action} {note.entity} {note.detail}" for note in await self.notes()
        )


@asynccontextmanager
async def open_accounts(folder: Path, url: str = "") -> AsyncIterator[AccountsHouse]:
    """Open a store and a control database in a new folder, or the one at ``url``, founded."""
    clock = Moment()
    with ThreadPoolExecutor(2) as lanes, ThreadPoolExecutor(1) as control_lane:
        options = StoreOptions(
            data_dir=folder, master=MasterSource.generated(), lanes=lanes, space_reserve_bytes=0
        )
        store = await Store.open(options, SystemClock())
        url = url or f"sqlite:///{folder / 'control.db'}"
        migrate(url)
        database = ControlDb.open(url)
        control = Control(database, store.identity, clock, control_lane)
        await Founding(control, store.identity).lay("root")
        accounts = Accounts.build(control, store, Offload(lanes), clock)
        try:
            yield AccountsHouse(store, control, accounts, clock)
        finally:
            await control.close()
            await store.close()
