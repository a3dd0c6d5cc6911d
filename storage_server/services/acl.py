"""Access control lists: from what a client asks for to what is stored, and back."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from storage_server.core.ids import CanonicalId, TenantId
from storage_server.engine.identity import Identity
from storage_server.engine.records import (
    BLOCK_PUBLIC_ACLS,
    BucketRecord,
    Detail,
    TenantRecord,
)
from storage_server.s3 import errors
from storage_server.s3.messages.acl import RequestedAcl, RequestedGrant, ShownGrant
from storage_server.s3.messages.pages import Owner
from storage_server.s3.policy import acl as lists
from storage_server.s3.policy.acl import Acl, Grant, Permission
from storage_server.services.actor import Actor
from storage_server.services.authorize import Authorizer
from storage_server.services.bucket_documents import ACL
from storage_server.services.owners import Owners
from storage_server.services.ownership import PREFERRED, is_enforced, ownership_of
from storage_server.services.public_access import flags_of

_CANONICAL_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BLOCKED: Final = (
    "The access control list is public, which BlockPublicAcls of the bucket or its tenant prevents."
)
_TO_OWNER: Final = "bucket-owner-full-control"
# Under enforced ownership both say what is the case anyway, and old clients send "private"
# with every object.
_HARMLESS: Final = frozenset({_TO_OWNER, "private"})


class Access(msgspec.Struct, frozen=True, gc=False):
    """Whose a new object is and its stored list; empty bytes stand for the owner's alone."""

    owner: CanonicalId
    acl: bytes = b""


