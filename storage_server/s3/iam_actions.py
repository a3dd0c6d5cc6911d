"""Every action of the IAM and STS query APIs, one row each: whose it is and what it asks for."""

from typing import Final, Literal

import msgspec

Service = Literal["iam", "sts"]


class IamAction(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table; a row without a handler answers InvalidAction.

    ``service`` is what the signature's scope must name. ``action`` is what the caller must be
    allowed, on the resource that ``resource`` says: a kind of entity and the parameter with its
    name or ARN (``user:UserName``), or ``*``. Empty: the action asks for nothing, as AWS says, or
    (roles) its service asks, because a trust policy decides too. ``is_unsigned``: the request is
    proven by a token or password in it.
    """

    name: str
    service: Service
    action: str
    resource: str = "*"
    is_unsigned: bool = False


def _iam(name: str, resource: str = "*") -> IamAction:
    return IamAction(name=name, service="iam", action=f"iam:{name}", resource=resource)


def _sts(name: str, *, action: str = "", is_unsigned: bool = False) -> IamAction:
    return IamAction(name=name, service="sts", action=action, is_unsigned=is_unsigned)


_USER, _GROUP, _ROLE = "user:UserName", "group:GroupName", "role:RoleName"
_POLICY, _PROVIDER = "policy:PolicyArn", "oidc-provider:OpenIDConnectProviderArn"

# Source: IAM and STS API References; resources from the Service Authorization Reference.
IAM_ACTIONS: Final[tuple[IamAction, ...]] = (
    # --- Users
    _iam("CreateUser", _USER),
    _iam("GetUser", _USER),
    _iam("ListUsers"),
    _iam("UpdateUser", _USER),
    _iam("DeleteUser", _USER),
    _iam("TagUser", _USER),
    _iam("UntagUser", _USER),
    _iam("ListUserTags", _USER),
    _iam("PutUserPermissionsBoundary", _USER),
    _iam("DeleteUserPermissionsBoundary", _USER),
    # --- What users of AWS may have and nobody here does: empty answers that tools ask for
    _iam("ListMFADevices", _USER),
    _iam("ListServiceSpecificCredentials", _USER),
    _iam("ListSigningCertificates", _USER),
    _iam("ListSSHPublicKeys", _USER),
    _iam("GetLoginProfile", _USER),
    # --- Groups
    _iam("CreateGroup", _GROUP),
    _iam("GetGroup", _GROUP),
    _iam("ListGroups"),
    _iam("UpdateGroup", _GROUP),
    _iam("DeleteGroup", _GROUP),
    _iam("AddUserToGroup", _GROUP),
    _iam("RemoveUserFromGroup", _GROUP),
    _iam("ListGroupsForUser", _USER),
    # --- Roles
    _iam("CreateRole", _ROLE),
    _iam("GetRole", _ROLE),
    _iam("ListRoles"),
    _iam("UpdateRole", _ROLE),
    _iam("UpdateRoleDescription", _ROLE),
    _iam("UpdateAssumeRolePolicy", _ROLE),
    _iam("DeleteRole", _ROLE),
    _iam("TagRole", _ROLE),
    _iam("UntagRole", _ROLE),
    _iam("ListRoleTags", _ROLE),
    _iam("PutRolePermissionsBoundary", _ROLE),
    _iam("DeleteRolePermissionsBoundary", _ROLE),
    _iam("ListInstanceProfilesForRole", _ROLE),
    # --- Managed policies
    _iam("CreatePolicy", "policy:PolicyName"),
    _iam("GetPolicy", _POLICY),
    _iam("ListPolicies"),
    _iam("DeletePolicy", _POLICY),
    _iam("CreatePolicyVersion", _POLICY),
    _iam("GetPolicyVersion", _POLICY),
    _iam("ListPolicyVersions", _POLICY),
    _iam("DeletePolicyVersion", _POLICY),
    _iam("SetDefaultPolicyVersion", _POLICY),
    _iam("ListEntitiesForPolicy", _POLICY),
    _iam("TagPolicy", _POLICY),
    _iam("UntagPolicy", _POLICY),
    _iam("ListPolicyTags", _POLICY),
    # --- Attached policies
    _iam("AttachUserPolicy", _USER),
    _iam("DetachUserPolicy", _USER),
    _iam("ListAttachedUserPolicies", _USER),
    _iam("AttachGroupPolicy", _GROUP),
    _iam("DetachGroupPolicy", _GROUP),
    _iam("ListAttachedGroupPolicies", _GROUP),
    _iam("AttachRolePolicy", _ROLE),
    _iam("DetachRolePolicy", _ROLE),
    _iam("ListAttachedRolePolicies", _ROLE),
    # --- Inline policies
    _iam("PutUserPolicy", _USER),
    _iam("GetUserPolicy", _USER),
    _iam("ListUserPolicies", _USER),
    _iam("DeleteUserPolicy", _USER),
    _iam("PutGroupPolicy", _GROUP),
    _iam("GetGroupPolicy", _GROUP),
    _iam("ListGroupPolicies", _GROUP),
    _iam("DeleteGroupPolicy", _GROUP),
    _iam("PutRolePolicy", _ROLE),
    _iam("GetRolePolicy", _ROLE),
    _iam("ListRolePolicies", _ROLE),
    _iam("DeleteRolePolicy", _ROLE),
    # --- Access keys
    _iam("CreateAccessKey", _USER),
    _iam("ListAccessKeys", _USER),
    _iam("UpdateAccessKey", _USER),
    _iam("DeleteAccessKey", _USER),
    _iam("GetAccessKeyLastUsed", "key:AccessKeyId"),
    # --- The account
    _iam("GetAccountSummary"),
    _iam("ListAccountAliases"),
    _iam("GetAccountAuthorizationDetails"),
    # --- Trying policies
    _iam("SimulatePrincipalPolicy", "principal:PolicySourceArn"),
    _iam("SimulateCustomPolicy"),
    _iam("GetContextKeysForPrincipalPolicy", "principal:PolicySourceArn"),
    _iam("GetContextKeysForCustomPolicy"),
    # --- Providers of web identities
    _iam("CreateOpenIDConnectProvider", "oidc-provider:Url"),
    _iam("GetOpenIDConnectProvider", _PROVIDER),
    _iam("ListOpenIDConnectProviders"),
    _iam("DeleteOpenIDConnectProvider", _PROVIDER),
    _iam("UpdateOpenIDConnectProviderThumbprint", _PROVIDER),
    _iam("TagOpenIDConnectProvider", _PROVIDER),
    _iam("UntagOpenIDConnectProvider", _PROVIDER),
    _iam("ListOpenIDConnectProviderTags", _PROVIDER),
    _iam("AddClientIDToOpenIDConnectProvider", _PROVIDER),
    _iam("RemoveClientIDFromOpenIDConnectProvider", _PROVIDER),
    # --- Sessions
    _sts("AssumeRole"),
    _sts("AssumeRoleWithWebIdentity", is_unsigned=True),
    _sts("AssumeRoleWithLDAPIdentity", is_unsigned=True),
    _sts("GetSessionToken"),
    _sts("GetCallerIdentity"),
    _sts("GetAccessKeyInfo", action="sts:GetAccessKeyInfo"),
)

BY_NAME: Final[dict[str, IamAction]] = {row.name: row for row in IAM_ACTIONS}

assert len(BY_NAME) == len(IAM_ACTIONS), "an action is declared twice"
