"""S33 and S42 over the wire: who may manage some people, policies or tags gets no others by it."""

import json
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.servers import Server, fresh_name, refusal
from tests.tenants import Login, Tenancy, allow, make_tenancy, policy, sdk, trust

DENIED = ("AccessDenied", 403)
TAGGING = "x-amz-tagging"


@pytest.fixture(scope="module")
def tenancy(server: Server) -> Tenancy:
    """A tenant of these tests."""
    return make_tenancy(server)


@pytest.fixture(scope="module")
def iam(server: Server, tenancy: Tenancy) -> Any:
    """Its administrator's client."""
    return sdk(server, "iam", tenancy.admin)


@pytest.fixture(scope="module")
def limit(iam: Any) -> str:
    """A boundary, by its ARN."""
    document = policy(allow(["s3:Get*", "iam:*"]))
    made = iam.create_policy(PolicyName=fresh_name("limit"), PolicyDocument=document)
    arn: str = made["Policy"]["Arn"]
    return arn


def _login(server: Server, iam: Any, *statements: dict[str, Any]) -> tuple[str, Login]:
    """Make a user who may do this."""
    name = fresh_name("user")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
    given = iam.create_access_key(UserName=name)["AccessKey"]
    server.secrets.append(given["SecretAccessKey"])
    return name, Login.of(given)


def _deny(action: str | list[str], resource: str = "*", **condition: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, "Condition": condition}


def test_s33_a_delegate_makes_and_changes_bounded_people_only(
    server: Server, iam: Any, limit: str
) -> None:
    """AWS's own example of delegation: within the boundary everything, beyond it nothing."""
    bounded = {"StringEquals": {"iam:PermissionsBoundary": limit}}
    actions = [
        *("iam:CreateUser", "iam:CreateRole", "iam:*Boundary"),
        *("iam:AttachUserPolicy", "iam:PutUserPolicy", "iam:DetachUserPolicy"),
        *("iam:DeleteUserPolicy", "iam:AttachRolePolicy", "iam:PutRolePolicy"),
    ]
    name, login = _login(server, iam, allow(actions, Condition=bounded))
    mine, free, role = fresh_name("mine"), fresh_name("free"), fresh_name("role")
    iam.create_user(UserName=free)
    by = sdk(server, "iam", login, parameter_validation=False)
    by.create_user(UserName=mine, PermissionsBoundary=limit)
    everything = policy(allow("*"))
    shipped = "arn:aws:iam::aws:policy/holdfast/tenant-admin"
    by.put_user_policy(UserName=mine, PolicyName="p", PolicyDocument=everything)
    by.attach_user_policy(UserName=mine, PolicyArn=shipped)
    by.detach_user_policy(UserName=mine, PolicyArn=shipped)
    by.delete_user_policy(UserName=mine, PolicyName="p")
    trusted = trust({"AWS": "*"})
    by.create_role(RoleName=role, AssumeRolePolicyDocument=trusted, PermissionsBoundary=limit)
    by.attach_role_policy(RoleName=role, PolicyArn=shipped)
    for other in (free, name):
        for change, more in (
            (by.put_user_policy, {"PolicyName": "p", "PolicyDocument": everything}),
            (by.attach_user_policy, {"PolicyArn": shipped}),
            (by.put_user_permissions_boundary, {"PermissionsBoundary": shipped}),
        ):
            assert refusal(change, UserName=other, **more) == DENIED
    other_role = fresh_name("role")
    iam.create_role(RoleName=other_role, AssumeRolePolicyDocument=trusted)
    assert refusal(by.attach_role_policy, RoleName=other_role, PolicyArn=shipped) == DENIED
    assert refusal(by.create_user, UserName=fresh_name("new")) == DENIED
    empty = {"PermissionsBoundary": ""}  # which a form may say and no SDK does
    assert refusal(by.create_user, UserName=fresh_name("new"), **empty) == DENIED


def test_s33_a_denied_boundary_is_not_lifted_nor_left_out(
    server: Server, iam: Any, limit: str
) -> None:
    """A Deny by the boundary that somebody has, and one of people without any."""
    kept = _deny("iam:Delete*PermissionsBoundary", StringEquals={"iam:PermissionsBoundary": limit})
    needed = _deny(["iam:CreateUser", "iam:CreateRole"], Null={"iam:PermissionsBoundary": "true"})
    _, login = _login(server, iam, allow("iam:*"), kept, needed)
    by = sdk(server, "iam", login, parameter_validation=False)
    bounded, role = fresh_name("bounded"), fresh_name("role")
    iam.create_user(UserName=bounded, PermissionsBoundary=limit)
    iam.create_role(
        RoleName=role,
        AssumeRolePolicyDocument=trust({"AWS": "*"}),
        PermissionsBoundary=limit,
    )
    assert refusal(by.delete_user_permissions_boundary, UserName=bounded) == DENIED
    assert refusal(by.delete_role_permissions_boundary, RoleName=role) == DENIED
    for new in ({}, {"PermissionsBoundary": ""}):
        assert refusal(by.create_user, UserName=fresh_name("new"), **new) == DENIED
    by.create_user(UserName=fresh_name("new"), PermissionsBoundary=limit)


