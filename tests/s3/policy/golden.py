"""The golden truth table: policy decisions as AWS documents them, row by row.

A row has everything that a decision sees, and the page that its expectation is from. Rows are
written in families: one line says what varies and what comes of it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from storage_server.s3.policy import acl as acls
from storage_server.s3.policy.document import PolicyKind, Statement, parse
from storage_server.s3.policy.evaluate import Caller, Policies, PolicySet, Question

# --- Who takes part -------------------------------------------------------------------------------

ACCOUNT, OTHER = "111111111111", "222222222222"
ANA, BEN, EVE = "AIDAANA0000000000001", "AIDABEN0000000000001", "AIDAEVE0000000000001"
ROLE = "AROAROLE000000000001"
ANA_ID, BEN_ID, EVE_ID = "a" * 64, "b" * 64, "e" * 64
TENANT_ID, OTHER_TENANT_ID = "1" * 64, "2" * 64

ANONYMOUS = Caller("anonymous")
ANA_USER = Caller("user", ACCOUNT, ANA, ANA_ID, account_canonical_id=TENANT_ID)
BEN_USER = Caller("user", ACCOUNT, BEN, BEN_ID, account_canonical_id=TENANT_ID)
ROOT = Caller("root", ACCOUNT, ACCOUNT, TENANT_ID, account_canonical_id=TENANT_ID)
SESSION = Caller(
    "role", ACCOUNT, ROLE, TENANT_ID, session_id=f"{ROLE}:work", account_canonical_id=TENANT_ID
)
EVE_USER = Caller("user", OTHER, EVE, EVE_ID, account_canonical_id=OTHER_TENANT_ID)
OTHER_ROOT = Caller("root", OTHER, OTHER, OTHER_TENANT_ID, account_canonical_id=OTHER_TENANT_ID)

BUCKET, KEY = "arn:aws:s3:::b", "arn:aws:s3:::b/k"

Context = Mapping[str, tuple[str, ...]]


class Row(msgspec.Struct, frozen=True):
    """One decision: what is asked, what has a say, what is expected, and which page says so."""

    name: str
    source: str
    question: Question
    policies: Policies
    expected: bool


# --- Pages ----------------------------------------------------------------------------------------

OPERATORS = "IAM User Guide: Condition operators"
SETS = "IAM User Guide: Set operators for multivalued context keys"
MULTIPLE = "IAM User Guide: Conditions with multiple context keys or values"
RESOURCE = "IAM User Guide: JSON policy elements: Resource"
ACTION = "IAM User Guide: JSON policy elements: Action and NotAction"
NOT_RESOURCE = "IAM User Guide: JSON policy elements: NotResource"
NOT_PRINCIPAL = "IAM User Guide: JSON policy elements: NotPrincipal"
VARIABLES = "IAM User Guide: Policy variables and tags"
LOGIC = "IAM User Guide: Policy evaluation logic"
BOUNDARIES = "IAM User Guide: Permissions boundaries, evaluating effective permissions"
SESSIONS = "IAM User Guide: Session policies"
SCP = "Organizations User Guide: SCP evaluation"
CROSS = "IAM User Guide: Cross-account policy evaluation logic"
PUBLIC = "S3 User Guide: Blocking public access"
OWNERSHIP = "S3 User Guide: How Amazon S3 authorizes a request for an object operation"
ACLS = "S3 User Guide: Access control list overview"
ROOT_POLICY = "S3 API Reference: PutBucketPolicy (the owner's root, and 405)"
TRUST = "IAM User Guide: Cross-account access using roles"


# --- Building -------------------------------------------------------------------------------------


def statement(
    effect: str = "Allow", action: Any = "s3:*", resource: Any = "*", **more: Any
) -> dict[str, Any]:
    """Return a statement of a document; ``more`` replaces or adds elements."""
    made = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return {element: value for element, value in made.items() if value is not None}


def policy_set(*statements: dict[str, Any], kind: PolicyKind = PolicyKind.IDENTITY) -> PolicySet:
    """Return statements as one policy of a kind, parsed as any other."""
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    bucket = "b" if kind is PolicyKind.BUCKET else ""
    return PolicySet.of([(kind.value, parse(json.dumps(document), kind, bucket=bucket))])


def question(
    caller: Caller = ANA_USER,
    action: str = "s3:GetObject",
    resource: str = KEY,
    context: Context | None = None,
    **more: Any,
) -> Question:
    """Return a question about the bucket ``b`` of the first account."""
    facts = {} if context is None else context
    more.setdefault("resource_account", ACCOUNT)
    return Question(caller, action, resource, facts.get, **more)


def _asked(expected: str) -> bool:
    return {"+": True, "-": False}[expected]


def _condition_row(
    name: str, source: str, operator: str, key: str, values: Any, context: Context, expected: str
) -> Row:
    allowing = policy_set(statement(Condition={operator: {key: values}}))
    return Row(
        name, source, question(context=context), Policies(identity=allowing), _asked(expected)
    )


# --- Conditions -----------------------------------------------------------------------------------

# operator, values of the policy, then the values of the request with what comes of each;
# None is an absent key.
_OPERATOR_FAMILIES: list[tuple[str, Any, list[tuple[str | None, str]]]] = [
    ("StringEquals", "ana", [("ana", "+"), ("Ana", "-"), ("an", "-"), (None, "-"), ("", "-")]),
    ("StringEquals", ["ana", "ben"], [("ana", "+"), ("ben", "+"), ("eve", "-"), (None, "-")]),
    ("StringEquals", "a*", [("a*", "+"), ("ana", "-")]),
    ("StringNotEquals", "ana", [("ana", "-"), ("Ana", "+"), (None, "+")]),
    ("StringNotEquals", ["ana", "ben"], [("ana", "-"), ("ben", "-"), ("eve", "+"), (None, "+")]),
    ("StringEqualsIgnoreCase", "Ana", [("ana", "+"), ("ANA", "+"), ("ben", "-"), (None, "-")]),
    ("StringNotEqualsIgnoreCase", "Ana", [("ANA", "-"), ("ben", "+"), (None, "+")]),
    ("StringLike", "a*", [("a", "+"), ("ana", "+"), ("Ana", "-"), ("ba", "-"), (None, "-")]),
    ("StringLike", "a?a", [("ana", "+"), ("aa", "-"), ("anna", "-")]),
    ("StringLike", ["x*", "*z"], [("xy", "+"), ("yz", "+"), ("yy", "-")]),
    ("StringNotLike", "a*", [("ana", "-"), ("ben", "+"), (None, "+")]),
    ("StringEqualsIfExists", "ana", [("ana", "+"), ("ben", "-"), (None, "+")]),
    ("StringNotEqualsIfExists", "ana", [("ana", "-"), ("ben", "+"), (None, "+")]),
    ("StringLikeIfExists", "a*", [("ana", "+"), ("ben", "-"), (None, "+")]),
    ("NumericEquals", "10", [("10", "+"), ("10.0", "+"), ("11", "-"), ("x", "-"), (None, "-")]),
    ("NumericEquals", 10, [("10", "+"), ("9", "-")]),
    ("NumericNotEquals", "10", [("10", "-"), ("11", "+"), (None, "+")]),
    ("NumericLessThan", "10", [("9", "+"), ("9.99", "+"), ("10", "-"), (None, "-")]),
    ("NumericLessThanEquals", "10", [("10", "+"), ("10.01", "-"), ("-3", "+"), (None, "-")]),
    ("NumericGreaterThan", "10", [("11", "+"), ("10", "-"), (None, "-")]),
    ("NumericGreaterThanEquals", "10", [("10", "+"), ("9", "-"), (None, "-")]),
    ("NumericLessThanIfExists", "10", [("9", "+"), ("10", "-"), (None, "+")]),
    (
        "DateEquals",
        "2026-01-31T00:00:00Z",
        [("2026-01-31T00:00:00Z", "+"), ("2026-01-31T01:00:00+01:00", "+"), ("2026-01-31", "+")],
    ),
    ("DateNotEquals", "2026-01-31", [("2026-01-31", "-"), ("2026-02-01", "+"), (None, "+")]),
    (
        "DateLessThan",
        "2026-01-31T00:00:00Z",
        [("2026-01-30T23:59:59Z", "+"), ("2026-01-31T00:00:00Z", "-"), (None, "-"), ("x", "-")],
    ),
    ("DateLessThanEquals", "2026-01-31", [("2026-01-31", "+"), ("2026-01-31T00:00:01Z", "-")]),
    ("DateGreaterThan", "2026-01-31", [("2026-02-01", "+"), ("2026-01-31", "-"), (None, "-")]),
    ("DateGreaterThanEquals", "2026-01-31", [("2026-01-31", "+"), ("2026-01-30", "-")]),
    ("DateLessThan", "1769817600", [("2026-01-30T23:59:59Z", "+"), ("2026-01-31", "-")]),
    ("DateGreaterThan", 1769817600, [("1769817601", "+"), ("1769817600", "-")]),
    ("Bool", "true", [("true", "+"), ("false", "-"), ("True", "+"), (None, "-")]),
    ("Bool", False, [("false", "+"), ("true", "-"), (None, "-")]),
    ("BoolIfExists", "true", [("true", "+"), ("false", "-"), (None, "+")]),
    ("BinaryEquals", "QmluYXJ5", [("QmluYXJ5", "+"), ("QmluYXJ6", "-"), (None, "-")]),
    (
        "IpAddress",
        "203.0.113.0/24",
        [
            ("203.0.113.9", "+"),
            ("203.0.114.9", "-"),
            ("::ffff:203.0.113.9", "+"),
            ("2001:db8::1", "-"),
            ("x", "-"),
            (None, "-"),
        ],
    ),
    ("IpAddress", "203.0.113.9", [("203.0.113.9", "+"), ("203.0.113.8", "-")]),
    ("IpAddress", "203.0.113.9/24", [("203.0.113.77", "+")]),
    ("IpAddress", "2001:db8::/32", [("2001:db8:1::1", "+"), ("2001:db9::1", "-")]),
    ("IpAddress", "2001:DB8:1234:5678::/64", [("2001:db8:1234:5678::1", "+")]),
    ("IpAddress", "::ffff:203.0.113.0/120", [("203.0.113.9", "+"), ("203.0.114.9", "-")]),
    ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], [("10.1.1.1", "+"), ("2001:db8::1", "+")]),
    ("NotIpAddress", "203.0.113.0/24", [("203.0.113.9", "-"), ("9.9.9.9", "+"), (None, "+")]),
    ("NotIpAddress", ["10.0.0.0/8", "9.0.0.0/8"], [("9.9.9.9", "-"), ("8.8.8.8", "+")]),
    ("IpAddressIfExists", "10.0.0.0/8", [("10.0.0.1", "+"), ("9.9.9.9", "-"), (None, "+")]),
    (
        "ArnEquals",
        "arn:aws:iam::111111111111:user/*",
        [
            ("arn:aws:iam::111111111111:user/ana", "+"),
            ("arn:aws:iam::111111111111:user/a/b", "+"),
            ("arn:aws:iam::222222222222:user/ana", "-"),
            ("not an arn", "-"),
            (None, "-"),
        ],
    ),
    (
        "ArnLike",
        "arn:aws:iam::*:role/dev-?",
        [
            ("arn:aws:iam::1:role/dev-1", "+"),
            ("arn:aws:iam::1:role/dev-12", "-"),
            ("arn:aws:iam:x:1:role/dev-1", "-"),
        ],
    ),
    (
        "ArnNotEquals",
        "arn:aws:iam::111111111111:user/ana",
        [
            ("arn:aws:iam::111111111111:user/ana", "-"),
            ("arn:aws:iam::111111111111:user/ben", "+"),
            (None, "+"),
        ],
    ),
    (
        "ArnNotLike",
        "arn:aws:iam::111111111111:role/*",
        [
            ("arn:aws:iam::111111111111:role/x", "-"),
            ("arn:aws:iam::111111111111:user/x", "+"),
            (None, "+"),
        ],
    ),
    ("ArnLikeIfExists", "arn:aws:iam::*:user/a", [("arn:aws:iam::1:user/a", "+"), (None, "+")]),
    ("Null", "true", [(None, "+"), ("x", "-")]),
    ("Null", "false", [(None, "-"), ("x", "+")]),
    ("Null", True, [(None, "+"), ("x", "-")]),
    ("stringequals", "ana", [("ana", "+"), ("ben", "-")]),
]

_KEY_OF = {"ip": "aws:SourceIp", "ar": "aws:PrincipalArn", "nu": "s3:max-keys"}


def operators() -> Iterator[Row]:
    """Every operator against values, other values and absence."""
    for operator, values, given in _OPERATOR_FAMILIES:
        key = _KEY_OF.get(operator.removeprefix("Not")[:2].lower(), "aws:username")
        for value, expected in given:
            context = {} if value is None else {key.lower(): (value,)}
            name = f"{operator} {values!r} on {value!r}"
            yield _condition_row(name, OPERATORS, operator, key, values, context, expected)
    # Keys are compared without regard to case; several conditions all have to hold.
    both = {"StringEquals": {"AWS:UserName": "ana", "s3:PREFIX": "p"}}
    for user, prefix, expected in (
        ("ana", "p", "+"),
        ("ben", "p", "-"),
        ("ana", "q", "-"),
        ("ana", "", "-"),
    ):
        context = {"aws:username": (user,), "s3:prefix": (prefix,)}
        yield Row(
            f"two keys: {user} {prefix}",
            MULTIPLE,
            question(context=context),
            Policies(identity=policy_set(statement(Condition=both))),
            _asked(expected),
        )
    two = {"StringEquals": {"aws:username": "ana"}, "Bool": {"aws:SecureTransport": "true"}}
    for user, secure, expected in (("ana", "true", "+"), ("ana", "false", "-"), ("x", "true", "-")):
        context = {"aws:username": (user,), "aws:securetransport": (secure,)}
        yield Row(
            f"two operators: {user} {secure}",
            MULTIPLE,
            question(context=context),
            Policies(identity=policy_set(statement(Condition=two))),
            _asked(expected),
        )


# The key: absent, empty, contained in {a, b}, disjoint from it, overlapping it, and the empty text.
_SET_VALUES: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    ("absent", None),
    ("empty", ()),
    ("contained", ("a", "b")),
    ("disjoint", ("x", "y")),
    ("overlapping", ("a", "x")),
)
SET_TABLE: dict[str, str] = {
    "ForAllValues:StringEquals": "+ + + - -",
    "ForAllValues:StringNotEquals": "+ + - + -",
    "ForAnyValue:StringEquals": "- - + - +",
    "ForAnyValue:StringNotEquals": "- - - + +",
    "ForAllValues:StringLike": "+ + + - -",
    "ForAllValues:StringNotLike": "+ + - + -",
    "ForAnyValue:StringLike": "- - + - +",
    "ForAnyValue:StringNotLike": "- - - + +",
    "ForAllValues:StringEqualsIgnoreCase": "+ + + - -",
    "ForAnyValue:StringEqualsIgnoreCase": "- - + - +",
    "ForAllValues:StringEqualsIfExists": "+ + + - -",
    "ForAllValues:StringNotEqualsIfExists": "+ + - + -",
    "ForAnyValue:StringEqualsIfExists": "+ + + - +",
    "ForAnyValue:StringNotEqualsIfExists": "+ + - + +",
    "StringEquals": "- - + - +",
    "StringNotEquals": "+ + - + -",
    "StringLike": "- - + - +",
    "StringNotLike": "+ + - + -",
}


def set_operators() -> Iterator[Row]:
    """Quantifiers, positive and negated, against sets of values (as Allow and as Deny)."""
    for operator, expectations in SET_TABLE.items():
        for (name, values), expected in zip(_SET_VALUES, expectations.split(), strict=True):
            context: Context = {} if values is None else {"s3:requestobjecttagkeys": values}
            block = {operator: {"s3:RequestObjectTagKeys": ["a", "b"]}}
            yield Row(
                f"{operator}, {name}, allow",
                SETS,
                question(context=context),
                Policies(identity=policy_set(statement(Condition=block))),
                _asked(expected),
            )
            yield Row(
                f"{operator}, {name}, deny",
                SETS,
                question(context=context),
                Policies(identity=policy_set(statement(), statement("Deny", Condition=block))),
                not _asked(expected),
            )


# --- Actions, resources, variables ----------------------------------------------------------------

_ACTIONS: list[tuple[str, Any, str, str]] = [
    ("Action", "s3:GetObject", "s3:GetObject", "+"),
    ("Action", "s3:GetObject", "s3:GetObjectVersion", "-"),
    ("Action", "s3:GetObjectVersion", "s3:GetObject", "-"),
    ("Action", "S3:GETOBJECT", "s3:GetObject", "+"),
    ("Action", "s3:getobject", "s3:GetObject", "+"),
    ("Action", "s3:Get*", "s3:GetObjectVersion", "+"),
    ("Action", "s3:Get*", "s3:PutObject", "-"),
    ("Action", "s3:*Object", "s3:GetObject", "+"),
    ("Action", "s3:*Object", "s3:GetObjectAcl", "-"),
    ("Action", "s3:*Object*", "s3:GetObjectAcl", "+"),
    ("Action", "s3:?etObject", "s3:GetObject", "+"),
    ("Action", "s3:??tObject", "s3:PutObject", "+"),
    ("Action", "s3:??tObject", "s3:DeleteObject", "-"),
    ("Action", "*", "s3:DeleteBucket", "+"),
    ("Action", "s3:*", "iam:CreateUser", "-"),
    ("Action", "iam:*", "iam:CreateUser", "+"),
    ("Action", ["s3:ListBucket", "s3:PutObject"], "s3:PutObject", "+"),
    ("Action", ["s3:ListBucket", "s3:PutObject"], "s3:GetObject", "-"),
    ("NotAction", "s3:DeleteObject", "s3:GetObject", "+"),
    ("NotAction", "s3:DeleteObject", "s3:DeleteObject", "-"),
    ("NotAction", "s3:DeleteObject", "s3:DeleteObjectVersion", "+"),
    ("NotAction", "s3:Delete*", "s3:DeleteObjectVersion", "-"),
    ("NotAction", ["iam:*", "sts:*"], "iam:CreateUser", "-"),
    ("NotAction", ["iam:*", "sts:*"], "s3:GetObject", "+"),
    ("NotAction", "s3:deleteobject", "s3:DeleteObject", "-"),
]

_A = "arn:aws:s3:::"
_RESOURCES: list[tuple[Any, str, str]] = [
    ("*", _A + "b/k", "+"),
    (_A + "b/k", _A + "b/k", "+"),
    (_A + "b/k", _A + "b/K", "-"),
    (_A + "b/k", _A + "b/kk", "-"),
    (_A + "b", _A + "b/k", "-"),
    (_A + "b/*", _A + "b", "-"),
    (_A + "b/*", _A + "b/k", "+"),
    (_A + "b/*", _A + "b/x/y/z", "+"),
    (_A + "b/*", _A + "b2/k", "-"),
    (_A + "b*", _A + "b2/k", "+"),
    (_A + "b*", _A + "b2", "+"),
    (_A + "b*", _A + "a", "-"),
    (_A + "*", _A + "anything/at/all", "+"),
    (_A + "*/k", _A + "b/k", "+"),
    (_A + "*/k", _A + "b/k2", "-"),
    (_A + "b/*.jpg", _A + "b/x/y.jpg", "+"),
    (_A + "b/*.jpg", _A + "b/x.jpg.exe", "-"),
    (_A + "b/*/x", _A + "b/1/x", "+"),
    (_A + "b/*/x", _A + "b/1/2/x", "+"),
    (_A + "b/*/x", _A + "b/x", "-"),
    (_A + "b/a*b*c", _A + "b/abc", "+"),
    (_A + "b/a*b*c", _A + "b/a1b2b3c", "+"),
    (_A + "b/a*b*c", _A + "b/acb", "-"),
    (_A + "b/?", _A + "b/k", "+"),
    (_A + "b/?", _A + "b/kk", "-"),
    (_A + "b/?", _A + "b/", "-"),
    (_A + "b/??-*", _A + "b/ab-x", "+"),
    (_A + "b/*a?c*", _A + "b/xxabcxx", "+"),
    (_A + "b/*a?c*", _A + "b/xxacxx", "-"),
    (_A + "b/[k]", _A + "b/k", "-"),
    (_A + "b/k.", _A + "b/kx", "-"),
    ([_A + "a", _A + "b"], _A + "b", "+"),
    ([_A + "a", _A + "c"], _A + "b", "-"),
    ("arn:aws:s3:*", _A + "b/k", "+"),
    ("arn:aws:iam::*", _A + "b/k", "-"),
    (_A + "B/k", _A + "b/k", "-"),
    (_A + "b/**", _A + "b/k", "+"),
    (_A + "b/kühl", _A + "b/kühl", "+"),
]

_VARIABLES: list[tuple[str, str, Context, str]] = [
    ("${aws:username}/*", "ana/x", {"aws:username": ("ana",)}, "+"),
    ("${aws:username}/*", "ben/x", {"aws:username": ("ana",)}, "-"),
    ("${AWS:UserName}/*", "ana/x", {"aws:username": ("ana",)}, "+"),
    ("${aws:username}/*", "ana/x", {}, "-"),
    ("${aws:username}/*", "/x", {}, "-"),
    ("${aws:username}/*", "ben/x", {"aws:username": ("*",)}, "-"),
    ("${aws:username}/*", "*/x", {"aws:username": ("*",)}, "+"),
    ("${aws:username}/*", "ben/x", {"aws:username": ("b?n",)}, "-"),
    ("${aws:username}/*", "ben/x", {"aws:username": ("${*}",)}, "-"),
    ("${aws:username}", "ana", {"aws:username": ("ana", "ben")}, "-"),
    ("${aws:PrincipalTag/team, 'all'}/*", "all/x", {}, "+"),
    ("${aws:PrincipalTag/team, 'all'}/*", "all/x", {"aws:principaltag/team": ("red",)}, "-"),
    ("${aws:PrincipalTag/team, 'all'}/*", "red/x", {"aws:principaltag/team": ("red",)}, "+"),
    ("${aws:PrincipalTag/team,'a}b'}", "a}b", {}, "+"),
    ("${aws:PrincipalTag/team, '*'}", "anything", {}, "-"),
    ("a${*}b", "a*b", {}, "+"),
    ("a${*}b", "axb", {}, "-"),
    ("a${?}b", "a?b", {}, "+"),
    ("a${?}b", "axb", {}, "-"),
    ("a${$}b", "a$b", {}, "+"),
    ("a${$}{aws:username}", "a${aws:username}", {"aws:username": ("ana",)}, "+"),
    ("${aws:userid}/${aws:username}", "I/N", {"aws:userid": ("I",), "aws:username": ("N",)}, "+"),
    ("*/${aws:username}/*", "x/ana/y", {"aws:username": ("ana",)}, "+"),
    ("*/${aws:username}/*", "x/ben/y", {"aws:username": ("ana",)}, "-"),
]


def matching() -> Iterator[Row]:
    """What Action, NotAction, Resource, NotResource and variables cover."""
    for element, names, action, expected in _ACTIONS:
        one = statement(action=None, **{element: names})
        yield Row(
            f"{element} {names} on {action}",
            ACTION,
            question(action=action),
            Policies(identity=policy_set(one)),
            _asked(expected),
        )
    for names, resource, expected in _RESOURCES:
        yield Row(
            f"Resource {names} on {resource}",
            RESOURCE,
            question(resource=resource),
            Policies(identity=policy_set(statement(resource=names))),
            _asked(expected),
        )
        yield Row(
            f"NotResource {names} on {resource}",
            NOT_RESOURCE,
            question(resource=resource),
            Policies(identity=policy_set(statement(resource=None, NotResource=names))),
            not _asked(expected),
        )
    for text, key, context, expected in _VARIABLES:
        yield Row(
            f"Resource {text} on {key} with {context}",
            VARIABLES,
            question(resource=f"{_A}b/{key}", context=context),
            Policies(identity=policy_set(statement(resource=f"{_A}b/{text}"))),
            _asked(expected),
        )


# --- Layers in one tenant -------------------------------------------------------------------------

_SIDE = {
    "0": (),  # a policy that says nothing
    "A": (statement(),),
    "D": (statement("Deny"),),
    "B": (statement(), statement("Deny")),
    "O": (statement(action="s3:PutObject"),),  # allows something else
}


def _layer(letter: str, kind: PolicyKind) -> PolicySet | None:
    return (
        None
        if letter == "."
        else PolicySet([])
        if letter == "0"
        else policy_set(*_SIDE[letter], kind=kind)
    )


_NAMED: dict[str, Any] = {
    "account": {"AWS": ACCOUNT},
    "root": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "ana": {"AWS": ANA},
    "canonical": {"CanonicalUser": ANA_ID},
    "tenant": {"CanonicalUser": TENANT_ID},
    "role": {"AWS": ROLE},
    "session": {"AWS": f"{ROLE}:work"},
    "session2": {"AWS": f"{ROLE}:other"},
    "ben": {"AWS": BEN},
    "everyone": "*",
    "aws-everyone": {"AWS": "*"},
    "unresolved": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/ana"},
    "service": {"Service": "logging.s3.amazonaws.com"},
    "eve": {"AWS": EVE},
    "other": {"AWS": OTHER},
}


def bucket_policy(named: str, effect: str = "Allow", **more: Any) -> PolicySet:
    """Return a bucket policy with one statement about the whole bucket."""
    one = statement(effect, resource=[BUCKET, KEY[:-1] + "*"], Principal=_NAMED[named], **more)
    return policy_set(one, kind=PolicyKind.BUCKET)


# Letters: identity, boundary, session, tenant policy (see _SIDE; "." there is none).
# Then whom the bucket policy allows ("-": there is none), and what comes of it for the user ana.
_USER_TABLE = """
....|- -        A...|- +       D...|- -       B...|- -       O...|- -
AA..|- +        A0..|- -       AO..|- -       AD..|- -       0A..|- -
A.A.|- +        A.0.|- -       A.O.|- -       A.D.|- -       ..A.|- -
A..A|- +        A..0|- -       A..O|- -       A..D|- -       ...A|- -
AAAA|- +        AAA0|- -       AA0A|- -       A0AA|- -       AAAB|- -
....|account -  ....|root -    ....|tenant -  A...|account + D...|account -
....|ana +      ....|canonical + ....|ben -   ....|everyone + ....|aws-everyone +
....|unresolved -  ....|service -  ....|role -  ....|session -  ....|eve -
.0..|ana +      .O..|ana +     .D..|ana -     .0..|canonical +  .0..|everyone -
.0..|account -  A0..|account - A0..|ana +     A0..|everyone -   .A..|everyone +
..0.|ana -      ..A.|ana +     ..D.|ana -     .0A.|ana +        .00.|ana -
..0.|everyone - ..A.|everyone + A.0.|everyone - A.0.|account -  A.A.|account +
...0|ana -      ...O|ana -     ...A|ana +     ...D|ana -        ...0|everyone -
.0.0|ana -      .0.A|ana +     A00A|ana -     AA0A|everyone -   A..0|account -
D...|ana -      D...|everyone - B...|canonical - .B..|ana -     .A..|ben -
"""

# The same for a session of the role.
_ROLE_TABLE = """
A...|- +        A0..|- -       A.0.|- -       AAA.|- +       0AA.|- -
....|role +     .0..|role -    ..0.|role -    .A..|role +    ..A.|role +
.AA.|role +     .00.|role -    ....|session + .0..|session + ..0.|session +
.00.|session +  .0.0|session - ...0|session - .D..|session - ..D.|session -
D...|session -  ....|session2 - A...|session2 + ....|account -  A...|account +
....|everyone + .0..|everyone - ..0.|everyone - ....|ana -       ....|tenant -
A...|tenant +   A0..|tenant -   ....|unresolved - .A0.|role -    .0A.|role -
"""


def _layered(table: str, caller: Caller, who: str) -> Iterator[Row]:
    cells = table.split()
    for cell, expected in zip(cells[::2], cells[1::2], strict=True):
        letters, named = cell.split("|")
        identity, boundary, session, tenant = tuple(letters)
        sessions = _layer(session, PolicyKind.SESSION)
        source = LOGIC
        if boundary != ".":
            source = BOUNDARIES
        elif session != ".":
            source = SESSIONS
        elif tenant != ".":
            source = SCP
        policies = Policies(
            identity=_layer(identity, PolicyKind.IDENTITY),
            boundary=_layer(boundary, PolicyKind.BOUNDARY),
            session=() if sessions is None else (sessions,),
            tenant=_layer(tenant, PolicyKind.TENANT),
            bucket=None if named == "-" else bucket_policy(named),
        )
        yield Row(f"{who} {cell}", source, question(caller), policies, _asked(expected))


def one_tenant() -> Iterator[Row]:
    """Identity, boundary, session, tenant policy and bucket policy within one account."""
    yield from _layered(_USER_TABLE, ANA_USER, "user")
    yield from _layered(_ROLE_TABLE, SESSION, "session")
    allowing = policy_set(statement())
    for named, expected in (
        ("account", "-"), ("ana", "-"), ("canonical", "-"), ("everyone", "-"), ("ben", "+"),
        ("role", "+"), ("eve", "+"), ("service", "+"), ("tenant", "-"), ("unresolved", "+"),
    ):  # fmt: skip
        yield Row(
            f"bucket policy denies {named}",
            LOGIC,
            question(ANA_USER),
            Policies(identity=allowing, bucket=bucket_policy(named, "Deny")),
            _asked(expected),
        )
    for caller, who in ((ROOT, "root"), (ANA_USER, "user"), (SESSION, "session")):
        for tenant, expected in ((".", "+"), ("A", "+"), ("0", "-"), ("D", "-"), ("O", "-")):
            yield Row(
                f"{who} with everything under tenant policy {tenant}",
                SCP,
                question(caller),
                Policies(identity=allowing, tenant=_layer(tenant, PolicyKind.TENANT)),
                _asked(expected),
            )
    for parent, expected in ((".", "+"), ("A", "+"), ("0", "-"), ("D", "-"), ("O", "-")):
        ceiling = _layer(parent, PolicyKind.IDENTITY)
        for named in ("-", "ana"):
            yield Row(
                f"service account with parent {parent}, bucket policy {named}",
                SESSIONS,
                question(),
                Policies(
                    identity=allowing,
                    parent=() if ceiling is None else (ceiling,),
                    bucket=None if named == "-" else bucket_policy(named),
                ),
                _asked(expected),
            )


_NOT_PRINCIPALS: list[tuple[list[str], Caller, str]] = [
    ([ACCOUNT, ANA], ANA_USER, "+"),
    ([ANA], ANA_USER, "-"),
    ([ACCOUNT], ANA_USER, "-"),
    ([ACCOUNT], ROOT, "+"),
    ([ACCOUNT, ANA], BEN_USER, "-"),
    ([ACCOUNT, ANA, BEN], BEN_USER, "+"),
    ([f"arn:aws:iam::{ACCOUNT}:root", ANA], ANA_USER, "+"),
    ([ACCOUNT, ROLE], SESSION, "+"),
    ([ACCOUNT, f"{ROLE}:work"], SESSION, "-"),
    ([ACCOUNT, ROLE, f"{ROLE}:work"], SESSION, "+"),
    ([ROLE], SESSION, "-"),
    ([OTHER], ANA_USER, "-"),
]


def not_principal() -> Iterator[Row]:
    """NotPrincipal with Deny: who is exempt."""
    for named, caller, expected in _NOT_PRINCIPALS:
        one = statement("Deny", resource=[BUCKET, f"{BUCKET}/*"], NotPrincipal={"AWS": named})
        bucket = policy_set(one, kind=PolicyKind.BUCKET)
        for has_boundary in (False, True):
            yield Row(
                f"NotPrincipal {named} for {caller.principal_id}, boundary {has_boundary}",
                NOT_PRINCIPAL,
                question(caller),
                Policies(
                    identity=policy_set(statement()),
                    boundary=policy_set(statement()) if has_boundary else None,
                    bucket=bucket,
                ),
                _asked(expected) and not has_boundary,
            )


# --- Between tenants, anonymous, public -----------------------------------------------------------

# Letters: identity, boundary, session, tenant policy; whom the bucket policy allows; sharing on or
# off; what comes of it for eve, a user of the other tenant.
_CROSS_TABLE = """
A...|-|on -          ....|eve|on -        A...|eve|on +        A...|eve|off -
A...|other|on +      A...|other|off -     ....|other|on -      A...|everyone|off +
....|everyone|off -  A...|ana|on -        A...|account|on -    D...|eve|on -
AA..|eve|on +        A0..|eve|on -        A.A.|eve|on +        A.0.|eve|on -
A..A|eve|on +        A..0|eve|on -        A..D|eve|on -        A..0|everyone|on -
.0..|eve|on -        A0..|everyone|off -  A.0.|everyone|off -  O...|eve|on -
AAAA|eve|on +        AAA0|eve|on -        AAAA|eve|off -       AAAA|everyone|off +
A...|unresolved|on - A...|service|on -    B...|everyone|on -   AD..|everyone|on -
"""


def other_tenant() -> Iterator[Row]:
    """Both sides have to allow; named principals need the owner's tenant to share."""
    cells = _CROSS_TABLE.split()
    for cell, expected in zip(cells[::2], cells[1::2], strict=True):
        letters, named, sharing = cell.split("|")
        sessions = _layer(letters[2], PolicyKind.SESSION)
        yield Row(
            f"other tenant {cell}",
            CROSS,
            question(EVE_USER),
            Policies(
                identity=_layer(letters[0], PolicyKind.IDENTITY),
                boundary=_layer(letters[1], PolicyKind.BOUNDARY),
                session=() if sessions is None else (sessions,),
                tenant=_layer(letters[3], PolicyKind.TENANT),
                bucket=None if named == "-" else bucket_policy(named),
                sharing=sharing == "on",
            ),
            _asked(expected),
        )
    allowing = policy_set(statement())
    denying = policy_set(statement(), statement("Deny"), kind=PolicyKind.TENANT)
    shared = Policies(identity=allowing, bucket=bucket_policy("eve"), sharing=True)
    for side, policies in (
        ("the caller's", msgspec.structs.replace(shared, tenant=denying)),
        ("the owner's", msgspec.structs.replace(shared, owner_tenant=denying)),
    ):
        yield Row(f"{side} tenant denies eve", SCP, question(EVE_USER), policies, False)
    yield Row(
        "the owner's tenant policy is no ceiling for others",
        SCP,
        question(EVE_USER),
        Policies(
            identity=allowing,
            bucket=bucket_policy("eve"),
            sharing=True,
            owner_tenant=policy_set(statement(action="s3:PutObject"), kind=PolicyKind.TENANT),
        ),
        True,
    )
    for named, deny, expected in (
        ("eve", "eve", "-"), ("eve", "ana", "+"), ("other", "eve", "-"), ("eve", "everyone", "-"),
    ):  # fmt: skip
        bucket = PolicySet(
            [
                (source, one)
                for source, each in (
                    ("a", bucket_policy(named)),
                    ("d", bucket_policy(deny, "Deny")),
                )
                for one in each.statements
            ]
        )
        yield Row(
            f"allowed {named}, denied {deny}",
            CROSS,
            question(EVE_USER),
            Policies(identity=allowing, bucket=bucket, sharing=True),
            _asked(expected),
        )


