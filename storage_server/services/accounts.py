"""All services of accounts together: tenants and who is in them."""

from dataclasses import dataclass

from storage_server.core.clock import Clock
from storage_server.engine.store import Store
from storage_server.services.access_keys import AccessKeyService
from storage_server.services.account_control import AccountControl
from storage_server.services.account_limits import LimitService
from storage_server.services.audit import AuditService
from storage_server.services.audit_feed import AuditFeed
from storage_server.services.control import Control
from storage_server.services.groups import GroupService
from storage_server.services.inheritance import Inheritance
from storage_server.services.offload import Offload
from storage_server.services.policies import PolicyService
from storage_server.services.principal_names import PrincipalNames
from storage_server.services.projection import ProjectionService
from storage_server.services.quotas import Quotas
from storage_server.services.roles import RoleService
from storage_server.services.session_ends import SessionEndService
from storage_server.services.settings import SettingService
from storage_server.services.tenant_removal import TenantRemoval
from storage_server.services.tenants import TenantService
from storage_server.services.thresholds import Thresholds
from storage_server.services.users import UserService


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who exists and what each may do, as administrators change it.

    These services trust whoever calls them: the doors ask the authoriser first.
    """

    tenants: TenantService
    users: UserService
    groups: GroupService
    roles: RoleService
    policies: PolicyService
    access_keys: AccessKeyService
    limits: LimitService
    quotas: Quotas
    thresholds: Thresholds
    inheritance: Inheritance
    projection: ProjectionService
    audit: AuditService
    sessions: SessionEndService
    settings: SettingService

    @classmethod
    def build(cls, control: Control, store: Store, offload: Offload, clock: Clock) -> "Accounts":
        """Build all of them over one way of changing control data."""
        accounts = AccountControl(control)
        inheritance, quotas = Inheritance(store), Quotas(accounts, store)
        return cls(
            tenants=TenantService(accounts, store.identity, TenantRemoval(store, clock)),
            users=UserService(accounts, inheritance, offload),
            groups=GroupService(accounts),
            roles=RoleService(accounts, PrincipalNames(store.identity)),
            policies=PolicyService(accounts),
            access_keys=AccessKeyService(accounts, store.identity, clock),
            limits=LimitService(accounts, store, quotas),
            quotas=quotas,
            thresholds=Thresholds(accounts, store),
            inheritance=inheritance,
            projection=ProjectionService(control, store.identity),
            audit=AuditService(accounts, AuditFeed(store.audit_outbox, control)),
            sessions=SessionEndService(accounts, store.identity, clock),
            settings=SettingService(accounts),
        )
