"""Last uses of keys: noted without a write, written together, kept while SQL is away."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from storage_server.services.credentials import Credentials
from storage_server.services.last_used import LastUsed
from storage_server.services.options import AuthenticationOptions
from tests.services.accounts_house import BY, AccountsHouse, open_accounts


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[AccountsHouse]:
    """A founded installation with a user."""
    async with open_accounts(tmp_path) as opened:
        await opened.user("ana")
        yield opened


async def last_used_us(house: AccountsHouse) -> int:
    """Return when the only key of ana was last used."""
    (key,) = (await house.accounts.access_keys.list(house.here, "ana")).items
    return key.last_used_us


async def test_uses_are_written_down_and_kept_while_the_database_is_away(
    house: AccountsHouse, tmp_path: Path
) -> None:
    """A key that was proven has its time; what could not be written is written later."""
    made = await house.accounts.access_keys.create(BY, house.here, "ana")
    credentials = Credentials(house.store.identity, house.clock, AuthenticationOptions())
    last_used = LastUsed(house.control, credentials)
    assert await last_used_us(house) == 0
    credentials.give_back_uses({made.access_key_id: (7_000, "s3", "eu-west-1")})
    epochs = house.store.identity.epochs_now(house.here)
    await last_used.write()
    assert await last_used_us(house) == 7_000
    assert house.store.identity.epochs_now(house.here) == epochs

    credentials.give_back_uses({made.access_key_id: (8_000, "s3", "eu-west-1")})
    database = tmp_path / "control.db"
    database.rename(tmp_path / "away")
    await last_used.write()
    (tmp_path / "away").rename(database)
    assert await last_used_us(house) == 7_000
    await last_used.write()
    assert await last_used_us(house) == 8_000