# Whom the policy allows; is it public; RestrictPublicBuckets; then for anonymous, eve (who may do
# everything on her side, with sharing on), ana (who has no policies) and ben (who has them all).
_PUBLIC_TABLE = """
everyone  public  off  + + + +
everyone  public  on   - - + +
everyone  not     on   + + + +
eve       not     off  - + - +
eve       not     on   - + - +
eve       public  on   - - - +
account   public  on   - - - +
ana       public  on   - - + +
other     public  on   - - - +
other     public  off  - + - +
service   public  off  - - - +
"""


def public_access() -> Iterator[Row]:
    """Anonymous callers, and what RestrictPublicBuckets leaves of a public policy."""
    allowing = policy_set(statement())
    for line in _PUBLIC_TABLE.strip().splitlines():
        named, public, restrict, *signs = line.split()
        for caller, identity, sign in zip(
            (ANONYMOUS, EVE_USER, ANA_USER, BEN_USER),
            (None, allowing, None, allowing),
            signs,
            strict=True,
        ):
            yield Row(
                f"{named} {public} {restrict} for {caller.kind} {caller.principal_id}",
                PUBLIC,
                question(caller),
                Policies(
                    identity=identity,
                    bucket=bucket_policy(named),
                    is_policy_public=public == "public",
                    restrict_public_buckets=restrict == "on",
                    sharing=True,
                ),
                _asked(sign),
            )
    from_office = {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}
    signed = {"StringEquals": {"aws:PrincipalAccount": OTHER}}
    for block, context, caller, expected in (
        (from_office, {"aws:sourceip": ("203.0.113.5",)}, ANONYMOUS, "+"),
        (from_office, {"aws:sourceip": ("9.9.9.9",)}, ANONYMOUS, "-"),
        (from_office, {"aws:sourceip": ("203.0.113.5",)}, EVE_USER, "+"),
        (signed, {}, ANONYMOUS, "-"),
        (signed, {"aws:principalaccount": (OTHER,)}, EVE_USER, "-"),
    ):
        yield Row(
            f"everyone if {block} with {context} for {caller.kind}, sharing off",
            PUBLIC,
            question(caller, context=context),
            Policies(identity=allowing, bucket=bucket_policy("everyone", Condition=block)),
            _asked(expected),
        )


