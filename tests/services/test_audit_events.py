"""What the audit is told: who it was, and what a setting was before and after."""

import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from storage_server.core.ids import PrincipalId, RequestId
from storage_server.engine.records import PrincipalKind
from storage_server.s3.policy import acl, bucket_grants
from storage_server.services.actor import ANONYMOUS, Actor, Facts, Session
from storage_server.services.audit_events import bounded, by_request, event_of, shown, telling
from storage_server.services.control_notes import By
from tests.services.house import House

FACTS = Facts(source_ip="192.0.2.9")


async def test_a_user_a_roles_session_and_a_root_are_named_as_aws_names_them(house: House) -> None:
    """A session by its own ARN: the role's would not say whose it was."""
    account = house.tenant.account_id
    ann = replace(house.ann, facts=FACTS, request_id=RequestId("R"))
    by = by_request(ann)
    assert by.principal_arn == f"arn:aws:iam::{account}:user/ann"
    assert (by.principal_id, by.source, by.address, by.request_id) == (
        "AIDAANN",
        "s3",
        "192.0.2.9",
        "R",
    )
    assert ann.principal is not None
    role = replace(ann.principal, kind=PrincipalKind.ROLE, name="reader", path="/team/")
    session = Session(
        session_id="ASIA",
        principal_id=PrincipalId("AROA"),
        secret="secret",
        issued_us=0,
        expires_us=1,
        name="AROA:monday",
    )
    acting = replace(ann, principal=role, session=session)
    assert by_request(acting).principal_arn == (
        f"arn:aws:sts::{account}:assumed-role/reader/monday"
    )
    root = replace(ann, principal=replace(ann.principal, kind=PrincipalKind.ROOT))
    assert by_request(root).principal_arn == f"arn:aws:iam::{account}:root"


async def test_nobody_has_an_address_and_a_request(house: House) -> None:
    """A public list may let anybody change something."""
    nobody: Actor = replace(ANONYMOUS, facts=FACTS, request_id=RequestId("R"))
    by = by_request(nobody)
    assert (by.principal_id, by.principal_arn, by.access_key_id) == ("", "", "")
    assert (by.address, by.request_id) == ("192.0.2.9", "R")
    event = event_of(by, "s3:PutBucketAcl", await house.make_bucket(), {})
    assert "principalArn" not in json.loads(event.detail)


async def test_no_two_events_have_the_same_id(house: House) -> None:
    """Also of the same thing done twice by the same request."""
    bucket = await house.make_bucket()
    events = {event_of(By(), "s3:PutBucketAcl", bucket, {}).event_id for _ in range(100)}
    assert len(events) == 100


async def test_what_is_told_is_what_the_commit_found(house: House) -> None:
    """Not what the request had looked at."""
    bucket = await house.make_bucket()
    told = telling(By(), "s3:PutBucketTagging", bucket, lambda record: dict(record.tags) or None)
    before = replace(bucket, tags=(("a", "1"),))
    event = told(before, replace(bucket, tags=(("b", "2"),)))
    detail = json.loads(event.detail)
    assert (detail["before"], detail["after"]) == ({"a": "1"}, {"b": "2"})


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("ownership", b"ObjectWriter", "ObjectWriter"),
        ("abac", None, None),
        (
            "public_access_block",
            b"\x05",
            {
                "BlockPublicAcls": True,
                "IgnorePublicAcls": False,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": False,
            },
        ),
        (
            "acl",
            acl.encode(acl.Acl("o", (acl.Grant("g", acl.Permission.READ),))),
            {"owner": "o", "grants": [{"grantee": "g", "permission": "READ"}]},
        ),
        (
            "grants",
            bucket_grants.encode(
                (
                    bucket_grants.BucketGrant(
                        bucket_grants.GranteeKind.USER, "AIDA", bucket_grants.Access.READ, 7
                    ),
                )
            ),
            [{"kind": "user", "grantee": "AIDA", "access": "read", "until_us": 7}],
        ),
    ],
)
def test_documents_are_told_in_words(name: str, document: bytes | None, expected: Any) -> None:
    """So that a row can be read without the program."""
    assert shown(name, document) == expected


@pytest.mark.parametrize("name", ["acl", "grants", "policy", "cors", "ownership"])
def test_a_document_that_is_not_understood_is_told_by_its_hash(name: str) -> None:
    """It must not keep anybody from replacing it."""
    damaged = b"\xff\x00 no document"
    expected = {"sha256": hashlib.sha256(damaged).hexdigest(), "bytes": len(damaged)}
    assert shown(name, damaged) == expected


def test_what_is_long_is_told_by_its_hash() -> None:
    """A row is kept for good."""
    assert bounded({"a": "short"}) == {"a": "short"}
    told = bounded({"a": "long" * 2000})
    assert isinstance(told, dict)
    assert set(told) == {"sha256", "bytes"}


@pytest.mark.parametrize(
    ("key", "shown_as"),
    [
        ("films/Amélie 100%.mkv", "films/Amélie 100%.mkv"),
        ("a\0b", "a%00b"),
        ("\x1b[2J\r\n\x9b", "%1B[2J%0D%0A%C2%9B"),
        ("\u202egpj.exe", "%E2%80%AEgpj.exe"),
    ],
)
async def test_a_key_says_nothing_to_terminal_or_database(
    house: House, key: str, shown_as: str
) -> None:
    """Whoever may change an object's list would else write on its administrator's screen."""
    event = event_of(By(), "s3:PutObjectAcl", await house.make_bucket(), {}, key=key)
    assert event.entity == f"arn:aws:s3:::bucket/{shown_as}"
