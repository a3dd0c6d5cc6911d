"""What is put together for a process."""

import logging

import pytest

from storage_server.processes.wiring import telling_of_space


async def test_a_full_disk_is_told_once_and_so_is_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Clients get 507 for as long as it lasts; whoever runs the server needs one line."""
    rounds = [False, True, True, True, False, False, True]
    looks = iter(rounds)
    keep = telling_of_space(lambda: next(looks))
    with caplog.at_level(logging.WARNING):
        for _ in rounds:
            assert not await keep()
    told = [(record.levelname, record.message.partition(":")[0]) for record in caplog.records]
    full, again = "less than space_reserve is free", "more than space_reserve is free again"
    assert told == [("CRITICAL", full), ("WARNING", again), ("CRITICAL", full)]