# --- Ownership, ACLs, the bucket's root -----------------------------------------------------------


def grants(*pairs: tuple[str, str]) -> acls.Acl:
    """Return a list of (grantee, permission) under ana."""
    made = tuple(acls.Grant(grantee, acls.Permission(name)) for grantee, name in pairs)
    return acls.Acl(ANA_ID, made)


# Grantee, permission, on bucket or object, action; then anonymous, ben (no policies), eve (all
# policies, sharing on), ana's root.
_ACL_TABLE = f"""
{acls.ALL_USERS} READ object s3:GetObject + + + +
{acls.ALL_USERS} READ object s3:GetObjectVersion + + + +
{acls.ALL_USERS} READ object s3:GetObjectAcl - - - +
{acls.ALL_USERS} READ object s3:DeleteObject - - - +
{acls.ALL_USERS} WRITE object s3:PutObject - - - +
{acls.ALL_USERS} READ bucket s3:ListBucket + + + +
{acls.ALL_USERS} READ bucket s3:ListBucketVersions + + + +
{acls.ALL_USERS} READ bucket s3:ListBucketMultipartUploads + + + +
{acls.ALL_USERS} READ bucket s3:GetObject - - - +
{acls.ALL_USERS} WRITE bucket s3:PutObject + + + +
{acls.ALL_USERS} WRITE bucket s3:DeleteObject + + + +
{acls.ALL_USERS} WRITE bucket s3:DeleteObjectVersion - - - +
{acls.ALL_USERS} WRITE bucket s3:ListBucket - - - +
{acls.ALL_USERS} FULL_CONTROL bucket s3:PutBucketPolicy - - - +
{acls.ALL_USERS} FULL_CONTROL bucket s3:PutBucketAcl + + + +
{acls.ALL_USERS} READ_ACP bucket s3:GetBucketAcl + + + +
{acls.ALL_USERS} WRITE_ACP bucket s3:PutBucketAcl + + + +
{acls.ALL_USERS} WRITE_ACP object s3:PutObjectAcl + + + +
{acls.AUTHENTICATED_USERS} READ object s3:GetObject - + + +
{acls.AUTHENTICATED_USERS} READ bucket s3:ListBucket - + + +
{acls.LOG_DELIVERY} WRITE bucket s3:PutObject - - - +
{BEN_ID} READ object s3:GetObject - + - +
{BEN_ID} FULL_CONTROL object s3:PutObjectAcl - + - +
{BEN_ID} FULL_CONTROL object s3:DeleteObject - - - +
{BEN_ID} WRITE bucket s3:PutObject - + - +
{EVE_ID} READ object s3:GetObject - - + +
{EVE_ID} FULL_CONTROL bucket s3:ListBucket - - + +
{OTHER_TENANT_ID} READ object s3:GetObject - - + +
{TENANT_ID} READ object s3:GetObject - - - +
{TENANT_ID} FULL_CONTROL bucket s3:ListBucket - - - +
"""


