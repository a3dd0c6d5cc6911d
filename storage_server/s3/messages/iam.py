"""What the actions of the IAM query API are asked with, and what they answer.

Source: IAM API Reference, "Actions" and "Data Types"; bounds from the same pages.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from storage_server.core import limits
from storage_server.s3.messages.query_api import Input, Output

# A user's own name may be left out: then the caller is meant.
OptionalName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{0,64}$")]
UserName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{1,64}$")]
GroupName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{1,128}$")]
RoleName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{1,64}$")]
PolicyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{1,128}$")]
Path = Annotated[str, Meta(pattern=r"^/(?:[!-.0-~]+/)*$", max_length=limits.PATH_CHARS_MAX)]
OptionalPath = Annotated[
    str, Meta(pattern=r"^(?:/(?:[!-.0-~]+/)*)?$", max_length=limits.PATH_CHARS_MAX)
]
PathPrefix = Annotated[str, Meta(pattern=r"^/[!-~]*$", max_length=limits.PATH_CHARS_MAX)]
Arn = Annotated[str, Meta(pattern=r"^arn:[!-~]+$", min_length=20, max_length=2048)]
OptionalArn = Annotated[str, Meta(pattern=r"^(?:arn:[!-~]+)?$", max_length=2048)]
KeyId = Annotated[str, Meta(pattern=r"^[!-~]{3,128}$")]
Document = Annotated[str, Meta(min_length=1, max_length=limits.POLICY_BYTES_MAX)]
Description = Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS_MAX)]
Marker = Annotated[str, Meta(max_length=2048)]
MaxItems = Annotated[int, Meta(ge=1, le=limits.CONTROL_PAGE_MAX)]
VersionId = Annotated[str, Meta(pattern=r"^v[1-9][0-9]{0,8}$")]
TagKey = Annotated[str, Meta(min_length=1, max_length=128)]
SessionSeconds = Annotated[
    int, Meta(ge=limits.ROLE_SESSION_SECONDS_MIN, le=limits.ROLE_SESSION_SECONDS_MAX)
]
KeyStatus = Literal["Active", "Inactive"]


class Tag(Input, frozen=True, kw_only=True):
    """A tag as a form holds it and as a reply does."""

    key: TagKey
    value: Annotated[str, Meta(max_length=256)] = ""


Tags = Annotated[tuple[Tag, ...], Meta(max_length=limits.IAM_TAGS_MAX)]
TagKeys = Annotated[tuple[TagKey, ...], Meta(max_length=limits.IAM_TAGS_MAX)]


# --- In ------------------------------------------------------------------------------------------


class Nothing(Input, frozen=True, kw_only=True):
    """An action without parameters."""


class Page(Input, frozen=True, kw_only=True):
    """One page of a list."""

    marker: Marker = ""
    max_items: MaxItems = 100


class PathPage(Page, frozen=True, kw_only=True):
    """One page of what lies below a path."""

    path_prefix: PathPrefix = "/"


class OfUser(Input, frozen=True, kw_only=True):
    """A user by name."""

    user_name: UserName


class OfUserOrSelf(Input, frozen=True, kw_only=True):
    """A user by name, or the caller."""

    user_name: OptionalName = ""


class UserPage(Page, frozen=True, kw_only=True):
    """One page of what a user has."""

    user_name: UserName


class UserOrSelfPage(Page, frozen=True, kw_only=True):
    """One page of what a user, or the caller, has."""

    user_name: OptionalName = ""


class ServiceCredentials(Input, frozen=True, kw_only=True):
    """Credentials of a user, or the caller, for single services; perhaps of one service."""

    user_name: OptionalName = ""
    service_name: Annotated[str, Meta(max_length=128)] = ""
    all_users: bool = False
    marker: Marker = ""
    max_items: MaxItems = 100


class CreateUser(Input, frozen=True, kw_only=True):
    """A user to make."""

    user_name: UserName
    path: Path = "/"
    permissions_boundary: OptionalArn = ""
    tags: Tags = ()


class UpdateUser(Input, frozen=True, kw_only=True):
    """A user's new name or path; empty: as it was."""

    user_name: UserName
    new_user_name: OptionalName = ""
    new_path: OptionalPath = ""


class TagUser(Input, frozen=True, kw_only=True):
    """Tags to set on a user."""

    user_name: UserName
    tags: Tags = ()


