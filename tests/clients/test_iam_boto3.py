"""boto3's IAM client: users, groups, roles, policies and keys of two tenants."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.servers import Server, fresh_name, refusal
from tests.signing import Keys
from tests.tenants import Login, Tenancy, allow, make_tenancy, policy, sdk, trust

READ = policy(allow("s3:GetObject"))


@pytest.fixture
def iam(iam_server: Server, acme: Tenancy) -> Any:
    """The administrator's client of one tenant."""
    return sdk(iam_server, "iam", acme.admin)


@pytest.fixture
def iam_other(iam_server: Server, umbrella: Tenancy) -> Any:
    """The administrator's client of the other tenant."""
    return sdk(iam_server, "iam", umbrella.admin)


def fresh(stem: str) -> str:
    """Return a name that nobody has."""
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def test_a_user_lives_from_create_to_delete(iam: Any, acme: Tenancy) -> None:
    """Everything that an SDK reads of it is there."""
    name = fresh("ana")
    made = iam.create_user(UserName=name, Path="/a/", Tags=[{"Key": "team", "Value": "red"}])[
        "User"
    ]
    assert made["Arn"] == f"arn:aws:iam::{acme.account}:user/a/{name}"
    assert made["UserId"].startswith("AIDA")
    assert iam.get_user(UserName=name)["User"]["Tags"] == [{"Key": "team", "Value": "red"}]
    assert refusal(iam.create_user, UserName=name) == ("EntityAlreadyExists", 409)
    iam.tag_user(UserName=name, Tags=[{"Key": "Team", "Value": "blue"}, {"Key": "b", "Value": ""}])
    iam.untag_user(UserName=name, TagKeys=["b"])
    assert iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "Team", "Value": "blue"}]
    new = fresh("bea")
    iam.update_user(UserName=name, NewUserName=new, NewPath="/b/")
    assert refusal(iam.get_user, UserName=name) == ("NoSuchEntity", 404)
    assert iam.get_user(UserName=new)["User"]["UserId"] == made["UserId"]
    found = iam.get_paginator("list_users").paginate(PathPrefix="/b/").build_full_result()
    assert new in [user["UserName"] for user in found["Users"]]
    iam.put_user_policy(UserName=new, PolicyName="p", PolicyDocument=READ)
    assert refusal(iam.delete_user, UserName=new) == ("DeleteConflict", 409)
    iam.delete_user_policy(UserName=new, PolicyName="p")
    iam.delete_user(UserName=new)
    assert refusal(iam.delete_user, UserName=new) == ("NoSuchEntity", 404)


def test_lists_come_in_pages(iam: Any) -> None:
    """MaxItems bounds a page, and the marker begins the next."""
    path = f"/{fresh('page')}/"
    names = sorted(fresh("u") for _ in range(5))
    for name in names:
        iam.create_user(UserName=name, Path=path)
    first = iam.list_users(PathPrefix=path, MaxItems=2)
    assert first["IsTruncated"]
    assert [user["UserName"] for user in first["Users"]] == names[:2]
    pages = iam.get_paginator("list_users").paginate(
        PathPrefix=path, PaginationConfig={"PageSize": 2}
    )
    assert [user["UserName"] for page in pages for user in page["Users"]] == names


def test_groups_lend_their_policies(iam: Any, iam_server: Server) -> None:
    """In, out and gone; each counts on the next request."""
    user, group = fresh("ana"), fresh("group")
    iam.create_user(UserName=user)
    login = Login.of(iam.create_access_key(UserName=user)["AccessKey"])
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=policy(allow("iam:List*")))
    mine = sdk(iam_server, "iam", login)
    assert refusal(mine.list_users) == ("AccessDenied", 403)
    iam.add_user_to_group(GroupName=group, UserName=user)
    mine.list_users()
    assert [one["UserName"] for one in iam.get_group(GroupName=group)["Users"]] == [user]
    found = iam.list_groups_for_user(UserName=user)["Groups"]
    assert [one["GroupName"] for one in found] == [group]
    assert refusal(iam.delete_group, GroupName=group) == ("DeleteConflict", 409)
    iam.remove_user_from_group(GroupName=group, UserName=user)
    assert refusal(mine.list_users) == ("AccessDenied", 403)
    iam.delete_group_policy(GroupName=group, PolicyName="p")
    iam.delete_group(GroupName=group)
    assert refusal(iam.get_group, GroupName=group) == ("NoSuchEntity", 404)


