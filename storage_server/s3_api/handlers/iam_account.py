"""Handlers of IAM that are about the whole account, policies on trial, and identity providers."""

from collections.abc import Sequence

from storage_server.s3.iam_errors import ValidationError
from storage_server.s3.messages import iam as messages
from storage_server.s3.messages.query_api import read
from storage_server.s3.timestamps import iso_seconds
from storage_server.s3_api.handlers import iam_shown as shown
from storage_server.s3_api.handlers.iam_shown import Desk, desk
from storage_server.s3_api.query import QueryCall, QueryHandler
from storage_server.services.account_views import Provider
from storage_server.services.iam import Simulated
from storage_server.services.policy_holders import PolicyHolder

_ALL_OF_ONE = 1000  # more than a user, group or role may have
_SECTIONS = ("User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy")


# --- The account ----------------------------------------------------------------------------------


async def get_account_summary(call: QueryCall) -> messages.SummaryOut:
    """Count what the account has."""
    read(call.form, messages.Nothing)
    on = desk(call)
    counts = await call.services.iam.summary(on.tenant_id)
    return messages.SummaryOut(summary_map=counts)


async def list_account_aliases(call: QueryCall) -> messages.AliasesOut:
    """List none: a tenant's name is no alias of a sign-in page."""
    read(call.form, messages.Page)
    return messages.AliasesOut()


async def get_account_authorization_details(call: QueryCall) -> messages.AccountDetailsOut:
    """Show everybody with all their policies, one kind of entity per page."""
    wanted, on = read(call.form, messages.AccountDetails), desk(call)
    sections = [one for one in _SECTIONS if not wanted.filter or one in wanted.filter]
    section, _, inner = wanted.marker.partition("/")
    section = section or sections[0]
    if section not in sections:
        raise ValidationError("The Marker is of another request.")
    out, following = await _DETAILS[section](on, inner, wanted.max_items)
    behind = sections[sections.index(section) + 1 :]
    marker = f"{section}/{following}" if following else f"{behind[0]}/" if behind else ""
    return messages.AccountDetailsOut(
        user_detail_list=out.user_detail_list,
        group_detail_list=out.group_detail_list,
        role_detail_list=out.role_detail_list,
        policies=out.policies,
        is_truncated=bool(marker),
        marker=marker or None,
    )


Details = tuple[messages.AccountDetailsOut, str]


async def _users(on: Desk, marker: str, limit: int) -> Details:
    page = await on.accounts.users.list(on.tenant_id, marker=marker, limit=limit)
    found = []
    for one in page.items:
        groups = await on.accounts.groups.list_for_user(on.tenant_id, one.name, limit=_ALL_OF_ONE)
        inline, attached = await _policies_of(on, on.accounts.users, one.name)
        found.append(
            messages.UserDetail(
                path=one.path,
                user_name=one.name,
                user_id=one.user_id,
                arn=one.arn,
                create_date=iso_seconds(one.created_us),
                user_policy_list=inline,
                group_list=tuple(group.name for group in groups.items),
                attached_managed_policies=attached,
                permissions_boundary=shown.boundary(one.boundary),
                tags=shown.tags_out(one.tags),
            )
        )
    return messages.AccountDetailsOut(user_detail_list=tuple(found)), page.marker


async def _groups(on: Desk, marker: str, limit: int) -> Details:
    page = await on.accounts.groups.list(on.tenant_id, marker=marker, limit=limit)
    found = []
    for one in page.items:
        inline, attached = await _policies_of(on, on.accounts.groups, one.name)
        found.append(
            messages.GroupDetail(
                path=one.path,
                group_name=one.name,
                group_id=one.group_id,
                arn=one.arn,
                create_date=iso_seconds(one.created_us),
                group_policy_list=inline,
                attached_managed_policies=attached,
            )
        )
    return messages.AccountDetailsOut(group_detail_list=tuple(found)), page.marker


