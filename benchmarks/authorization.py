"""authorization: who sends a request and whether he may, with 20 policies of 10 statements each.

Once in this process, on the services that a worker has; and once as HEAD of a worker, beside
root's, of whom no policy has to allow anything.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from msgspec.structs import replace

from benchmarks import inside, load
from benchmarks.bench import Bench, run_alone, subfolder
from benchmarks.measuring import Sample, medians, timed
from benchmarks.report import Floor, Result
from benchmarks.server import BUCKET, HOST, Server, running
from benchmarks.signing import Keys, Signer, new_keys
from benchmarks.small import CONNECTIONS, populate, reads
from storage_server.core.ids import (
    RequestId,
    new_canonical_id,
    new_policy_id,
    new_principal_id,
)
from storage_server.engine.identity import Identity, Projected
from storage_server.engine.records import (
    BucketRecord,
    CredentialRecord,
    PolicyRecord,
    PrincipalRecord,
    TenantRecord,
)
from storage_server.processes.life import settle_memory
from storage_server.processes.wiring import Graph
from storage_server.s3.request import RequestHead
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.request_head import HeadReader

POLICIES: Final = 20
STATEMENTS: Final = 10
_CACHED_US: Final = 150
_COLD_US: Final = 2000
_WARM_COUNT: Final = 200
_CACHED_COUNT: Final = 4000
_COLD_COUNT: Final = 40
_ACTIONS: Final = ["s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:ListBucket"]
_DENIES_EACH: Final = 5
"""Each fifth statement denies: a Deny is looked for in all of them."""


@dataclass(slots=True)
class User:
    """A user with a key, and the policies that are attached to it."""

    keys: Keys
    record: PrincipalRecord
    documents: Callable[[int], list[bytes]]
    policies: list[PolicyRecord] = field(default_factory=list)


def measure(bench: Bench) -> Sequence[Result]:
    """Ask with and without policies in turns, in this process and of a worker."""
    folder = subfolder(bench, "authorization")
    with running(folder, bench.keys) as server:
        data_dir = server.data_dir
        populate(server)
    users, within = asyncio.run(_inside(bench, data_dir))
    samples: dict[str, list[Sample]] = {}
    with running(folder, bench.keys, bucket=None) as server:
        requests = {"root": reads(server, "HEAD")}
        for name, user in users.items():
            requests[name] = reads(_signing_as(server, user.keys), "HEAD")
        for _ in range(bench.rounds):
            for name, signed in requests.items():
                send = partial(
                    load.run, requests=signed, connections=CONNECTIONS, seconds=bench.seconds
                )
                run = partial(send, server.port)
                samples.setdefault(name, []).append(timed(server.cpu_ns, run))
    return [*within, *_heads({name: medians(found) for name, found in samples.items()})]


def _signing_as(server: Server, keys: Keys) -> Server:
    """Return the same server, whose requests somebody else signs."""
    other = Server(server.data_dir.parent, keys)
    other.signer = Signer(keys, f"{HOST}:{server.port}")
    return other


# --- Whom it is about ----------------------------------------------------------------------------


def _plain(turn: int) -> list[bytes]:
    """Return policies of statements about other folders; the very last one allows the reads."""
    del turn
    return _policies(lambda number, at: (f"{BUCKET}/team-{number}-{at}/*", None))


def _conditional(turn: int) -> list[bytes]:
    """Return policies about the objects that are read, each statement with a condition."""
    del turn
    return _policies(
        lambda number, at: (
            f"{BUCKET}/*",
            _failing(at, f"somebody-{number}-{at}"),
        )
    )


def _failing(at: int, name: str) -> Mapping[str, Any]:
    """Return a condition that does not hold; it has to be looked at to know that."""
    kinds: Sequence[Mapping[str, Any]] = (
        {"StringEquals": {"aws:PrincipalTag/team": name}},
        {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::*:user/{name}-*"}},
        {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}},
        {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
        {"Bool": {"aws:SecureTransport": "true"}},
    )
    return kinds[at % len(kinds)]


def _new_each_time(turn: int) -> list[bytes]:
    """Return policies as the plain ones that nobody has read before."""
    return _policies(lambda number, at: (f"{BUCKET}/team-{turn}-{number}-{at}/*", None))


_DOCUMENTS: Final[Mapping[str, Callable[[int], list[bytes]]]] = {
    "plain": _plain,
    "conditions": _conditional,
    "unread": _new_each_time,
}


def _policies(
    about: Callable[[int, int], tuple[str, Mapping[str, Any] | None]],
) -> list[bytes]:
    documents = []
    for number in range(POLICIES):
        statements = []
        for at in range(STATEMENTS):
            path, condition = about(number, at)
            denies = at % _DENIES_EACH == _DENIES_EACH - 1
            statement: dict[str, Any] = {
                "Sid": f"Statement{at}",
                "Effect": "Deny" if denies else "Allow",
                "Action": _ACTIONS,
                "Resource": [f"arn:aws:s3:::{path}", f"arn:aws:s3:::archive-{number}-{at}/*"],
            }
            if condition is not None:
                statement["Condition"] = condition
            statements.append(statement)
        if number == POLICIES - 1:
            statements[-1] = {
                "Effect": "Allow",
                "Action": "s3:Get*",
                "Resource": f"arn:aws:s3:::{BUCKET}/read/*",
            }
        documents.append(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode())
    return documents


async def _add_user(identity: Identity, tenant: TenantRecord, name: str) -> User:
    keys = new_keys()
    documents = _DOCUMENTS[name]
    policies = [
        PolicyRecord(
            policy_id := new_policy_id(),
            tenant.tenant_id,
            f"arn:aws:iam::{tenant.account_id}:policy/{policy_id}",
            document,
        )
        for document in documents(0)
    ]
    record = PrincipalRecord(
        new_principal_id(),
        tenant.tenant_id,
        new_canonical_id(),
        name,
        name,
        1,
        policy_ids=tuple(policy.policy_id for policy in policies),
        tags=(("team", "storage"),),
    )
    sealed = identity.seal_secret(keys.access_key, keys.secret_key)
    credential = CredentialRecord(keys.access_key, record.principal_id, sealed, 0, 1)
    await identity.project(
        Projected(principals=(record,), policies=tuple(policies), credentials=(credential,))
    )
    return User(keys, record, documents, policies)


# --- In this process -----------------------------------------------------------------------------


class _Asking:
    """One request of one user, asked again and again of one process's services."""

    def __init__(self, graph: Graph, bucket: BucketRecord, keys: Keys) -> None:
        self._services = graph.services
        self._bucket = bucket
        self._head = _head_of(Signer(keys, f"{HOST}:1").head("GET", f"/{BUCKET}/read/object-1"))

    async def once_ns(self) -> int:
        """Ask once; return the CPU time that it took."""
        services, head, bucket = self._services, self._head, self._bucket
        began_ns = time.thread_time_ns()
        sender = services.credentials.authenticate(head, RequestId("0123456789ABCDEF"))
        await services.authorizer.require(sender.actor, "s3:GetObject", bucket, head.key)
        return time.thread_time_ns() - began_ns

    async def several_us(self, count: int) -> list[float]:
        """Ask several times."""
        return [await self.once_ns() / 1000 for _ in range(count)]


