"""Last uses of keys and roles: noted without a write, written together, kept while SQL is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.orm import Session

from storage_server.control_db import access_keys
from storage_server.control_db.errors import SqlGone
from storage_server.core.ids import RequestId
from storage_server.s3 import errors, sigv4
from storage_server.s3.messages import sts as messages
from storage_server.s3.request import RequestHead
from storage_server.services.account_views import Role
from storage_server.services.credentials import Credentials, Uses
from storage_server.services.last_used import LastUsed
from storage_server.services.options import AuthenticationOptions
from tests.services.accounts_house import BY, AccountsHouse, open_accounts
from tests.services.sts_house import StsHouse, open_sts, trust


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
    credentials.give_back_uses(Uses({made.access_key_id: (7_000, "s3", "eu-west-1")}))
    epochs = house.store.identity.epochs_now(house.here)
    await last_used.write()
    assert await last_used_us(house) == 7_000
    assert house.store.identity.epochs_now(house.here) == epochs

    credentials.give_back_uses(Uses({made.access_key_id: (8_000, "s3", "eu-west-1")}))
    database = tmp_path / "control.db"
    database.rename(tmp_path / "away")
    await last_used.write()
    (tmp_path / "away").rename(database)
    assert await last_used_us(house) == 7_000
    await last_used.write()
    assert await last_used_us(house) == 8_000


async def test_thousands_of_uses_let_others_write_in_between(
    house: AccountsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction takes a thousand; what the database did not take is kept, and nothing else."""
    made = await house.accounts.access_keys.create(BY, house.here, "ana")
    credentials = Credentials(house.store.identity, house.clock, AuthenticationOptions())
    uses = {f"AKIA{number:016}": (number + 1, "s3", "eu-west-1") for number in range(2499)}
    uses[made.access_key_id] = (7_000, "s3", "eu-west-1")
    credentials.give_back_uses(Uses(uses))
    sizes: list[int] = []
    note_used = access_keys.note_used

    def fail_at_the_third(session: Session, some: Sequence[tuple[str, int, str, str]]) -> None:
        sizes.append(len(some))
        if len(sizes) == 3:
            raise SqlGone("the database is away")
        note_used(session, some)

    monkeypatch.setattr(access_keys, "note_used", fail_at_the_third)
    await LastUsed(house.control, credentials).write()
    assert sizes == [500, 1000, 1000]
    assert await last_used_us(house) == 7_000
    assert len(credentials.take_uses().keys) == 1000


async def test_a_write_that_is_cancelled_loses_no_use(house: AccountsHouse) -> None:
    """A process that ends writes them once more; whether they were written is not known."""
    credentials = Credentials(house.store.identity, house.clock, AuthenticationOptions())
    uses = Uses({"AKIA1": (7_000, "s3", "eu-west-1")}, {"AROA1": (8_000, "s3", "eu-west-1")})
    credentials.give_back_uses(uses)
    writing = asyncio.ensure_future(LastUsed(house.control, credentials).write())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert credentials.take_uses() == uses


@pytest_asyncio.fixture
async def sts(tmp_path: Path) -> AsyncIterator[StsHouse]:
    """STS over accounts of its own."""
    async with open_sts(tmp_path) as opened:
        yield opened


def send(sts: StsHouse, given: messages.Credentials, *, region: str, secret: str = "") -> None:
    """Prove a request that is signed with the credentials of a session."""
    head = RequestHead("GET", "/", "", "h", "", "", {}, {}, peer="192.0.2.1")
    added = sigv4.sign_header(
        head,
        access_key_id=given.access_key_id,
        secret=secret or given.secret_access_key,
        now_us=sts.house.clock.now_us(),
        region=region,
        session_token=given.session_token,
    )
    sent = RequestHead("GET", "/", "", "h", "", "", {}, {"host": "h", **added}, peer="192.0.2.1")
    sts.credentials.authenticate(sent, RequestId("R"))


async def written(sts: StsHouse, name: str) -> Role:
    """Write what was noted, and return a role as it is shown then."""
    await LastUsed(sts.house.control, sts.credentials).write()
    return await sts.house.accounts.roles.get(sts.house.here, name)


async def test_a_role_is_used_when_a_session_of_it_sends_something(sts: StsHouse) -> None:
    """Neither when it is assumed, nor by a request that proves nothing."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    arn = await sts.role("r", trust({"AWS": sts.arn("user", "ana")}))
    given = await sts.assume(ana, arn)
    with pytest.raises(errors.SignatureDoesNotMatch):
        send(sts, given, region="eu-west-1", secret="of somebody else")
    assert (await written(sts, "r")).last_used_us == 0
    sent_us = sts.house.clock.now_us()
    send(sts, given, region="eu-west-1")
    sts.house.clock.time_us += 5_000_000
    shown = await written(sts, "r")
    assert (shown.last_used_us, shown.last_used_region) == (sent_us, "eu-west-1")


async def test_uses_of_roles_wait_for_the_database_too(sts: StsHouse, tmp_path: Path) -> None:
    """A later use wins over one that could not be written."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    given = await sts.assume(ana, await sts.role("r", trust({"AWS": sts.arn("user", "ana")})))
    send(sts, given, region="eu-west-1")
    database = tmp_path / "control.db"
    database.rename(tmp_path / "away")
    await LastUsed(sts.house.control, sts.credentials).write()
    (tmp_path / "away").rename(database)
    sts.house.clock.time_us += 5_000_000
    sent_us = sts.house.clock.now_us()
    send(sts, given, region="eu-north-1")
    shown = await written(sts, "r")
    assert (shown.last_used_us, shown.last_used_region) == (sent_us, "eu-north-1")


@pytest.mark.parametrize("region", ["r" * 65, "a\tb", "zürich"])
async def test_a_region_that_is_no_name_is_not_kept(sts: StsHouse, region: str) -> None:
    """Regions are not compared by default; PostgreSQL would refuse this one, and all the rest."""
    made = await sts.user("ana")
    given = await sts.assume(
        sts.actor(made.access_key_id), await sts.role("r", trust({"AWS": sts.arn("user", "ana")}))
    )
    send(sts, given, region=region)
    shown = await written(sts, "r")
    assert shown.last_used_us
    assert shown.last_used_region == ""


async def test_a_session_of_a_user_is_no_use_of_a_role(sts: StsHouse) -> None:
    """Nor of a lasting key; nothing is noted of it."""
    ana = sts.actor((await sts.user("ana")).access_key_id)
    given = await sts.sts.get_session_token(ana, messages.GetSessionToken())
    send(sts, given.credentials, region="eu-west-1")
    assert sts.credentials.take_uses() == Uses()