class UntagUser(Input, frozen=True, kw_only=True):
    """Tags to take from a user."""

    user_name: UserName
    tag_keys: TagKeys = ()


class PutUserBoundary(Input, frozen=True, kw_only=True):
    """A user's boundary."""

    user_name: UserName
    permissions_boundary: Arn


class OfGroup(Input, frozen=True, kw_only=True):
    """A group by name."""

    group_name: GroupName


class GroupPage(Page, frozen=True, kw_only=True):
    """One page of what a group has."""

    group_name: GroupName


class GroupPathPage(PathPage, frozen=True, kw_only=True):
    """One page of a group's policies below a path."""

    group_name: GroupName


class UserPathPage(PathPage, frozen=True, kw_only=True):
    """One page of a user's policies below a path."""

    user_name: UserName


class RolePathPage(PathPage, frozen=True, kw_only=True):
    """One page of a role's policies below a path."""

    role_name: RoleName


class CreateGroup(Input, frozen=True, kw_only=True):
    """A group to make."""

    group_name: GroupName
    path: Path = "/"


class UpdateGroup(Input, frozen=True, kw_only=True):
    """A group's new name or path; empty: as it was."""

    group_name: GroupName
    new_group_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+=,.@_-]{0,128}$")] = ""
    new_path: OptionalPath = ""


class Membership(Input, frozen=True, kw_only=True):
    """A user in a group."""

    group_name: GroupName
    user_name: UserName


class OfRole(Input, frozen=True, kw_only=True):
    """A role by name."""

    role_name: RoleName


class RolePage(Page, frozen=True, kw_only=True):
    """One page of what a role has."""

    role_name: RoleName


class CreateRole(Input, frozen=True, kw_only=True):
    """A role to make."""

    role_name: RoleName
    assume_role_policy_document: Document
    path: Path = "/"
    description: Description = ""
    max_session_duration: SessionSeconds = 3600
    permissions_boundary: OptionalArn = ""
    tags: Tags = ()


class UpdateRole(Input, frozen=True, kw_only=True):
    """A role's description and longest session; None: as it was."""

    role_name: RoleName
    description: Description | None = None
    max_session_duration: SessionSeconds | None = None


class UpdateRoleDescription(Input, frozen=True, kw_only=True):
    """A role's description, in the older action for it."""

    role_name: RoleName
    description: Description


class UpdateAssumeRolePolicy(Input, frozen=True, kw_only=True):
    """A role's trust policy."""

    role_name: RoleName
    policy_document: Document


class TagRole(Input, frozen=True, kw_only=True):
    """Tags to set on a role."""

    role_name: RoleName
    tags: Tags = ()


class UntagRole(Input, frozen=True, kw_only=True):
    """Tags to take from a role."""

    role_name: RoleName
    tag_keys: TagKeys = ()


class PutRoleBoundary(Input, frozen=True, kw_only=True):
    """A role's boundary."""

    role_name: RoleName
    permissions_boundary: Arn


class OfPolicy(Input, frozen=True, kw_only=True):
    """A managed policy by ARN."""

    policy_arn: Arn


class PolicyPage(Page, frozen=True, kw_only=True):
    """One page of what a managed policy has."""

    policy_arn: Arn


class CreatePolicy(Input, frozen=True, kw_only=True):
    """A managed policy to make."""

    policy_name: PolicyName
    policy_document: Document
    path: Path = "/"
    description: Description = ""
    tags: Tags = ()


class ListPolicies(PathPage, frozen=True, kw_only=True):
    """One page of managed policies."""

    scope: Literal["All", "AWS", "Local"] = "All"
    only_attached: bool = False
    policy_usage_filter: Literal["PermissionsPolicy", "PermissionsBoundary", ""] = ""


class CreatePolicyVersion(Input, frozen=True, kw_only=True):
    """A version to add to a managed policy."""

    policy_arn: Arn
    policy_document: Document
    set_as_default: bool = False


class OfPolicyVersion(Input, frozen=True, kw_only=True):
    """A version of a managed policy."""

    policy_arn: Arn
    version_id: VersionId


class ListEntitiesForPolicy(PathPage, frozen=True, kw_only=True):
    """One page of what a managed policy is attached to."""

    policy_arn: Arn
    entity_filter: Literal[
        "User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy", ""
    ] = ""
    policy_usage_filter: Literal["PermissionsPolicy", "PermissionsBoundary", ""] = ""


