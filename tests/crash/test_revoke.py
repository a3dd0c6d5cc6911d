"""Rulings 13: whenever the process dies, what was taken away and acknowledged stays away."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage_server.control_db import audit
from storage_server.engine.identity import Identity
from storage_server.services.control import ControlUnavailable, Step
from tests.crash.revokes import ACME, REVOKES, Revoke, prepare
from tests.crash.revoking_process import ACKNOWLEDGED
from tests.postgresql import PostgreSql
from tests.services.controlled import BY, Controlled, controlled

AFTER = "acknowledged"
STEPS = [step.value for step in Step] + [AFTER]
# Behind these SQL has the change; before, it does not.
COMMITTED = {Step.COMMITTED.value, Step.PROJECTED.value, AFTER}


class Crash(BaseException):
    """The end of a process, for whoever is in it."""


def crash_at(step: str) -> Callable[[Step], None]:
    """Return a ``reached`` that ends everything at a step."""

    def reached(step_reached: Step) -> None:
        if step_reached.value == step:
            raise Crash

    return reached


def is_in_force(identity: Identity, revoke: Revoke) -> bool:
    """Tell whether the right can be used: it is there and nothing holds it."""
    return revoke.is_alive(identity) and not identity.is_held_now(ACME)


async def require_settled(installation: Controlled, revoke: Revoke, step: str) -> None:
    """Check what must be true after a restart, before and after the replay."""
    identity = installation.identity
    # From the first step to the replay the right can't be used, whatever became of the change.
    assert not is_in_force(identity, revoke)
    await installation.control.replay(is_alone=True)
    assert identity.is_held_now(ACME) == frozenset()
    assert await identity.holds() == []
    assert revoke.is_alive(identity) == (step not in COMMITTED)
    assert (await installation.projection.verify()).differences == ()
    noted = await installation.control.read(
        lambda session: len(audit.list_page(session, action="test:Revoke", limit=9))
    )
    assert noted == (step in COMMITTED)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation in which everything is there."""
    folder: Path = tmp_path_factory.mktemp("prepared")

    async def make() -> None:
        async with controlled(folder) as installation:
            await prepare(installation)
            for revoke in REVOKES:
                assert is_in_force(installation.identity, revoke)

    asyncio.run(make())
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it."""
    copy = tmp_path / "installation"
    shutil.copytree(prepared, copy)
    yield copy
    shutil.rmtree(copy)  # each holds 256 MiB of blocks that LMDB's file may grow into


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("revoke", REVOKES, ids=lambda revoke: revoke.name)
async def test_a_crash_between_any_two_steps_settles(
    folder: Path, revoke: Revoke, step: str
) -> None:
    """An acknowledged revoke stays; another one is wholly there or not at all."""
    async with controlled(folder, reached=crash_at(step), is_migrated=False) as installation:
        change = installation.control.change(BY, ACME, revoke.work, removes=revoke.removes)
        if step == AFTER:
            await change
        else:
            with pytest.raises(Crash):
                await change
    async with controlled(folder, is_migrated=False) as installation:
        await require_settled(installation, revoke, step)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", ["disable key", "delete user", "suspend tenant"])
def test_kill_9_between_any_two_steps_settles(folder: Path, name: str, step: str) -> None:
    """The same with a process that is really killed."""
    revoke = next(one for one in REVOKES if one.name == name)
    died = subprocess.run(
        [sys.executable, "-m", "tests.crash.revoking_process", str(folder), name, step],
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert died.returncode == -9, died.stderr
    assert (ACKNOWLEDGED in died.stdout) == (step == AFTER)

    async def check() -> None:
        async with controlled(folder, is_migrated=False) as installation:
            await require_settled(installation, revoke, step)

    asyncio.run(check())


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_settles_on_postgresql_too(
    postgresql: PostgreSql, tmp_path: Path, step: str
) -> None:
    """The two commits are of two servers then."""
    name = postgresql.create()
    url = postgresql.url(name)
    revoke = next(one for one in REVOKES if one.name == "delete user")
    async with controlled(tmp_path, url=url) as installation:
        await prepare(installation)
    async with controlled(
        tmp_path, reached=crash_at(step), is_migrated=False, url=url
    ) as installation:
        change = installation.control.change(BY, ACME, revoke.work, removes=revoke.removes)
        if step == AFTER:
            await change
        else:
            with pytest.raises(Crash):
                await change
    async with controlled(tmp_path, is_migrated=False, url=url) as installation:
        await require_settled(installation, revoke, step)
    postgresql.drop(name)


async def test_a_database_that_goes_away_is_waited_for(
    postgresql: PostgreSql, tmp_path: Path
) -> None:
    """A restart of its server costs one refusal at most, and nothing is lost."""
    name = postgresql.create()
    url = postgresql.url(name)
    revoke = next(one for one in REVOKES if one.name == "disable key")
    async with controlled(tmp_path, url=url) as installation:
        await prepare(installation)
        postgresql.disconnect(name)
        for _ in range(2):
            with contextlib.suppress(ControlUnavailable):
                await installation.control.change(BY, ACME, revoke.work, removes=revoke.removes)
                break
        assert not is_in_force(installation.identity, revoke)
        assert installation.identity.is_held_now(ACME) == frozenset()
        assert (await installation.projection.verify()).differences == ()
    postgresql.drop(name)
