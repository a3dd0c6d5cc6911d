"""A whole instance with a tiny application, run as a script: the supervisor's tests start it."""

import asyncio
import contextlib
import mmap
import os
import sys
from functools import partial
from pathlib import Path

from aiohttp import web

from storage_server.config import Address, LogOptions
from storage_server.processes.datafolder import DataFolder
from storage_server.processes.life import Life, run_loop
from storage_server.processes.lifeline import ROLE_LOCK_DESCRIPTOR, Lifeline, hold_signals
from storage_server.processes.listening import address_of, hold_port, open_listener
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.port import Port
from storage_server.processes.state import InstanceState
from storage_server.processes.supervisor import Hooks, Role, Supervisor
from storage_server.s3_api.draining import DrainingServer

LOGS = LogOptions(level="info", format="text", access_log=True)


def tell(event: str) -> None:
    """Write a line that a test waits for; one short write to a pipe is never torn."""
    os.write(1, f"{event}\n".encode())


def recover() -> None:
    """Leave what a recovery that failed leaves: garbage with descriptors, in circles."""
    tell("recover")
    with Path(sys.argv[0]).open("rb") as file:
        for _ in range(40):
            kept: list[object] = [mmap.mmap(file.fileno(), 1, access=mmap.ACCESS_READ)]
            kept.append(kept)


def supervise(root: Path, workers: int) -> int:
    """Run workers and a jobs process; every event is a line on standard output."""
    hold_signals()
    writer = LogWriter()
    start_logging(LOGS, "supervisor", writer)

    with DataFolder.open(root, create=True) as folder:
        serve_lock, jobs_lock = folder.take_role("serve"), folder.take_role("jobs")
        assert serve_lock != jobs_lock
        state = InstanceState.open(folder.layout.state)
        state.clear(read_only=False)
        holder = hold_port(Address("127.0.0.1", 0), "s3_listen")
        port = address_of(holder).port
        tell(f"port {port}")
        supervisor = Supervisor(
            roles=(
                Role("s3", partial(main, "s3", root, port), workers, is_vital=True),
                Role("jobs", partial(main, "jobs", root, 0), lock=jobs_lock),
            ),
            state=state,
            hooks=Hooks(
                recover=recover,
                check_readers=lambda: tell("check readers"),
                on_ready=lambda: tell("all ready"),
            ),
            drain_s=20,
            environment=dict(os.environ),
        )
        with contextlib.closing(holder):
            exit_code = supervisor.run()
    writer.close()
    tell(f"exit {exit_code}")
    return exit_code


async def serve(root: Path, port: int, lifeline: Lifeline) -> int:
    """Answer with this process's id; a PUT answers once its whole body has come."""
    state = InstanceState.open(DataFolder.open(root, create=False).layout.state)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/stop":
            state.stop("the disk said no")
        if request.path == "/crash":
            os._exit(3)
        if request.method == "PUT":
            tell("uploading")
        body = await request.read()
        flags = f"{state.is_stopped()} {state.is_read_only()}"
        response = web.Response(text=f"{os.getpid()} {len(body)} {flags}")
        if server.is_draining:
            response.force_close()
        return response

    listener = open_listener(Address("127.0.0.1", port), "s3_listen")
    server = DrainingServer(answer)
    listening = Port(server, listener, None)
    await listening.start()
    await Life(lifeline, state).live(lambda: tell("reloaded"))
    await listening.drain(20)
    return 0


async def work(root: Path, lifeline: Lifeline) -> int:
    """Do nothing until told to end, holding the lock that was handed down."""
    folder = DataFolder.open(root, create=False)
    folder.adopt(ROLE_LOCK_DESCRIPTOR)
    await Life(lifeline, InstanceState.open(folder.layout.state)).live(lambda: None)
    await asyncio.to_thread(folder.close)
    return 0


def main(role: str, root: Path, number: int) -> int:
    """Run the role."""
    if role == "supervise":
        return supervise(root, number)
    lifeline = Lifeline.attach(os.environ)
    assert lifeline.is_supervised
    if role == "s3":
        return run_loop(serve(root, number, lifeline))
    return run_loop(work(root, lifeline))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
