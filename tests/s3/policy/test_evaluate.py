"""Decisions: the golden table, and that every way to ask gives the same answer."""

import functools
import json
import random
import re
from typing import Any

import msgspec
import pytest

from storage_server.s3.policy import shipped
from storage_server.s3.policy.document import PolicyKind, load, parse
from storage_server.s3.policy.evaluate import (
    Caller,
    Outcome,
    Policies,
    PolicySet,
    Question,
    Reason,
    Side,
    decide,
    explain,
    simulate,
)
from tests.s3.policy import golden
from tests.s3.policy.golden import bucket_policy, policy_set, question, statement

ROWS = golden.rows()


# --- The golden table -----------------------------------------------------------------------------


def test_the_table_is_long_enough_and_says_where_each_row_is_from() -> None:
    """A row without a page would be an opinion."""
    assert len(ROWS) >= 400
    assert all(row.source for row in ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert 300 < sum(row.expected for row in ROWS) < len(ROWS) - 300


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_decisions_are_as_documented(row: golden.Row) -> None:
    """The three ways to ask agree with the page."""
    assert decide(row.question, row.policies).allowed is row.expected, explain(
        row.question, row.policies
    ).lines()
    assert explain(row.question, row.policies).decision == decide(row.question, row.policies)
    assert (simulate(row.question, row.policies).decision == "allowed") is row.expected


# --- Random triples against a second, naive evaluator ---------------------------------------------

_NAMES = ("ana", "ben", "a*", "x")
_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:GetObjectAcl", "iam:GetUser")
_ACTION_PATTERNS = (*_ACTIONS, "*", "s3:*", "s3:Get*", "S3:?utObject", "s3:*Object")
_RESOURCES = tuple(
    f"arn:aws:s3:::{path}" for path in ("b", "b2", "b/k", "b/ana/x", "b/ben/x", "b/a*/x", "c/k.jpg")
)
_RESOURCE_PATTERNS = (
    *("*", "arn:aws:s3:::*", "arn:aws:s3:::b*", "arn:aws:s3:::b/*"),
    "arn:aws:s3:::b/${aws:username}/*",
    *("arn:aws:s3:::*/k*", "arn:aws:s3:::?/?", "arn:aws:s3:::b/*/x", "arn:aws:s3:::c/*.jpg"),
    *("arn:aws:s3:::b", "arn:aws:s3:::b/k", "arn:aws:s3:::*a*/*"),
)  # fmt: skip


@functools.cache
def _regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    written = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(written, flags | re.DOTALL)


def _naive_holds(one: dict[str, Any], name: str | None, prefix: str | None) -> bool:
    given = {"aws:username": name, "s3:prefix": prefix}
    for operator, block in one.get("Condition", {}).items():
        for key, values in block.items():
            value = given[key]
            if value is None:
                if operator not in ("StringNotEquals", "StringEqualsIfExists"):
                    return False
                continue
            if operator == "StringLike":
                matched = any(_regex(each).fullmatch(value) for each in values)
            else:
                matched = value in values
            if matched is (operator == "StringNotEquals"):
                return False
    return True


def _naive_applies(
    one: dict[str, Any], action: str, resource: str, name: str | None, prefix: str | None
) -> bool:
    negated = "NotAction" in one
    names = one["NotAction" if negated else "Action"]
    if any(_regex(each, re.IGNORECASE).fullmatch(action) for each in names) is negated:
        return False
    negated = "NotResource" in one
    covered = False
    for each in one["NotResource" if negated else "Resource"]:
        if "${" not in each:
            covered = covered or _regex(each).fullmatch(resource) is not None
        elif name is not None:
            head, tail = each.split("${aws:username}")
            covered = covered or (
                resource.startswith(head + name)
                and _regex(tail).fullmatch(resource[len(head + name) :]) is not None
            )
    return covered is not negated and _naive_holds(one, name, prefix)


def _random_statement(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": "Deny" if rng.random() < 0.25 else "Allow"}
    made[rng.choice(("Action", "Action", "Action", "NotAction"))] = rng.sample(_ACTION_PATTERNS, 2)
    made[rng.choice(("Resource", "Resource", "Resource", "NotResource"))] = rng.sample(
        _RESOURCE_PATTERNS, rng.randint(1, 3)
    )
    if rng.random() < 0.5:
        operator = rng.choice(
            ("StringEquals", "StringLike", "StringNotEquals", "StringEqualsIfExists")
        )
        key = rng.choice(("aws:username", "s3:prefix"))
        made["Condition"] = {operator: {key: rng.sample(_NAMES, 2)}}
    return made


def test_all_ways_to_ask_agree_with_each_other_and_with_a_naive_evaluator() -> None:
    """20,000 random questions about 1,000 random policies."""
    rng = random.Random(20_261_017)
    allowed = 0
    for _ in range(1000):
        statements = [_random_statement(rng) for _ in range(rng.randint(1, 6))]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        policies = Policies(identity=PolicySet.of([("p", parse(document, PolicyKind.IDENTITY))]))
        for _ in range(20):
            action, resource = rng.choice(_ACTIONS), rng.choice(_RESOURCES)
            name, prefix = rng.choice((*_NAMES, None)), rng.choice((*_NAMES, None))
            context = {
                key: (value,)
                for key, value in (("aws:username", name), ("s3:prefix", prefix))
                if value is not None
            }
            asked = Question(golden.ANA_USER, action, resource, context.get, golden.ACCOUNT)
            applying = [
                one["Effect"]
                for one in statements
                if _naive_applies(one, action, resource, name, prefix)
            ]
            expected = "Deny" not in applying and "Allow" in applying
            decision = decide(asked, policies)
            assert decision.allowed is expected, (statements, action, resource, context)
            assert explain(asked, policies).decision == decision
            simulated = simulate(asked, policies).decision
            assert simulated == (
                "allowed" if expected else "explicitDeny" if "Deny" in applying else "implicitDeny"
            )
            allowed += expected
    assert 3000 < allowed < 17_000


def test_random_layers_keep_the_laws() -> None:
    """A Deny anywhere denies; no ceiling is passed by anything that the order does not name."""
    rng = random.Random(7)
    letters = ".0ADBO"
    named = ("-", "account", "ana", "role", "session", "everyone", "eve", "other", "ben")
    callers = (golden.ANA_USER, golden.SESSION, golden.ROOT, golden.EVE_USER, golden.ANONYMOUS)
    for _ in range(10_000):
        identity, boundary, session, tenant, owner = (
            golden._layer(rng.choice(letters), PolicyKind.IDENTITY) for _ in range(5)
        )
        who = rng.choice(named)
        bucket = None if who == "-" else bucket_policy(who)
        policies = Policies(
            identity=identity,
            boundary=boundary,
            session=() if session is None else (session,),
            tenant=tenant,
            owner_tenant=owner,
            bucket=bucket,
            sharing=rng.random() < 0.5,
        )
        caller = rng.choice(callers)
        asked = question(caller)
        decision = decide(asked, policies)
        trace = explain(asked, policies)
        assert trace.decision == decision
        assert (simulate(asked, policies).decision == "allowed") is decision.allowed
        layers = [each for each in (identity, boundary, session, tenant, owner) if each is not None]
        denies = any(each.relevant("s3:getobject").denies for each in layers)
        assert not (denies and decision.allowed)
        if tenant is not None and not tenant.relevant("s3:getobject").allows:
            assert not decision.allowed or caller.kind == "anonymous"
        if caller is golden.EVE_USER and (
            bucket is None or who not in ("eve", "other", "everyone")
        ):
            assert not decision.allowed
        if caller is golden.ANONYMOUS:
            assert decision.allowed is (who == "everyone" and not denies)


# --- Reasons and traces ---------------------------------------------------------------------------


def test_each_refusal_has_its_reason() -> None:
    """What a person is told has to be what was missing."""
    allowing, other = policy_set(statement()), policy_set(statement(action="s3:PutObject"))
    eve = question(golden.EVE_USER)
    for asked, policies, reason in (
        (question(), Policies(identity=policy_set(statement("Deny"))), Reason.EXPLICIT_DENY),
        (question(), Policies(), Reason.NO_ALLOW),
        (question(), Policies(identity=allowing, boundary=other), Reason.BOUNDARY),
        (question(), Policies(identity=allowing, session=(other,)), Reason.SESSION),
        (question(), Policies(identity=allowing, parent=(other,)), Reason.PARENT),
        (question(), Policies(identity=allowing, tenant=other), Reason.TENANT_POLICY),
        (question(golden.ANONYMOUS), Policies(), Reason.NO_RESOURCE_ALLOW),
        (eve, Policies(identity=allowing), Reason.NO_RESOURCE_ALLOW),
        (eve, Policies(identity=allowing, bucket=bucket_policy("eve")), Reason.NOT_SHARED),
        (eve, Policies(sharing=True, bucket=bucket_policy("eve")), Reason.NO_IDENTITY_ALLOW),
        (
            eve,
            Policies(
                identity=allowing,
                bucket=bucket_policy("everyone"),
                is_policy_public=True,
                restrict_public_buckets=True,
            ),
            Reason.RESTRICT_PUBLIC,
        ),
        (
            question(golden.EVE_USER, "s3:PutBucketPolicy", golden.BUCKET,
                     is_bucket_policy_administration=True),
            Policies(identity=allowing, bucket=bucket_policy("eve"), sharing=True),
            Reason.FOREIGN_ADMINISTRATION,
        ),
        (
            question(golden.EVE_USER, "s3:PutBucketPolicy", golden.BUCKET,
                     is_bucket_policy_administration=True),
            Policies(identity=allowing, sharing=True),
            Reason.NO_RESOURCE_ALLOW,
        ),
    ):  # fmt: skip
        assert decide(asked, policies).reason is reason


def test_a_trace_names_the_statement_the_condition_and_the_value() -> None:
    """Enough to mend the policy without guessing."""
    block = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    trace = explain(
        question(context={"aws:sourceip": ("9.9.9.9",)}),
        Policies(identity=policy_set(statement(Sid="Office", Condition=block))),
    )
    assert not trace.decision.allowed
    (considered,) = trace.considered
    assert considered.outcome is Outcome.CONDITION
    assert considered.sid == "Office"
    assert considered.values == ("9.9.9.9",)
    told = "\n".join(trace.lines())
    for word in ("Denied", "Office", "aws:sourceip", "10.0.0.0/8", "9.9.9.9"):
        assert word in told


@pytest.mark.parametrize(
    ("given", "prefix", "resource"),
    [
        ({"aws:username": ("ana",)}, "'ana-*'", "'arn:aws:s3:::b/ana/*'"),
        ({}, *["nothing: no single value for aws:username"] * 2),
    ],
)
def test_a_trace_tells_what_a_variable_stood_for(
    given: dict[str, tuple[str, ...]], prefix: str, resource: str
) -> None:
    """In a condition and in a resource, beside the text as it is written."""
    block = {"StringLike": {"s3:prefix": ["shared", "${aws:UserName}-*"]}}
    resources = ["arn:aws:s3:::x", "arn:aws:s3:::b/${aws:UserName}/*"]
    identity = policy_set(statement(Condition=block), statement(Resource=resources))
    asked = question(context={"s3:prefix": ("ben-1",), **given})
    told = explain(asked, Policies(identity=identity)).lines()
    assert any(
        f"wants 'shared', '${{aws:UserName}}-*' (here {prefix}); it" in line for line in told
    )
    elsewhere = f"about other resources: 'arn:aws:s3:::b/${{aws:UserName}}/*' (here {resource})"
    assert any(line.endswith(elsewhere) for line in told)


def test_a_variable_tells_nothing_of_the_other_side() -> None:
    """Neither the tags of an object to a stranger, nor the tags of a stranger to the owner."""
    context = {
        "s3:existingobjecttag/secret": ("plans",),
        "aws:principaltag/team": ("spies",),
        "aws:username": ("eve",),
    }
    block = {"StringEquals": {"aws:username": "${s3:ExistingObjectTag/secret}"}}
    trace = explain(
        question(golden.EVE_USER, context=context),
        Policies(
            identity=policy_set(statement(Condition=block)),
            bucket=bucket_policy("eve", Resource="arn:aws:s3:::b/${aws:PrincipalTag/team}/*"),
            sharing=True,
        ),
    )
    mine, theirs = ("\n".join(trace.only(side).lines()) for side in (Side.CALLER, Side.OWNER))
    whole = "\n".join(trace.lines())
    assert "spies" in whole
    assert "(here 'arn:aws:s3:::b/(not shown)/*')" in theirs
    assert "spies" not in theirs
    assert "plans" not in mine


def test_a_stranger_is_shown_nothing_of_the_other_side() -> None:
    """The owner's statements, tags and ids stay with the owner, and the reason is one sentence."""
    mine = statement(Condition={"StringEquals": {"s3:ExistingObjectTag/secret": "x"}}, Sid="Mine")
    trace = explain(
        question(golden.EVE_USER, context={"s3:existingobjecttag/secret": ("plans",)}),
        Policies(
            identity=policy_set(mine, statement()),
            bucket=bucket_policy("eve", Sid="Theirs"),
            sharing=False,
        ),
    )
    told = "\n".join(trace.only(Side.CALLER).lines())
    assert "Theirs" not in told
    assert "shar" not in told
    assert "denied by the resource's owner" in told
    shown = explain(
        question(golden.EVE_USER, context={"s3:existingobjecttag/secret": ("plans",)}),
        Policies(
            identity=policy_set(mine), bucket=bucket_policy("eve", Sid="Theirs"), sharing=True
        ),
    ).only(Side.CALLER)
    assert "Mine" in "\n".join(shown.lines())
    assert "plans" not in "\n".join(shown.lines())
    assert "plans" not in str(shown.context)


def test_the_request_is_asked_for_a_key_at_most_once_and_only_when_needed() -> None:
    """Reading an object's tags is worth doing when a policy asks for them, and once."""
    asked: list[str] = []

    def context(key: str) -> tuple[str, ...] | None:
        asked.append(key)
        return ("x",)

    block = {"StringEquals": {"s3:ExistingObjectTag/a": "y"}}
    many = policy_set(*(statement(Sid=f"S{n}", Condition=block) for n in range(5)))
    question_ = Question(golden.ANA_USER, "s3:GetObject", golden.KEY, context, golden.ACCOUNT)
    decide(question_, Policies(identity=many))
    assert asked == ["s3:existingobjecttag/a"]
    decide(question_, Policies(identity=policy_set(statement())))
    assert len(asked) == 1


def test_a_simulation_names_what_matched_and_what_was_missing() -> None:
    """What SimulatePrincipalPolicy answers with."""
    block = {"StringEquals": {"aws:username": "ana"}}
    missing = simulate(question(), Policies(identity=policy_set(statement(Condition=block))))
    assert missing.decision == "implicitDeny"
    assert missing.missing_context == ("aws:username",)
    matched = simulate(
        question(),
        Policies(identity=policy_set(statement(Sid="Yes")), boundary=policy_set(statement())),
    )
    assert matched.decision == "allowed"
    assert [each.sid for each in matched.matched] == ["Yes", ""]
    assert matched.allowed_by_boundary is True
    denied = simulate(question(), Policies(identity=policy_set(statement(), statement("Deny"))))
    assert denied.decision == "explicitDeny"
    assert [each.is_allow for each in denied.matched] == [False]


def test_empty_ids_match_no_caller() -> None:
    """An anonymous caller has no ids, and an empty one must not be anybody's."""
    policies = Policies(bucket=bucket_policy("ana"), sharing=True)
    for caller in (Caller("anonymous"), Caller("user"), Caller("role"), Caller("root")):
        assert not decide(question(caller, resource_account=""), policies).allowed


def test_a_session_of_a_user_is_not_named_past_its_session_policy() -> None:
    """Only a role's session has a name of its own; a user's stays under its session policy."""
    caller = msgspec.structs.replace(golden.ANA_USER, session_id=golden.ANA)
    policies = Policies(
        session=(policy_set(statement(action="s3:PutObject")),), bucket=bucket_policy("ana")
    )
    assert decide(question(caller), policies).reason is Reason.SESSION


def test_a_set_does_not_grow_with_the_actions_it_is_asked_about() -> None:
    """A simulator may ask about anything."""
    many = policy_set(statement())
    for number in range(5000):
        many.relevant(f"s3:action{number}")
    assert len(many._by_action) <= 512


# --- The shipped policies -------------------------------------------------------------------------


def _shipped(name: str) -> PolicySet:
    document = shipped.SHIPPED[shipped.arn_of(name)]
    assert parse(document, PolicyKind.IDENTITY) == load(document, PolicyKind.IDENTITY)
    return PolicySet.of([(name, parse(document, PolicyKind.IDENTITY))])


def _facts(resource_owner: str, resource_account: str) -> dict[str, tuple[str, ...]]:
    return {
        "holdfast:principalowner": (golden.ANA_ID,),
        "aws:principalaccount": (golden.ACCOUNT,),
        "aws:principalarn": (f"arn:aws:iam::{golden.ACCOUNT}:user/ana",),
        "aws:username": ("ana",),
        **({"holdfast:resourceowner": (resource_owner,)} if resource_owner else {}),
        **({"aws:resourceaccount": (resource_account,)} if resource_account else {}),
    }


_OWN_ARN = f"arn:aws:iam::{golden.ACCOUNT}:user/ana"
_OWN_TENANT = f"arn:aws:holdfast::{golden.ACCOUNT}:settings"

# Action, resource, its owner and account; then global-admin, tenant-admin, user, read-only, guest.
_SHIPPED_TABLE: list[tuple[str, str, str, str, str]] = [
    ("s3:GetObject", golden.KEY, golden.ANA_ID, golden.ACCOUNT, "+ + + + -"),
    ("s3:PutObject", golden.KEY, golden.ANA_ID, golden.ACCOUNT, "+ + + - -"),
    ("s3:PutBucketPolicy", golden.BUCKET, golden.ANA_ID, golden.ACCOUNT, "+ + + - -"),
    ("s3:GetObject", golden.KEY, golden.BEN_ID, golden.ACCOUNT, "+ + - + -"),
    ("s3:PutObject", golden.KEY, golden.BEN_ID, golden.ACCOUNT, "+ + - - -"),
    ("s3:CreateBucket", golden.BUCKET, "", "", "+ + + - -"),
    ("s3:ListAllMyBuckets", "*", "", "", "+ + - + -"),
    ("holdfast:ListOwnBuckets", "*", "", "", "+ + + + +"),
    ("iam:CreateUser", f"arn:aws:iam::{golden.ACCOUNT}:user/x", "", "", "+ + - - -"),
    ("iam:CreateAccessKey", _OWN_ARN, "", "", "+ + + + -"),
    ("iam:CreateAccessKey", _OWN_ARN + "x", "", "", "+ + - - -"),
    ("iam:GetUser", _OWN_ARN, "", "", "+ + + + +"),
    ("iam:AttachUserPolicy", _OWN_ARN, "", "", "+ + - - -"),
    ("sts:GetCallerIdentity", "*", "", "", "+ + + + +"),
    ("holdfast:PutSetting", _OWN_TENANT, "", "", "+ + - - -"),
    ("holdfast:PutSetting", "arn:aws:holdfast::222222222222:settings", "", "", "+ - - - -"),
    ("holdfast:PutSetting", "arn:aws:holdfast:::settings", "", "", "+ - - - -"),
]


@pytest.mark.parametrize("row", _SHIPPED_TABLE, ids=lambda row: f"{row[0]} {row[2][:1]} {row[1]}")
def test_shipped_policies_allow_what_their_names_say(row: tuple[str, str, str, str, str]) -> None:
    """A user owns what it owns and no more; a tenant's admin stops at the tenant."""
    action, resource, owner, account, expected = row
    for name, sign in zip(
        ("global-admin", "tenant-admin", "user", "read-only", "guest"),
        expected.split(),
        strict=True,
    ):
        asked = question(action=action, resource=resource, context=_facts(owner, account))
        allowed = decide(asked, Policies(identity=_shipped(name))).allowed
        assert allowed is (sign == "+"), name


def test_a_user_reaches_another_tenant_only_when_that_side_allows() -> None:
    """The shipped policy lets the other side decide, and only the other side."""
    asked = question(
        golden.EVE_USER,
        context={
            "holdfast:resourceowner": (golden.ANA_ID,),
            "holdfast:principalowner": (golden.EVE_ID,),
            "aws:resourceaccount": (golden.ACCOUNT,),
            "aws:principalaccount": (golden.OTHER,),
        },
    )
    for name in ("user", "guest"):
        alone = Policies(identity=_shipped(name), sharing=True)
        assert not decide(asked, alone).allowed
        both = msgspec.structs.replace(alone, bucket=bucket_policy("eve"))
        assert decide(asked, both).allowed


def test_no_other_shipped_policies_exist() -> None:
    """Their ARNs are stored with users and must not change."""
    assert {arn.removeprefix(shipped.ARN_PREFIX) for arn in shipped.SHIPPED} == {
        *("global-admin", "tenant-admin", "user", "read-only", "guest"),
    }
    with pytest.raises(KeyError):
        shipped.arn_of("root")