def test_managed_policies_have_versions(iam: Any, acme: Tenancy) -> None:
    """Five at most; the one in force is what counts."""
    name = fresh("policy")
    made = iam.create_policy(
        PolicyName=name,
        PolicyDocument=READ,
        Description="Reads.",
        Tags=[{"Key": "a", "Value": "b"}],
    )["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{acme.account}:policy/{name}"
    second = iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=policy(allow("s3:PutObject")), SetAsDefault=True
    )["PolicyVersion"]
    assert (second["VersionId"], second["IsDefaultVersion"]) == ("v2", True)
    shown = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"]
    assert shown["Statement"][0]["Action"] == "s3:PutObject"
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v1"
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 2
    role = fresh("role")
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust({"AWS": acme.account}))
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    found = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert found == [{"PolicyName": name, "PolicyArn": arn}]
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert [one["RoleName"] for one in entities["PolicyRoles"]] == [role]
    assert refusal(iam.delete_policy, PolicyArn=arn) == ("DeleteConflict", 409)
    assert refusal(iam.delete_role, RoleName=role) == ("DeleteConflict", 409)
    iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    iam.delete_role(RoleName=role)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    iam.delete_policy(PolicyArn=arn)
    assert refusal(iam.get_policy, PolicyArn=arn) == ("NoSuchEntity", 404)
    shipped = iam.list_policies(Scope="AWS")["Policies"]
    assert "arn:aws:iam::aws:policy/holdfast/user" in [one["Arn"] for one in shipped]


@pytest.mark.parametrize(
    "document",
    ["", "{", "{}", policy(), policy({"Effect": "Allow", "Action": "s3:*"}),
     policy(allow("s3:GetObject", Principal="*")), policy(allow("s3:GetObject", Oops=1))],
)  # fmt: skip
def test_a_policy_that_is_none_is_refused(iam: Any, document: str) -> None:
    """With IAM's code for it."""
    code, status = refusal(iam.create_policy, PolicyName=fresh("p"), PolicyDocument=document or " ")
    assert (code, status) == ("MalformedPolicyDocument", 400)


def test_roles_show_their_trust_with_arns(iam: Any, acme: Tenancy) -> None:
    """Ids inside, ARNs outside; what is gone shows as its id."""
    user, role = fresh("ana"), fresh("role")
    made = iam.create_user(UserName=user)["User"]
    iam.create_role(
        RoleName=role,
        AssumeRolePolicyDocument=trust({"AWS": made["Arn"]}),
        MaxSessionDuration=7200,
        Description="Tries.",
        Path="/x/",
    )
    found = iam.get_role(RoleName=role)["Role"]
    assert found["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": made["Arn"]}
    assert (found["MaxSessionDuration"], found["Path"]) == (7200, "/x/")
    assert found["Arn"] == f"arn:aws:iam::{acme.account}:role/x/{role}"
    iam.update_role(RoleName=role, MaxSessionDuration=3600, Description="")
    assert iam.get_role(RoleName=role)["Role"]["MaxSessionDuration"] == 3600
    iam.delete_user(UserName=user)
    shown = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"][0]["Principal"] == {"AWS": made["UserId"]}
    iam.update_assume_role_policy(
        RoleName=role, PolicyDocument=trust({"AWS": f"arn:aws:iam::{acme.account}:root"})
    )
    assert iam.list_instance_profiles_for_role(RoleName=role)["InstanceProfiles"] == []
    iam.delete_role(RoleName=role)


def test_a_boundary_bounds(iam: Any, iam_server: Server, acme: Tenancy) -> None:
    """What the boundary does not allow, no policy gives."""
    user = fresh("ana")
    bound = iam.create_policy(PolicyName=fresh("b"), PolicyDocument=policy(allow("iam:GetUser")))
    arn = bound["Policy"]["Arn"]
    iam.create_user(UserName=user, PermissionsBoundary=arn)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy(allow("iam:*")))
    mine = sdk(iam_server, "iam", Login.of(iam.create_access_key(UserName=user)["AccessKey"]))
    shown = mine.get_user()["User"]["PermissionsBoundary"]
    assert shown == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
    assert refusal(mine.list_users) == ("AccessDenied", 403)
    assert refusal(mine.delete_user_permissions_boundary, UserName=user) == ("AccessDenied", 403)
    iam.delete_user_permissions_boundary(UserName=user)
    mine.list_users()


