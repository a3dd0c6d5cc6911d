"""IAM's and STS's forms are read whole or refused; replies are as SDKs read them."""

from typing import Annotated

import pytest
from botocore.model import ServiceModel
from botocore.parsers import QueryParser
from botocore.serialize import QuerySerializer
from botocore.session import Session
from msgspec import Meta, field

from storage_server.core.errors import ApiError
from storage_server.s3 import errors, iam_errors
from storage_server.s3.iam_actions import BY_NAME, IAM_ACTIONS
from storage_server.s3.messages import iam, query_api, sts
from storage_server.s3.messages.query_api import Input, Output


class Pair(Input, frozen=True, kw_only=True):
    """A structure in a list."""

    key: str
    value: str = ""


class Wanted(Input, frozen=True, kw_only=True):
    """What a test asks for."""

    name: Annotated[str, Meta(max_length=5)]
    seconds: int = 0
    is_set: bool = False
    tags: tuple[Pair, ...] = ()
    words: tuple[str, ...] = field(name="WORDS", default=())


def test_a_form_becomes_values_lists_and_structures() -> None:
    """Numbers order the members, however the form orders them."""
    form = query_api.parse_form(
        b"Action=X&Version=1&Name=%C3%A9+b&Seconds=900&IsSet=true&Tags.member.2.Key=b"
        b"&Tags.member.1.Key=a&Tags.member.1.Value=1&WORDS.member.1=w"
    )
    assert query_api.read(form, Wanted) == Wanted(
        name="\u00e9 b", seconds=900, is_set=True,
        tags=(Pair(key="a", value="1"), Pair(key="b")), words=("w",),
    )  # fmt: skip


def test_an_empty_list_is_a_name_with_nothing_behind_it() -> None:
    """SDKs send it so."""
    assert query_api.read({"Name": "a", "Tags": ""}, Wanted) == Wanted(name="a")


@pytest.mark.parametrize(
    "body",
    [
        b"Name=a&Name=b",
        b"Name=%zz",
        b"Name=%ff",
        b"=a",
        b"N ame=a",
        b"a..b=1",
        b"&".join(b"A%d=1" % number for number in range(query_api.FIELDS_MAX + 1)),
    ],
)
def test_a_form_that_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    """No name counts twice, and nothing is guessed."""
    with pytest.raises(iam_errors.MalformedQueryString):
        query_api.parse_form(body)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"Name": "too long"},
        {"Name": "a", "Unknown": "1"},
        {"Name": "a", "Seconds": "many"},
        {"Name": "a", "Tags.member.1.Key": "a", "Tags.member.1.Other": "b"},
        {"Name": "a", "Tags": "a"},
    ],
)
def test_a_parameter_that_the_action_does_not_have_is_refused(form: dict[str, str]) -> None:
    """A misspelt session policy must not be passed over."""
    with pytest.raises(iam_errors.ValidationError):
        query_api.read(form, Wanted)


@pytest.mark.parametrize(
    "form",
    [
        {"Name": "a", "Tags.member.2.Key": "a"},
        {"Name": "a", "Tags.member.0.Key": "a"},
        {"Name": "a", "Tags.member.x.Key": "a"},
        {"Name": "a", "Tags.member.01.Key": "a"},
        {"Name": "a", "Tags.member.10000.Key": "a"},
        {"Name": "a", "Tags.member.1.Key": "a", "Tags.member.01.Key": "b"},
        {"Name": "a", "Tags.member.1": "x", "Tags.member.1.Key": "a"},
        {"Name.a": "a", "Name": "a"},
        {".".join("abcdefghi"): "1"},
    ],
)
def test_a_list_with_holes_is_refused(form: dict[str, str]) -> None:
    """Members are numbered from one, without holes and repetitions."""
    with pytest.raises(iam_errors.MalformedQueryString):
        query_api.read(form, Wanted)


# --- botocore's models are the specification ---------------------------------------------------


def model(service: str) -> ServiceModel:
    """Return an SDK's description of a service."""
    loader = Session().get_component("data_loader")
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


