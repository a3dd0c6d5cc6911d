"""Principals in policies: ARNs as people write them, never-reused ids as they are kept."""

import re
from typing import Final

from storage_server.core.ids import PrincipalId, TenantId
from storage_server.core.names import SYSTEM_TENANT
from storage_server.engine.identity import Identity
from storage_server.engine.records import PrincipalKind, PrincipalRecord, TenantRecord
from storage_server.s3 import arns
from storage_server.s3.policy.document import with_principals

_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_KINDS: Final = {
    "user": PrincipalKind.USER,
    "role": PrincipalKind.ROLE,
    "assumed-role": PrincipalKind.ROLE,
}
_WORDS: Final = {PrincipalKind.USER: "user", PrincipalKind.ROLE: "role"}


class PrincipalNames:
    """Resolves and renders the principals of documents, over the projection."""

    def __init__(self, identity: Identity) -> None:
        """Look names and ids up in the projection of identities."""
        self._identity = identity

    def resolved(self, tenant_id: TenantId, document: str) -> bytes:
        """Return a document that was understood with ids in place of ARNs.

        What can't be resolved, and what another tenant keeps to itself, stays as it is and never
        matches: whether it exists is not told.
        """
        return with_principals(
            document.encode(), lambda kind, value: self._id_of(tenant_id, kind, value)
        )

    def rendered(self, tenant_id: TenantId, document: bytes) -> str:
        """Return a kept document with ARNs in place of ids, for somebody of a tenant.

        Those of the deleted stay ids, and so do those of tenants that keep their people's names to
        themselves: whoever writes an id down is not told whose it is.
        """
        return with_principals(
            document, lambda kind, value: self._arn_of(tenant_id, kind, value)
        ).decode()

    def _id_of(self, tenant_id: TenantId, kind: str, value: str) -> str:
        named = arns.parse(value)
        if kind != "AWS" or named is None:
            return value
        if named.kind == "root":
            return named.account_id
        account = self._identity.find_tenant_by_account_now(named.account_id)
        tenant = self._visible(tenant_id, account)
        found = None if tenant is None else self._find(tenant, named)
        if found is None:
            return value
        return f"{found.principal_id}:{named.session}" if named.session else found.principal_id

    def _visible(self, tenant_id: TenantId, named: TenantRecord | None) -> TenantRecord | None:
        own = self._identity.find_tenant_now(tenant_id)
        if own is None or named is None:
            return None
        is_seen = named.tenant_id == tenant_id or own.sharing or named.name == SYSTEM_TENANT
        return named if is_seen else None

    def _find(self, tenant: TenantRecord, named: arns.IamArn) -> PrincipalRecord | None:
        """Return the principal, whose name is the same to the letter, as ARNs are."""
        kind = _KINDS.get(named.kind)
        if kind is None:
            return None
        found = self._identity.find_named_now(tenant.tenant_id, kind, named.name)
        if found is None or found.name != named.name:
            return None
        return found if named.session or found.path == named.path else None

    def _arn_of(self, tenant_id: TenantId, kind: str, value: str) -> str:
        if kind != "AWS":
            return value
        if _ACCOUNT.fullmatch(value):
            return arns.of_root(value)
        principal_id, _, session = value.partition(":")
        found = self._identity.find_principal_now(PrincipalId(principal_id))
        whose = None if found is None else self._identity.find_tenant_now(found.tenant_id)
        tenant = self._visible(tenant_id, whose)
        if found is None or tenant is None or found.kind not in _WORDS:
            return value
        if session:
            return arns.of_session(tenant.account_id, found.name, session)
        return arns.of(tenant.account_id, _WORDS[found.kind], found.path, found.name)
