"""Commands that run the server: all of it, or one role."""

import argparse
import logging
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import storage_server
from storage_server.cli.arguments import add_word, settings_of
from storage_server.cli.output import print_line, say
from storage_server.config import BY_NAME, Settings
from storage_server.processes.commands import migrate, run_role
from storage_server.processes.lifeline import hold_signals
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.serve import Welcome, serve
from storage_server.services.founding import ShownOnce

_ROLES: Final = ("s3", "console", "jobs")


def add(commands: Any) -> None:
    """Add ``serve``, the roles and ``migrate``."""
    add_word(commands, "serve", _serve)
    for role in _ROLES:
        add_word(commands, role, _run_role).set_defaults(role=role)
    add_word(commands, "migrate", _migrate)


def _serve(given: argparse.Namespace) -> int:
    settings = settings_of(given)
    hold_signals()
    writer = LogWriter()
    start_logging(settings.options.logs, "supervisor", writer)
    try:
        show_welcome = partial(_show_welcome, _folder_flag(settings))
        return serve(
            settings, os.environ, _show_secret, show_welcome, lambda role: given.main([role])
        )
    finally:
        writer.close()
        logging.getLogger().handlers.clear()


def _run_role(given: argparse.Namespace) -> int:
    return run_role(given.role, settings_of(given).options, os.environ, _show_secret)


def _migrate(given: argparse.Namespace) -> int:
    migrate(settings_of(given).options)
    print_line("The control database is up to date.")
    return 0


def _show_secret(shown: ShownOnce) -> None:
    """Print the generated root credential: the only time that it is seen."""
    say(
        (
            "",
            "  Root credential, generated now and shown only this once:",
            "",
            f"    access key id      {shown.access_key_id}",
            f"    secret access key  {shown.secret_key}",
            "",
        )
    )


def _show_welcome(folder_flag: str, welcome: Welcome) -> None:
    """Print where everything is and what to type next."""
    generated = welcome.generated
    key = generated.access_key_id if generated else welcome.root_access_key or "<access key id>"
    secret = generated.secret_key if generated else "<secret access key>"
    say(
        (
            "",
            f"  Holdfast {storage_server.__version__} is ready.",
            "",
            f"    S3       {welcome.s3_url}",
            f"    Console  {welcome.console_url}",
            f"    Data     {welcome.data_dir}",
            "",
            "  Try it with the AWS command line:",
            "",
            f"    export AWS_ACCESS_KEY_ID={key}",
            f"    export AWS_SECRET_ACCESS_KEY={secret}",
            f"    export AWS_DEFAULT_REGION={welcome.region} AWS_ENDPOINT_URL={welcome.s3_url}",
            "    aws s3 mb s3://first-bucket",
            "    aws s3 cp README.md s3://first-bucket/ && aws s3 ls s3://first-bucket",
            "",
            f"  A key for somebody else: {_program()} key create --owner alice{folder_flag}",
            "",
        )
    )


def _folder_flag(settings: Settings) -> str:
    """Return the flag without which another command would look for another folder."""
    data_dir = settings.origins["data_dir"]
    if data_dir.source in {"default", BY_NAME["data_dir"].variable}:
        return ""
    return f" --data-dir {shlex.quote(str(settings.options.folder.data_dir))}"


def _program() -> str:
    """Return how this program was called, as far as that can be typed again."""
    called = sys.argv[0]
    return called if Path(called).name == "holdfast" else "holdfast"
