"""Who passes where: every operation, sender and way of signing, against a reviewed table."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_server.s3.operations import OPERATIONS, Scope
from storage_server.s3_api.handlers.table import TABLE
from storage_server.s3_api.options import S3Options
from tests.architecture.census import (
    GOLDEN,
    OWN_AUTHENTICATION,
    Scene,
    is_refused,
    take,
    target,
)
from tests.s3_api.asking import HOST, asker
from tests.s3_api.port import running_port
from tests.services.people import People
from tests.signing import UNSIGNED, Keys, SignerV4

SERVED = [row for row in OPERATIONS if row.name in TABLE and row.name not in OWN_AUTHENTICATION]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Everybody, and two buckets."""
    options = S3Options(failed_lookups_per_minute=0)
    with ThreadPoolExecutor(2) as lanes:
        async with running_port(tmp_path, options) as port:
            made = Scene(asker(port.services, lanes, options), People(port.store.identity))
            await made.fill()
            yield made


async def test_the_census_is_the_reviewed_one(scene: Scene) -> None:
    """A difference is a change of who may do what: read it, then write the table anew."""
    assert await take(scene) == GOLDEN.read_text().splitlines()


async def test_the_dead_pass_nowhere(scene: Scene) -> None:
    """Disabled, deleted, expired, suspended, unknown and wrong keys, on every operation."""
    passed = [
        (row.name, name)
        for row in SERVED
        for name, keys in scene.dead.items()
        for bucket in ("bkt", "open")
        if not is_refused(await scene.send(row, keys, bucket))
    ]
    assert passed == []


@pytest.mark.parametrize("service", ["iam", "sts", "s3-outposts", "s3express"])
async def test_the_scope_is_of_the_rows_service(scene: Scene, service: str) -> None:
    """A signature for another service opens nothing, however right it is."""
    keys = scene.owner.keys
    for row in SERVED:
        made = target(row, "bkt")
        signer = SignerV4(keys, service=service)
        head = signer.header(row.method, made, [("Host", HOST)], UNSIGNED)
        answer = await scene.ask.send(row.method, made, head[1:])
        assert answer.status in {400, 501}, row.name


async def test_nobody_reaches_a_row_that_is_not_for_anyone(scene: Scene) -> None:
    """Without a signature only rows marked so are asked about at all."""
    for row in SERVED:
        if row.is_anonymous or row.scope is Scope.ACCOUNT:
            continue
        assert is_refused(await scene.send(row, None, "open")), row.name


async def test_what_is_not_served_is_501_for_everybody(scene: Scene) -> None:
    """Before anybody is asked who he is."""
    for row in OPERATIONS:
        if row.name not in TABLE:
            for keys in (None, scene.owner.keys, Keys("AKIA", "x")):
                assert (await scene.send(row, keys, "bkt")).status == 501, row.name
