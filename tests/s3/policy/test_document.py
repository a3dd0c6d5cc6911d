"""Documents: what is refused and how it is said, what is kept, and that loading is parsing."""

import json
from typing import Any

import pytest

from storage_server.core import limits
from storage_server.s3.errors import MalformedPolicy
from storage_server.s3.policy import shipped
from storage_server.s3.policy.document import PolicyKind, load, parse, size_of, with_principals

_ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
_EVERYONE = {**_ALLOW, "Principal": "*"}


def _document(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def _refused(document: bytes | str, kind: PolicyKind = PolicyKind.BUCKET) -> str:
    with pytest.raises(MalformedPolicy) as caught:
        parse(document, kind, bucket="b" if kind is PolicyKind.BUCKET else "")
    return caught.value.sentence


def _bucket(**changes: Any) -> str:
    made = {**_EVERYONE, **changes}
    return _document({name: value for name, value in made.items() if value is not None})


def _identity(**changes: Any) -> str:
    made = {**_ALLOW, **changes}
    return _document({name: value for name, value in made.items() if value is not None})


# --- S48: bounded ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(PolicyKind))
def test_ten_megabytes_are_refused(kind: PolicyKind) -> None:
    """S48: the size is looked at before anything else is."""
    assert "has more than" in _refused("{" + " x" * 5_000_000, kind) or kind is PolicyKind.BUCKET
    assert _refused("{" + " " * 10_000_000 + "}", kind)


@pytest.mark.parametrize("kind", [PolicyKind.BUCKET, PolicyKind.IDENTITY, PolicyKind.TENANT])
def test_a_thousand_statements_are_refused(kind: PolicyKind) -> None:
    """S48: whatever the kind."""
    assert _refused(_document(*[{"Effect": "Allow"}] * 1000), kind)


@pytest.mark.parametrize(
    "document",
    [
        '{"a":' * 50 + "1" + "}" * 50,
        '{"Statement":' + "[" * 9_000 + "]" * 9_000 + "}",
        '{"Statement":' + '{"a":' * 3_000,
    ],
)
def test_deep_nesting_is_refused(document: str) -> None:
    """S48: without a recursion that could end the process."""
    assert "deep" in _refused(document)


def test_brackets_in_texts_are_no_nesting() -> None:
    """A Sid may look like anything."""
    parse(_bucket(Sid='[[[[[[[[[[{{{{{{{{{{\\"'), PolicyKind.BUCKET, bucket="b")


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ('{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}', "twice"),
        ('{"Statement":{"Effect":"Deny","Effect":"Allow"}}', "'Effect'"),
        ('{"Statement":[{"Condition":{"Bool":{},"Bool":{}}}]}', "twice"),
        ('{"Statement":{"Condition":{"NumericEquals":{"s3:max-keys":NaN}}}}', "NaN"),
        ('{"Statement":Infinity}', "Infinity"),
        ('{"Statement":-Infinity}', "Infinity"),
        ('{"Statement":', "line 1"),
        ("{'Statement':1}", "valid JSON"),
        ('{"Statement":[]} {}', "valid JSON"),
        ('{"Id":"\\ud800","Statement":[]}', "surrogate"),
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(document: str, word: str) -> None:
    """S48: doubled keys, NaN, broken JSON, half characters."""
    assert word in _refused(document)


@pytest.mark.parametrize("document", ["", " {}", "[]", '"x"', "null", "\ufeff{}", "<Policy/>"])
def test_the_first_byte_is_a_brace(document: str) -> None:
    """In S3's own words."""
    assert "first byte" in _refused(document)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    """A policy is text."""
    assert "UTF-8" in _refused(b'{"Id":"\xff"}')


def test_the_size_is_counted_as_aws_does() -> None:
    """20 KiB with everything for buckets, white space for nothing elsewhere."""
    padding = limits.BUCKET_POLICY_BYTES_MAX - len(_bucket(Sid="x"))
    parse(_bucket(Sid="x" * (padding + 1)), PolicyKind.BUCKET, bucket="b")
    assert "20480" in _refused(_bucket(Sid="x" * (padding + 2)))
    assert "20480" in _refused(_bucket(Sid="ü" * padding).encode().decode("unicode_escape"))
    spacious = _identity() + " " * 50_000
    parse(spacious, PolicyKind.IDENTITY)
    assert size_of(spacious) == size_of(_identity())


@pytest.mark.parametrize(
    ("kind", "chars"),
    [
        (PolicyKind.IDENTITY, 10_240),
        (PolicyKind.BOUNDARY, 6_144),
        (PolicyKind.SESSION, 2_048),
        (PolicyKind.TENANT, 10_240),
    ],
)
def test_each_kind_has_its_quota(kind: PolicyKind, chars: int) -> None:
    """Source: IAM and AWS STS quotas; Organizations quotas."""
    fits = _identity(Sid="x" * (chars - size_of(_identity(Sid=""))))
    parse(fits, kind)
    assert str(chars) in _refused(fits.replace('"x', '"xx', 1), kind)


# --- The grammar ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("{}", "Statement"),
        ('{"Statement":[]}', "Statement"),
        ('{"Statement":"x"}', "Statement"),
        ('{"Statement":[1]}', "Statement 1 is not an object"),
        (_document(_EVERYONE, Version="2020-01-01"), "Version"),
        (_document(_EVERYONE, Version=1), "Version"),
        (_document(_EVERYONE, Version=["2012-10-17"]), "Version"),
        (_document(_EVERYONE, Id=1), "Id"),
        (_document(_EVERYONE, Statements=[]), "unknown element 'Statements'"),
        (_bucket(Effect=None), "Effect"),
        (_bucket(Effect="allow"), "Effect"),
        (_bucket(Effect=["Allow"]), "Effect"),
        (_bucket(Sid=1), "Sid"),
        (_bucket(Resources="x"), "unknown element 'Resources'"),
        (_bucket(Action=None), "needs an Action"),
        (_bucket(Action=[]), "empty Action"),
        (_bucket(Action=""), "Action"),
        (_bucket(Action=1), "Action"),
        (_bucket(Action=["s3:GetObject", None]), "Action"),
        (_bucket(Action="GetObject"), "service:Name"),
        (_bucket(Action="s3:Get Object"), "service:Name"),
        (_bucket(Action="s3:GetObjekt"), "S3 does not have"),
        (_bucket(Action="iam:CreateUser"), "S3 does not have"),
        (_bucket(Action="s3:Fly*"), "S3 does not have"),
        (_bucket(NotAction="s3:PutObject"), "both Action and NotAction"),
        (_bucket(Resource=None), "needs a Resource"),
        (_bucket(Resource=[]), "empty Resource"),
        (_bucket(NotResource="arn:aws:s3:::b"), "both Resource and NotResource"),
        (_bucket(Resource="arn:aws:s3:::c/*"), "not in b"),
        (_bucket(Resource="arn:aws:s3:::b2/*"), "not in b"),
        (_bucket(Resource="arn:aws:s3:::bb"), "not in b"),
        (_bucket(Resource=["arn:aws:s3:::b/*", "arn:aws:s3:::c/*"]), "not in b"),
        (_bucket(Resource="arn:aws:s3:::/k"), "is expected"),
        (_bucket(Resource="arn:aws:s3:::"), "is expected"),
        (_bucket(Resource="arn:aws:iam:::b/*"), "is expected"),
        (_bucket(Resource="b/*"), "is expected"),
        (_bucket(Resource="arn:aws:s3:::${aws:username}/*"), "is expected"),
        (_bucket(Resource="arn:aws:s3:::b/${aws:username"), "no end"),
        (_bucket(Resource="arn:aws:s3:::b/${}"), "not a policy variable"),
        (_bucket(Resource="arn:aws:s3:::b/${username}"), "not a policy variable"),
        (_bucket(Resource="arn:aws:s3:::b/${aws:username, x}"), "single quotes"),
        (_bucket(Resource="arn:aws:s3:::b/${aws:flavour}"), "unknown variable"),
        (_bucket(Resource="arn:aws:s3:::b"), "applies to none"),
        (_bucket(Action="s3:ListBucket"), "applies to none"),
        (_bucket(Action=["s3:GetObject", "s3:ListBucket"]), "'s3:ListBucket'"),
        (_bucket(Principal=None), "needs a Principal"),
        (_bucket(Principal={}), "Principal"),
        (_bucket(Principal=[]), "Principal"),
        (_bucket(Principal="ana"), "Principal"),
        (_bucket(Principal={"AWS": []}), "Principal"),
        (_bucket(Principal={"aws": "*"}), "unknown type 'aws'"),
        (_bucket(Principal={"AWS": "ana"}), "'ana'"),
        (_bucket(Principal={"AWS": "arn:aws:iam::111111111111:user/*"}), "wildcard"),
        (_bucket(Principal={"AWS": "arn:aws:iam::111111111111:group/g"}), "not an account"),
        (_bucket(Principal={"AWS": "11111111111"}), "not an account"),
        (_bucket(Principal={"AWS": 111111111111}), "string"),
        (_bucket(Principal={"CanonicalUser": "*"}), "canonical id"),
        (_bucket(Principal={"CanonicalUser": "A" * 64}), "canonical id"),
        (_bucket(Principal={"Service": "me"}), "service"),
        (_bucket(Principal={"Federated": "*"}), "identity provider"),
        (_bucket(NotPrincipal={"AWS": "111111111111"}), "both Principal and NotPrincipal"),
        (_bucket(Principal=None, NotPrincipal={"AWS": "111111111111"}), "NotPrincipal"),
        (_bucket(Principal=None, Effect="Deny", NotPrincipal="*"), "names everyone"),
        (_bucket(Condition=[]), "Condition"),
        (_bucket(Condition={"StringEquals": {}}), "without keys"),
        (_bucket(Condition={"StringEquals": "x"}), "without keys"),
        (_bucket(Condition={"StringMatches": {"aws:username": "x"}}), "not a condition operator"),
        (_bucket(Condition={"Foo:StringEquals": {"aws:username": "x"}}), "operator"),
        (_bucket(Condition={"NullIfExists": {"aws:username": "true"}}), "operator"),
        (_bucket(Condition={"ForAllValues:Null": {"aws:username": "true"}}), "operator"),
        (_bucket(Condition={"Null": {"aws:username": "maybe"}}), "true nor false"),
        (_bucket(Condition={"StringEquals": {"aws:flavour": "x"}}), "unknown key 'aws:flavour'"),
        (_bucket(Condition={"StringEquals": {"userid": "x"}}), "unknown key"),
        (_bucket(Condition={"StringEquals": {"s3:ExistingObjectTag/": "x"}}), "unknown key"),
        (_bucket(Condition={"StringEquals": {"aws:username": []}}), "without values"),
        (_bucket(Condition={"StringEquals": {"aws:username": {}}}), "not a string"),
        (_bucket(Condition={"StringEquals": {"aws:username": None}}), "not a string"),
        (_bucket(Condition={"StringEquals": {"aws:username": "x", "AWS:UserName": "y"}}), "twice"),
        (_bucket(Condition={"NumericEquals": {"s3:max-keys": "ten"}}), "number"),
        (_bucket(Condition={"NumericEquals": {"s3:max-keys": 1.5}}), "as a string"),
        (_bucket(Condition={"DateEquals": {"aws:CurrentTime": "soon"}}), "date"),
        (_bucket(Condition={"DateEquals": {"aws:CurrentTime": "2026-13-01"}}), "date"),
        (_bucket(Condition={"Bool": {"aws:SecureTransport": "yes"}}), "true nor false"),
        (_bucket(Condition={"BinaryEquals": {"aws:username": "?"}}), "base64"),
        (_bucket(Condition={"IpAddress": {"aws:SourceIp": "here"}}), "CIDR"),
        (_bucket(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}), "CIDR"),
        (_bucket(Condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:iam"}}), "ARN"),
        (_bucket(Condition={"StringEquals": {"aws:username": "${aws:flavour}"}}), "variable"),
        (_bucket(Condition={"StringEquals": {"aws:username": "${aws:userid"}}), "no end"),
        (_document(_EVERYONE | {"Sid": "a"}, _EVERYONE | {"Sid": "a"}), "used twice"),
        (_document(_EVERYONE, {**_EVERYONE, "Effect": "x"}), "Statement 2"),
        (_document({**_EVERYONE, "Sid": "Mine", "Effect": "x"}), "Mine"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(document: str, sentence: str) -> None:
    """Nothing in a policy is decoration: what the engine would not heed, nobody can write."""
    assert sentence in _refused(document)


@pytest.mark.parametrize(
    "document",
    [
        _bucket(),
        _bucket(Sid="a name with spaces"),
        _bucket(Principal={"AWS": "*"}),
        _bucket(Principal={"AWS": ["111111111111", "arn:aws:iam::111111111111:root"]}),
        _bucket(Principal={"AWS": "arn:aws:iam::111111111111:user/path/ana"}),
        _bucket(Principal={"AWS": "arn:aws:sts::111111111111:assumed-role/r/s"}),
        _bucket(Principal={"AWS": "AIDAABCDEFGHIJKLMNOPQ"}),
        _bucket(Principal={"AWS": "AROAABCDEFGHIJKLMNOPQ:work"}),
        _bucket(Principal={"CanonicalUser": "a" * 64, "Service": "logging.s3.amazonaws.com"}),
        _bucket(Principal=None, Effect="Deny", NotPrincipal={"AWS": "111111111111"}),
        _bucket(Action="*"),
        _bucket(Action="s3:*", Resource="arn:aws:s3:::b"),
        _bucket(Action=None, NotAction="s3:DeleteObject"),
        _bucket(Resource=None, NotResource="arn:aws:s3:::b/private/*"),
        _bucket(Resource="arn:aws:s3:::b/${aws:username}/${*}"),
        _bucket(
            Action=["s3:ListBucket", "s3:GetObject"],
            Resource=["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
        ),
        _bucket(Condition={}),
        _bucket(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1", "aws:SourceVpce": "v"}}),
        _bucket(Condition={"NumericLessThan": {"s3:max-keys": 10}}),
        _bucket(Condition={"Bool": {"aws:SecureTransport": False}}),
        _bucket(Condition={"StringLike": {"s3:ExistingObjectTag/Team": ["a*", "b"]}}),
        json.dumps({"Statement": _EVERYONE}),
        json.dumps({"Version": "2008-10-17", "Id": "P", "Statement": [
            {**_EVERYONE, "Resource": "arn:aws:s3:::b/${"}]}),
    ],
)  # fmt: skip
def test_what_aws_takes_is_taken_and_loads_as_it_was_parsed(document: str) -> None:
    """The two ways in give the same statements."""
    parsed = parse(document, PolicyKind.BUCKET, bucket="b")
    loaded = load(document.encode(), PolicyKind.BUCKET)
    for one, other in zip(parsed.statements, loaded.statements, strict=True):
        assert (one.principals, one.actions, one.resources) == (
            other.principals,
            other.actions,
            other.resources,
        )
        assert [each.values for each in one.conditions] == [
            each.values for each in other.conditions
        ]


def test_a_stored_document_that_is_damaged_is_not_guessed_at() -> None:
    """What cannot be read allows nothing: the caller gets an error to refuse with."""
    for document in (b"", b"{", b"{}", b'{"Statement":[{"Effect":"Maybe"}]}', b"\xff",
                     b'{"Statement":[{"Effect":"Allow","Extra":1}]}'):  # fmt: skip
        with pytest.raises(MalformedPolicy):
            load(document, PolicyKind.IDENTITY)


@pytest.mark.parametrize(
    "kind", [PolicyKind.IDENTITY, PolicyKind.SESSION, PolicyKind.BOUNDARY, PolicyKind.TENANT]
)
def test_only_resources_and_roles_name_principals(kind: PolicyKind) -> None:
    """An identity policy's principal is whom it is attached to."""
    parse(_identity(), kind)
    for element in ("Principal", "NotPrincipal"):
        assert "no place" in _refused(_identity(**{element: "*"}), kind)


def test_identity_policies_may_name_any_service_and_need_arns() -> None:
    """Policies are brought along from AWS with what they say about other services."""
    parse(_identity(Action=["ec2:*", "s3:Whatever"], Resource="*"), PolicyKind.IDENTITY)
    parse(_identity(Resource="arn:aws:ec2:*:*:instance/*"), PolicyKind.IDENTITY)
    parse(_identity(Resource="${aws:PrincipalArn}"), PolicyKind.IDENTITY)
    for resource in ("bucket", "arn", "arn:aws:s3", "${aws:username}", "urn:aws:s3:::b"):
        assert "nor an ARN" in _refused(_identity(Resource=resource), PolicyKind.IDENTITY)


def test_a_trust_policy_is_about_sts_and_has_no_resource() -> None:
    """Its resource is the role that it is on."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "111111111111"}}
    parse(_document(trust), PolicyKind.TRUST)
    web = {
        **trust,
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": "arn:aws:iam::111111111111:oidc-provider/id.example.com/realm"},
        "Condition": {"StringEquals": {"id.example.com/realm:sub": "s", "sts:ExternalId": "x"}},
    }
    parse(_document(web), PolicyKind.TRUST)
    assert "no place" in _refused(_document({**trust, "Resource": "*"}), PolicyKind.TRUST)
    assert "sts:" in _refused(_document({**trust, "Action": "s3:*"}), PolicyKind.TRUST)
    assert "Principal" in _refused(
        _document({"Effect": "Allow", "Action": "sts:AssumeRole"}), PolicyKind.TRUST
    )
    turned = {"Effect": "Deny", "Action": "sts:*", "NotPrincipal": {"AWS": "111111111111"}}
    assert "no place" in _refused(_document(turned), PolicyKind.TRUST)


# --- Renaming principals --------------------------------------------------------------------------


def test_principals_are_renamed_and_nothing_else_changes() -> None:
    """On write ARNs become ids, on read they come back; the rest is the client's text."""
    document = (
        '{"Version": "2012-10-17", "Id": "x", "Statement": [ {"Sid":"1", "Effect":"Allow",'
        '"Principal": {"AWS": ["arn:aws:iam::111111111111:user/ana", "*"], "CanonicalUser": "'
        + "a" * 64
        + '"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",'
        '"Condition": {"NumericLessThan": {"s3:max-keys": 010e0}}}]}'.replace("010e0", "10")
    ).encode()
    asked: list[tuple[str, str]] = []

    def to_id(kind: str, value: str) -> str:
        asked.append((kind, value))
        return "AIDAANA0000000000001" if value.endswith("user/ana") else value

    stored = with_principals(document, to_id)
    assert asked == [
        ("AWS", "arn:aws:iam::111111111111:user/ana"),
        ("CanonicalUser", "a" * 64),
    ]
    (statement,) = parse(stored, PolicyKind.BUCKET, bucket="b").statements
    assert statement.principals is not None
    assert statement.principals.ids == {"AIDAANA0000000000001", "a" * 64}
    assert statement.principals.everyone

    def to_arn(_kind: str, value: str) -> str:
        return "arn:aws:iam::111111111111:user/ana" if value.startswith("AIDA") else value

    given = with_principals(stored, to_arn)
    assert json.loads(given) == json.loads(document)
    assert list(json.loads(given)["Statement"][0]) == list(json.loads(document)["Statement"][0])


def test_a_single_statement_and_not_principal_are_renamed_too() -> None:
    """Statement may be an object, and both elements name principals."""
    document = json.dumps(
        {
            "Statement": {
                "Effect": "Deny",
                "NotPrincipal": {"AWS": "arn:aws:iam::111111111111:user/ana"},
                "Action": "s3:*",
                "Resource": "*",
            }
        }
    ).encode()
    renamed = json.loads(with_principals(document, lambda _kind, _value: "AIDA1"))
    assert renamed["Statement"]["NotPrincipal"] == {"AWS": "AIDA1"}
    everyone = _bucket().encode()
    assert json.loads(with_principals(everyone, lambda _kind, _value: "x")) == json.loads(everyone)


def test_shipped_documents_are_documents() -> None:
    """They pass the checks that everybody's pass, and the quota of managed policies."""
    for document in shipped.SHIPPED.values():
        parse(document, PolicyKind.IDENTITY)
        assert size_of(document) <= limits.MANAGED_POLICY_CHARS_MAX
