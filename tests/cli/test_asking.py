"""What commands about accounts ask for on a terminal."""

import os
import subprocess
import sys

PROGRAM = """
from storage_server.cli.asking import given_secret
from storage_server.processes.errors import StartError
try:
    print(given_secret("-", "--secret-key"))
except StartError as error:
    print(f"refused: {error}")
"""


def _typed(keys: bytes) -> tuple[str, bytes]:
    """Return what a command makes of what is typed when it asks, and what the terminal shows."""
    terminal, own_end = os.openpty()
    command = [sys.executable, "-c", PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=own_end, stdout=pipe, stderr=pipe, start_new_session=True
    ) as asking:
        os.close(own_end)
        assert asking.stderr is not None
        assert asking.stdout is not None
        asked = b""
        while not asked.endswith(b"Secret: "):  # until then what is typed is dropped
            sign = asking.stderr.read(1)
            assert sign, "it did not ask"
            asked += sign
        os.write(terminal, keys)
        told = asking.stdout.read().decode().strip()
    os.set_blocking(terminal, False)
    try:
        shown = os.read(terminal, 1024)
    except OSError:  # nothing, or nobody is at its other end any more
        shown = b""
    finally:
        os.close(terminal)
    return told, shown


def test_a_typed_secret_is_not_shown() -> None:
    """It is taken as it is typed; whoever looks on sees nothing of it."""
    told, shown = _typed(b"typed-secret\n")
    assert told == "typed-secret"
    assert b"typed" not in shown


def test_whoever_types_no_secret_is_told() -> None:
    """Also when the input is ended instead."""
    for keys in (b"\n", b"\x04"):
        told, _ = _typed(keys)
        assert told.startswith("refused: No secret came")