def test_keys_are_told_once_and_switched(iam: Any, iam_server: Server) -> None:
    """Off and gone from the next request on, at every worker."""
    user = fresh("ana")
    iam.create_user(UserName=user)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    login, key = Login.of(made), made["AccessKeyId"]
    mine = sdk(iam_server, "sts", login)
    for _ in range(4):
        assert mine.get_caller_identity()["Arn"].endswith(f":user/{user}")
    iam.update_access_key(UserName=user, AccessKeyId=key, Status="Inactive")
    for _ in range(4):
        assert refusal(mine.get_caller_identity) == ("InvalidClientTokenId", 403)
    listed = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
    assert [(one["AccessKeyId"], one["Status"]) for one in listed] == [(key, "Inactive")]
    assert "SecretAccessKey" not in listed[0]
    assert iam.get_access_key_last_used(AccessKeyId=key)["UserName"] == user
    iam.delete_access_key(UserName=user, AccessKeyId=key)
    assert iam.list_access_keys(UserName=user)["AccessKeyMetadata"] == []


def test_what_terraform_asks_of_users_and_roles_has_its_answer(iam: Any) -> None:
    """Empty lists and the error that it expects, so that it can delete them."""
    user = fresh("ana")
    iam.create_user(UserName=user)
    assert iam.list_mfa_devices(UserName=user)["MFADevices"] == []
    assert iam.list_service_specific_credentials(UserName=user)["ServiceSpecificCredentials"] == []
    assert iam.list_signing_certificates(UserName=user)["Certificates"] == []
    assert iam.list_ssh_public_keys(UserName=user)["SSHPublicKeys"] == []
    assert refusal(iam.get_login_profile, UserName=user) == ("NoSuchEntity", 404)
    assert iam.list_account_aliases()["AccountAliases"] == []
    iam.delete_user(UserName=user)
    assert refusal(iam.list_mfa_devices, UserName=user) == ("NoSuchEntity", 404)


def test_providers_keep_what_describes_them(iam: Any, acme: Tenancy) -> None:
    """Terraform compares tags and thumbprints with what it wrote."""
    name = f"{fresh('id')}.example.org"
    team = {"Key": "team", "Value": "red"}
    arn = iam.create_open_id_connect_provider(
        Url=f"https://{name}", ClientIDList=["app"], ThumbprintList=["a" * 40], Tags=[team]
    )["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{acme.account}:oidc-provider/{name}"
    shown = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (shown["Url"], shown["ClientIDList"]) == (name, ["app"])
    assert (shown["ThumbprintList"], shown["Tags"]) == (["a" * 40], [team])
    iam.tag_open_id_connect_provider(
        OpenIDConnectProviderArn=arn, Tags=[{"Key": "Team", "Value": "blue"}, team | {"Key": "b"}]
    )
    iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=arn, TagKeys=["b"])
    listed = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)
    assert listed["Tags"] == [{"Key": "Team", "Value": "blue"}]
    iam.update_open_id_connect_provider_thumbprint(
        OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40]
    )
    shown = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert shown["ThumbprintList"] == ["b" * 40]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert refusal(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn)[1] == 404


def test_the_account_is_told_whole(iam: Any) -> None:
    """Counts, and everybody with all their policies."""
    user = fresh("ana")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=READ)
    before = iam.get_account_summary()["SummaryMap"]["Users"]
    iam.create_user(UserName=fresh("bob"))
    assert iam.get_account_summary()["SummaryMap"]["Users"] == before + 1
    pages = iam.get_paginator("get_account_authorization_details").paginate(
        PaginationConfig={"PageSize": 3}
    )
    users = [one for page in pages for one in page["UserDetailList"]]
    mine = next(one for one in users if one["UserName"] == user)
    assert mine["UserPolicyList"][0]["PolicyDocument"]["Statement"][0]["Action"] == "s3:GetObject"
    role = fresh("role")
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust({"AWS": "*"}))
    roles = iam.get_account_authorization_details(Filter=["Role"])["RoleDetailList"]
    assert all(one["InstanceProfileList"] == [] for one in roles)
    only = iam.get_account_authorization_details(Filter=["AWSManagedPolicy"])
    assert only["UserDetailList"] == []
    assert only["Policies"]


