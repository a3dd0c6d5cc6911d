"""What the actions of the STS query API are asked with, and what they answer.

Source: STS API Reference, "Actions" and "Data Types"; bounds from the same pages.
"""

from typing import Annotated

from msgspec import Meta, field

from storage_server.core import limits
from storage_server.s3.messages.iam import Arn, KeyId, OptionalArn, TagKeys, Tags
from storage_server.s3.messages.query_api import Input, Output

SessionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{2,64}$")]
SessionPolicy = Annotated[str, Meta(max_length=limits.SESSION_POLICY_CHARS_MAX)]
Seconds = Annotated[int, Meta(ge=900, le=limits.ROLE_SESSION_SECONDS_MAX)]


class PolicyArn(Input, frozen=True, kw_only=True):
    """A managed policy that narrows a session."""

    arn: Arn = field(name="arn")


PolicyArns = Annotated[tuple[PolicyArn, ...], Meta(max_length=10)]


class AssumeRole(Input, frozen=True, kw_only=True):
    """A role to act as."""

    role_arn: Arn
    role_session_name: SessionName
    external_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@:/_-]*$", max_length=1224)] = ""
    duration_seconds: Seconds | None = None
    policy: SessionPolicy = ""
    policy_arns: PolicyArns = ()
    tags: Tags = ()
    transitive_tag_keys: TagKeys = ()
    source_identity: Annotated[str, Meta(pattern=r"^(?:[A-Za-z0-9+=,.@_-]{2,64})?$")] = ""


class AssumeRoleWithWebIdentity(Input, frozen=True, kw_only=True):
    """A role to act as, asked for with a token of a provider of web identities."""

    # Empty: the provider's role templates choose, by the claims.
    role_arn: OptionalArn = ""
    role_session_name: SessionName
    web_identity_token: Annotated[str, Meta(min_length=4, max_length=20_000)]
    provider_id: Annotated[str, Meta(max_length=2048)] = ""
    duration_seconds: Seconds | None = None
    policy: SessionPolicy = ""
    policy_arns: PolicyArns = ()


class AssumeRoleWithLdapIdentity(Input, frozen=True, kw_only=True):
    """A session asked for with a name and password of a directory."""

    ldap_username: Annotated[str, Meta(max_length=256)] = field(name="LDAPUsername")
    ldap_password: Annotated[str, Meta(max_length=1024)] = field(name="LDAPPassword")
    role_arn: Annotated[str, Meta(max_length=2048)] = ""
    role_session_name: Annotated[str, Meta(max_length=64)] = ""
    duration_seconds: Seconds | None = None
    policy: SessionPolicy = ""


class GetSessionToken(Input, frozen=True, kw_only=True):
    """A session of the caller's own."""

    # AWS allows 36 hours, which are shortened here to the longest session there is.
    duration_seconds: Annotated[int, Meta(ge=900, le=129_600)] | None = None


class GetAccessKeyInfo(Input, frozen=True, kw_only=True):
    """An access key whose account is asked for."""

    access_key_id: KeyId


class Credentials(Output, frozen=True, kw_only=True):
    """What a session signs with."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: str


class AssumedRoleUser(Output, frozen=True, kw_only=True):
    """Who the session is."""

    assumed_role_id: str
    arn: str


class AssumeRoleOut(Output, frozen=True, kw_only=True):
    """A session of a role."""

    credentials: Credentials
    assumed_role_user: AssumedRoleUser
    packed_policy_size: int
    source_identity: str | None = None


class WebIdentityOut(Output, frozen=True, kw_only=True):
    """A session of a role, for a web identity."""

    credentials: Credentials
    subject_from_web_identity_token: str
    assumed_role_user: AssumedRoleUser
    packed_policy_size: int
    provider: str
    audience: str


class SessionTokenOut(Output, frozen=True, kw_only=True):
    """A session of the caller's own."""

    credentials: Credentials


class CallerIdentityOut(Output, frozen=True, kw_only=True):
    """Who signed the request."""

    user_id: str
    account: str
    arn: str


class AccessKeyInfoOut(Output, frozen=True, kw_only=True):
    """Whose account an access key is of."""

    account: str
