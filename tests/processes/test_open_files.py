"""The limit of open files: a server takes all it may, and keeps most for connections."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from storage_server.processes import open_files
from tests.servers import Server

SCRIPT = """
import resource
from storage_server.processes import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
before = open_files.kept_open_max()
print(before, open_files.raise_limit(), open_files.kept_open_max())
"""


@pytest.mark.parametrize(
    ("soft", "hard", "told"),
    [
        (100, 1000, "64 1000 250"),
        (800, 1000, "200 1000 250"),
        (1000, 1000, "250 1000 250"),
    ],
)
def test_the_limit_is_raised_and_a_share_is_for_objects(soft: int, hard: int, told: str) -> None:
    """As far as the system lets it, and never lowered."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(soft=soft, hard=hard)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == told


@pytest.mark.parametrize(
    ("limit", "share"),
    [
        (0, 64),
        (1024, 256),
        (10_000, 2500),
        (20_000, 11_808),
        (65_536, 16_384),
        (resource.RLIM_INFINITY, 16_384),
    ],
)
def test_connections_have_enough_first(limit: int, share: int) -> None:
    """Beside a quarter for objects, eight thousand files are for connections."""
    assert open_files.share_of(limit) == share


def test_every_process_of_a_server_has_the_raised_limit(tmp_path: Path) -> None:
    """Sessions begin with 1,024, which is few for connections and files of many tenants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = Server(tmp_path / "server", WORKERS="1")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        for process in server.processes():
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 20)
    finally:
        server.close()
