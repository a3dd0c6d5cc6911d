"""A process that changes a bucket, feeds the audit and dies at a certain step: ``folder, step``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from storage_server.engine.records import BucketRecord
from storage_server.services.audit_events import event_of
from storage_server.services.audit_feed import AuditFeed, FeedStep
from storage_server.services.bucket_documents import CORS, set_document
from storage_server.services.control_notes import By
from tests.services.accounts_house import AccountsHouse, open_accounts

CHANGED = "changed"
DONE = "done"
CHANGES = 3


async def change(house: AccountsHouse, bucket: BucketRecord, number: int) -> None:
    """Change a bucket."""
    event = event_of(By(source="s3"), "s3:PutBucketCors", bucket, {"number": number})
    await set_document(house.store, bucket, CORS, b"%d" % number, lambda _b, _a: event)


async def main(folder: Path, step: str) -> None:
    """Do it; die at the step."""

    def die_there(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_accounts(folder) as house:
        bucket = await house.bucket("bucket", house.tenant.canonical_id)
        for number in range(CHANGES):
            await change(house, bucket, number)
        die_there(CHANGED)
        feed = AuditFeed(
            house.store.audit_outbox,
            house.control,
            lambda reached: die_there(FeedStep(reached).value),
        )
        await feed.run_all()
        die_there(DONE)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
