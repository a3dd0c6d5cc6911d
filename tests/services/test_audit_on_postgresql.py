"""The same with PostgreSQL, which is stricter about texts and may be away in other ways."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from storage_server.engine.records import BucketRecord, ObjectOwnership
from storage_server.services.audit_events import event_of
from storage_server.services.audit_feed import AuditFeed, FeedStep
from storage_server.services.bucket_documents import CORS, set_document
from storage_server.services.control_notes import By
from tests.postgresql import PostgreSql
from tests.services.accounts_house import BY, AccountsHouse, open_accounts


@dataclass(frozen=True)
class There:
    """An installation whose accounts are in PostgreSQL."""

    house: AccountsHouse
    server: PostgreSql
    name: str

    async def change(self, bucket: BucketRecord, number: int, key: str = "") -> None:
        """Change a bucket."""
        event = event_of(By(source="s3"), "s3:Put", bucket, {"number": number}, key=key)
        text = b"%d" % number
        await set_document(self.house.store, bucket, CORS, text, lambda _b, _a: event)

    async def numbers(self) -> list[int]:
        """Return what the audit says of the changes, the oldest first."""
        found = await self.house.accounts.audit.list(self.house.here, action="s3:Put")
        return [json.loads(one.detail)["number"] for one in reversed(found)]


@pytest_asyncio.fixture
async def there(postgresql: PostgreSql, tmp_path: Path) -> AsyncIterator[There]:
    """A founded installation."""
    name = postgresql.create()
    async with open_accounts(tmp_path, postgresql.url(name)) as house:
        yield There(house, postgresql, name)
    postgresql.drop(name)


async def test_events_come_in_once_whatever_a_key_is_called(there: There) -> None:
    """Signs that a text can't hold; a feed that died; a server that started anew."""
    house = there.house
    bucket = await house.bucket("bucket", house.tenant.canonical_id)
    await there.change(bucket, 0, "a\0b")
    await there.change(bucket, 1, "Zoë \U0001f600")

    def die(step: FeedStep) -> None:
        if step is FeedStep.APPENDED:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await AuditFeed(house.store.audit_outbox, house.control, die).run()
    there.server.disconnect(there.name)
    await there.change(bucket, 2)
    assert await there.numbers() == [0, 1, 2]
    assert len(await house.accounts.audit.list(house.here, bucket="bucket")) == 3
    assert (await house.accounts.audit.verify()).broken_at is None


async def test_settings_hold_and_remember(there: There) -> None:
    """In the database and in what workers read."""
    house, name = there.house, "default_object_ownership"
    await house.accounts.settings.set(BY, name, "ObjectWriter")
    chosen = house.store.identity.settings_now().default_object_ownership
    assert chosen is ObjectOwnership.OBJECT_WRITER
    await house.accounts.settings.reset(BY, name)
    chosen = house.store.identity.settings_now().default_object_ownership
    assert chosen is ObjectOwnership.BUCKET_OWNER_ENFORCED
    past = await house.accounts.settings.history(name)
    assert [one.value for one in past] == [None, "ObjectWriter"]
    assert (await house.accounts.projection.verify()).differences == ()