class Acls:
    """Resolves, checks and shows access control lists."""

    def __init__(self, identity: Identity, authorizer: Authorizer, owners: Owners) -> None:
        """Resolve people in the projection of identities."""
        self._identity = identity
        self._authorizer = authorizer
        self._owners = owners

    # --- What to store -----------------------------------------------------------------------

    async def resolved(
        self, caller: TenantRecord | None, tenant_id: TenantId, asked: RequestedAcl
    ) -> RequestedAcl:
        """Return the same list with canonical ids in place of e-mail addresses.

        Addresses are those of the bucket's tenant, and when that shares of other tenants that
        share. A caller from another tenant resolves none unless its own shares as well.

        Raises:
            UnresolvableGrantByEmailAddress: Nobody whom the tenant may know has the address.
            AmbiguousGrantByEmailAddress: Several have, in several tenants.
        """
        if all(grant.kind != "email" for grant in asked.grants):
            return asked
        grants = [
            grant
            if grant.kind != "email"
            else replace(
                grant, kind="id", grantee=await self._of_email(caller, tenant_id, grant.grantee)
            )
            for grant in asked.grants
        ]
        return replace(asked, grants=tuple(grants))

    async def of_new_object(
        self, actor: Actor, bucket: BucketRecord, asked: RequestedAcl | None
    ) -> Access:
        """Return owner and list of an object that an actor writes.

        Raises:
            AccessControlListNotSupported: Ownership is enforced and the list says otherwise.
            AccessDenied: The list is public, and public lists are blocked.
            S3Error: A grantee cannot be resolved.
        """
        if is_enforced(self._identity, bucket):
            if asked is not None and asked.canned not in _HARMLESS:
                self._require_owners_alone(bucket, asked)
            return Access(bucket.owner)
        owner = bucket.owner if actor.is_anonymous else self._authorizer.owner_for_new(actor)
        if asked is None:
            return Access(owner)
        if asked.canned == _TO_OWNER and ownership_of(self._identity, bucket) == PREFERRED:
            return Access(bucket.owner)
        asked = await self.resolved(actor.tenant, bucket.tenant_id, asked)
        return Access(owner, self._stored(self._object_acl(bucket, owner, asked), bucket))

    def of_object(self, bucket: BucketRecord, detail: Detail, asked: RequestedAcl) -> bytes:
        """Return the list to store in place of a version's; ``asked`` is resolved.

        Raises:
            AccessControlListNotSupported: Ownership is enforced and the list says otherwise.
            AccessDenied: The list is public, and public lists are blocked; or it names another
                owner.
            InvalidArgument: A grantee does not exist.
        """
        if is_enforced(self._identity, bucket):
            if asked.canned != _TO_OWNER:
                self._require_owners_alone(bucket, asked)
            return detail.acl
        _require_owner(asked, detail.owner)
        return self._stored(self._object_acl(bucket, detail.owner, asked), bucket)

    def of_bucket(self, bucket: BucketRecord, asked: RequestedAcl) -> bytes | None:
        """Return the list to store in place of a bucket's, None for the owner's alone.

        ``asked`` is resolved.

        Raises:
            AccessControlListNotSupported, AccessDenied, InvalidArgument: As ``of_object``.
        """
        if is_enforced(self._identity, bucket):
            if asked.canned != _TO_OWNER:
                self._require_owners_alone(bucket, asked)
            return bucket.documents.get(ACL)
        _require_owner(asked, bucket.owner)
        return self._stored(self._bucket_acl(bucket.owner, asked), bucket) or None

    async def of_new_bucket(
        self,
        tenant: TenantRecord,
        owner: CanonicalId,
        asked: RequestedAcl,
        *,
        enforces: bool,
        flags: int,
    ) -> bytes | None:
        """Return the list of a bucket that is to be made, None for the owner's alone.

        Raises:
            InvalidBucketAclWithObjectOwnership: Ownership is enforced and the list says otherwise.
            AccessDenied: The list is public, and the bucket's ``flags`` block that.
            S3Error: A grantee cannot be resolved.
        """
        acl = self._bucket_acl(owner, await self.resolved(tenant, tenant.tenant_id, asked))
        if acl == lists.private(owner):
            return None
        if enforces:
            raise errors.InvalidBucketAclWithObjectOwnership
        if flags & BLOCK_PUBLIC_ACLS and lists.is_public(acl):
            raise errors.AccessDenied(_BLOCKED)
        return lists.encode(acl)

    # --- What to show ------------------------------------------------------------------------

    def of_bucket_now(self, bucket: BucketRecord) -> tuple[Owner, Sequence[ShownGrant]]:
        """Return a bucket's owner and grants; under enforced ownership the owner's alone."""
        is_ignored = is_enforced(self._identity, bucket)
        stored = b"" if is_ignored else bucket.documents.get(ACL, b"")
        return self._shown(bucket, bucket.owner, stored)

    def of_object_now(
        self, bucket: BucketRecord, detail: Detail
    ) -> tuple[Owner, Sequence[ShownGrant]]:
        """Return a version's owner and grants; under enforced ownership the bucket owner's."""
        if is_enforced(self._identity, bucket):
            return self._shown(bucket, bucket.owner, b"")
        return self._shown(bucket, detail.owner, detail.acl)

    def _shown(
        self, bucket: BucketRecord, owner: CanonicalId, stored: bytes
    ) -> tuple[Owner, Sequence[ShownGrant]]:
        acl = lists.decode(stored) if stored else lists.private(owner)
        shown = [self._shown_grant(bucket, grant) for grant in acl.grants]
        return self._owners.find_now(owner), shown

    def _shown_grant(self, bucket: BucketRecord, grant: Grant) -> ShownGrant:
        if grant.is_group:
            return ShownGrant(grant.permission.value, None, grant.grantee)
        canonical_id = CanonicalId(grant.grantee)
        principal = self._identity.find_owner_now(canonical_id)
        if principal is not None and principal.tenant_id != bucket.tenant_id:
            tenant = self._identity.find_tenant_now(principal.tenant_id)
            if tenant is None or not tenant.sharing:  # its people's names are its own affair
                return ShownGrant(grant.permission.value, Owner(canonical_id))
        return ShownGrant(grant.permission.value, self._owners.find_now(canonical_id))

    # --- Rules -------------------------------------------------------------------------------

    def _object_acl(self, bucket: BucketRecord, owner: CanonicalId, asked: RequestedAcl) -> Acl:
        if asked.canned:
            return _known(asked, lists.canned_object_acl(asked.canned, owner, bucket.owner))
        return Acl(owner, self._grants(asked.grants))

    def _bucket_acl(self, owner: CanonicalId, asked: RequestedAcl) -> Acl:
        if asked.canned:
            return _known(asked, lists.canned_bucket_acl(asked.canned, owner))
        return Acl(owner, self._grants(asked.grants))

    def _stored(self, acl: Acl, bucket: BucketRecord) -> bytes:
        if acl == lists.private(acl.owner):
            return b""
        if lists.is_public(acl) and flags_of(self._identity, bucket) & BLOCK_PUBLIC_ACLS:
            raise errors.AccessDenied(_BLOCKED)
        return lists.encode(acl)

    def _require_owners_alone(self, bucket: BucketRecord, asked: RequestedAcl) -> None:
        """Accept, under enforced ownership, grants that say what is the case anyway."""
        says_the_case = not asked.canned and all(
            grant == RequestedGrant("id", bucket.owner, Permission.FULL_CONTROL)
            for grant in asked.grants
        )
        if not says_the_case or not asked.grants or asked.owner not in ("", bucket.owner):
            raise errors.AccessControlListNotSupported

    def _grants(self, asked: Sequence[RequestedGrant]) -> tuple[Grant, ...]:
        grants = (Grant(self._grantee(one), one.permission) for one in asked)
        return tuple(dict.fromkeys(grants))

    def _grantee(self, asked: RequestedGrant) -> str:
        """Return the canonical id or group that a resolved grant is for.

        Raises:
            InvalidArgument: Nobody has the canonical id.
        """
        if asked.kind == "uri":
            return asked.grantee
        canonical_id = CanonicalId(asked.grantee)
        if not _CANONICAL_ID.fullmatch(canonical_id) or not self._exists(canonical_id):
            raise errors.InvalidArgument(
                "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=canonical_id[:256]
            )
        return canonical_id

    async def _of_email(
        self, caller: TenantRecord | None, tenant_id: TenantId, email: str
    ) -> CanonicalId:
        identity = self._identity
        if caller is None or not (caller.tenant_id == tenant_id or caller.sharing):
            raise errors.UnresolvableGrantByEmailAddress
        found = identity.find_email_now(tenant_id, email)
        if found is not None:
            return found.canonical_id
        own = identity.find_tenant_now(tenant_id)
        others: list[CanonicalId] = []
        if own is not None and own.sharing:
            async for there in identity.each_of_email(email):
                tenant = identity.find_tenant_now(there.tenant_id)
                if tenant is not None and tenant.sharing and tenant.tenant_id != tenant_id:
                    others.append(there.canonical_id)
                if len(others) > 1:
                    raise errors.AmbiguousGrantByEmailAddress
        if not others:
            raise errors.UnresolvableGrantByEmailAddress
        return others[0]

    def _exists(self, canonical_id: CanonicalId) -> bool:
        identity = self._identity
        return (
            identity.find_owner_now(canonical_id) is not None
            or identity.find_tenant_by_canonical_now(canonical_id) is not None
        )


def _known(asked: RequestedAcl, acl: Acl | None) -> Acl:
    if acl is None:
        raise errors.InvalidArgument(ArgumentName="x-amz-acl", ArgumentValue=asked.canned)
    return acl


def _require_owner(asked: RequestedAcl, owner: CanonicalId) -> None:
    if asked.owner and asked.owner != owner:
        raise errors.AccessDenied
