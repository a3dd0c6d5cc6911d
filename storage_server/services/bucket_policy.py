"""Bucket policies: put when they are understood, shown with the names of today."""

import functools

from msgspec.structs import replace

from storage_server.core.ids import new_bucket_id
from storage_server.engine.records import BLOCK_PUBLIC_POLICY, BucketRecord, PrincipalKind
from storage_server.engine.store import Store
from storage_server.s3 import errors
from storage_server.s3.messages.policy import PutBucketPolicyInput
from storage_server.s3.policy import public
from storage_server.s3.policy.document import Policy, PolicyKind, parse
from storage_server.services.actor import Actor
from storage_server.services.audit_events import by_request, telling_document
from storage_server.services.authorize import Authorizer
from storage_server.services.bucket_documents import POLICY, Changed, change_documents, set_document
from storage_server.services.principals import Principals
from storage_server.services.public_access import flags_of


class BucketPolicyService:
    """Policies of buckets that the caller resolved and was admitted to."""

    def __init__(self, store: Store, authorizer: Authorizer, principals: Principals) -> None:
        """Work on a store."""
        self._store = store
        self._authorizer = authorizer
        self._principals = principals

    def document(self, bucket: BucketRecord) -> bytes:
        """Return the policy with the ARNs that its principals have now.

        Raises:
            NoSuchBucketPolicy: There is none.
        """
        return self._principals.to_arns(_stored(bucket), bucket.tenant_id)

    def is_public(self, bucket: BucketRecord) -> bool:
        """Tell whether the policy is public by S3's definition.

        Raises:
            NoSuchBucketPolicy: There is none.
        """
        return public.is_public(_parsed(_stored(bucket), bucket.name))

    async def put(self, actor: Actor, bucket: BucketRecord, wanted: PutBucketPolicyInput) -> None:
        """Replace the policy.

        Raises:
            MalformedPolicy: It is not understood, all of it.
            AccessDenied: It is public and that is blocked, or it would keep its sender from ever
                changing it again without having confirmed that.
        """
        policy = parse(wanted.document, PolicyKind.BUCKET, bucket=bucket.name)
        document = self._principals.to_ids(wanted.document, bucket.tenant_id)
        await self._require_way_back(actor, bucket, document, wanted)
        is_public = public.is_public(policy)

        def decide(before: BucketRecord) -> Changed:
            if is_public and flags_of(self._store.identity, before) & BLOCK_PUBLIC_POLICY:
                raise errors.AccessDenied(
                    "The policy is public, which BlockPublicPolicy of the bucket or its tenant"
                    " prevents."
                )
            return {POLICY: document}

        told = telling_document(by_request(actor), "s3:PutBucketPolicy", bucket, POLICY)
        await change_documents(self._store, bucket, decide, told)

    async def delete(self, actor: Actor, bucket: BucketRecord) -> None:
        """Remove the policy, if there is one."""
        if POLICY in bucket.documents:
            told = telling_document(by_request(actor), "s3:DeleteBucketPolicy", bucket, POLICY)
            await set_document(self._store, bucket, POLICY, None, told)

    async def _require_way_back(
        self, actor: Actor, bucket: BucketRecord, document: bytes, wanted: PutBucketPolicyInput
    ) -> None:
        """Refuse a policy under which its sender could not put another one.

        The root of the bucket's tenant always can.
        """
        is_root = actor.principal is not None and actor.principal.kind is PrincipalKind.ROOT
        if wanted.removes_self or is_root:
            return
        # An id that no bucket has: what is remembered of this one is not to change.
        supposed = replace(
            bucket, bucket_id=new_bucket_id(), documents={**bucket.documents, POLICY: document}
        )
        if not await self._authorizer.allows(actor, "s3:PutBucketPolicy", supposed):
            raise errors.AccessDenied(
                "The policy would not let you change it again. Send"
                " x-amz-confirm-remove-self-bucket-access: true if that is meant."
            )


def _stored(bucket: BucketRecord) -> bytes:
    document = bucket.documents.get(POLICY)
    if document is None:
        raise errors.NoSuchBucketPolicy(BucketName=bucket.name)
    return document


@functools.lru_cache(maxsize=64)
def _parsed(document: bytes, bucket: str) -> Policy:
    return parse(document, PolicyKind.BUCKET, bucket=bucket)
