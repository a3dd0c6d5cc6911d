"""Principals by ARN, id and name, and their ids in documents."""

import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_server.core.clock import SystemClock
from storage_server.crypto.keyring import MasterSource
from storage_server.engine.options import StoreOptions
from storage_server.engine.store import Store
from storage_server.services.principals import Principals
from tests.services.people import People, allow, document


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    """An empty projection."""
    with ThreadPoolExecutor(2) as lanes:
        options = StoreOptions(
            data_dir=tmp_path, master=MasterSource.generated(), lanes=lanes, space_reserve_bytes=0
        )
        store = await Store.open(options, SystemClock())
        try:
            yield People(store.identity)
        finally:
            await store.close()


def named(document_: bytes) -> str:
    """Return the one principal that a document names."""
    return str(json.loads(document_)["Statement"][0]["Principal"]["AWS"])


async def test_ids_outlive_names(people: People) -> None:
    """A rename changes what is shown; the deleted are shown as ids, and a namesake is another."""
    tenant = await people.tenant("a")
    ann = await people.user(tenant, "ann")
    principals = Principals(people.identity)
    policy = document(allow("s3:GetObject", "arn:aws:s3:::b/*", Principal={"AWS": ann.arn}))
    stored = principals.to_ids(policy, tenant.tenant_id)
    assert named(stored) == ann.id
    assert named(principals.to_arns(stored, tenant.tenant_id)) == ann.arn
    await people.change(ann, name="anna")
    assert named(principals.to_arns(stored, tenant.tenant_id)).endswith("user/anna")
    await people.change(ann, deleted=True)
    await people.user(tenant, "ann")
    assert named(principals.to_arns(stored, tenant.tenant_id)) == ann.id


@pytest.mark.parametrize("sharing", [True, False])
async def test_foreigners_are_resolved_only_by_tenants_that_share(
    people: People, *, sharing: bool
) -> None:
    """Without, their ARNs are kept like those of nobody: the answer is no oracle."""
    home, away = await people.tenant("home", sharing=sharing), await people.tenant("away")
    eve = await people.user(away, "eve")
    principals = Principals(people.identity)
    for arn in (eve.arn, eve.arn + "x"):
        policy = document(allow("s3:GetObject", "arn:aws:s3:::b/*", Principal={"AWS": arn}))
        stored = principals.to_ids(policy, home.tenant_id)
        assert named(principals.to_arns(stored, home.tenant_id)) == arn
        assert (named(stored) == eve.id) is (sharing and arn == eve.arn)


async def test_s32_an_id_of_a_stranger_tells_no_name(people: People) -> None:
    """Who writes down another tenant's id reads it again as an id, whether it is anybody's."""
    home, away = await people.tenant("home"), await people.tenant("away")
    eve, role = await people.user(away, "eve"), await people.role(away, "r")
    principals = Principals(people.identity)
    for id_ in (eve.id, role.principal_id, f"{role.principal_id}:s", eve.id[:-1] + "7"):
        policy = document(allow("s3:GetObject", "arn:aws:s3:::b/*", Principal={"AWS": id_}))
        stored = principals.to_ids(policy, home.tenant_id)
        assert named(principals.to_arns(stored, home.tenant_id)) == id_
    await people.change_tenant(home, sharing=True)
    policy = document(allow("s3:GetObject", "arn:aws:s3:::b/*", Principal={"AWS": eve.id}))
    assert named(principals.to_arns(policy, home.tenant_id)) == eve.arn


async def test_people_are_found_in_their_own_tenant(people: People) -> None:
    """By ARN, by id and by name."""
    home, away = await people.tenant("home"), await people.tenant("away")
    ann = await people.user(home, "ann")
    root, role = await people.root(home), await people.role(home, "r")
    principals = Principals(people.identity)
    for text in (ann.arn, ann.id, "ann"):
        assert principals.find(text, home.tenant_id) == ann.record
        assert principals.find(text, away.tenant_id) is None
    assert principals.find(root.arn, home.tenant_id) == root.record
    assert principals.find(role.principal_id, home.tenant_id) == role
