"""The program: its parser, put together for the word that was typed, and how it ends."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Final

import storage_server
from storage_server import config
from storage_server.cli.arguments import COMMAND, Parser
from storage_server.cli.loading import load
from storage_server.cli.output import fail
from storage_server.cli.words import WORDS
from storage_server.processes.admin_socket import Refused
from storage_server.processes.errors import EXIT_CONFIG, EXIT_FAILED, StartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return the exit code.

    What people can cause ends as one sentence on standard error, never as a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names and documents hold signs that a terminal or a pipe may not know.
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(sys.argv[1:] if arguments is None else list(arguments))
    except config.ConfigError as error:
        return fail(str(error), EXIT_CONFIG)
    except StartError as error:
        return fail(str(error), error.exit_code)
    except Refused as refused:
        return fail(refused.sentence, _EXITS.get(refused.code, EXIT_FAILED))
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        return fail(f"The operating system refused{name}: {error.strerror}.", EXIT_FAILED)
    except KeyboardInterrupt:
        return 130


def _run(texts: list[str]) -> int:
    if texts[:1] == ["help"]:
        texts = [*texts[1:], "--help"]
    given, unknown = _parser(texts[0] if texts else "").parse_known_args(texts)
    if unknown and given.rest is not None and not any(one.startswith("-") for one in unknown):
        # Flags stood before the last words, and argparse had given up waiting for more of these.
        getattr(given, given.rest).extend(unknown)
    elif unknown:
        given.parser.refuse(unknown)
    return int(given.run(given))


_EXITS: Final = {
    "ValidationError": os.EX_DATAERR,
    "MalformedPolicyDocument": os.EX_DATAERR,
    "NoSuchEntity": os.EX_NOINPUT,
    "EntityAlreadyExists": os.EX_CANTCREAT,
    "ServiceUnavailable": os.EX_TEMPFAIL,
}
"""So that a script can tell "it is there already" and "there is none" from other refusals."""


def _parser(word: str) -> Parser:
    """Return the parser; of words other than the one that was typed it knows only the help."""
    parser = Parser(
        prog="holdfast", description="S3-compatible object storage.", allow_abbrev=False
    )
    parser.add_argument(
        "--version", action="version", version=f"holdfast {storage_server.__version__}"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar=COMMAND)
    typed = WORDS[word].module if word in WORDS else ""
    for name, (text, module) in WORDS.items():
        if module != typed:
            commands.add_parser(name, help=text)
    if typed:
        load(f"cli.{typed}").add(commands)
    parser.set_defaults(main=main)  # what a child of ``serve`` runs
    return parser
