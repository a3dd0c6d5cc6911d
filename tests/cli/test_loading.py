"""Commands load what they need: whoever asks a running server loads no server."""

import subprocess
import sys

import pytest

from storage_server.cli import main
from storage_server.cli.words import WORDS
from tests.servers import Server

# What a server is made of. Each takes longer to load than a command takes to ask.
SERVERS = {
    *("aiohttp", "alembic", "argon2", "asyncio", "awscrt", "blake3", "cryptography", "joserfc"),
    *("lmdb", "psycopg", "sqlalchemy", "uvloop"),
}
SERVING = {"serving", "checking"}  # modules whose commands are the server, or look at all of it

# Runs a command as the program does, and says on standard error what is loaded at its end.
PROGRAM = """
import contextlib, sys
from storage_server.cli import main
with contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def loaded(*arguments: str, environment: dict[str, str] | None = None) -> tuple[set[str], str]:
    """Return the packages that a command has loaded at its end, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split()), done.stdout


@pytest.mark.parametrize(
    "word", [word for word, (_, module) in WORDS.items() if module not in SERVING]
)
def test_a_command_that_asks_loads_no_server(word: str) -> None:
    """Neither databases nor ports nor a loop: only what is asked and what is answered."""
    packages, shown = loaded(word, "--help")
    assert f"holdfast {word}" in shown
    assert packages & SERVERS == set()


@pytest.mark.parametrize("arguments", [("version",), ("--help",)])
def test_what_prints_a_few_lines_loads_no_tables(arguments: tuple[str, ...]) -> None:
    """The version and the words of all commands are told at once."""
    packages, shown = loaded(*arguments)
    assert "holdfast" in shown
    assert packages & (SERVERS | {"rich"}) == set()


@pytest.mark.parametrize("arguments", [("tenant", "list"), ("key", "list", "--json")])
def test_beside_a_server_a_command_is_done_by_the_server(
    server: Server, arguments: tuple[str, ...]
) -> None:
    """The whole way: the settings are read, the socket is asked and the answer is shown."""
    packages, shown = loaded(*arguments, environment=server.environment)
    assert shown
    assert packages & SERVERS == set()


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_added_by_its_module(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And its help says what the table says of it."""
    with pytest.raises(SystemExit):
        main([word, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: holdfast {word} ")
    assert WORDS[word].text in shown
