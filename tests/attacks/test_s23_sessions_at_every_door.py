"""S17, S23 over the wire: a session opens the doors that its role may, until it ends."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.post_form import BOUNDARY, render_form
from tests.servers import Server, fresh_name
from tests.tenants import Login, Tenancy, allow, make_tenancy, policy, sdk, trust

OPEN = {"header": 200, "presigned": 200, "form": 204}
SHUT = {400, 403}  # InvalidToken has S3's status of 400; a session's key without a token is unknown


@dataclass(frozen=True, slots=True)
class Scene:
    """A bucket with one object in a tenant with a role."""

    server: Server
    tenancy: Tenancy
    bucket: str
    role: str

    def assume(self) -> Login:
        """Return a new session of the role."""
        sts = sdk(self.server, "sts", self.tenancy.admin)
        given = sts.assume_role(RoleArn=self.role, RoleSessionName="doors")["Credentials"]
        self.server.secrets.append(given["SecretAccessKey"])
        return Login.of(given)

    def user(self, name: str, role: str) -> Login:
        """Return a new user with a shipped policy, of the bucket's tenant."""
        where = ("--tenant", self.tenancy.name)
        self.server.command("user", "create", name, *where, "--role", role)
        made = self.server.command("key", "create", "--user", name, *where, "--json").stdout
        key = json.loads(made)
        self.server.secrets.append(key["secret_key"])
        return Login.of({"AccessKeyId": key["access_key_id"], "SecretAccessKey": key["secret_key"]})

    def statuses(self, login: Login, key: str = "new") -> dict[str, int]:
        """Return how each door answers somebody: a read by header, one by URL, a form's write."""
        s3 = sdk(self.server, "s3", login, signature_version="s3v4")
        url = s3.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": "kept"})
        form = s3.generate_presigned_post(self.bucket, key)
        body = render_form(form["fields"], b"from a form")
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        posted = urllib.request.Request(form["url"], body, kind, method="POST")  # noqa: S310 - http
        return {
            "header": _status_of_get(s3, self.bucket),
            "presigned": _status_of(urllib.request.Request(url)),  # noqa: S310 - of our server
            "form": _status_of(posted),
        }

    def listed(self) -> set[str]:
        """Return what is in the bucket."""
        listed = sdk(self.server, "s3", self.tenancy.admin).list_objects_v2(Bucket=self.bucket)
        return {one["Key"] for one in listed["Contents"]}


def _status_of_get(s3: Any, bucket: str) -> int:
    try:
        return int(s3.get_object(Bucket=bucket, Key="kept")["ResponseMetadata"]["HTTPStatusCode"])
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _status_of(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310 - of our server
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.fixture(scope="module")
def place(server: Server) -> Scene:
    """Everything these tests need, made once."""
    tenancy, bucket = make_tenancy(server), fresh_name()
    s3, iam = sdk(server, "s3", tenancy.admin), sdk(server, "iam", tenancy.admin)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    admin = f"arn:aws:iam::{tenancy.account}:user/admin"
    made = iam.create_role(RoleName="doors", AssumeRolePolicyDocument=trust({"AWS": admin}))
    document = policy(allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/*"))
    iam.put_role_policy(RoleName="doors", PolicyName="p", PolicyDocument=document)
    return Scene(server, tenancy, bucket, made["Role"]["Arn"])


def test_a_session_acts_at_every_door_until_it_is_ended(place: Scene) -> None:
    """Header, presigned URL and form; ended by its access key id, none of them opens again."""
    session, other = place.assume(), place.assume()
    assert place.statuses(session, "by-session") == OPEN
    assert "by-session" in place.listed()
    place.server.command("session", "end", session.keys.access_key)
    assert set(place.statuses(session, "by-the-dead").values()) <= SHUT
    assert place.statuses(other, "by-another") == OPEN
    assert "by-the-dead" not in place.listed()


def test_a_role_that_ends_its_sessions_shuts_every_door(place: Scene) -> None:
    """For the sessions that there are; the next one works."""
    session = place.assume()
    assert place.statuses(session) == OPEN
    place.server.command("role", "end-sessions", "doors", "--tenant", place.tenancy.name)
    assert set(place.statuses(session, "by-the-dead").values()) <= SHUT
    assert place.statuses(place.assume()) == OPEN
    assert "by-the-dead" not in place.listed()


def test_a_token_that_is_touched_or_anothers_opens_no_door(place: Scene) -> None:
    """Whoever has a session's secret needs exactly its token, and whoever has a token its key."""
    session, other = place.assume(), place.assume()
    flipped = session.token[:-9] + ("A" if session.token[-9] != "A" else "B") + session.token[-8:]
    for token in (flipped, other.token, session.token[:-4]):
        assert set(place.statuses(replace(session, token=token), "by-a-liar").values()) <= SHUT
    user = place.user("holder", "user")
    assert set(place.statuses(replace(user, token=session.token), "by-a-liar").values()) <= SHUT
    assert set(place.statuses(Login(session.keys), "by-a-liar").values()) <= SHUT
    assert "by-a-liar" not in place.listed()
    assert place.statuses(session) == OPEN


def test_a_read_only_user_reads_and_posts_no_form(place: Scene) -> None:
    """CVE-2021-21362: a form is a write, whoever signed it and however right the signature is."""
    reader = place.user("reader", "read-only")
    assert place.statuses(reader, "by-a-reader") == {"header": 200, "presigned": 200, "form": 403}
    session = Login.of(sdk(place.server, "sts", reader).get_session_token()["Credentials"])
    place.server.secrets.append(session.keys.secret_key)
    assert place.statuses(session, "by-a-reader")["form"] == 403
    assert "by-a-reader" not in place.listed()