async def _roles(on: Desk, marker: str, limit: int) -> Details:
    page = await on.accounts.roles.list(on.tenant_id, marker=marker, limit=limit)
    found = []
    for one in page.items:
        inline, attached = await _policies_of(on, on.accounts.roles, one.name)
        found.append(
            messages.RoleDetail(
                path=one.path,
                role_name=one.name,
                role_id=one.role_id,
                arn=one.arn,
                create_date=iso_seconds(one.created_us),
                assume_role_policy_document=shown.encoded(one.trust),
                role_policy_list=inline,
                attached_managed_policies=attached,
                permissions_boundary=shown.boundary(one.boundary),
                tags=shown.tags_out(one.tags),
            )
        )
    return messages.AccountDetailsOut(role_detail_list=tuple(found)), page.marker


async def _local_policies(on: Desk, marker: str, limit: int) -> Details:
    page = await on.accounts.policies.list(on.tenant_id, scope="Local", marker=marker, limit=limit)
    return await _with_versions(on, [one.arn for one in page.items]), page.marker


async def _shipped_policies(on: Desk, marker: str, limit: int) -> Details:
    page = await on.accounts.policies.list(on.tenant_id, scope="AWS", marker=marker, limit=limit)
    return await _with_versions(on, [one.arn for one in page.items]), page.marker


async def _with_versions(on: Desk, policy_arns: Sequence[str]) -> messages.AccountDetailsOut:
    found = []
    for policy_arn in policy_arns:
        one = await on.accounts.policies.get(on.tenant_id, policy_arn)
        versions = await on.accounts.policies.list_versions(on.tenant_id, policy_arn)
        found.append(
            messages.PolicyDetail(
                policy_name=one.name,
                policy_id=one.policy_id,
                arn=one.arn,
                path=one.path,
                default_version_id=one.default_version,
                attachment_count=one.attachments_count,
                is_attachable=True,
                create_date=iso_seconds(one.created_us),
                update_date=iso_seconds(one.updated_us),
                policy_version_list=tuple(
                    shown.version(version, has_document=True) for version in versions.items
                ),
            )
        )
    return messages.AccountDetailsOut(policies=tuple(found))


async def _policies_of(
    on: Desk, holder: PolicyHolder, name: str
) -> tuple[tuple[messages.InlinePolicy, ...], tuple[messages.AttachedPolicy, ...]]:
    names = await holder.list_inline(on.tenant_id, name, limit=_ALL_OF_ONE)
    inline = [
        messages.InlinePolicy(
            policy_name=one,
            policy_document=shown.encoded(await holder.get_inline(on.tenant_id, name, one)),
        )
        for one in names.items
    ]
    attached = await holder.list_attached(on.tenant_id, name, limit=_ALL_OF_ONE)
    return tuple(inline), tuple(map(shown.attached, attached.items))


_DETAILS = {
    "User": _users,
    "Group": _groups,
    "Role": _roles,
    "LocalManagedPolicy": _local_policies,
    "AWSManagedPolicy": _shipped_policies,
}


# --- Trying policies ------------------------------------------------------------------------------


async def simulate_principal_policy(call: QueryCall) -> messages.SimulationOut:
    """Try a principal's policies."""
    wanted = read(call.form, messages.SimulatePrincipalPolicy)
    _refuse_what_is_not_tried(wanted, wanted.policy_source_arn)
    found = call.services.iam.simulate_principal(
        call.actor,
        wanted.policy_source_arn,
        wanted.policy_input_list,
        wanted.permissions_boundary_policy_input_list,
        wanted.action_names,
        wanted.resource_arns,
        wanted.context_entries,
    )
    return _simulated(found, wanted.marker, wanted.max_items)


async def simulate_custom_policy(call: QueryCall) -> messages.SimulationOut:
    """Try documents."""
    wanted = read(call.form, messages.SimulateCustomPolicy)
    _refuse_what_is_not_tried(wanted, "")
    found = call.services.iam.simulate_custom(
        call.actor,
        wanted.policy_input_list,
        wanted.permissions_boundary_policy_input_list,
        wanted.action_names,
        wanted.resource_arns,
        wanted.context_entries,
    )
    return _simulated(found, wanted.marker, wanted.max_items)


