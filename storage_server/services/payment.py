"""Requester pays: who asks a bucket for something says that it pays, unless it is the owner."""

from collections.abc import Mapping
from typing import Final

from storage_server.engine.records import BucketRecord
from storage_server.s3 import errors
from storage_server.services.actor import Actor
from storage_server.services.bucket_documents import PAYMENT

CHARGED: Final = ("x-amz-request-charged", "requester")
"""What a successful reply says to a requester who pays."""

_REQUESTER: Final = b"Requester"
_HEADER: Final = "x-amz-request-payer"


def require_payer(actor: Actor, bucket: BucketRecord, headers: Mapping[str, str]) -> None:
    """Return when nobody has to pay, or the requester says that it does.

    Raises:
        AccessDenied: It does not say so, or nobody signed and so nobody could pay.
    """
    if _is_foreign(actor, bucket) and (
        actor.is_anonymous or headers.get(_HEADER, "").lower() != "requester"
    ):
        raise errors.AccessDenied


def is_charged(actor: Actor, bucket: BucketRecord) -> bool:
    """Tell whether a request that was answered is charged to its sender."""
    return not actor.is_anonymous and _is_foreign(actor, bucket)


def _is_foreign(actor: Actor, bucket: BucketRecord) -> bool:
    """Tell whether a request for a bucket whose requesters pay comes from another tenant."""
    if bucket.documents.get(PAYMENT) != _REQUESTER:
        return False
    return actor.tenant is None or actor.tenant.tenant_id != bucket.tenant_id
