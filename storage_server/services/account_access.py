"""Public access at the level of a tenant, as S3 Control has it: an account is a tenant."""

from storage_server.engine.identity import Identity
from storage_server.engine.records import TenantRecord
from storage_server.s3 import errors
from storage_server.services.actor import Actor
from storage_server.services.audit_events import by_request
from storage_server.services.tenants import TenantService


class AccountAccessService:
    """The flags that hold for every bucket of a tenant, asked for by its own people."""

    def __init__(self, identity: Identity, tenants: TenantService) -> None:
        """Read from the projection, change through the service of tenants."""
        self._identity = identity
        self._tenants = tenants

    def public_access_block(self, actor: Actor, account_id: str) -> int:
        """Return the flags of the actor's own tenant.

        Raises:
            AccessDenied: The account is another one.
            NoSuchPublicAccessBlockConfiguration: Nothing is blocked.
        """
        flags = self._own(actor, account_id).public_access_block
        if not flags:
            raise errors.NoSuchPublicAccessBlockConfiguration
        return flags

    async def set_public_access_block(self, actor: Actor, account_id: str, flags: int) -> None:
        """Replace the flags of the actor's own tenant; 0 blocks nothing.

        Raises:
            AccessDenied: The account is another one.
            ServiceUnavailable: Nothing can be changed now.
        """
        tenant = self._own(actor, account_id)
        await self._tenants.set_public_access_block(by_request(actor), tenant.tenant_id, flags)

    def _own(self, actor: Actor, account_id: str) -> TenantRecord:
        """Return the actor's tenant as it is now, when the account is that one."""
        own = actor.tenant
        tenant = None if own is None else self._identity.find_tenant_now(own.tenant_id)
        if tenant is None or tenant.account_id != account_id:
            raise errors.AccessDenied
        return tenant