def _head_of(request: bytes) -> RequestHead:
    first, *lines = request.split(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, _ = first.decode().split(" ")
    headers = [(name.lower(), text) for name, text in (line.split(b": ", 1) for line in lines)]
    return HeadReader(S3Options()).read(method, target, headers, peer=HOST, is_secure=False)


async def _inside(bench: Bench, data_dir: Path) -> tuple[dict[str, User], list[Result]]:
    """Add the users, ask as each of them, and return the users and what it took."""
    taken: dict[str, list[list[float]]] = {}
    async with inside.opened(data_dir) as graph:
        identity = graph.store.identity
        bucket = graph.services.authorizer.require_bucket(BUCKET)
        tenant = identity.find_tenant_now(bucket.tenant_id)
        assert tenant is not None
        users = {name: await _add_user(identity, tenant, name) for name in _DOCUMENTS}
        asking = {name: _Asking(graph, bucket, user.keys) for name, user in users.items()}
        asking["root"] = _Asking(graph, bucket, bench.keys)
        for one in asking.values():
            await one.several_us(_WARM_COUNT)
        settle_memory()  # as workers do
        for turn in range(1, bench.rounds + 1):
            for name in ("root", "plain", "conditions"):
                taken.setdefault(name, []).append(await asking[name].several_us(_CACHED_COUNT))
            for name in ("plain", "conditions", "unread"):
                cold = await _cold_us(identity, users[name], asking[name], turn)
                taken.setdefault(f"{name} after a change", []).append(cold)
    return users, _within(taken)


async def _cold_us(identity: Identity, user: User, asking: _Asking, turn: int) -> list[float]:
    """Ask once after each of several changes of the user, and of policies where they change."""
    taken = []
    for count in range(_COLD_COUNT):
        user.record = replace(user.record, revision=user.record.revision + 1)
        documents = user.documents(turn * _COLD_COUNT + count)
        changed = [
            replace(policy, document=document, revision=policy.revision + 1)
            for policy, document in zip(user.policies, documents, strict=True)
            if policy.document != document
        ]
        user.policies = changed or user.policies
        await identity.project(Projected(principals=(user.record,), policies=tuple(changed)))
        taken.append(await asking.once_ns() / 1000)
    return taken


def _within(taken: Mapping[str, Sequence[Sequence[float]]]) -> list[Result]:
    root_us = median(median(one) for one in taken["root"])
    told = {
        "root": ("nothing to look at", None),
        "plain": ("about other objects", _CACHED_US),
        "conditions": ("each with a condition that fails", _CACHED_US),
        "plain after a change": ("first request after a change of the user", _COLD_US),
        "conditions after a change": ("the same, with conditions", _COLD_US),
        "unread after a change": ("first request after a change of all policies", _COLD_US),
    }
    results = []
    for name, (note, bound) in told.items():
        rounds = taken[name]
        mean_us = median(sum(one) / len(one) for one in rounds)
        who = "root" if name == "root" else f"{POLICIES} policies of {STATEMENTS} statements"
        results.append(
            Result(
                case=f"authenticate and authorise, {who}",
                note=note,
                p50_us=median(median(one) for one in rounds),
                p99_us=median(sorted(one)[len(one) * 99 // 100] for one in rounds),
                cpu_us=mean_us,
                limit="" if bound is None else f"root {root_us:.1f} µs CPU",
                floors=() if bound is None else (Floor(mean_us, bound, "µs CPU"),),
            )
        )
    return results


# --- Of a worker ---------------------------------------------------------------------------------


def _heads(samples: Mapping[str, Sample]) -> list[Result]:
    root = samples["root"]
    notes = {"plain": "about other objects", "conditions": "each with a condition that fails"}
    return [
        Result(
            case=f"HEAD, {POLICIES} policies of {STATEMENTS} statements",
            note=note,
            per_second=samples[name].per_second,
            p50_us=samples[name].p50_us,
            p99_us=samples[name].p99_us,
            cpu_us=samples[name].cpu_us,
            limit=f"root {root.cpu_us:.1f} µs CPU",
            of_limit=root.cpu_us / samples[name].cpu_us,
            floors=(Floor(samples[name].cpu_us - root.cpu_us, _CACHED_US, "µs CPU above root"),),
        )
        for name, note in notes.items()
    ]


if __name__ == "__main__":
    run_alone(measure, "authorization: who sends a request and whether he may, with 20 policies")
