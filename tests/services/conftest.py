"""One house per test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """The services over a store of their own."""
    async with open_house(tmp_path) as opened:
        yield opened