def test_a_key_of_the_root_is_counted(iam_server: Server) -> None:
    """Audits of accounts ask whether anybody could act as the root."""
    own = make_tenancy(iam_server)
    client = sdk(iam_server, "iam", own.admin)
    assert client.get_account_summary()["SummaryMap"]["AccountAccessKeysPresent"] == 0
    key = json.loads(
        iam_server.command("key", "create", "--root", "--tenant", own.name, "--json").stdout
    )
    iam_server.secrets.append(key["secret_key"])
    assert client.get_account_summary()["SummaryMap"]["AccountAccessKeysPresent"] == 1
    root = sdk(iam_server, "iam", Login(Keys(key["access_key_id"], key["secret_key"])))
    assert root.get_user()["User"]["CreateDate"].year > 2000  # the tenant's day
    iam_server.command("key", "delete", key["access_key_id"])
    assert client.get_account_summary()["SummaryMap"]["AccountAccessKeysPresent"] == 0


def test_a_refusal_says_who_asked_for_what_and_nothing_of_whom(
    iam: Any, iam_server: Server, acme: Tenancy
) -> None:
    """The same for a user that is there, under a path that nobody named, and for none."""
    user, hidden = fresh("ana"), fresh("bob")
    iam.create_user(UserName=user)
    iam.create_user(UserName=hidden, Path="/board/")
    login = Login.of(iam.create_access_key(UserName=user)["AccessKey"])
    mine = sdk(iam_server, "iam", login)
    said = set()
    for name in (hidden, fresh("nobody")):
        with pytest.raises(ClientError) as caught:
            mine.get_user(UserName=name)
        response: Any = caught.value.response
        said.add(response["Error"]["Message"])
    arn = f"arn:aws:iam::{acme.account}:user/{user}"
    assert said == {f"User: {arn} is not authorized to perform: iam:GetUser"}


def test_policies_are_tried_before_they_hurt(iam: Any) -> None:
    """The simulator says what the server would."""
    user = fresh("ana")
    made = iam.create_user(UserName=user)["User"]
    mine = "arn:aws:s3:::bucket/${aws:username}/*"
    iam.put_user_policy(
        UserName=user,
        PolicyName="p",
        PolicyDocument=policy(
            allow("s3:GetObject", mine),
            {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"},
            allow("s3:ListBucket", Condition={"StringEquals": {"s3:prefix": "a"}}),
        ),
    )
    found = iam.simulate_principal_policy(
        PolicySourceArn=made["Arn"],
        ActionNames=["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"],
        ResourceArns=[f"arn:aws:s3:::bucket/{user}/x"],
    )["EvaluationResults"]
    assert [one["EvalDecision"] for one in found] == [
        "allowed", "explicitDeny", "implicitDeny", "implicitDeny",
    ]  # fmt: skip
    assert found[3]["MissingContextValues"] == ["s3:prefix"]
    given = iam.simulate_custom_policy(
        PolicyInputList=[
            policy(allow("s3:*", Condition={"Bool": {"aws:SecureTransport": "true"}}))
        ],
        ActionNames=["s3:GetObject"],
        ContextEntries=[
            {
                "ContextKeyName": "aws:SecureTransport",
                "ContextKeyType": "boolean",
                "ContextKeyValues": ["true"],
            }
        ],
    )["EvaluationResults"]
    assert given[0]["EvalDecision"] == "allowed"
    names = iam.get_context_keys_for_principal_policy(PolicySourceArn=made["Arn"])
    assert names["ContextKeyNames"] == ["aws:username", "s3:prefix"]


def test_what_a_simulation_would_pass_over_is_refused(iam: Any) -> None:
    """An answer about something else than was asked is worse than none."""
    user, other = fresh("ana"), fresh("bob")
    arn = iam.create_user(UserName=user)["User"]["Arn"]
    asked = {"PolicySourceArn": arn, "ActionNames": ["s3:GetObject"]}
    assert iam.simulate_principal_policy(**asked, CallerArn=arn)["EvaluationResults"]
    for more in (
        {"CallerArn": arn.replace(user, other)},
        {"ResourceHandlingOption": "EC2-VPC-EBS"},
        {"ResourcePolicy": READ},
    ):
        refused = refusal(iam.simulate_principal_policy, **asked, **more)
        assert refused == ("ValidationError", 400)


def test_two_tenants_see_nothing_of_each_other(
    iam: Any, iam_other: Any, acme: Tenancy, umbrella: Tenancy
) -> None:
    """Same names side by side; what is the other's is not there, whatever is asked."""
    name = fresh("same")
    one = iam.create_user(UserName=name)["User"]
    assert refusal(iam_other.get_user, UserName=name) == ("NoSuchEntity", 404)
    two = iam_other.create_user(UserName=name)["User"]
    assert one["UserId"] != two["UserId"]
    arn = iam.create_policy(PolicyName=name, PolicyDocument=READ)["Policy"]["Arn"]
    missing = arn.replace(name, fresh("none"))
    for policy_arn in (arn, missing):
        for call, more in (
            (iam_other.get_policy, {}),
            (iam_other.list_entities_for_policy, {}),
            (iam_other.attach_user_policy, {"UserName": name}),
            (iam_other.delete_policy, {}),
        ):
            code, _ = refusal(call, PolicyArn=policy_arn, **more)
            assert code in {"NoSuchEntity", "AccessDenied"}
            assert refusal(call, PolicyArn=missing, **more)[0] == code
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    for access_key_id in (key, "AKIAAAAAAAAAAAAAAAAA"):
        found = refusal(iam_other.get_access_key_last_used, AccessKeyId=access_key_id)
        assert found == ("NoSuchEntity", 404)
        assert refusal(iam_other.delete_access_key, UserName=name, AccessKeyId=access_key_id) == (
            "NoSuchEntity",
            404,
        )
    assert name in [user["UserName"] for user in iam.list_users(MaxItems=1000)["Users"]]
    theirs = iam_other.list_users(MaxItems=1000)["Users"]
    assert one["UserId"] not in [user["UserId"] for user in theirs]
    for source in (one["Arn"], one["Arn"].replace(name, fresh("none"))):
        assert refusal(
            iam_other.simulate_principal_policy,
            PolicySourceArn=source,
            ActionNames=["s3:GetObject"],
        ) == ("NoSuchEntity", 404)


def test_a_bucket_policy_opens_a_bucket_to_a_role(
    iam: Any, iam_server: Server, acme: Tenancy, umbrella: Tenancy
) -> None:
    """A session of the role reads; users and the other tenant don't."""
    admin = sdk(iam_server, "s3", acme.admin)
    bucket, role = fresh_name(), fresh("reader")
    admin.create_bucket(Bucket=bucket)
    admin.put_object(Bucket=bucket, Key="k", Body=b"hello")
    root = f"arn:aws:iam::{acme.account}:root"
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust({"AWS": root}))["Role"]
    statement = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": made["Arn"]})
    admin.put_bucket_policy(Bucket=bucket, Policy=policy(statement))
    given = sdk(iam_server, "sts", acme.admin).assume_role(
        RoleArn=made["Arn"], RoleSessionName="reading"
    )
    session = Login.of(given["Credentials"])
    iam_server.secrets.append(session.keys.secret_key)
    acting = sdk(iam_server, "s3", session)
    assert acting.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    assert refusal(acting.put_object, Bucket=bucket, Key="k", Body=b"") == ("AccessDenied", 403)
    stranger = sdk(iam_server, "s3", umbrella.admin)
    assert refusal(stranger.get_object, Bucket=bucket, Key="k") == ("AccessDenied", 403)
    theirs = sdk(iam_server, "sts", umbrella.admin)
    assert refusal(theirs.assume_role, RoleArn=made["Arn"], RoleSessionName="stranger") == (
        "AccessDenied", 403,
    )  # fmt: skip