def _refuse_what_is_not_tried(
    wanted: messages.SimulatePrincipalPolicy | messages.SimulateCustomPolicy, caller: str
) -> None:
    """Refuse what would be passed over.

    Raises:
        ValidationError: A resource policy is given, another caller than the one whose policies are
            tried, or a way to handle EC2's resources.
    """
    if wanted.resource_policy or wanted.resource_owner:
        raise ValidationError(
            "Simulations here are of identity policies; ask `holdfast explain` about a bucket's."
        )
    if wanted.caller_arn not in ("", caller) or wanted.resource_handling_option:
        raise ValidationError(
            "Simulations here know no CallerArn but PolicySourceArn, and no ResourceHandlingOption."
        )


def _simulated(found: Sequence[Simulated], marker: str, limit: int) -> messages.SimulationOut:
    if marker and not (marker.isascii() and marker.isdigit() and len(marker) <= 4):
        raise ValidationError("The Marker is of another request.")
    start = int(marker or "0")
    page = found[start : start + limit]
    is_truncated = start + limit < len(found)
    return messages.SimulationOut(
        evaluation_results=tuple(map(_evaluation, page)),
        is_truncated=is_truncated,
        marker=str(start + limit) if is_truncated else None,
    )


def _evaluation(one: Simulated) -> messages.Evaluation:
    found = one.found
    boundary = None
    if found.allowed_by_boundary is not None:
        boundary = messages.BoundaryDecision(
            allowed_by_permissions_boundary=found.allowed_by_boundary
        )
    return messages.Evaluation(
        eval_action_name=one.action,
        eval_resource_name=one.resource,
        eval_decision=found.decision,
        matched_statements=tuple(
            messages.MatchedStatement(source_policy_id=match.source, source_policy_type=match.layer)
            for match in found.matched
        ),
        missing_context_values=found.missing_context,
        permissions_boundary_decision_detail=boundary,
    )


async def get_context_keys_for_custom_policy(call: QueryCall) -> messages.ContextKeysOut:
    """List the condition keys that documents name."""
    wanted = read(call.form, messages.ContextKeysCustom)
    names = call.services.iam.context_keys(call.actor, wanted.policy_input_list)
    return messages.ContextKeysOut(context_key_names=names)


async def get_context_keys_for_principal_policy(call: QueryCall) -> messages.ContextKeysOut:
    """List the condition keys that a principal's policies name."""
    wanted = read(call.form, messages.ContextKeysPrincipal)
    names = call.services.iam.context_keys(
        call.actor, wanted.policy_input_list, wanted.policy_source_arn
    )
    return messages.ContextKeysOut(context_key_names=names)


# --- Providers of web identities ------------------------------------------------------------------


async def create_open_id_connect_provider(call: QueryCall) -> messages.ProviderArnOut:
    """Trust a provider."""
    wanted, on = read(call.form, messages.CreateProvider), desk(call)
    made = await call.services.providers.create(
        on.by,
        on.tenant_id,
        wanted.url,
        audiences=wanted.client_id_list,
        thumbprints=wanted.thumbprint_list,
        tags=shown.pairs(wanted.tags),
    )
    return messages.ProviderArnOut(open_id_connect_provider_arn=made.arn)


async def get_open_id_connect_provider(call: QueryCall) -> messages.ProviderOut:
    """Show a provider."""
    wanted, on = read(call.form, messages.OfProvider), desk(call)
    found = await call.services.providers.get(on.tenant_id, wanted.open_id_connect_provider_arn)
    return _provider(found)


def _provider(view: Provider) -> messages.ProviderOut:
    return messages.ProviderOut(
        # Without its scheme, as AWS shows it.
        url=view.arn.partition(":oidc-provider/")[2],
        client_id_list=view.audiences,
        thumbprint_list=view.thumbprints,
        create_date=iso_seconds(view.created_us),
        tags=shown.tags_out(view.tags),
    )


