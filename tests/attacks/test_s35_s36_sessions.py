"""S17, S36 over the wire: tokens that were touched, and every action asked by the wrong sender."""

import http.client
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from defusedxml import ElementTree

from storage_server.s3.iam_actions import IAM_ACTIONS, IamAction
from storage_server.s3.messages.query_api import FORM_BYTES_MAX, VERSIONS
from tests.servers import HOST, Server
from tests.tenants import Login, Tenancy, make_tenancy, sdk

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Wire:
    """Sends forms to the base host, signed or not."""

    def __init__(self, server: Server) -> None:
        """Talk to a server over one connection."""
        self._connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
        self._url = server.url

    def send(
        self, body: bytes, login: Login | None = None, scope: str = "sts", **headers: str
    ) -> tuple[int, str]:
        """Send a form; return the status and the error's code."""
        sent = {"Content-Type": FORM} | headers
        if login is not None:
            request = AWSRequest("POST", f"{self._url}/", sent, body)
            keys = Credentials(login.keys.access_key, login.keys.secret_key, login.token or None)
            SigV4Auth(keys, scope, "us-east-1").add_auth(request)
            sent = dict(request.headers.items())
        self._connection.request("POST", "/", body, sent)
        reply = self._connection.getresponse()
        text = reply.read()
        found = ElementTree.fromstring(text)
        codes = [one.text or "" for one in found.iter() if one.tag.rpartition("}")[2] == "Code"]
        return reply.status, codes[0] if codes else ""

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


@pytest.fixture(scope="module")
def tenancy(server: Server) -> Tenancy:
    """A tenant of these tests."""
    return make_tenancy(server)


@pytest.fixture(scope="module")
def session(server: Server, tenancy: Tenancy) -> Login:
    """A session of the administrator's own."""
    given = sdk(server, "sts", tenancy.admin).get_session_token()["Credentials"]
    server.secrets.append(given["SecretAccessKey"])
    return Login.of(given)


@pytest.fixture
def wire_query(server: Server) -> Iterator[Wire]:
    """A raw client."""
    wire = Wire(server)
    yield wire
    wire.close()


def form(action: str, service: str = "sts", **fields: str) -> bytes:
    """Return a form."""
    named = {"Action": action, "Version": VERSIONS[service]} | fields
    return urllib.parse.urlencode(named).encode()


WHO = form("GetCallerIdentity")


def test_a_touched_token_is_refused_at_every_byte(
    wire_query: Wire, session: Login, tenancy: Tenancy
) -> None:
    """Signed properly with the session's own secret, and still nobody's."""
    assert wire_query.send(WHO, session) == (200, "")
    for place, letter in enumerate(session.token):
        other = ALPHABET[ALPHABET.index(letter) ^ (1 << place % 6)]
        token = session.token[:place] + other + session.token[place + 1 :]
        found = wire_query.send(WHO, Login(session.keys, token))
        assert found == (403, "InvalidClientTokenId"), place
    for token in (session.token[:-1], session.token + "A", session.token * 2, "A" * 4096):
        assert wire_query.send(WHO, Login(session.keys, token))[0] == 403
    # Another's key with this token, and this key without it.
    assert wire_query.send(WHO, Login(tenancy.admin.keys, session.token))[0] == 403
    assert wire_query.send(WHO, Login(session.keys))[0] == 403


def test_a_body_is_signed_byte_for_byte(wire_query: Wire, tenancy: Tenancy, server: Server) -> None:
    """A form that was changed on its way is another's."""
    request = AWSRequest("POST", f"{server.url}/", {"Content-Type": FORM}, WHO)
    keys = Credentials(tenancy.admin.keys.access_key, tenancy.admin.keys.secret_key)
    SigV4Auth(keys, "sts", "us-east-1").add_auth(request)
    signed = dict(request.headers.items())
    changed = WHO + b"&"
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    connection.request("POST", "/", changed, signed)
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize("row", IAM_ACTIONS, ids=lambda row: row.name)
def test_every_action_refuses_the_wrong_sender(
    wire_query: Wire, tenancy: Tenancy, row: IamAction, nobody: Login
) -> None:
    """Nobody, a scope of another service, and a user without any permission."""
    body = form(row.name, row.service)
    if not row.is_unsigned:
        assert wire_query.send(body) == (403, "MissingAuthenticationToken")
    for scope in {"s3", "iam", "sts", "ec2"} - {row.service}:
        assert wire_query.send(body, tenancy.admin, scope) == (400, "IncompleteSignature")
    if row.action:
        assert wire_query.send(body, nobody, row.service) == (403, "AccessDenied")


@pytest.fixture(scope="module")
def nobody(server: Server, tenancy: Tenancy) -> Login:
    """A user who may do nothing."""
    iam = sdk(server, "iam", tenancy.admin)
    iam.create_user(UserName="nobody")
    key: Any = iam.create_access_key(UserName="nobody")["AccessKey"]
    server.secrets.append(key["SecretAccessKey"])
    return Login.of(key)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "MissingAction"),
        (b"Action=Nothing&Version=2010-05-08", 400, "InvalidAction"),
        (b"Action=CreateUser&Version=2011-06-15", 400, "InvalidAction"),
        (b"Action=GetCallerIdentity&Action=CreateUser", 400, "MalformedQueryString"),
        (b"\xff=1", 400, "MalformedQueryString"),
        (b"Action=AssumeRoleWithWebIdentity", 400, "ValidationError"),
        (b"Action=AssumeRoleWithWebIdentity&RoleArn=x", 400, "ValidationError"),
        (form("AssumeRoleWithLDAPIdentity", LDAPUsername="*)(uid=*", LDAPPassword=""), 400,
         "IDPCommunicationError"),
        (b"Action=AssumeRoleWithWebIdentity&PolicyArns.member.01.arn=x", 400,
         "MalformedQueryString"),
        (b"Action=AssumeRoleWithWebIdentity&DurationSeconds=" + b"9" * 5000, 400,
         "ValidationError"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_form_that_is_none_has_its_answer(
    wire_query: Wire, body: bytes, status: int, code: str
) -> None:
    """In the words of IAM and STS, never a 500."""
    assert wire_query.send(body) == (status, code)


def test_a_long_form_is_refused(wire_query: Wire) -> None:
    """Before it is all read."""
    body = b"Action=GetCallerIdentity&A=" + b"x" * FORM_BYTES_MAX
    status, _ = wire_query.send(body)
    assert status == 400
