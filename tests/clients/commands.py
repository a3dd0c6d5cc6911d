"""Runs clients that are programs, and leaves them out, by name of package, where they are not."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.servers import leave_out

BESIDE_VENV = Path(__file__).parents[2] / ".venv" / "clients" / "bin"
TIMEOUT_S = 180
PAST_S = 1_600_000_000


def find_program(name: str, package: str) -> str:
    """Return the path of a client, or skip (in CI: fail) with the package that has it."""
    beside = BESIDE_VENV / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        leave_out(f"{name} is missing; install {package}")
    assert found
    return found


def run(
    *command: str,
    env: Mapping[str, str],
    home: Path,
    stdin: bytes = b"",
    expect: int = 0,
) -> str:
    """Run a client with nothing of the caller's environment but PATH; return its output."""
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **env},
        cwd=home,
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == expect, f"{' '.join(command)}\n{said}"
    return done.stdout.decode(errors="replace")


def make_tree(folder: Path) -> dict[str, bytes]:
    """Make files of several sizes and awkward names; return their contents by relative path."""
    contents = {
        "empty": b"",
        "small.txt": b"hello",
        "dir/with space.bin": bytes(range(256)) * 300,
        "dir/deep/\u00fcml\u00e4ut.txt": "\u00e9\u00e8".encode(),
        "dir/plus+and&more": b"x" * 70_000,
        "big": bytes(range(251)) * 80_000,
    }
    for name, body in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        # Clients compare times with S3's whole seconds: files of this second look newer.
        os.utime(path, (PAST_S, PAST_S))
    return contents


def read_tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def make_large(path: Path, mebibytes: int) -> Path:
    """Make a file whose every MiB differs."""
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.write(number.to_bytes(8, "big") * (1 << 17))
    return path