class TagPolicy(Input, frozen=True, kw_only=True):
    """Tags to set on a managed policy."""

    policy_arn: Arn
    tags: Tags = ()


class UntagPolicy(Input, frozen=True, kw_only=True):
    """Tags to take from a managed policy."""

    policy_arn: Arn
    tag_keys: TagKeys = ()


class UserAttachment(Input, frozen=True, kw_only=True):
    """A managed policy and a user."""

    user_name: UserName
    policy_arn: Arn


class GroupAttachment(Input, frozen=True, kw_only=True):
    """A managed policy and a group."""

    group_name: GroupName
    policy_arn: Arn


class RoleAttachment(Input, frozen=True, kw_only=True):
    """A managed policy and a role."""

    role_name: RoleName
    policy_arn: Arn


class PutUserPolicy(Input, frozen=True, kw_only=True):
    """An inline policy for a user."""

    user_name: UserName
    policy_name: PolicyName
    policy_document: Document


class PutGroupPolicy(Input, frozen=True, kw_only=True):
    """An inline policy for a group."""

    group_name: GroupName
    policy_name: PolicyName
    policy_document: Document


class PutRolePolicy(Input, frozen=True, kw_only=True):
    """An inline policy for a role."""

    role_name: RoleName
    policy_name: PolicyName
    policy_document: Document


class OfUserPolicy(Input, frozen=True, kw_only=True):
    """A user's inline policy."""

    user_name: UserName
    policy_name: PolicyName


class OfGroupPolicy(Input, frozen=True, kw_only=True):
    """A group's inline policy."""

    group_name: GroupName
    policy_name: PolicyName


class OfRolePolicy(Input, frozen=True, kw_only=True):
    """A role's inline policy."""

    role_name: RoleName
    policy_name: PolicyName


class UpdateAccessKey(Input, frozen=True, kw_only=True):
    """An access key's new status."""

    access_key_id: KeyId
    status: KeyStatus
    user_name: OptionalName = ""


class DeleteAccessKey(Input, frozen=True, kw_only=True):
    """An access key to delete."""

    access_key_id: KeyId
    user_name: OptionalName = ""


class OfAccessKey(Input, frozen=True, kw_only=True):
    """An access key."""

    access_key_id: KeyId


class AccountDetails(Page, frozen=True, kw_only=True):
    """One page of everything in the account."""

    filter: tuple[
        Literal["User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"], ...
    ] = ()


class ContextEntry(Input, frozen=True, kw_only=True):
    """A condition key with the values that a simulation is to take for it."""

    context_key_name: Annotated[str, Meta(min_length=5, max_length=256)]
    context_key_type: Annotated[str, Meta(max_length=32)] = "string"
    context_key_values: tuple[str, ...] = ()


Documents = Annotated[tuple[Document, ...], Meta(max_length=100)]


class SimulateCustomPolicy(Input, frozen=True, kw_only=True):
    """Policies to try on actions and resources."""

    policy_input_list: Documents
    action_names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)]
    permissions_boundary_policy_input_list: Documents = ()
    resource_arns: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    resource_policy: str = ""
    resource_owner: OptionalArn = ""
    caller_arn: OptionalArn = ""
    context_entries: tuple[ContextEntry, ...] = ()
    resource_handling_option: str = ""
    marker: Marker = ""
    max_items: MaxItems = 100


class SimulatePrincipalPolicy(Input, frozen=True, kw_only=True):
    """A principal whose policies to try on actions and resources."""

    policy_source_arn: Arn
    action_names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)]
    policy_input_list: Documents = ()
    permissions_boundary_policy_input_list: Documents = ()
    resource_arns: Annotated[tuple[str, ...], Meta(max_length=1000)] = ()
    resource_policy: str = ""
    resource_owner: OptionalArn = ""
    caller_arn: OptionalArn = ""
    context_entries: tuple[ContextEntry, ...] = ()
    resource_handling_option: str = ""
    marker: Marker = ""
    max_items: MaxItems = 100


class ContextKeysCustom(Input, frozen=True, kw_only=True):
    """Policies whose condition keys are asked for."""

    policy_input_list: Documents


class ContextKeysPrincipal(Input, frozen=True, kw_only=True):
    """A principal whose policies' condition keys are asked for."""

    policy_source_arn: Arn
    policy_input_list: Documents = ()