def test_s33_a_policy_that_is_protected_by_its_tag_stays_as_it_is(server: Server, iam: Any) -> None:
    """aws:ResourceTag is the policy's, as it is the user's and the role's."""
    tagged = {"aws:ResourceTag/protected": "yes"}
    _, login = _login(
        server,
        iam,
        allow("iam:*"),
        _deny("iam:*Policy*", "arn:aws:iam::*:policy/*", StringEquals=tagged),
    )
    by = sdk(server, "iam", login, parameter_validation=False)
    arns = []
    for tags in ([{"Key": "Protected", "Value": "yes"}], []):
        made = iam.create_policy(
            PolicyName=fresh_name("p"), PolicyDocument=policy(allow("s3:Get*")), Tags=tags
        )
        arns.append(made["Policy"]["Arn"])
    wider = {"PolicyDocument": policy(allow("*")), "SetAsDefault": True}
    assert refusal(by.create_policy_version, PolicyArn=arns[0], **wider) == DENIED
    assert refusal(by.untag_policy, PolicyArn=arns[0], TagKeys=["Protected"]) == DENIED
    assert refusal(by.delete_policy, PolicyArn=arns[0]) == DENIED
    by.create_policy_version(PolicyArn=arns[1], **wider)
    iam.untag_policy(PolicyArn=arns[0], TagKeys=["protected"])
    by.create_policy_version(PolicyArn=arns[0], **wider)


def test_s42_a_simulation_is_of_the_one_who_was_asked_about(
    server: Server, tenancy: Tenancy, iam: Any
) -> None:
    """Another path or other letters are another ARN, and lead to nobody."""
    secret = fresh_name("secret")
    iam.create_user(UserName=secret, Path="/hidden/")
    iam.create_group(GroupName=secret, Path="/hidden/")
    account = f"arn:aws:iam::{tenancy.account}"
    _, login = _login(
        server,
        iam,
        allow(["iam:SimulatePrincipalPolicy", "iam:GetContextKeys*"]),
        {"Effect": "Deny", "Action": "*", "Resource": f"{account}:*/hidden/{secret}"},
    )
    by = sdk(server, "iam", login, parameter_validation=False)
    for kind in ("user", "group"):
        assert (
            refusal(
                by.simulate_principal_policy,
                PolicySourceArn=f"{account}:{kind}/hidden/{secret}",
                ActionNames=["s3:GetObject"],
            )
            == DENIED
        )
        for other in (f"hidden/{secret.upper()}", f"seen/{secret}", secret):
            for ask, more in (
                (by.simulate_principal_policy, {"ActionNames": ["s3:GetObject"]}),
                (by.get_context_keys_for_principal_policy, {}),
            ):
                source = {"PolicySourceArn": f"{account}:{kind}/{other}"}
                assert refusal(ask, **source, **more) == ("NoSuchEntity", 404)


def test_s33_a_tag_that_was_allowed_reads_as_no_other(
    server: Server, tenancy: Tenancy, iam: Any
) -> None:
    """Names of tags that differ by case alone are one key of conditions, with one value."""
    admin, bucket = sdk(server, "s3", tenancy.admin), fresh_name("bucket")
    admin.create_bucket(Bucket=bucket)
    admin.put_object(Bucket=bucket, Key="k", Body=b"secret")
    arn = f"arn:aws:s3:::{bucket}/*"
    _, login = _login(
        server,
        iam,
        allow(
            "s3:PutObjectTagging",
            arn,
            Condition={"StringEquals": {"s3:RequestObjectTag/class": "secret"}},
        ),
        allow(
            "s3:GetObject",
            arn,
            Condition={"StringEquals": {"s3:ExistingObjectTag/class": "public"}},
        ),
    )
    s3 = sdk(server, "s3", login)
    secret, public = {"Key": "Class", "Value": "secret"}, {"Key": "class", "Value": "public"}
    for both in ([secret, public], [public, secret]):
        with suppress(ClientError):  # one order may be written, and is read as it was written
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": both})
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.get_object(Bucket=bucket, Key="k")


