"""The supervisor: it restarts, drains, stops and never leaves anybody behind."""

import errno
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_server.processes.state import InstanceState
from storage_server.processes.supervisor import Hooks, Role, Supervisor

SCRIPT = Path(__file__).with_name("tiny_instance.py")


class Instance:
    """A running instance whose log lines are the events that tests wait for."""

    def __init__(self, root: Path, workers: int) -> None:
        """Start it and wait until everything answers."""
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "supervise", str(root), str(workers)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.wait_for("port ").split()[1])
        self.wait_for("all ready")

    def wait_for(self, text: str) -> str:
        """Return the next line that holds the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"the log ended without {text!r}")

    def ask(self, path: str = "/") -> tuple[int, str]:
        """Return the answering process's id and the rest of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        pid, _, rest = connection.getresponse().read().decode().partition(" ")
        connection.close()
        return int(pid), rest

    def children(self) -> list[int]:
        """Return the ids of the living children."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text().split()]


def is_refused(port: int) -> bool:
    """Tell whether nobody listens on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was closing just now
    return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[list[Instance]]:
    """Hold the instances of a test; what still runs at its end is killed."""
    started: list[Instance] = []
    yield started
    for instance in started:
        instance.process.kill()
        instance.process.wait()
        assert instance.process.stdout is not None
        instance.process.stdout.close()


def test_a_killed_worker_is_replaced_and_the_port_stays(
    start: list[Instance], tmp_path: Path
) -> None:
    """``kill -9`` of a worker costs its own requests and nothing else."""
    instance = Instance(tmp_path / "data", workers=1)
    start.append(instance)
    victim = instance.ask()[0]
    os.kill(victim, signal.SIGKILL)
    instance.wait_for("check readers")
    assert f"pid {victim}) ended by SIGKILL" in instance.wait_for("ended")
    instance.wait_for("is ready")
    assert instance.ask()[0] not in {victim, instance.process.pid}


def test_a_request_in_flight_ends_well_after_sigterm(start: list[Instance], tmp_path: Path) -> None:
    """SIGTERM stops accepting, lets the upload finish, and then everything exits with 0."""
    instance = Instance(tmp_path / "data", workers=1)
    start.append(instance)
    with socket.create_connection(("127.0.0.1", instance.port), timeout=30) as uploading:
        uploading.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        instance.wait_for("uploading")
        instance.process.send_signal(signal.SIGTERM)
        instance.wait_for("stopping on SIGTERM")
        while not is_refused(instance.port):
            pass  # until the listener is gone; each try is answered or refused at once
        uploading.sendall(b"67890")
        reply = uploading.recv(4096)
    assert reply.startswith(b"HTTP/1.1 200")
    assert b" 10 " in reply
    instance.wait_for("exit 0")
    assert instance.process.wait() == 0


def test_killing_the_supervisor_leaves_no_orphans(start: list[Instance], tmp_path: Path) -> None:
    """The kernel ends the children of a supervisor that was killed, and the folder is free."""
    instance = Instance(tmp_path / "data", workers=2)
    start.append(instance)
    children = instance.children()
    assert len(children) == 3
    watched = [os.pidfd_open(pid) for pid in children]
    instance.process.kill()
    for descriptor in watched:
        assert select.select([descriptor], [], [], 30)[0] == [descriptor]
        os.close(descriptor)
    start.append(Instance(tmp_path / "data", workers=1))


def test_a_second_instance_is_refused_in_one_sentence(
    start: list[Instance], tmp_path: Path
) -> None:
    """Two servers on one data folder can't run, and the second says why."""
    start.append(Instance(tmp_path / "data", workers=1))
    second = subprocess.run(
        [sys.executable, str(SCRIPT), "supervise", str(tmp_path / "data"), "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode != 0
    assert "Another holdfast serve runs on" in second.stderr


def test_a_failed_flush_restarts_all_and_the_second_one_makes_it_read_only(
    start: list[Instance], tmp_path: Path
) -> None:
    """One process's failed flush stops every process; recovery runs alone; twice is read-only."""
    instance = Instance(tmp_path / "data", workers=2)
    start.append(instance)
    before = set(instance.children())
    assert instance.ask("/stop")[1] == "0 True False"
    instance.wait_for("recover")
    for _ in range(3):
        instance.wait_for("is ready")
    assert before.isdisjoint(instance.children())
    assert instance.ask("/stop")[1] == "0 True False"
    instance.wait_for("recover")
    instance.wait_for("read-only until")
    for _ in range(3):
        instance.wait_for("is ready")
    assert instance.ask()[1] == "0 False True"


def test_sighup_reaches_every_child(start: list[Instance], tmp_path: Path) -> None:
    """SIGHUP makes each worker reload its certificate."""
    instance = Instance(tmp_path / "data", workers=2)
    start.append(instance)
    instance.process.send_signal(signal.SIGHUP)
    instance.wait_for("reloaded")
    instance.wait_for("reloaded")


def test_a_crash_in_a_handler_takes_one_worker_only(start: list[Instance], tmp_path: Path) -> None:
    """A worker that exits is named with its exit code and replaced; the others never stop."""
    instance = Instance(tmp_path / "data", workers=2)
    start.append(instance)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        instance.ask("/crash")
    assert "with exit code 3" in instance.wait_for("ended")
    assert instance.ask()[1] == "0 False False"


def test_workers_that_never_start_end_the_server(tmp_path: Path) -> None:
    """A worker that dies again and again at start is not restarted for ever."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from pathlib import Path;"
        "from storage_server.processes.state import InstanceState;"
        "from storage_server.processes.supervisor import Hooks, Role, Supervisor;"
        "nothing = lambda: None;"
        "state = InstanceState.open(Path(sys.argv[2]));"
        "roles = [Role('s3', lambda: 1, 1, is_vital=True)];"
        "raise SystemExit(Supervisor(roles, state, Hooks(nothing, nothing, nothing), 1, {}).run())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPT.parents[2]), str(tmp_path / "state")], check=False
    )
    assert done.returncode == 1


def test_a_child_that_cannot_be_forked_is_tried_again(tmp_path: Path) -> None:
    """No memory for another process ends none of those that run, the supervisor least of all."""
    now = [100.0]
    tries: list[float] = []

    def no_fork() -> int:
        tries.append(now[0])
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    state = InstanceState.open(tmp_path / "state")
    supervisor = Supervisor(
        roles=(Role("s3", lambda: 0),),
        state=state,
        hooks=Hooks(recover=lambda: None, check_readers=lambda: None, on_ready=lambda: None),
        drain_s=0.0,
        environment={},
        now_s=lambda: now[0],
        fork=no_fork,
    )
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for now[0] in (100.0, 100.05, 100.2, 100.3, 100.5):
        supervisor._start_due()
    assert tries == [100.0, 100.2, 100.5], "each time it waits for longer"
    assert supervisor.pids() == []
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    state.close()