ClientIds = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=255)], ...], Meta(max_length=100)
]
Thumbprints = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{40}$")], ...], Meta(max_length=5)
]


class CreateProvider(Input, frozen=True, kw_only=True):
    """A provider of web identities to trust."""

    url: Annotated[str, Meta(min_length=1, max_length=255)]
    client_id_list: ClientIds = field(name="ClientIDList", default=())
    thumbprint_list: Thumbprints = ()
    tags: Tags = ()


class OfProvider(Input, frozen=True, kw_only=True):
    """A provider of web identities by ARN."""

    open_id_connect_provider_arn: Arn = field(name="OpenIDConnectProviderArn")


class UpdateThumbprint(OfProvider, frozen=True, kw_only=True):
    """A provider's certificate thumbprints: kept, and never trusted instead of a certificate."""

    thumbprint_list: Thumbprints = ()


class TagProvider(OfProvider, frozen=True, kw_only=True):
    """Tags to set on a provider."""

    tags: Tags = ()


class UntagProvider(OfProvider, frozen=True, kw_only=True):
    """Tags to take from a provider."""

    tag_keys: TagKeys = ()


class ProviderPage(Page, frozen=True, kw_only=True):
    """One page of what a provider has."""

    open_id_connect_provider_arn: Arn = field(name="OpenIDConnectProviderArn")


class ProviderClient(OfProvider, frozen=True, kw_only=True):
    """An audience of a provider."""

    client_id: Annotated[str, Meta(min_length=1, max_length=255)] = field(name="ClientID")


# --- Out -----------------------------------------------------------------------------------------


class TagOut(Output, frozen=True, kw_only=True):
    """A tag."""

    key: str
    value: str


class Boundary(Output, frozen=True, kw_only=True):
    """A permissions boundary."""

    permissions_boundary_arn: str
    permissions_boundary_type: str = "Policy"


class User(Output, frozen=True, kw_only=True):
    """A user."""

    path: str
    user_name: str | None
    user_id: str
    arn: str
    create_date: str
    permissions_boundary: Boundary | None = None
    tags: tuple[TagOut, ...] | None = None


class UserOut(Output, frozen=True, kw_only=True):
    """The user that was made or asked for."""

    user: User


class UsersOut(Output, frozen=True, kw_only=True):
    """A page of users."""

    users: tuple[User, ...]
    is_truncated: bool = False
    marker: str | None = None


class TagsOut(Output, frozen=True, kw_only=True):
    """A page of tags."""

    tags: tuple[TagOut, ...]
    is_truncated: bool = False
    marker: str | None = None


class Group(Output, frozen=True, kw_only=True):
    """A group."""

    path: str
    group_name: str
    group_id: str
    arn: str
    create_date: str


class GroupOut(Output, frozen=True, kw_only=True):
    """The group that was made."""

    group: Group


class GroupUsersOut(Output, frozen=True, kw_only=True):
    """A group with a page of its users."""

    group: Group
    users: tuple[User, ...]
    is_truncated: bool = False
    marker: str | None = None


class GroupsOut(Output, frozen=True, kw_only=True):
    """A page of groups."""

    groups: tuple[Group, ...]
    is_truncated: bool = False
    marker: str | None = None


class LastUsed(Output, frozen=True, kw_only=True):
    """When and where a role was last used; nothing when never."""

    last_used_date: str | None = None
    region: str | None = None


class Role(Output, frozen=True, kw_only=True):
    """A role."""

    path: str
    role_name: str
    role_id: str
    arn: str
    create_date: str
    assume_role_policy_document: str
    description: str | None = None
    max_session_duration: int = 3600
    permissions_boundary: Boundary | None = None
    tags: tuple[TagOut, ...] | None = None
    role_last_used: LastUsed | None = None


class RoleOut(Output, frozen=True, kw_only=True):
    """The role that was made or asked for."""

    role: Role


class RolesOut(Output, frozen=True, kw_only=True):
    """A page of roles."""

    roles: tuple[Role, ...]
    is_truncated: bool = False
    marker: str | None = None


class Empty(Output, frozen=True, kw_only=True):
    """A result without content."""


class InstanceProfilesOut(Output, frozen=True, kw_only=True):
    """There are no instances here, so no profiles of them."""

    instance_profiles: tuple[Empty, ...] = ()
    is_truncated: bool = False


