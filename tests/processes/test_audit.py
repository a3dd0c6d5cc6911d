"""The audit of a real server: what is changed over S3 is in it, also after SQL was away."""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.servers import S3, START_TIMEOUT_S, Server

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:DeleteObject",
            "Resource": "arn:aws:s3:::kept/*",
        }
    ],
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose control database lies where a test can move it."""
    made = Server(tmp_path / "server", CONTROL_DB_URL=f"sqlite:///{tmp_path}/accounts.db")
    yield made
    made.close()


def told(server: Server, *filters: str) -> list[dict[str, Any]]:
    """Return rows of the audit, the oldest first."""
    done = server.command("audit", "list", "--json", *filters)
    return list(reversed(json.loads(done.stdout)))


def actions(server: Server, *filters: str) -> list[str]:
    """Return what they say was done."""
    return [one["action"] for one in told(server, *filters)]


def put_tags(s3: S3, value: str) -> None:
    """Change the bucket."""
    s3.put_bucket_tagging(Bucket="kept", Tagging={"TagSet": [{"Key": "number", "Value": value}]})


def tags_told(server: Server) -> list[str]:
    """Return the tags that the audit has seen, in their order."""
    found = told(server, "--action", "s3:PutBucketTagging")
    return [json.loads(one["detail"])["after"]["number"] for one in found]


def test_a_policy_that_is_put_over_s3_is_in_the_audit(server: Server) -> None:
    """Beside the server and on its stopped folder; found by what it is asked for."""
    server.start()
    ana = server.create_owner("ana")
    s3 = server.boto(ana)
    s3.create_bucket(Bucket="kept")
    done = s3.put_bucket_policy(Bucket="kept", Policy=json.dumps(POLICY))
    (row,) = told(server, "--action", "s3:PutBucketPolicy")
    assert row["request_id"] == done["ResponseMetadata"]["RequestId"]
    assert row["entity"] == "arn:aws:s3:::kept"
    assert row["access_key_id"] == ana.access_key
    assert row["principal_arn"].endswith(":user/ana")
    assert row["address"] == "127.0.0.1"
    assert json.loads(json.loads(row["detail"])["after"]["document"]) == POLICY
    both = ["s3:CreateBucket", "s3:PutBucketPolicy"]
    assert actions(server, "--bucket", "kept", "--tenant", "default") == both
    assert actions(server, "--principal", row["principal_id"]) == both
    assert actions(server, "--bucket", "kept", "--tenant", "system") == []
    assert actions(server, "--bucket", "kep") == []
    assert actions(server, "--bucket", "kept", "--since", "2999-12-31") == []
    assert ":user/ana" in server.command("audit", "list", "--bucket", "kept").stdout
    s3.delete_bucket_policy(Bucket="kept")
    server.stop()
    assert actions(server, "--bucket", "kept") == [*both, "s3:DeleteBucketPolicy"]
    proof = json.loads(server.command("audit", "verify", "--json").stdout)
    assert (proof["broken_at"], proof["buckets_waiting"]) == (None, 0)


def test_changes_wait_while_sql_is_away(server: Server, tmp_path: Path) -> None:
    """Buckets are changed all the same, and the audit has it when SQL is back."""
    server.start()
    s3 = server.boto(server.create_owner("ana"))
    s3.create_bucket(Bucket="kept")
    put_tags(s3, "0")
    assert tags_told(server) == ["0"]
    moved = [(one, one.with_name(f"away-{one.name}")) for one in tmp_path.glob("accounts.db*")]
    for there, away in moved:
        there.rename(away)
    put_tags(s3, "1")
    put_tags(s3, "2")
    assert server.command("audit", "list", expect=None).returncode != 0
    for there, away in moved:
        away.rename(there)
    assert tags_told(server) == ["0", "1", "2"]
    assert server.command("audit", "verify").stdout.startswith("whole: ")


def test_a_killed_server_loses_no_change(server: Server) -> None:
    """What was answered is in the audit once, whenever it was taken over."""
    server.start()
    s3 = server.boto(server.create_owner("ana"))
    s3.create_bucket(Bucket="kept")
    for number in range(3):
        put_tags(s3, str(number))
        for process in server.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        server.stop()
        server.start()
    assert tags_told(server) == ["0", "1", "2"]
    assert server.command("audit", "verify").stdout.startswith("whole: ")


def test_the_background_takes_events_over_by_itself(server: Server, tmp_path: Path) -> None:
    """Nobody has to look: the control database has the row soon, and the outbox no event."""
    server.start()
    s3 = server.boto(server.create_owner("ana"))
    s3.create_bucket(Bucket="kept")
    deadline = time.monotonic() + START_TIMEOUT_S
    query = "SELECT count(*) FROM audit WHERE action = 's3:CreateBucket'"
    with contextlib.closing(sqlite3.connect(tmp_path / "accounts.db")) as database:
        while database.execute(query).fetchone() == (0,):
            assert time.monotonic() < deadline, server.log_tail()
            s3.head_bucket(Bucket="kept")
    assert actions(server, "--bucket", "kept") == ["s3:CreateBucket"]