def acl_statements(grantee: str, permission: str, what: str) -> tuple[Statement, ...]:
    """Return the statements of a list with one grant."""
    made = grants((grantee, permission))
    return acls.object_statements(made) if what == "object" else acls.bucket_statements(made)


def access_control_lists() -> Iterator[Row]:
    """What a grant allows whom, and IgnorePublicAcls."""
    allowing = policy_set(statement())
    for line in _ACL_TABLE.strip().splitlines():
        grantee, permission, what, action, *expected = line.split()
        for caller, identity, sign in zip(
            (ANONYMOUS, BEN_USER, EVE_USER, ROOT), (None, None, allowing, None), expected,
            strict=True,
        ):  # fmt: skip
            is_key = "Object" in action
            is_public = grantee in (acls.ALL_USERS, acls.AUTHENTICATED_USERS)
            for is_ignored in (False, True):
                if is_ignored and not is_public:
                    continue
                yield Row(
                    f"{permission} of {what} for {grantee[-20:]}: {action} by {caller.kind}"
                    f" {caller.principal_id}, ignored {is_ignored}",
                    PUBLIC if is_ignored else ACLS,
                    question(caller, action, KEY if is_key else BUCKET),
                    Policies(
                        identity=identity,
                        acl=acl_statements(grantee, permission, what),
                        ignore_public_acls=is_ignored,
                        sharing=True,
                    ),
                    _asked(sign) and not (is_ignored and caller is not ROOT),
                )