class Policy(Output, frozen=True, kw_only=True):
    """A managed policy."""

    policy_name: str
    policy_id: str
    arn: str
    path: str
    default_version_id: str
    attachment_count: int
    permissions_boundary_usage_count: int
    is_attachable: bool
    create_date: str
    update_date: str
    description: str | None = None
    tags: tuple[TagOut, ...] | None = None


class PolicyOut(Output, frozen=True, kw_only=True):
    """The managed policy that was made or asked for."""

    policy: Policy


class PoliciesOut(Output, frozen=True, kw_only=True):
    """A page of managed policies."""

    policies: tuple[Policy, ...]
    is_truncated: bool = False
    marker: str | None = None


class PolicyVersion(Output, frozen=True, kw_only=True):
    """A version of a managed policy; lists leave the document out."""

    version_id: str
    is_default_version: bool
    create_date: str
    document: str | None = None


class PolicyVersionOut(Output, frozen=True, kw_only=True):
    """The version that was made or asked for."""

    policy_version: PolicyVersion


class PolicyVersionsOut(Output, frozen=True, kw_only=True):
    """A page of versions."""

    versions: tuple[PolicyVersion, ...]
    is_truncated: bool = False
    marker: str | None = None


class PolicyUser(Output, frozen=True, kw_only=True):
    """A user with a policy."""

    user_name: str
    user_id: str


class PolicyGroup(Output, frozen=True, kw_only=True):
    """A group with a policy."""

    group_name: str
    group_id: str


class PolicyRole(Output, frozen=True, kw_only=True):
    """A role with a policy."""

    role_name: str
    role_id: str


class EntitiesOut(Output, frozen=True, kw_only=True):
    """Whom a managed policy is attached to."""

    policy_groups: tuple[PolicyGroup, ...]
    policy_users: tuple[PolicyUser, ...]
    policy_roles: tuple[PolicyRole, ...]
    is_truncated: bool = False
    marker: str | None = None


class AttachedPolicy(Output, frozen=True, kw_only=True):
    """An attached managed policy."""

    policy_name: str
    policy_arn: str


class AttachedOut(Output, frozen=True, kw_only=True):
    """A page of attached managed policies."""

    attached_policies: tuple[AttachedPolicy, ...]
    is_truncated: bool = False
    marker: str | None = None


class PolicyNamesOut(Output, frozen=True, kw_only=True):
    """A page of names of inline policies."""

    policy_names: tuple[str, ...]
    is_truncated: bool = False
    marker: str | None = None


class InlinePolicyOut(Output, frozen=True, kw_only=True):
    """An inline policy of a user, group or role."""

    policy_name: str
    policy_document: str
    user_name: str | None = None
    group_name: str | None = None
    role_name: str | None = None


class AccessKey(Output, frozen=True, kw_only=True):
    """An access key; its secret only once, when it is made."""

    user_name: str
    access_key_id: str
    status: str
    create_date: str
    secret_access_key: str | None = None


class AccessKeyOut(Output, frozen=True, kw_only=True):
    """The access key that was made."""

    access_key: AccessKey


class AccessKeysOut(Output, frozen=True, kw_only=True):
    """A page of access keys."""

    access_key_metadata: tuple[AccessKey, ...]
    is_truncated: bool = False
    marker: str | None = None


class KeyLastUsed(Output, frozen=True, kw_only=True):
    """When, for what and where a key was last used; ``N/A`` when never."""

    last_used_date: str | None = None
    service_name: str = "N/A"
    region: str = "N/A"


class KeyLastUsedOut(Output, frozen=True, kw_only=True):
    """An access key's last use and its user."""

    user_name: str
    access_key_last_used: KeyLastUsed


class SummaryOut(Output, frozen=True, kw_only=True):
    """Counts of the account."""

    summary_map: dict[str, int]


class AliasesOut(Output, frozen=True, kw_only=True):
    """Names of the account: none."""

    account_aliases: tuple[str, ...] = ()
    is_truncated: bool = False


class MfaDevicesOut(Output, frozen=True, kw_only=True):
    """Devices of a user: none."""

    mfa_devices: tuple[Empty, ...] = field(name="MFADevices", default=())
    is_truncated: bool = False


class ServiceCredentialsOut(Output, frozen=True, kw_only=True):
    """Credentials of a user for single services: none."""

    service_specific_credentials: tuple[Empty, ...] = ()
    is_truncated: bool = False


