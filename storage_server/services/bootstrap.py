"""What a container is told to begin with: a tenant, a user, its key and a bucket.

Each start makes what is missing and changes nothing else: whoever was disabled stays so, and a
secret that was changed is not set back.
"""

import hmac
import logging
from typing import Final

from storage_server.core.ids import PrincipalId, TenantId
from storage_server.core.names import DEFAULT_TENANT, is_bucket_name
from storage_server.engine.records import PrincipalRecord, TenantState
from storage_server.engine.store import Store
from storage_server.s3.errors import InvalidBucketName
from storage_server.s3.iam_errors import EntityAlreadyExists, NoSuchEntity
from storage_server.s3.messages.buckets import CreateBucketInput
from storage_server.services.accounts import Accounts
from storage_server.services.actor import Actor
from storage_server.services.buckets import BucketService
from storage_server.services.control import By
from storage_server.services.options import BootstrapOptions

_ROLE: Final = "user"
_LOG: Final = logging.getLogger("holdfast.bootstrap")


class Bootstrap:
    """Makes what is missing of it."""

    def __init__(self, accounts: Accounts, buckets: BucketService, store: Store) -> None:
        """Work through the services of accounts and of buckets."""
        self._accounts = accounts
        self._buckets = buckets
        self._store = store

    async def ensure(self, wanted: BootstrapOptions) -> None:
        """See that everything is there.

        Raises:
            EntityAlreadyExists: A key or bucket of this name is somebody else's.
            ApiError: Something can't be made; the sentence says what. The rest was made.
        """
        if not wanted.tenant and not wanted.user:
            return
        by = By(source="bootstrap")
        tenant_id = await self._ensure_tenant(by, wanted.tenant or DEFAULT_TENANT)
        if not wanted.user or self._is_closed(tenant_id):
            return
        user_id = await self._ensure_user(by, tenant_id, wanted.user)
        if wanted.access_key:
            await self._ensure_key(by, tenant_id, user_id, wanted)
        if wanted.bucket:
            await self._ensure_bucket(by, tenant_id, user_id, wanted.bucket)

    async def _ensure_tenant(self, by: By, name: str) -> TenantId:
        tenants = self._accounts.tenants
        try:
            return tenants.require_id(name)
        except NoSuchEntity:
            await tenants.create(by, name)
        return tenants.require_id(name)

    def _is_closed(self, tenant_id: TenantId) -> bool:
        """Tell whether a tenant is being deleted, which goes on only when the server starts."""
        tenant = self._store.identity.find_tenant_now(tenant_id)
        is_closed = tenant is None or tenant.state == TenantState.CLOSED
        if is_closed:
            _LOG.warning("nothing was made at this start: the tenant is being deleted")
        return is_closed

    async def _ensure_user(self, by: By, tenant_id: TenantId, name: str) -> str:
        users = self._accounts.users
        try:
            return (await users.get(tenant_id, name)).user_id
        except NoSuchEntity:
            return (await users.create(by, tenant_id, name, role=_ROLE)).user_id

    async def _ensure_key(
        self, by: By, tenant_id: TenantId, user_id: str, wanted: BootstrapOptions
    ) -> None:
        try:
            await self._accounts.access_keys.create(
                by,
                tenant_id,
                wanted.user,
                access_key_id=wanted.access_key,
                secret_key=wanted.secret_key,
                description="bootstrap",
                per_user_max=None,
            )
        except EntityAlreadyExists:
            found = self._store.identity.find_credential_now(wanted.access_key)
            if found is None or found.principal_id != user_id:
                raise
            kept = self._store.identity.unseal_secret(found)
            if not hmac.compare_digest(kept.encode(), wanted.secret_key.encode()):
                _LOG.warning(
                    "the access key %s has another secret than the settings say, and keeps it:"
                    " name another access key to begin with a new secret",
                    wanted.access_key,
                )

    async def _ensure_bucket(self, by: By, tenant_id: TenantId, user_id: str, name: str) -> None:
        found = self._store.buckets.find_now(name)
        if found is not None:
            if found.tenant_id != tenant_id:
                raise EntityAlreadyExists(f"The bucket {name} is another tenant's.")
            return
        if not is_bucket_name(name):
            raise InvalidBucketName(
                f"The specified bucket is not valid: {name!r}.", BucketName=name
            )
        await self._buckets.create(
            Actor(self._principal(user_id), tenant=self._store.identity.find_tenant_now(tenant_id)),
            CreateBucketInput(name, "", object_lock=False, tags=()),
            by=by,
        )

    def _principal(self, user_id: str) -> PrincipalRecord:
        found = self._store.identity.find_principal_now(PrincipalId(user_id))
        if found is None:
            raise NoSuchEntity("The user that was just made is gone again.")
        return found
