"""S3 Control: a tenant's own people block public access to all of its buckets."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError

from storage_server.control_db.migrations import migrate
from storage_server.core.ids import TenantId
from storage_server.services.account_views import Tenant
from storage_server.services.control import By
from tests.s3_api.port import RunningPort, running_port
from tests.s3_api.talking import request, talking
from tests.signing import Keys

BY = By(source="cli")
BLOCK = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": False,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": False,
}
PATH = "/v20180820/configuration/publicAccessBlock"


@dataclass(frozen=True)
class Office:
    """A port with a control database, a tenant, and keys of its administrator and of a user."""

    port: RunningPort
    tenant: Tenant
    admin: Keys
    user: Keys

    def control(self, keys: Keys) -> Any:
        """Return a client of S3 Control.

        It puts the account in front of the host's name, which has no address here: it is sent to
        the port as to a proxy.
        """
        return boto3.client(
            "s3control",
            endpoint_url=self.port.url,
            region_name="us-east-1",
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            config=Config(proxies={"http": self.port.url}, retries={"max_attempts": 0}),
        )


@pytest_asyncio.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """A tenant with two people, as the command line would make them."""
    migrate(f"sqlite:///{tmp_path / 'control.db'}")
    async with running_port(tmp_path) as port:
        accounts = port.services.accounts
        tenant = await accounts.tenants.create(BY, "acme")
        tenant_id = TenantId(bytes.fromhex(tenant.tenant_id))
        keys = []
        for name, role in (("ann", "tenant-admin"), ("bob", "user")):
            await accounts.users.create(BY, tenant_id, name, role=role)
            made = await accounts.access_keys.create(BY, tenant_id, name)
            keys.append(Keys(made.access_key_id, made.secret_key))
        yield Office(port, tenant, *keys)


def refusal(call: Any, **arguments: Any) -> tuple[int, str]:
    """Return status and code of a call that fails."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


async def test_a_tenants_flags_are_put_shown_and_removed(office: Office) -> None:
    """Through AWS's own client; they hold at once."""

    def talk() -> None:
        control, account = office.control(office.admin), {"AccountId": office.tenant.account_id}
        missing = (404, "NoSuchPublicAccessBlockConfiguration")
        assert refusal(control.get_public_access_block, **account) == missing
        control.put_public_access_block(**account, PublicAccessBlockConfiguration=BLOCK)
        shown = control.get_public_access_block(**account)
        assert shown["PublicAccessBlockConfiguration"] == BLOCK
        stored = office.port.store.identity.find_tenant_by_name_now("acme")
        assert stored is not None
        assert stored.public_access_block == 5
        control.delete_public_access_block(**account)
        assert refusal(control.get_public_access_block, **account) == missing

    await asyncio.to_thread(talk)
    audit = office.port.services.accounts.audit
    notes = await audit.list(
        TenantId(bytes.fromhex(office.tenant.tenant_id)), action="holdfast:UpdateTenant"
    )
    assert [json.loads(one.detail)["public_access_block"] for one in notes] == [0, 5]
    assert {one.access_key_id for one in notes} == {office.admin.access_key}


async def test_another_account_and_other_people_are_refused(office: Office) -> None:
    """An account is administered by its own, and by those who may."""
    other = await office.port.services.accounts.tenants.create(BY, "other")

    def talk() -> None:
        for keys, account_id in (
            (office.admin, other.account_id),
            (office.admin, "000000000000"),
            (office.user, office.tenant.account_id),
        ):
            control = office.control(keys)
            for ask, more in (
                (control.get_public_access_block, {}),
                (control.put_public_access_block, {"PublicAccessBlockConfiguration": BLOCK}),
                (control.delete_public_access_block, {}),
            ):
                assert refusal(ask, AccountId=account_id, **more) == (403, "AccessDenied")

    await asyncio.to_thread(talk)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v20180820/configuration/somethingElse", 501),
        ("DELETE", "/bkt", 501),
        ("POST", PATH, 405),
        ("PUT", PATH, 400),
    ],
)
async def test_the_header_never_means_a_bucket(
    office: Office, method: str, path: str, status: int
) -> None:
    """What S3 Control has no row for is refused; an empty document is none."""
    head = request(
        office.port,
        method,
        path,
        {"x-amz-account-id": office.tenant.account_id},
        unsigned=("Content-Length: 0",),
        key=(office.admin.access_key, office.admin.secret_key),
    )
    async with talking(office.port) as talk:
        await talk.send(head)
        assert (await talk.answer()).status == status


async def test_nobody_unsigned_sees_an_account(office: Office) -> None:
    """Accounts are never public."""
    async with talking(office.port) as talk:
        line = f"x-amz-account-id: {office.tenant.account_id}"
        await talk.send(f"GET {PATH} HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n".encode())
        assert (await talk.answer()).status == 403