def unshared_lists() -> Iterator[Row]:
    """Between tenants that do not share, a list still lets in whom it lets in without a name."""
    for grantee, identity, expected in (
        (acls.ALL_USERS, "A", "+"),
        (acls.ALL_USERS, ".", "-"),
        (acls.AUTHENTICATED_USERS, "A", "+"),
        (EVE_ID, "A", "-"),
        (OTHER_TENANT_ID, "A", "-"),
    ):
        yield Row(
            f"READ for {grantee[-20:]}, eve's policies {identity}, sharing off",
            ACLS,
            question(EVE_USER),
            Policies(
                identity=_layer(identity, PolicyKind.IDENTITY),
                acl=acl_statements(grantee, "READ", "object"),
            ),
            _asked(expected),
        )


def ownership() -> Iterator[Row]:
    """Bucket policies do not allow what others own, but deny it; the root's way back."""
    for action, is_reached in (
        ("s3:GetObject", False), ("s3:GetObjectTagging", False), ("s3:PutObjectAcl", False),
        ("s3:GetObjectVersion", False), ("s3:PutObject", True), ("s3:DeleteObject", True),
        ("s3:DeleteObjectVersion", True), ("s3:RestoreObject", True),
    ):  # fmt: skip
        for owner, is_allowed in ((BEN_ID, is_reached), (ANA_ID, True), ("", True)):
            yield Row(
                f"bucket policy, {action} of an object of {owner[:1] or 'nobody'}",
                OWNERSHIP,
                question(EVE_USER, action, resource_owner=owner, bucket_owner=ANA_ID),
                Policies(
                    identity=policy_set(statement()), bucket=bucket_policy("eve"), sharing=True
                ),
                is_allowed,
            )
    yield Row(
        "a bucket policy denies what others own",
        OWNERSHIP,
        question(BEN_USER, resource_owner=BEN_ID, bucket_owner=ANA_ID),
        Policies(
            identity=policy_set(statement()),
            bucket=bucket_policy("everyone", "Deny"),
            acl=acl_statements(BEN_ID, "FULL_CONTROL", "object"),
        ),
        False,
    )
    for action in ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"):
        for caller, tenant, expected in (
            (ROOT, ".", "+"), (ROOT, "D", "-"), (ROOT, "0", "-"), (ANA_USER, ".", "-"),
            (OTHER_ROOT, ".", "-"), (SESSION, ".", "-"),
        ):  # fmt: skip
            yield Row(
                f"{action} by {caller.kind} of {caller.account_id} against a Deny, tenant {tenant}",
                ROOT_POLICY,
                question(caller, action, BUCKET, is_bucket_policy_administration=True),
                Policies(
                    identity=policy_set(statement()),
                    tenant=_layer(tenant, PolicyKind.TENANT),
                    bucket=bucket_policy("everyone", "Deny"),
                    sharing=True,
                ),
                _asked(expected),
            )
        yield Row(
            f"{action} by another tenant is refused although all allow",
            ROOT_POLICY,
            question(EVE_USER, action, BUCKET, is_bucket_policy_administration=True),
            Policies(identity=policy_set(statement()), bucket=bucket_policy("eve"), sharing=True),
            False,
        )
    yield Row(
        "the root's way back is for the policy alone",
        ROOT_POLICY,
        question(ROOT, "s3:DeleteBucket", BUCKET),
        Policies(bucket=bucket_policy("everyone", "Deny")),
        False,
    )


