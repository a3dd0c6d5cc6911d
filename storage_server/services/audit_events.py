"""What the audit is told of changes of buckets: who, what, and how it was before and after.

The engine writes it in the commit of the change; ``audit_feed`` takes it over from there.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from storage_server.core.ids import TenantId
from storage_server.engine.records import (
    AuditEvent,
    BucketRecord,
    PrincipalKind,
    PrincipalRecord,
    VersionRecord,
)
from storage_server.s3 import arns
from storage_server.s3.messages.public_access import FLAGS
from storage_server.s3.policy import acl as lists
from storage_server.s3.policy import bucket_grants
from storage_server.services.actor import Actor
from storage_server.services.bucket_documents import (
    ACL,
    CORS,
    GRANTS,
    POLICY,
    PUBLIC_ACCESS_BLOCK,
    Told,
)
from storage_server.services.control_notes import By, Sender
from storage_server.services.request_context import arn_of

_SHOWN_BYTES_MAX: Final = 2048
"""What is longer is told by its hash and size: the audit is kept for as long as there is a disk."""


def by_request(actor: Actor) -> By:
    """Return who sends a request, for the audit; nobody's name for anonymous ones."""
    principal, tenant = actor.principal, actor.tenant
    door = By(
        access_key_id=actor.access_key_id,
        request_id=actor.request_id,
        source="s3",
        address=actor.facts.source_ip,
        ends_us=0 if actor.session is None else actor.session.key_ends_us,
        scope=actor.scope,
    )
    if principal is None or tenant is None:
        return door
    arn = arn_of(principal, tenant.account_id)
    if principal.kind is PrincipalKind.ROLE and actor.session is not None:
        session_name = actor.session.name.partition(":")[2]
        arn = arns.of_session(tenant.account_id, principal.name, session_name)
    return replace(
        door,
        principal_id=principal.principal_id,
        principal_arn=arn,
        tenant_id=principal.tenant_id,
        sender=_sender(actor, principal),
    )


def _sender(actor: Actor, principal: PrincipalRecord) -> Sender:
    session = actor.session
    if session is None:
        key = (actor.access_key_id,)
        return Sender(principal_ids=(principal.principal_id,), access_key_ids=key)
    return Sender(
        principal_ids=(principal.principal_id, *session.parent_ids),
        access_key_ids=(session.parent_key_id,) if session.parent_key_id else (),
        since_us=session.issued_us,
    )


def event_of(
    by: By, action: str, bucket: BucketRecord, detail: Mapping[str, object], *, key: str = ""
) -> AuditEvent:
    """Return the event of something done to a bucket, or to an object in it."""
    path = f"/{_plain(key)}" if key else ""
    event = _event(by, bucket.tenant_id, action, f"arn:aws:s3:::{bucket.name}{path}")
    return replace(event, detail=_detail(by, bucket, detail))


def event_of_tenant(
    by: By, tenant_id: TenantId, action: str, entity: str, detail: Mapping[str, object]
) -> AuditEvent:
    """Return the event of something done to a tenant that changes nothing in SQL."""
    encoded = msgspec.json.encode({**_who(by), **detail})
    return replace(_event(by, tenant_id, action, entity), detail=encoded)


def _plain(key: str) -> str:
    """Return a key with whatever is no sign to be read percent-encoded.

    PostgreSQL keeps no NUL in a text, and a terminal obeys what it is shown.
    """
    return "".join(one if one.isprintable() else quote(one) for one in key)


def _event(by: By, tenant_id: TenantId, action: str, entity: str) -> AuditEvent:
    return AuditEvent(
        event_id=secrets.token_hex(16),
        tenant_id=tenant_id,
        action=action,
        entity=entity,
        principal_id=by.principal_id,
        access_key_id=by.access_key_id,
        source=by.source,
        address=by.address,
        request_id=by.request_id,
    )


def telling(
    by: By, action: str, bucket: BucketRecord, value: Callable[[BucketRecord], object]
) -> Told:
    """Return what tells ``value`` of a bucket before and after a change; None is "not set"."""
    event = event_of(by, action, bucket, {})

    def told(before: BucketRecord, after: BucketRecord) -> AuditEvent:
        values = {"before": bounded(value(before)), "after": bounded(value(after))}
        return replace(event, detail=_detail(by, bucket, values))

    return told


def telling_document(by: By, action: str, bucket: BucketRecord, name: str) -> Told:
    """Return what tells of one document of a bucket before and after a change."""
    return telling(by, action, bucket, lambda record: shown(name, record.documents.get(name)))


def telling_acl(
    by: By, bucket: BucketRecord, key: str
) -> Callable[[VersionRecord, VersionRecord], AuditEvent]:
    """Return what tells of an object's access control list before and after a change."""
    event = event_of(by, "s3:PutObjectAcl", bucket, {}, key=key)

    def told(before: VersionRecord, after: VersionRecord) -> AuditEvent:
        detail = {
            "versionId": after.version_id,
            "before": bounded(shown(ACL, before.detail.acl or None)),
            "after": bounded(shown(ACL, after.detail.acl or None)),
        }
        return replace(event, detail=_detail(by, bucket, detail))

    return told


def shown(name: str, document: bytes | None) -> object:
    """Return a document as the audit tells it: in S3's words where they are short."""
    if document is None:
        return None
    try:
        return _in_words(name, document)
    except ValueError:  # not as this program writes it: what it is can still be proven
        return _fingerprint(document)


def _in_words(name: str, document: bytes) -> object:
    words = _WORDS.get(name)
    return document.decode() if words is None else words(document)


def _text(document: bytes) -> dict[str, object]:
    """Return hash and size, by which versions are compared, and the text if it is short."""
    told = _fingerprint(document)
    return told | {"document": document.decode()} if len(document) <= _SHOWN_BYTES_MAX else told


def _acl(document: bytes) -> dict[str, object]:
    acl = lists.decode(document)
    grants = [{"grantee": one.grantee, "permission": one.permission} for one in acl.grants]
    return {"owner": acl.owner, "grants": grants}


def _grants(document: bytes) -> list[dict[str, object]]:
    return [
        {"kind": one.kind, "grantee": one.grantee, "access": one.access, "until_us": one.expires_us}
        for one in bucket_grants.decode(document)
    ]


def _flags(document: bytes) -> dict[str, bool]:
    return {flag: bool(document[0] & bit) for flag, bit in FLAGS.items()}


def bounded(value: object) -> object:
    """Return a value that is short enough to be kept for good."""
    encoded = msgspec.json.encode(value)
    return value if len(encoded) <= 2 * _SHOWN_BYTES_MAX else _fingerprint(encoded)


def _fingerprint(document: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(document).hexdigest(), "bytes": len(document)}


def _detail(by: By, bucket: BucketRecord, detail: Mapping[str, object]) -> bytes:
    return msgspec.json.encode({"bucketId": bucket.bucket_id.hex(), **_who(by), **detail})


def _who(by: By) -> dict[str, str]:
    return {"principalArn": by.principal_arn} if by.principal_arn else {}


_WORDS: Final[dict[str, Callable[[bytes], object]]] = {
    POLICY: _text,
    CORS: _text,
    ACL: _acl,
    GRANTS: _grants,
    PUBLIC_ACCESS_BLOCK: _flags,
}