async def list_open_id_connect_providers(call: QueryCall) -> messages.ProvidersOut:
    """List all providers."""
    read(call.form, messages.Nothing)
    on = desk(call)
    found = await call.services.providers.list_all(on.tenant_id)
    return messages.ProvidersOut(
        open_id_connect_provider_list=tuple(messages.ProviderArn(arn=one.arn) for one in found)
    )


async def delete_open_id_connect_provider(call: QueryCall) -> None:
    """Trust a provider no more."""
    wanted, on = read(call.form, messages.OfProvider), desk(call)
    await call.services.providers.delete(on.by, on.tenant_id, wanted.open_id_connect_provider_arn)


async def update_open_id_connect_provider_thumbprint(call: QueryCall) -> None:
    """Keep other thumbprints; certificates are checked as certificates all the same."""
    wanted, on = read(call.form, messages.UpdateThumbprint), desk(call)
    await call.services.providers.set_thumbprints(
        on.by, on.tenant_id, wanted.open_id_connect_provider_arn, wanted.thumbprint_list
    )


async def tag_open_id_connect_provider(call: QueryCall) -> None:
    """Set tags."""
    wanted, on = read(call.form, messages.TagProvider), desk(call)
    await call.services.providers.tag(
        on.by, on.tenant_id, wanted.open_id_connect_provider_arn, shown.pairs(wanted.tags)
    )


async def untag_open_id_connect_provider(call: QueryCall) -> None:
    """Take tags away."""
    wanted, on = read(call.form, messages.UntagProvider), desk(call)
    await call.services.providers.untag(
        on.by, on.tenant_id, wanted.open_id_connect_provider_arn, wanted.tag_keys
    )


async def list_open_id_connect_provider_tags(call: QueryCall) -> messages.TagsOut:
    """List tags; there are never more than a page."""
    wanted, on = read(call.form, messages.ProviderPage), desk(call)
    found = await call.services.providers.get(on.tenant_id, wanted.open_id_connect_provider_arn)
    return messages.TagsOut(tags=shown.tags_out(found.tags))


async def add_client_id_to_open_id_connect_provider(call: QueryCall) -> None:
    """Take tokens for one more audience."""
    wanted, on = read(call.form, messages.ProviderClient), desk(call)
    await call.services.providers.add_audience(
        on.by, on.tenant_id, wanted.open_id_connect_provider_arn, wanted.client_id
    )


async def remove_client_id_from_open_id_connect_provider(call: QueryCall) -> None:
    """Take no more tokens for an audience."""
    wanted, on = read(call.form, messages.ProviderClient), desk(call)
    await call.services.providers.remove_audience(
        on.by, on.tenant_id, wanted.open_id_connect_provider_arn, wanted.client_id
    )


TABLE: dict[str, QueryHandler] = {
    "AddClientIDToOpenIDConnectProvider": add_client_id_to_open_id_connect_provider,
    "CreateOpenIDConnectProvider": create_open_id_connect_provider,
    "DeleteOpenIDConnectProvider": delete_open_id_connect_provider,
    "GetAccountAuthorizationDetails": get_account_authorization_details,
    "GetAccountSummary": get_account_summary,
    "GetContextKeysForCustomPolicy": get_context_keys_for_custom_policy,
    "GetContextKeysForPrincipalPolicy": get_context_keys_for_principal_policy,
    "GetOpenIDConnectProvider": get_open_id_connect_provider,
    "ListAccountAliases": list_account_aliases,
    "ListOpenIDConnectProviderTags": list_open_id_connect_provider_tags,
    "ListOpenIDConnectProviders": list_open_id_connect_providers,
    "RemoveClientIDFromOpenIDConnectProvider": remove_client_id_from_open_id_connect_provider,
    "SimulateCustomPolicy": simulate_custom_policy,
    "SimulatePrincipalPolicy": simulate_principal_policy,
    "TagOpenIDConnectProvider": tag_open_id_connect_provider,
    "UntagOpenIDConnectProvider": untag_open_id_connect_provider,
    "UpdateOpenIDConnectProviderThumbprint": update_open_id_connect_provider_thumbprint,
}