def trust() -> Iterator[Row]:
    """AssumeRole: the trust policy is the role's resource policy."""
    arn = f"arn:aws:iam::{ACCOUNT}:role/r"
    allowing = policy_set(statement(action="sts:AssumeRole"))
    for caller, named, identity, sharing, expected in (
        (ANA_USER, {"AWS": ANA}, None, False, "+"),
        (ANA_USER, {"AWS": ACCOUNT}, None, False, "-"),
        (ANA_USER, {"AWS": ACCOUNT}, allowing, False, "+"),
        (ANA_USER, {"AWS": BEN}, None, False, "-"),
        (EVE_USER, {"AWS": OTHER}, allowing, True, "+"),
        (EVE_USER, {"AWS": OTHER}, None, True, "-"),
        (EVE_USER, {"AWS": OTHER}, allowing, False, "-"),
        (EVE_USER, {"AWS": ACCOUNT}, allowing, True, "-"),
        (Caller("federated", federated="id.example.com"), {"Federated": "id.example.com"}, None,
         False, "+"),
        (Caller("federated", federated="id.example.com"), {"Federated": "id2.example.com"}, None,
         False, "-"),
        (Caller("federated", federated="id.example.com"), {"AWS": ACCOUNT}, None, False, "-"),
        (Caller("federated", federated="id.example.com"), {"AWS": "*"}, None, False, "-"),
        (ANONYMOUS, {"Federated": "id.example.com"}, None, False, "-"),
    ):  # fmt: skip
        trusting = statement(action="sts:AssumeRole", resource=None, Principal=named)
        yield Row(
            f"{caller.kind} {caller.account_id} assumes a role that trusts {named}, "
            f"allowed {identity is not None}, sharing {sharing}",
            TRUST,
            question(caller, "sts:AssumeRole", arn),
            Policies(
                identity=identity,
                bucket=policy_set(trusting, kind=PolicyKind.TRUST),
                sharing=sharing,
            ),
            _asked(expected),
        )


def rows() -> list[Row]:
    """Return the whole table."""
    families = (
        operators, set_operators, matching, one_tenant, not_principal, other_tenant,
        public_access, access_control_lists, unshared_lists, ownership, trust,
    )  # fmt: skip
    return [row for family in families for row in family()]