OUTPUTS: dict[str, Output] = {
    "GetUser": iam.UserOut(
        user=iam.User(path="/", user_name="ana", user_id="AIDA1", arn="arn:1",
                      create_date="2026-11-21T10:00:00Z",
                      tags=(iam.TagOut(key="a", value="<&>"),))
    ),
    "ListMFADevices": iam.MfaDevicesOut(),
    "ListSSHPublicKeys": iam.SshKeysOut(),
    "GetAccountSummary": iam.SummaryOut(summary_map={"Users": 3}),
    "ListPolicies": iam.PoliciesOut(policies=(), is_truncated=True, marker="m"),
    "CreateOpenIDConnectProvider": iam.ProviderArnOut(open_id_connect_provider_arn="arn:p"),
    "ListOpenIDConnectProviders": iam.ProvidersOut(
        open_id_connect_provider_list=(iam.ProviderArn(arn="arn:p"),)
    ),
    "SimulateCustomPolicy": iam.SimulationOut(
        evaluation_results=(
            iam.Evaluation(eval_action_name="s3:GetObject", eval_resource_name="*",
                           eval_decision="allowed"),
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("action", OUTPUTS)
def test_an_sdk_reads_a_reply(action: str) -> None:
    """The SDK's own parser finds every element in its place."""
    reply = query_api.render_reply("iam", action, OUTPUTS[action], "REQ")
    shape = model("iam").operation_model(action).output_shape
    assert shape is not None
    response = {"body": reply.body, "status_code": reply.status, "headers": dict(reply.headers)}
    parsed = QueryParser().parse(response, shape)
    assert parsed["ResponseMetadata"]["RequestId"] == "REQ"
    assert len(parsed) == 1 + sum(
        getattr(OUTPUTS[action], name) is not None for name in OUTPUTS[action].__struct_fields__
    )


def test_an_sdk_reads_an_error() -> None:
    """Code, sentence and whose fault it is."""
    reply = query_api.render_error("iam", iam_errors.NoSuchEntity("No <user>\x00."), "REQ")
    response = {"body": reply.body, "status_code": reply.status, "headers": dict(reply.headers)}
    shape = model("iam").operation_model("GetUser").output_shape
    assert shape is not None
    parsed = QueryParser().parse(response, shape)
    assert parsed["Error"] == {
        "Type": "Sender", "Code": "NoSuchEntity", "Message": "No <user>\ufffd.",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.InvalidAccessKeyId(AWSAccessKeyId="x"), "InvalidClientTokenId", 403),
        (errors.InvalidToken(), "InvalidClientTokenId", 403),
        (errors.ExpiredToken(), "ExpiredToken", 400),
        (errors.AccessDenied(), "AccessDenied", 403),
        (errors.SignatureDoesNotMatch(), "SignatureDoesNotMatch", 403),
        (errors.AuthorizationHeaderMalformed(), "IncompleteSignature", 400),
        (errors.ServiceUnavailable(), "ServiceUnavailable", 503),
        (errors.InternalError(), "InternalFailure", 500),
        (errors.MalformedPolicy("Statement 1 is none."), "MalformedPolicyDocument", 400),
    ],
)
def test_errors_speak_iams_language(error: ApiError, code: str, status: int) -> None:
    """S3's words for the same things would not be understood by these SDKs."""
    reply = query_api.render_error("sts", error, "REQ")
    assert isinstance(reply.body, bytes)
    assert reply.status == status
    assert f"<Code>{code}</Code>".encode() in reply.body


@pytest.mark.parametrize(
    "action", [row.name for row in IAM_ACTIONS if row.name[-12:] != "LDAPIdentity"]
)
def test_every_row_is_an_action_of_aws(action: str) -> None:
    """Names and services are those of the SDK's models."""
    assert action in model(BY_NAME[action].service).operation_names


@pytest.mark.parametrize(
    ("service", "action", "parameters", "wanted"),
    [
        ("iam", "CreateUser", {"UserName": "ana", "Tags": [{"Key": "a", "Value": "b"}]},
         iam.CreateUser),
        ("iam", "CreateUser", {"UserName": "ana", "Path": "/a/b/", "Tags": []}, iam.CreateUser),
        ("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": "{}",
                               "MaxSessionDuration": 7200}, iam.CreateRole),
        ("iam", "CreateOpenIDConnectProvider", {"Url": "https://a.b", "ClientIDList": ["x", "y"],
                                                "ThumbprintList": ["a" * 40]}, iam.CreateProvider),
        ("iam", "AddClientIDToOpenIDConnectProvider",
         {"OpenIDConnectProviderArn": "arn:aws:iam::123456789012:oidc-provider/a.b",
          "ClientID": "x"}, iam.ProviderClient),
        ("iam", "TagOpenIDConnectProvider",
         {"OpenIDConnectProviderArn": "arn:aws:iam::123456789012:oidc-provider/a.b",
          "Tags": [{"Key": "a", "Value": "b"}]}, iam.TagProvider),
        ("iam", "UntagOpenIDConnectProvider",
         {"OpenIDConnectProviderArn": "arn:aws:iam::123456789012:oidc-provider/a.b",
          "TagKeys": ["a"]}, iam.UntagProvider),
        ("iam", "ListOpenIDConnectProviderTags",
         {"OpenIDConnectProviderArn": "arn:aws:iam::123456789012:oidc-provider/a.b",
          "MaxItems": 5}, iam.ProviderPage),
        ("iam", "SimulateCustomPolicy",
         {"PolicyInputList": ["{}"], "ActionNames": ["s3:GetObject"],
          "ContextEntries": [{"ContextKeyName": "aws:username", "ContextKeyValues": ["a"],
                              "ContextKeyType": "string"}]}, iam.SimulateCustomPolicy),
        ("sts", "AssumeRole",
         {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "me",
          "PolicyArns": [{"arn": "arn:aws:iam::123456789012:policy/p"}],
          "Tags": [{"Key": "a", "Value": "b"}], "TransitiveTagKeys": ["a"],
          "DurationSeconds": 900, "ExternalId": "e", "Policy": "{}"}, sts.AssumeRole),
        ("sts", "GetSessionToken", {"DurationSeconds": 900}, sts.GetSessionToken),
    ],
)  # fmt: skip
def test_what_an_sdk_sends_is_understood(
    service: str, action: str, parameters: dict[str, object], wanted: type[Input]
) -> None:
    """The SDK's own serialiser makes the form."""
    operation = model(service).operation_model(action)
    sent = QuerySerializer().serialize_to_request(parameters, operation)["body"]
    form = {name: str(value) for name, value in sent.items()}
    found = query_api.read(form, wanted)
    assert isinstance(found, wanted)


def test_only_a_form_to_the_root_of_the_base_host_is_a_query() -> None:
    """Uploads by form name a bucket."""
    form = "application/x-www-form-urlencoded; charset=utf-8"
    assert query_api.is_query("POST", "", "", form)
    assert not query_api.is_query("GET", "", "", form)
    assert not query_api.is_query("POST", "b", "", form)
    assert not query_api.is_query("POST", "", "", "multipart/form-data; boundary=x")
