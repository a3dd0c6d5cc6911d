"""Handlers of STS: the form's parameters, one service call, its result."""

from storage_server.s3.messages import sts as messages
from storage_server.s3.messages.iam import Nothing
from storage_server.s3.messages.query_api import read
from storage_server.s3_api.query import QueryCall, QueryHandler


async def assume_role(call: QueryCall) -> messages.AssumeRoleOut:
    """Give out a session of a role."""
    wanted = read(call.form, messages.AssumeRole)
    return await call.services.sts.assume_role(call.actor, wanted)


async def assume_role_with_web_identity(call: QueryCall) -> messages.WebIdentityOut:
    """Give out a session of a role for a provider's token."""
    wanted = read(call.form, messages.AssumeRoleWithWebIdentity)
    return await call.services.sts.assume_role_with_web_identity(call.actor, wanted)


async def assume_role_with_ldap_identity(call: QueryCall) -> None:
    """Give out a session for a name and password of a directory."""
    wanted = read(call.form, messages.AssumeRoleWithLdapIdentity)
    await call.services.sts.assume_role_with_ldap_identity(wanted)


async def get_session_token(call: QueryCall) -> messages.SessionTokenOut:
    """Give out a session of the caller's own."""
    wanted = read(call.form, messages.GetSessionToken)
    return await call.services.sts.get_session_token(call.actor, wanted)


async def get_caller_identity(call: QueryCall) -> messages.CallerIdentityOut:
    """Say who signed."""
    read(call.form, Nothing)
    return call.services.sts.get_caller_identity(call.actor)


async def get_access_key_info(call: QueryCall) -> messages.AccessKeyInfoOut:
    """Say whose account an access key is of."""
    wanted = read(call.form, messages.GetAccessKeyInfo)
    return call.services.sts.get_access_key_info(call.actor, wanted)


TABLE: dict[str, QueryHandler] = {
    "AssumeRole": assume_role,
    "AssumeRoleWithLDAPIdentity": assume_role_with_ldap_identity,
    "AssumeRoleWithWebIdentity": assume_role_with_web_identity,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetSessionToken": get_session_token,
}
