"""Wherever the process dies, each change is in the audit exactly once, and the chain is whole."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage_server.services.audit_feed import FeedStep
from tests.crash.feeding_process import CHANGED, CHANGES, DONE
from tests.services.accounts_house import open_accounts

STEPS = [CHANGED, *(step.value for step in FeedStep), DONE]


@pytest.mark.parametrize("step", STEPS)
async def test_a_killed_feed_leaves_one_row_of_each_change(tmp_path: Path, step: str) -> None:
    """Between change and feed, between feed and removal, and behind it."""
    killed = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this loop
        [sys.executable, "-m", "tests.crash.feeding_process", str(tmp_path), step],
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    async with open_accounts(tmp_path) as house:
        for _ in range(2):
            found = await house.accounts.audit.list(house.here, bucket="bucket")
            numbers = [json.loads(one.detail)["number"] for one in reversed(found)]
            assert numbers == list(range(CHANGES))
        proof = await house.accounts.audit.verify()
        assert (proof.broken_at, proof.buckets_waiting) == (None, 0)
