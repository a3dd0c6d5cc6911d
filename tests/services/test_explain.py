"""Why: from the rings of what was refused, and for questions; each tenant its own side."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from storage_server.engine.records import TenantRecord
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.services.denials import DenialRing, read_rings
from storage_server.services.explain import ExplainService
from tests.s3_api.asking import Asker, asker
from tests.s3_api.port import running_port
from tests.services.people import People, Person, allow, deny, document

OBJECT = "arn:aws:s3:::bkt/k"


@dataclass(frozen=True)
class Scene:
    """Tenant A with Ann's bucket and Bob, tenant B with Eve; the rings lie in ``folder``."""

    ask: Asker
    explain: ExplainService
    people: People
    folder: Path
    a: TenantRecord
    b: TenantRecord
    ann: Person
    bob: Person
    eve: Person

    async def refuse(self, person: Person | None, headers: dict[str, str] | None = None) -> str:
        """Have a request refused; return its id."""
        keys = None if person is None else person.keys
        answer = await self.ask.ask(keys, "GET", "/bkt/k", headers)
        assert answer.status == 403
        for _ in range(3):
            await asyncio.sleep(0)  # the refusal is explained in a later turn of the loop
        return answer.request_id


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Two tenants around one bucket."""
    with ThreadPoolExecutor(2) as lanes:
        async with running_port(tmp_path) as port:
            people = People(port.store.identity)
            a, b = await people.tenant("a"), await people.tenant("b")
            ann, bob = await people.user(a, "ann", "user"), await people.user(a, "bob", "user")
            eve = await people.user(b, "eve", allow("s3:*"))
            ask = asker(port.services, lanes)
            assert (await ask.ask(ann.keys, "PUT", "/bkt")).status == 200
            folder = tmp_path / "denials"
            yield Scene(ask, port.services.explain, people, folder, a, b, ann, bob, eve)


async def test_a_refused_request_is_explained(scene: Scene) -> None:
    """Who, what, when, and which statement came how far."""
    request_id = await scene.refuse(scene.bob)
    found = await scene.explain.of_request(scene.a.tenant_id, request_id)
    assert (found.allowed, found.principal, found.action, found.resource) == (
        False,
        scene.bob.arn,
        "s3:GetObject",
        OBJECT,
    )
    assert found.at_us > 0
    assert any("holdfast:resourceowner" in line for line in found.lines)
    assert await scene.explain.of_request(None, request_id) == found


async def test_who_asks_at_once_waits_for_the_answer(scene: Scene) -> None:
    """What was refused is written down after the reply, and by another process."""
    other = DenialRing(scene.folder)
    try:
        asking = asyncio.create_task(scene.explain.of_request(None, "LATE"))
        await asyncio.sleep(0)
        assert not asking.done()
        known = await scene.refuse(scene.bob)
        (denial,) = (one for one in read_rings(scene.folder) if one.request_id == known)
        other._write(msgspec.structs.replace(denial, request_id="LATE"))
        assert (await asking).resource == OBJECT
    finally:
        other.close()


async def test_each_tenant_sees_its_own_side(scene: Scene) -> None:
    """The other one decided, and no more of it; a third sees nothing."""
    request_id = await scene.refuse(scene.eve)
    callers = (await scene.explain.of_request(scene.b.tenant_id, request_id)).lines
    owners = (await scene.explain.of_request(scene.a.tenant_id, request_id)).lines
    assert any("owner" in line for line in callers)
    assert not any("identity policy" in line for line in owners)
    third = await scene.people.tenant("third")
    for tenant_id, wanted in ((third.tenant_id, request_id), (scene.a.tenant_id, "unknown")):
        with pytest.raises(NoSuchEntity):
            await scene.explain.of_request(tenant_id, wanted)


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:Referer": "https://example.com/"}},
        {"StringEquals": {"aws:username": "${aws:Referer}"}},
    ],
    ids=["key", "variable"],
)
async def test_what_may_be_secret_is_not_kept(scene: Scene, condition: dict[str, Any]) -> None:
    """Addresses of referring pages carry session ids."""
    await scene.people.change(
        scene.bob, inline=(("i", document(allow("s3:GetObject", Condition=condition))),)
    )
    request_id = await scene.refuse(scene.bob, {"referer": "https://example.com/?sid=hush"})
    lines = (await scene.explain.of_request(None, request_id)).lines
    assert any("aws:referer" in line.lower() and "(not shown)" in line for line in lines)
    assert not any("hush" in line for line in lines)
    assert b"hush" not in b"".join(path.read_bytes() for path in scene.folder.iterdir())


async def test_anonymous_refusals_are_sampled(scene: Scene) -> None:
    """A flood of them leaves room for the others."""
    ids = [await scene.refuse(None) for _ in range(40)]
    kept = {denial.request_id for denial in read_rings(scene.folder)}
    assert 1 <= len(kept & set(ids)) < 40
    assert await scene.refuse(scene.bob) in {d.request_id for d in read_rings(scene.folder)}


async def test_rings_are_found_by_other_processes_and_reused(scene: Scene) -> None:
    """Each process writes its own; a torn entry is passed over."""
    request_id = await scene.refuse(scene.bob)
    assert DenialRing(scene.folder).find(request_id) is not None
    (path,) = scene.folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert DenialRing(scene.folder).find(request_id) is None
    path.write_bytes(b"")
    assert list(read_rings(scene.folder)) == []


async def test_a_question_is_answered_like_a_request(scene: Scene) -> None:
    """With what the context says in place of the request."""
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    carl = await scene.people.user(
        scene.a, "carl", allow("s3:GetObject", Condition=condition), deny("s3:Put*")
    )
    ask = scene.explain.explain
    inside, outside = {"aws:SourceIp": ["10.1.1.1"]}, {"aws:sourceip": ["192.0.2.1"]}
    for who in ("carl", carl.arn, carl.id):
        assert (await ask(scene.a.tenant_id, who, "s3:GetObject", OBJECT, inside)).allowed
        assert not (await ask(scene.a.tenant_id, who, "s3:GetObject", OBJECT, outside)).allowed
    denied = await ask(scene.a.tenant_id, "carl", "s3:PutObject", OBJECT)
    assert denied.lines[0] == "Denied: a statement denies it."
    assert not (await ask(scene.a.tenant_id, "anonymous", "s3:GetObject", OBJECT)).allowed
    assert (await ask(scene.a.tenant_id, "ann", "s3:CreateBucket", "arn:aws:s3:::new")).allowed
    await scene.people.change(carl, enabled=False)
    assert "disabled" in (await ask(scene.a.tenant_id, "carl", "s3:GetObject", OBJECT)).lines[0]


async def test_a_question_about_nothing_is_refused(scene: Scene) -> None:
    """Another tenant's people, keys that do not exist, and what is no action."""
    ask = scene.explain.explain
    with pytest.raises(NoSuchEntity):
        await ask(scene.a.tenant_id, scene.eve.arn, "s3:GetObject", OBJECT)
    with pytest.raises(ValidationError):
        await ask(scene.a.tenant_id, "ann", "s3:GetObject", OBJECT, {"aws:Nothing": ["x"]})
    with pytest.raises(ValidationError):
        await ask(scene.a.tenant_id, "ann", "GetObject", OBJECT)
