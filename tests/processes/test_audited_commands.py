"""Every command that changes something leaves a row in the audit.

The table is compared with the commands that exist: a new one has to be put into it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest_asyncio

from storage_server.control_db.migrations import migrate
from storage_server.core.names import SYSTEM_TENANT
from storage_server.processes.admin import Desk, perform
from storage_server.processes.administration.table import TABLE
from storage_server.services.account_views import AuditNote
from storage_server.services.control_notes import By
from tests.s3_api.port import RunningPort, running_port

READING: Final = frozenset(
    {
        *("list", "show", "deletion", "members", "of-user", "versions", "holders", "held"),
        *("get-inline", "history", "ask", "recall", "verify"),
    }
)
"""Last words of commands that change nothing."""

UNTOLD: Final = frozenset({"projection.rebuild"})
"""Changes what follows from accounts, and nothing that anybody decided."""

ACME: Final = {"tenant": "acme"}
_USER, _GROUP, _ROLE = (ACME | {"name": name} for name in ("ana", "team", "reader"))
_POLICY, _INLINE = ACME | {"name": "all"}, ACME | {"kind": "user", "name": "ana", "policy": "p"}
_GRANT = ACME | {"bucket": "bkt", "kind": "user", "name": "ana"}
_PROVIDER = ACME | {"name": "issuer.example.com"}
_HELD = ACME | {"kind": "user", "name": "ana", "policy": "all"}
DOCUMENT: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
)
TRUST: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},'
    '"Action":"sts:AssumeRole"}]}'
)
KEYS: Final = '{"keys":[]}'

# In an order in which each finds what it changes.
CHANGES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("tenant.create", {"name": "acme"}),
    ("tenant.set-state", {"name": "acme", "state": "suspended"}),
    ("tenant.set-state", {"name": "acme", "state": "active"}),
    ("tenant.change", {"name": "acme", "sharing": True}),
    ("policy.create", _POLICY | {"document": DOCUMENT}),
    ("policy.add-version", _POLICY | {"document": DOCUMENT, "set_as_default": True}),
    ("policy.set-default", _POLICY | {"version": "v1"}),
    ("policy.delete-version", _POLICY | {"version": "v2"}),
    ("user.create", _USER),
    ("user.change", _USER | {"email": "ana@example.com"}),
    ("user.set-enabled", _USER | {"enabled": True}),
    ("user.set-tags", _USER | {"tags": [["team", "red"]]}),
    ("user.set-boundary", _USER | {"policy": "all"}),
    ("user.set-boundary", _USER | {"policy": ""}),
    ("user.reset-password", _USER),
    ("user.unlock", _USER),
    ("user.end-sessions", _USER),
    ("group.create", _GROUP),
    ("group.change", _GROUP | {"new_path": "/b/"}),
    ("group.set-enabled", _GROUP | {"enabled": True}),
    ("group.add", ACME | {"group": "team", "user": "ana"}),
    ("group.remove", ACME | {"group": "team", "user": "ana"}),
    ("role.create", _ROLE | {"trust": TRUST}),
    ("role.change", _ROLE | {"session_max_s": 7200}),
    ("role.set-enabled", _ROLE | {"enabled": True}),
    ("role.set-tags", _ROLE | {"tags": [["team", "red"]]}),
    ("role.set-boundary", _ROLE | {"policy": "all"}),
    ("role.set-boundary", _ROLE | {"policy": ""}),
    ("role.end-sessions", _ROLE),
    ("policy.attach", _HELD),
    ("policy.detach", _HELD),
    ("policy.put-inline", _INLINE | {"document": DOCUMENT}),
    ("policy.delete-inline", _INLINE),
    (
        "key.create",
        ACME | {"user": "ana", "access_key_id": "AKAUDITED0001", "secret_key": "x" * 40},
    ),
    ("key.change", {"access_key_id": "AKAUDITED0001", "change": "disable"}),
    ("quota.set", ACME | {"kind": "tenant", "name": "", "limits": {"buckets": {"hard_max": 9}}}),
    ("grant.add", _GRANT | {"access": "read"}),
    ("grant.remove", _GRANT),
    ("bucket.give", {"bucket": "bkt", "user": "ana"}),
    ("provider.create", ACME | {"url": "https://issuer.example.com", "jwks": KEYS}),
    ("provider.change", _PROVIDER | {"audiences": ["app"]}),
    ("provider.set-keys", _PROVIDER | {"jwks": KEYS}),
    ("provider.delete", _PROVIDER),
    ("session.end", {"access_key_id": "ASIAAUDITEDABCDEFGHI"}),
    ("setting.set", {"name": "password_chars_min", "value": "14"}),
    ("setting.reset", {"name": "password_chars_min"}),
    ("role.delete", _ROLE),
    ("group.delete", _GROUP),
    ("user.delete", _USER | {"force": True}),
    ("policy.delete", _POLICY),
    ("tenant.rename", {"name": "acme", "new_name": "umbrella"}),
    ("tenant.delete", {"name": "umbrella"}),
)


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[RunningPort]:
    """All services, with a control database; nobody talks to the port."""
    migrate(f"sqlite:///{tmp_path / 'control.db'}")
    async with running_port(tmp_path) as running:
        await running.services.accounts.tenants.create(By(source="bootstrap"), SYSTEM_TENANT)
        yield running


def test_every_command_that_changes_something_is_in_the_table() -> None:
    """What reads is known by its last word."""
    changing = {name for name in TABLE if name.partition(".")[2] not in READING}
    assert changing == {name for name, _ in CHANGES} | UNTOLD


async def test_every_command_that_changes_something_leaves_a_row(port: RunningPort) -> None:
    """By the user who gave it, and with no secret in it."""
    desk = Desk(port.services, 1234)
    audit = port.services.accounts.audit
    last = 0
    silent: list[str] = []
    told: list[AuditNote] = []
    for name, parameters in CHANGES:
        row = TABLE[name]
        await perform(desk, row, msgspec.convert(parameters, row.command.wanted))
        new = [one for one in await audit.list(limit=1000) if one.sequence > last]
        if not new:
            silent.append(name)
        else:
            last = new[0].sequence
            told += [one for one in new if one.source == "cli"]
        if name == "tenant.create":
            tenant = port.store.identity.find_tenant_by_name_now("acme")
            assert tenant is not None
            await port.store.buckets.create(
                name="bkt", tenant=tenant, owner=tenant.canonical_id, region="", object_lock=False
            )
    assert silent == []
    assert {one.address for one in told} == {"uid 1234"}
    assert not any("x" * 40 in one.detail for one in told)
    assert (await audit.verify()).broken_at is None
