"""Principals by whatever people call them: ARN, id or name; in one tenant's view."""

from storage_server.core.ids import PrincipalId, TenantId
from storage_server.engine.identity import Identity
from storage_server.engine.records import PrincipalKind, PrincipalRecord
from storage_server.s3 import arns
from storage_server.services.principal_names import PrincipalNames

_KINDS = {"user": PrincipalKind.USER, "role": PrincipalKind.ROLE, "root": PrincipalKind.ROOT}


class Principals:
    """Finds principals in the projection, and renames those in documents.

    In documents ids stand in place of ARNs: names change, ids do not. What can't be resolved, and
    what is of a tenant that does not share, stays as it was written and never matches.
    """

    def __init__(self, identity: Identity) -> None:
        """Look principals up in the projection of identities."""
        self._identity = identity
        self._names = PrincipalNames(identity)

    def to_ids(self, document: bytes, tenant_id: TenantId) -> bytes:
        """Return a document that was understood, with ids in place of ARNs."""
        return self._names.resolved(tenant_id, document.decode())

    def to_arns(self, document: bytes, tenant_id: TenantId) -> bytes:
        """Return a stored document with ARNs in place of ids that the tenant may know the names of.

        The deleted stay ids.
        """
        return self._names.rendered(tenant_id, document).encode()

    def find(self, text: str, tenant_id: TenantId) -> PrincipalRecord | None:
        """Return the principal of a tenant that an ARN, an id or a user's name means, or None."""
        named = arns.parse(text)
        if named is not None:
            kind = _KINDS.get(named.kind)
            tenant = self._identity.find_tenant_now(tenant_id)
            if kind is None or tenant is None or tenant.account_id != named.account_id:
                return None
            return self._identity.find_named_now(tenant_id, kind, named.name)
        found = self._identity.find_principal_now(PrincipalId(text))
        if found is not None:
            return found if found.tenant_id == tenant_id else None
        return self._identity.find_named_now(tenant_id, PrincipalKind.USER, text)
