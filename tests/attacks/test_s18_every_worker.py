"""S18 on real processes: what is taken away is gone with the next request, in every worker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import HOST, Server, fresh_name, new_keys
from tests.signing import Keys
from tests.wire import S3Wire

LISTS = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}],
    }
)
NOTHING = LISTS.replace("ListAllMyBuckets", "GetObject")
CONNECTIONS = 12  # over two workers: both have several


@contextmanager
def wires(server: Server, keys: Keys) -> Iterator[list[S3Wire]]:
    """Open connections that the workers share."""
    opened = [S3Wire(HOST, server.port, keys) for _ in range(CONNECTIONS)]
    try:
        yield opened
    finally:
        for wire in opened:
            wire.close()


def test_s18_a_revoke_counts_in_every_worker(server: Server) -> None:
    """Cached rights do not outlive the command that took them away; given back, they are back."""
    tenant = fresh_name("t")[:20]
    inside = ("--tenant", tenant)
    keys = new_keys()
    server.secrets.append(keys.secret_key)
    server.command("tenant", "create", tenant)
    server.command("user", "create", "ana", *inside)
    server.command(
        *("key", "create", "--user", "ana", "--access-key", keys.access_key),
        *("--secret-key", "-", *inside),
        stdin=keys.secret_key + "\n",
    )
    server.command("policy", "create", "lists", "-", *inside, stdin=LISTS)
    server.command("group", "create", "all", *inside)
    server.command("group", "add", "all", "ana", *inside)
    attached = ("lists", "--group", "all", *inside)
    version = ("policy", "add-version", "lists", "-", "--set-default", *inside)
    server.command("policy", "attach", *attached)
    with wires(server, keys) as opened:
        for revoke, restore in (
            (("key", "disable", keys.access_key), ("key", "enable", keys.access_key)),
            (("user", "disable", "ana", *inside), ("user", "enable", "ana", *inside)),
            (("group", "disable", "all", *inside), ("group", "enable", "all", *inside)),
            (("group", "remove", "all", "ana", *inside), ("group", "add", "all", "ana", *inside)),
            (("policy", "detach", *attached), ("policy", "attach", *attached)),
            (version, version),
            (("tenant", "suspend", tenant), ("tenant", "resume", tenant)),
        ):
            assert [wire.call("GET", "/").status for wire in opened] == [200] * CONNECTIONS, revoke
            server.command(*revoke, stdin=NOTHING if revoke is version else "")
            assert [wire.call("GET", "/").status for wire in opened] == [403] * CONNECTIONS, revoke
            server.command(*restore, stdin=LISTS if restore is version else "")
        assert [wire.call("GET", "/").status for wire in opened] == [200] * CONNECTIONS


def test_s18_why_is_told_whichever_worker_answered(server: Server, bucket: str) -> None:
    """``holdfast explain --request-id`` finds the refusals of all of them."""
    keys = server.create_owner(fresh_name("nosy")[:20])
    with wires(server, keys) as opened:
        for wire in opened[:4]:
            answer = wire.call("GET", f"/{bucket}/k")
            assert answer.status == 403
            request_id = answer.header("x-amz-request-id")
            told = json.loads(
                server.command("explain", "--request-id", request_id, "--json").stdout
            )
            assert (told["action"], told["allowed"]) == ("s3:GetObject", False)
