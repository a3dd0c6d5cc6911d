"""A served port for every test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.s3_api.port import RunningPort, running_port
from tests.s3_api.talking import request, talking


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[RunningPort]:
    """A fresh port with the bucket ``bkt``."""
    async with running_port(tmp_path) as running:
        async with talking(running) as talk:
            await talk.send(request(running, "PUT", "/bkt", unsigned=("Content-Length: 0",)))
            assert (await talk.answer()).status == 200
        yield running
