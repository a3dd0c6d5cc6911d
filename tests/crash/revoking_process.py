"""A process that takes rights away and dies at a certain step: ``folder, revoke, step``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from storage_server.services.control import Step
from tests.crash.revokes import ACME, BY_NAME
from tests.services.controlled import BY, controlled

ACKNOWLEDGED = "acknowledged"


async def main(folder: Path, name: str, step: str) -> None:
    """Do it; die at the step, or once it is acknowledged."""

    def die_there(reached: Step) -> None:
        if reached.value == step:
            os.kill(os.getpid(), signal.SIGKILL)

    revoke = BY_NAME[name]
    async with controlled(folder, reached=die_there, is_migrated=False) as installation:
        await installation.control.change(BY, ACME, revoke.work, removes=revoke.removes)
        print(ACKNOWLEDGED, flush=True)  # noqa: T201 - the parent waits for it
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