def test_s28_a_header_names_no_tags_of_what_has_others(
    server: Server, tenancy: Tenancy, iam: Any
) -> None:
    """A tag that only a header says satisfies no condition where the header is not obeyed."""
    admin, bucket = sdk(server, "s3", tenancy.admin), fresh_name("bucket")
    admin.create_bucket(Bucket=bucket)
    admin.put_object(Bucket=bucket, Key="k", Body=b"kept", Tagging="class=secret")
    admin.put_object(Bucket=bucket, Key="source", Body=b"other", Tagging="class=secret")
    arn = f"arn:aws:s3:::{bucket}/*"
    public = {"StringEquals": {"s3:RequestObjectTag/class": "public"}}
    _, login = _login(
        server,
        iam,
        allow(
            ["s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObjectTagging"], arn, Condition=public
        ),
        allow(["s3:GetObject", "s3:DeleteObject"], arn),
    )
    s3 = sdk(server, "s3", login)
    s3.meta.events.register(
        "before-sign.s3", lambda request, **_: request.headers.add_header(TAGGING, "class=public")
    )
    for tags in ([], [{"Key": "other", "Value": "x"}], [{"Key": "class", "Value": "secret"}]):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object_tagging(Bucket=bucket, Key="k")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.rename_object(Bucket=bucket, Key="renamed", RenameSource="source")
    assert admin.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [
        {"Key": "class", "Value": "secret"}
    ]
    s3.put_object(Bucket=bucket, Key="k", Body=b"new")
    s3.put_object_tagging(
        Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "class", "Value": "public"}]}
    )
    assert admin.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [
        {"Key": "class", "Value": "public"}
    ]


def test_s28_a_header_says_nothing_where_it_is_passed_over(
    server: Server, tenancy: Tenancy, iam: Any
) -> None:
    """The ownership of a bucket that is there already; the list of an object that is renamed."""
    admin, bucket = sdk(server, "s3", tenancy.admin), fresh_name("bucket")
    admin.create_bucket(Bucket=bucket)
    admin.put_object(Bucket=bucket, Key="k", Body=b"kept")
    arn, enforced = f"arn:aws:s3:::{bucket}", "BucketOwnerEnforced"
    _, login = _login(
        server,
        iam,
        allow(
            "s3:PutBucketOwnershipControls",
            arn,
            Condition={"StringEquals": {"s3:x-amz-object-ownership": enforced}},
        ),
        allow(
            "s3:PutObject",
            f"{arn}/*",
            Condition={"StringEquals": {"s3:x-amz-storage-class": "STANDARD"}},
        ),
        allow(["s3:GetObject", "s3:DeleteObject"], f"{arn}/*"),
    )
    s3 = sdk(server, "s3", login)

    def add(request: Any, **_: Any) -> None:
        request.headers.add_header("x-amz-object-ownership", enforced)
        request.headers.add_header("x-amz-storage-class", "STANDARD")

    s3.meta.events.register("before-sign.s3", add)
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.rename_object(Bucket=bucket, Key="renamed", RenameSource="k")
    s3.put_object(Bucket=bucket, Key="new", Body=b"new")


def test_s33_a_service_account_is_its_parent_at_every_door(
    server: Server, tenancy: Tenancy, iam: Any
) -> None:
    """Called as somebody else is: refused by S3, by the simulator and by explain alike."""
    admin, bucket = sdk(server, "s3", tenancy.admin), fresh_name("bucket")
    admin.create_bucket(Bucket=bucket)
    robot, home = fresh_name("robot"), f"arn:aws:s3:::{bucket}/${{aws:username}}/*"
    parent, _ = _login(server, iam, allow("s3:*", home))
    where = ("--tenant", tenancy.name)
    server.command("user", "create", robot, *where, "--parent", parent)
    iam.put_user_policy(UserName=robot, PolicyName="own", PolicyDocument=policy(allow("s3:*")))
    given = iam.create_access_key(UserName=robot)["AccessKey"]
    server.secrets.append(given["SecretAccessKey"])
    s3 = sdk(server, "s3", Login.of(given))
    arn = f"arn:aws:iam::{tenancy.account}:user/{robot}"
    for folder, allowed in ((parent, True), (robot, False)):
        key = f"{folder}/k"
        if allowed:
            s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        else:
            with pytest.raises(ClientError, match="AccessDenied"):
                s3.put_object(Bucket=bucket, Key=key, Body=b"x")
        resource = f"arn:aws:s3:::{bucket}/{key}"
        tried = iam.simulate_principal_policy(
            PolicySourceArn=arn, ActionNames=["s3:PutObject"], ResourceArns=[resource]
        )["EvaluationResults"][0]
        assert (tried["EvalDecision"] == "allowed") is allowed
        asked = ("--principal", robot, "--action", "s3:PutObject", "--resource", resource)
        told = json.loads(server.command("explain", *where, *asked, "--json").stdout)
        assert told["allowed"] is allowed