def test_a_key_for_a_day_makes_nothing_that_lasts_longer(
    iam_server: Server, iam: Any, acme: Tenancy
) -> None:
    """Neither by itself nor through a role that may make keys for anybody."""
    user, robot, role = fresh("ana"), fresh("robot"), fresh("maker")
    for name in (user, robot):
        iam.create_user(UserName=name)
    making = policy(allow(["iam:CreateAccessKey", "sts:AssumeRole"]))
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=making)
    document = trust({"AWS": f"arn:aws:iam::{acme.account}:user/{user}"})
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document)["Role"]
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=making)
    where = ("--user", user, "--tenant", acme.name, "--expires", "2099-12-31", "--json")
    short = json.loads(iam_server.command("key", "create", *where).stdout)
    iam_server.secrets.append(short["secret_key"])
    login = Login(Keys(short["access_key_id"], short["secret_key"]))
    session = sdk(iam_server, "sts", login).assume_role(
        RoleArn=made["Arn"], RoleSessionName="maker"
    )
    ends = []
    for maker in (login, Login.of(session["Credentials"])):
        key = sdk(iam_server, "iam", maker).create_access_key(UserName=robot)["AccessKey"]
        shown = iam_server.command("key", "show", key["AccessKeyId"], "--json").stdout
        ends.append(json.loads(shown)["expires_us"])
    assert ends == [int(datetime(2099, 12, 31, tzinfo=UTC).timestamp()) * 1_000_000] * 2