class CertificatesOut(Output, frozen=True, kw_only=True):
    """Signing certificates of a user: none."""

    certificates: tuple[Empty, ...] = ()
    is_truncated: bool = False


class SshKeysOut(Output, frozen=True, kw_only=True):
    """SSH keys of a user: none."""

    ssh_public_keys: tuple[Empty, ...] = field(name="SSHPublicKeys", default=())
    is_truncated: bool = False


class InlinePolicy(Output, frozen=True, kw_only=True):
    """An inline policy among the details of an account."""

    policy_name: str
    policy_document: str


class UserDetail(Output, frozen=True, kw_only=True):
    """A user with all its policies."""

    path: str
    user_name: str
    user_id: str
    arn: str
    create_date: str
    user_policy_list: tuple[InlinePolicy, ...]
    group_list: tuple[str, ...]
    attached_managed_policies: tuple[AttachedPolicy, ...]
    permissions_boundary: Boundary | None = None
    tags: tuple[TagOut, ...] = ()


class GroupDetail(Output, frozen=True, kw_only=True):
    """A group with all its policies."""

    path: str
    group_name: str
    group_id: str
    arn: str
    create_date: str
    group_policy_list: tuple[InlinePolicy, ...]
    attached_managed_policies: tuple[AttachedPolicy, ...]


class RoleDetail(Output, frozen=True, kw_only=True):
    """A role with all its policies."""

    path: str
    role_name: str
    role_id: str
    arn: str
    create_date: str
    assume_role_policy_document: str
    instance_profile_list: tuple[()] = ()
    role_policy_list: tuple[InlinePolicy, ...]
    attached_managed_policies: tuple[AttachedPolicy, ...]
    permissions_boundary: Boundary | None = None
    tags: tuple[TagOut, ...] = ()


class PolicyDetail(Output, frozen=True, kw_only=True):
    """A managed policy with all its versions."""

    policy_name: str
    policy_id: str
    arn: str
    path: str
    default_version_id: str
    attachment_count: int
    is_attachable: bool
    create_date: str
    update_date: str
    policy_version_list: tuple[PolicyVersion, ...]


class AccountDetailsOut(Output, frozen=True, kw_only=True):
    """A page of everything in the account."""

    user_detail_list: tuple[UserDetail, ...] = ()
    group_detail_list: tuple[GroupDetail, ...] = ()
    role_detail_list: tuple[RoleDetail, ...] = ()
    policies: tuple[PolicyDetail, ...] = ()
    is_truncated: bool = False
    marker: str | None = None


class MatchedStatement(Output, frozen=True, kw_only=True):
    """A policy with a statement that decided."""

    source_policy_id: str
    source_policy_type: str


class BoundaryDecision(Output, frozen=True, kw_only=True):
    """What the boundary said."""

    allowed_by_permissions_boundary: bool


class Evaluation(Output, frozen=True, kw_only=True):
    """What a simulation found for one action on one resource."""

    eval_action_name: str
    eval_resource_name: str
    eval_decision: str
    matched_statements: tuple[MatchedStatement, ...] = ()
    missing_context_values: tuple[str, ...] = ()
    permissions_boundary_decision_detail: BoundaryDecision | None = None


class SimulationOut(Output, frozen=True, kw_only=True):
    """A page of what a simulation found."""

    evaluation_results: tuple[Evaluation, ...]
    is_truncated: bool = False
    marker: str | None = None


class ContextKeysOut(Output, frozen=True, kw_only=True):
    """The condition keys that policies name."""

    context_key_names: tuple[str, ...]


class ProviderArnOut(Output, frozen=True, kw_only=True):
    """The provider that was made."""

    open_id_connect_provider_arn: str = field(name="OpenIDConnectProviderArn")


class ProviderOut(Output, frozen=True, kw_only=True):
    """A provider of web identities."""

    url: str
    client_id_list: tuple[str, ...] = field(name="ClientIDList")
    thumbprint_list: tuple[str, ...]
    create_date: str
    tags: tuple[TagOut, ...] = ()


class ProviderArn(Output, frozen=True, kw_only=True):
    """A provider among others."""

    arn: str


class ProvidersOut(Output, frozen=True, kw_only=True):
    """All providers of the account."""

    open_id_connect_provider_list: tuple[ProviderArn, ...] = field(name="OpenIDConnectProviderList")
