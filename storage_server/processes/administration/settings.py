"""Commands about the settings of the installation."""

from typing import Final

from storage_server.processes.admin import Desk, Row
from storage_server.processes.requests.settings import (
    HISTORY,
    LIST,
    RESET,
    SET,
    Change,
    History,
    Named,
    Nothing,
    Past,
    Settings,
)
from storage_server.services.account_views import Setting


async def _list(desk: Desk, _wanted: Nothing) -> Settings:
    return Settings(await desk.accounts.settings.list())


async def _set(desk: Desk, wanted: Change) -> Setting:
    return await desk.accounts.settings.set(desk.by(), wanted.name, wanted.value)


async def _reset(desk: Desk, wanted: Named) -> Setting:
    return await desk.accounts.settings.reset(desk.by(), wanted.name)


async def _history(desk: Desk, wanted: Past) -> History:
    found = await desk.accounts.settings.history(
        wanted.name, before_revision=wanted.before_revision, limit=wanted.limit
    )
    return History(found)


ROWS: Final = (
    Row(LIST, _list),
    Row(SET, _set),
    Row(RESET, _reset),
    Row(HISTORY, _history),
)
