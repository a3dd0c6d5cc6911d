"""The values of condition keys in one question, each found out only when a condition asks for it.

They come from the verified identity, the socket or a trusted proxy, the stored record, and from
headers and parameters that the sender vouches for: nothing else that a request says counts.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from storage_server.core import limits
from storage_server.engine.records import (
    BucketRecord,
    Pairs,
    PrincipalKind,
    PrincipalRecord,
    TenantRecord,
    VersionRecord,
)
from storage_server.s3 import arns
from storage_server.s3.messages.copies import parse_source
from storage_server.s3.tagging import parse_tagging_header
from storage_server.s3.timestamps import iso_seconds, parse_iso
from storage_server.services.actor import Actor

Values = tuple[str, ...] | None
Extra = Mapping[str, tuple[str, ...]]
"""Values that only the operation knows: from a body, a form or a batch. Keys in lower case."""

NO_EXTRA: Final[Extra] = {}
_OBJECT_TAG_KEYS: Final = "s3:requestobjecttagkeys"


def asked_tags(tags: Pairs) -> Extra:
    """Return the tags that a request asks an object to get, as conditions know them.

    They are all of its tags: a header that names others is passed over.
    """
    return {
        **_named("s3:requestobjecttag/", tags),
        _OBJECT_TAG_KEYS: tuple(name for name, _ in tags),
    }


def asked_resource_tags(tags: Pairs) -> Extra:
    """Return the tags that a request asks a bucket to get, as conditions know them."""
    if not tags:
        return NO_EXTRA
    return {**_named("aws:requesttag/", tags), "aws:tagkeys": tuple(name for name, _ in tags)}


def _named(family: str, tags: Pairs) -> dict[str, tuple[str, ...]]:
    """Return tags by condition key, which has no case.

    Of names that differ by nothing else the first counts, as with stored tags: what is allowed to
    be written must not read as something else.
    """
    return {f"{family}{name.lower()}": (value,) for name, value in reversed(tags)}


_ANONYMOUS: Final = ("anonymous",)
_TRUE: Final = ("true",)
_FALSE: Final = ("false",)
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
# Whose objects get the tags of the header: not tagging itself, which has them in its body, nor
# what goes on with an upload or an object that has its tags already.
_BY_HEADER: Final = frozenset({"s3:PutObject", "s3:PutObjectTagging"})
_NOT_BY_HEADER: Final = ("tagging", "uploadId", "renameObject")
# These actions list, and a listing that says nothing of a prefix lists all prefixes.
_LISTING: Final = frozenset(
    {"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"}
)
_HEADER_KEYS: Final = frozenset(
    {
        *("x-amz-acl", "x-amz-content-sha256", "x-amz-grant-full-control", "x-amz-grant-read"),
        *("x-amz-grant-read-acp", "x-amz-grant-write", "x-amz-grant-write-acp"),
        *("x-amz-metadata-directive", "x-amz-object-ownership", "x-amz-server-side-encryption"),
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-server-side-encryption-customer-algorithm",
        *("x-amz-storage-class", "x-amz-website-redirect-location", "if-match", "if-none-match"),
    }
)
_OF_NEW_BUCKETS: Final = "x-amz-object-ownership"
_OF_ANY_WRITE: Final = frozenset({"x-amz-content-sha256", "if-match", "if-none-match"})
_LOCK_HEADERS: Final = {
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
}


class RequestContext:
    """What conditions may ask about one action of one actor on one resource."""

    __slots__ = (
        "action",
        "actor",
        "bucket",
        "bucket_tenant",
        "extra",
        "is_listing",
        "owner",
        "principal_owner",
        "record",
        "region",
        "version_id",
    )

    def __init__(
        self,
        actor: Actor,
        action: str,
        bucket: BucketRecord | None,
        bucket_tenant: TenantRecord | None,
        *,
        owner: str,
        principal_owner: str,
        region: str,
        version_id: str | None = None,
        extra: Extra = NO_EXTRA,
        record: VersionRecord | None = None,
        is_listing: bool = False,
    ) -> None:
        """Ask about an action.

        ``owner`` is the canonical id of the resource's owner, ``principal_owner`` that under
        which the actor owns what it makes. ``record`` is the stored version, where policies ask
        for what is stored with it. ``is_listing``: the request lists, it does not only ask
        whether it might.
        """
        self.actor = actor
        self.action = action
        self.bucket = bucket
        self.bucket_tenant = bucket_tenant
        self.owner = owner
        self.principal_owner = principal_owner
        self.region = region
        self.version_id = version_id
        self.extra = extra
        self.is_listing = is_listing
        self.record = record

    def of_principal(self, principal: PrincipalRecord) -> "RequestContext":
        """Return what the same conditions find when another principal asks the same."""
        return RequestContext(
            replace(self.actor, principal=principal),
            self.action,
            self.bucket,
            self.bucket_tenant,
            owner=self.owner,
            principal_owner=self.principal_owner,
            region=self.region,
            version_id=self.version_id,
            extra=self.extra,
            record=self.record,
            is_listing=self.is_listing,
        )

    def __call__(self, key: str) -> Values:
        """Return the values of a key in lower case, or None when this request has none."""
        found = self.extra.get(key)
        if found is not None:
            return found
        find = _KEYS.get(key)
        if find is not None:
            return find(self)
        service, _, name = key.partition(":")
        if service == "s3" and name in _HEADER_KEYS:
            return _header(self, name)
        family, slash, tag = key.partition("/")
        if slash:
            tags = _TAGS.get(family)
            if tags is not None:
                return tags(self, tag)
        return None


# --- Who asks ------------------------------------------------------------------------------------


def _account(context: RequestContext) -> Values:
    tenant = context.actor.tenant
    return _ANONYMOUS if tenant is None else (tenant.account_id,)


def _principal_arn(context: RequestContext) -> Values:
    principal, tenant = context.actor.principal, context.actor.tenant
    if principal is None or tenant is None:
        return None
    return (arn_of(principal, tenant.account_id),)


def _principal_type(context: RequestContext) -> Values:
    principal = context.actor.principal
    if principal is None:
        return ("Anonymous",)
    if principal.kind is PrincipalKind.ROLE:
        return ("AssumedRole",)
    return ("Account",) if _is_account(principal) else ("User",)


def _user_id(context: RequestContext) -> Values:
    principal, session = context.actor.principal, context.actor.session
    if principal is None:
        return _ANONYMOUS
    if session is not None and session.name:
        return (session.name,)
    tenant = context.actor.tenant
    if _is_account(principal) and tenant is not None:
        return (tenant.account_id,)
    return (principal.principal_id,)


def _user_name(context: RequestContext) -> Values:
    principal = context.actor.principal
    if principal is None or principal.kind is not PrincipalKind.USER or principal.is_root:
        return None
    return (principal.name,)


def _principal_tag(context: RequestContext, tag: str) -> Values:
    principal, session = context.actor.principal, context.actor.session
    if principal is None:
        return None
    given = () if session is None else session.tags
    # The session's tags go before the principal's of the same name.
    return _tag((*given, *principal.tags), tag)


def _is_service(context: RequestContext) -> Values:
    return None if context.actor.principal is None else _FALSE


def _mfa(context: RequestContext) -> Values:
    session = context.actor.session
    if session is None:
        return None
    return _TRUE if session.is_mfa else _FALSE


def _token_issued(context: RequestContext) -> Values:
    session = context.actor.session
    return None if session is None else (iso_seconds(session.issued_us),)


def _source_identity(context: RequestContext) -> Values:
    session = context.actor.session
    return None if session is None else _one(session.source_identity or None)


def _provider(context: RequestContext) -> Values:
    session = context.actor.session
    return None if session is None or not session.provider else (session.provider,)


def _principal_owner_id(context: RequestContext) -> Values:
    return (context.principal_owner,) if context.principal_owner else None


# --- How it asks -----------------------------------------------------------------------------


def _source_ip(context: RequestContext) -> Values:
    return _one(context.actor.facts.source_ip or None)


def _secure_transport(context: RequestContext) -> Values:
    return _TRUE if context.actor.facts.is_secure else _FALSE


def _now(context: RequestContext) -> Values:
    return (iso_seconds(context.actor.facts.now_us),)


def _epoch_time(context: RequestContext) -> Values:
    return (str(context.actor.facts.now_us // _SECOND_US),)


def _user_agent(context: RequestContext) -> Values:
    return _one(context.actor.facts.header("user-agent"))


def _referer(context: RequestContext) -> Values:
    return _one(context.actor.facts.header("referer"))


def _requested_region(context: RequestContext) -> Values:
    return _one(context.region or None)


def _authentication(context: RequestContext) -> Values:
    return _one(context.actor.facts.authentication or None)


def _signature_version(context: RequestContext) -> Values:
    return _one(context.actor.facts.signature_version or None)


def _header(context: RequestContext, name: str) -> Values:
    """Return a header where it is obeyed: what is passed over must not fulfil a condition."""
    facts = context.actor.facts
    if name == _OF_NEW_BUCKETS and context.bucket is not None:
        return None
    if name not in _OF_ANY_WRITE and "renameObject" in facts.query:
        return None
    return _one(facts.header(name))


def _signature_age(context: RequestContext) -> Values:
    facts = context.actor.facts
    if not facts.signed_at_us:
        return None
    return (str(max(0, facts.now_us - facts.signed_at_us) // 1000),)


# --- What it asks for ------------------------------------------------------------------------


def _prefix(context: RequestContext) -> Values:
    return _listed(context, "prefix", "")


def _delimiter(context: RequestContext) -> Values:
    return _listed(context, "delimiter", None)


def _max_keys(context: RequestContext) -> Values:
    return _listed(context, "max-keys", str(limits.LIST_PAGE_MAX))


def _listed(context: RequestContext, name: str, default: str | None) -> Values:
    """Return a parameter of a listing as it takes effect; other requests have none."""
    if context.action not in _LISTING or not context.is_listing:
        return None
    return _one(context.actor.facts.query.get(name, default))


def _version(context: RequestContext) -> Values:
    return _one(context.version_id)


def _copy_source(context: RequestContext) -> Values:
    """Return ``bucket/key`` of the source, decoded once as the copy will read it."""
    facts = context.actor.facts
    headers = facts.headers
    if "x-amz-copy-source" not in headers or "renameObject" in facts.query:
        return None
    source = parse_source(headers)
    return (f"{source.bucket}/{source.key}",)


def _creates(context: RequestContext) -> Values:
    """Tell whether a write makes an object now, or only begins or feeds an upload."""
    if context.action != "s3:PutObject":
        return None
    query = context.actor.facts.query
    return _FALSE if "uploads" in query or "partNumber" in query else _TRUE


def _asked_tags(context: RequestContext) -> tuple[tuple[str, str], ...]:
    """Return the tags that a header gives a new object; what makes none passes the header over."""
    facts = context.actor.facts
    header = facts.header("x-amz-tagging")
    if (
        not header
        or context.action not in _BY_HEADER
        or _OBJECT_TAG_KEYS in context.extra
        or any(name in facts.query for name in _NOT_BY_HEADER)
    ):
        return ()
    return parse_tagging_header(header)


def _asked_tag_keys(context: RequestContext) -> Values:
    return tuple(name for name, _ in _asked_tags(context)) or None


def _asked_tag(context: RequestContext, tag: str) -> Values:
    return _tag(_asked_tags(context), tag)


def _lock(context: RequestContext, key: str) -> Values:
    return _one(context.actor.facts.header(_LOCK_HEADERS[key]))


def _remaining_days(context: RequestContext) -> Values:
    """Return for how many days a lock is asked for, begun ones included."""
    asked = context("s3:object-lock-retain-until-date")
    if asked is None:
        return None
    until_us = parse_iso(asked[0])
    if until_us is None:
        return None
    return (str(-(-(until_us - context.actor.facts.now_us) // _DAY_US)),)


# --- What is there ---------------------------------------------------------------------------


def _resource_account(context: RequestContext) -> Values:
    tenant = context.bucket_tenant
    return None if tenant is None else (tenant.account_id,)


def _resource_owner(context: RequestContext) -> Values:
    return (context.owner,) if context.owner else None


def _existing_tag(context: RequestContext, tag: str) -> Values:
    return None if context.record is None else _tag(context.record.detail.tags, tag)


def _bucket_tag(context: RequestContext, tag: str) -> Values:
    """Return a tag of the bucket, which counts only where its owner turned that on."""
    bucket = context.bucket
    if bucket is None or b"Enabled" not in bucket.documents.get("abac", b""):
        return None
    return _tag(bucket.tags, tag)


def _one(value: str | None) -> Values:
    return None if value is None else (value,)


def _tag(tags: tuple[tuple[str, str], ...], name: str) -> Values:
    """Return the value of a tag. Keys came in lower case, so names are compared without case."""
    for known, value in tags:
        if known.lower() == name:
            return (value,)
    return None


def _is_account(principal: PrincipalRecord) -> bool:
    return principal.is_root or principal.kind is PrincipalKind.ROOT


def arn_of(principal: PrincipalRecord, account_id: str) -> str:
    """Return the ARN of a principal; of a role's session it is the role's, as AWS says it."""
    if _is_account(principal):
        return arns.of_root(account_id)
    kind = "role" if principal.kind is PrincipalKind.ROLE else "user"
    return arns.of(account_id, kind, principal.path, principal.name)


_KEYS: Final[dict[str, Callable[[RequestContext], Values]]] = {
    "aws:principalaccount": _account,
    "aws:principalarn": _principal_arn,
    "aws:principaltype": _principal_type,
    "aws:userid": _user_id,
    "aws:username": _user_name,
    "aws:principalisawsservice": _is_service,
    "aws:viaawsservice": _is_service,
    "aws:multifactorauthpresent": _mfa,
    "aws:tokenissuetime": _token_issued,
    "aws:federatedprovider": _provider,
    "aws:sourceidentity": _source_identity,
    "holdfast:principalowner": _principal_owner_id,
    "aws:sourceip": _source_ip,
    "aws:securetransport": _secure_transport,
    "aws:currenttime": _now,
    "aws:epochtime": _epoch_time,
    "aws:useragent": _user_agent,
    "aws:referer": _referer,
    "aws:requestedregion": _requested_region,
    "s3:authtype": _authentication,
    "s3:signatureversion": _signature_version,
    "s3:signatureage": _signature_age,
    "s3:prefix": _prefix,
    "s3:delimiter": _delimiter,
    "s3:max-keys": _max_keys,
    "s3:versionid": _version,
    "s3:x-amz-copy-source": _copy_source,
    "s3:objectcreationoperation": _creates,
    _OBJECT_TAG_KEYS: _asked_tag_keys,
    "aws:resourceaccount": _resource_account,
    "s3:resourceaccount": _resource_account,
    "holdfast:resourceowner": _resource_owner,
    "s3:object-lock-mode": lambda context: _lock(context, "s3:object-lock-mode"),
    "s3:object-lock-retain-until-date": lambda context: _lock(
        context, "s3:object-lock-retain-until-date"
    ),
    "s3:object-lock-remaining-retention-days": _remaining_days,
    "s3:object-lock-legal-hold": lambda context: _lock(context, "s3:object-lock-legal-hold"),
}

_TAGS: Final[dict[str, Callable[[RequestContext, str], Values]]] = {
    "aws:principaltag": _principal_tag,
    "s3:existingobjecttag": _existing_tag,
    "s3:requestobjecttag": _asked_tag,
    "s3:buckettag": _bucket_tag,
    "aws:resourcetag": _bucket_tag,
}
