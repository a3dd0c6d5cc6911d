"""The command line: arguments in, one call, text or JSON out."""

import argparse
import dataclasses
import json
import logging
import os
import platform
import ssl
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

import storage_server
from storage_server import config
from storage_server.engine.findings import Finding
from storage_server.processes import doctor
from storage_server.processes.admin import Command, KeyReply, KeyRequest
from storage_server.processes.commands import check_folder, do_key_command, run_role
from storage_server.processes.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_USAGE, StartError
from storage_server.processes.lifeline import hold_signals
from storage_server.processes.logs import LogWriter, start_logging
from storage_server.processes.root import ShownOnce
from storage_server.processes.serve import Welcome, serve

_ROLES: Final = {
    "s3": "run one S3 worker alone",
    "console": "run the console alone",
    "jobs": "run the background process alone",
}
_STYLES: Final = {
    doctor.Level.OK: "green",
    doctor.Level.WARN: "yellow",
    doctor.Level.FAIL: "bold red",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return the exit code.

    What people can cause ends as one sentence on standard error, never as a traceback.
    """
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except config.ConfigError as error:
        return _fail(str(error), EXIT_CONFIG)
    except StartError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        return _fail(f"The operating system refused{name}: {error.strerror}.", EXIT_FAILED)
    except KeyboardInterrupt:
        return 130


# --- Arguments --------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Ends with the exit code of wrong use."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="holdfast", description="S3-compatible object storage.", allow_abbrev=False
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(commands, "serve", "run the whole server on one data folder", _serve)
    for role, text in _ROLES.items():
        _add(commands, role, text, _run_role).set_defaults(role=role)
    _add_key_commands(commands)
    _add(commands, "doctor", "check the machine and the installation", _doctor, has_json=True)
    checking = _add(commands, "fsck", "prove that metadata and blobs agree", _fsck, has_json=True)
    checking.add_argument(
        "--repair", action="store_true", help="mend what can be mended; the server must be stopped"
    )
    checking.add_argument(
        "--deep", action="store_true", help="verify every byte, not only headers and lengths"
    )
    _add(commands, "version", "print the version", _version, has_json=True)
    shown = commands.add_parser("config", help="show or document the settings", allow_abbrev=False)
    kinds = shown.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(kinds, "show", "print each setting and where it came from", _show_config, has_json=True)
    rendering = kinds.add_parser("render", help="print CONFIGURATION.md", allow_abbrev=False)
    rendering.set_defaults(run=_render_config)
    return parser


def _add(
    commands: Any,
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
    *,
    has_json: bool = False,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    if has_json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    _add_settings(parser)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings (also HOLDFAST_* and TOML: CONFIGURATION.md)")
    group.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    for row in config.SETTINGS:
        group.add_argument(
            row.flag,
            dest="setting_" + row.name + ("_file" if row.is_secret else ""),
            metavar="FILE" if row.is_secret else row.type.upper(),
            help=row.text.replace("%", "%%"),
        )


def _add_key_commands(commands: Any) -> None:
    keys = commands.add_parser("key", help="make and manage access keys", allow_abbrev=False)
    kinds = keys.add_subparsers(title="commands", required=True, metavar="COMMAND")
    create = _add(kinds, "create", "make a key, and its owner when new", _create_key, has_json=True)
    create.add_argument("--owner", required=True, metavar="NAME", help="whose key it is")
    create.add_argument("--access-key", default="", metavar="AK", help="bring an id of your own")
    create.add_argument(
        "--secret-key", default="", metavar="-", help="its secret: - reads it from standard input"
    )
    _add(kinds, "list", "list the keys", _list_keys, has_json=True)
    for name, text in (
        ("disable", "make a key fail from the next request on"),
        ("enable", "let a disabled key work again"),
        ("delete", "make a key fail for good"),
    ):
        parser = _add(kinds, name, text, _change_key, has_json=True)
        parser.set_defaults(change=name)
        parser.add_argument("access_key", metavar="AK", help="the key's id")


def _settings(given: argparse.Namespace) -> config.Settings:
    prefix = "setting_"
    flags = {
        name.removeprefix(prefix): text
        for name, text in vars(given).items()
        if name.startswith(prefix) and text is not None
    }
    return config.load(flags, os.environ, given.config)


# --- Commands ---------------------------------------------------------------------------------


def _serve(given: argparse.Namespace) -> int:
    settings = _settings(given)
    hold_signals()
    writer = LogWriter()
    start_logging(settings.options.logs, "supervisor", writer)
    try:
        return serve(settings, os.environ, _show_secret, _show_welcome)
    finally:
        writer.close()
        logging.getLogger().handlers.clear()


def _run_role(given: argparse.Namespace) -> int:
    return run_role(given.role, _settings(given).options, os.environ, _show_secret)


def _create_key(given: argparse.Namespace) -> int:
    if bool(given.access_key) != bool(given.secret_key):
        raise StartError("Give --access-key and --secret-key together, or neither.", EXIT_USAGE)
    request = KeyRequest("create", given.owner, given.access_key, _given_secret(given.secret_key))
    created = _ask(given, request).created
    if created is None:
        raise StartError("The server did not say which key it made: see key list.")
    if given.secret_key:  # whoever gave it has it; a pipeline's log need not
        created = msgspec.structs.replace(created, secret_key="")
    if given.json:
        fields = msgspec.to_builtins(created)
        _print_json({name: text for name, text in fields.items() if text})
        return 0
    print(f"Access key id      {created.access_key_id}")  # noqa: T201 - the command's answer
    if created.secret_key:
        print(f"Secret access key  {created.secret_key}")  # noqa: T201 - the command's answer
        print(f"Owner {created.owner}. The secret is not shown again.")  # noqa: T201 - the command's answer
    else:
        print(f"Owner {created.owner}.")  # noqa: T201 - the command's answer
    return 0


def _given_secret(text: str) -> str:
    """Return the secret that was given on standard input, or (with a warning) as an argument."""
    if text != "-":
        if text:
            _warn("other users can read a command's arguments: pipe it into --secret-key -")
        return text
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise StartError("No secret came on standard input: pipe one line into this command.")
    return line


def _list_keys(given: argparse.Namespace) -> int:
    keys = _ask(given, KeyRequest("list")).keys
    if given.json:
        _print_json(keys)
        return 0
    table = Table("access key id", "owner", "made", "state", box=None, pad_edge=False)
    for key in keys:
        made = datetime.fromtimestamp(key.created_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
        state = "enabled" if key.enabled else "disabled"
        table.add_row(
            key.access_key_id, key.owner, made, f"{state}, root" if key.is_root else state
        )
    Console(highlight=False).print(table)
    return 0


def _change_key(given: argparse.Namespace) -> int:
    command: Command = given.change
    _ask(given, KeyRequest(command, access_key_id=given.access_key))
    if given.json:
        _print_json({"access_key_id": given.access_key, "state": command + "d"})
    else:
        print(f"{given.access_key}: {command}d")  # noqa: T201 - the command's answer
    return 0


def _ask(given: argparse.Namespace, request: KeyRequest) -> KeyReply:
    reply = do_key_command(_settings(given).options, request)
    if reply.error:
        raise StartError(reply.error)
    return reply


def _doctor(given: argparse.Namespace) -> int:
    findings = doctor.examine(_settings(given).options)
    if given.json:
        _print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        table = Table("", "check", "finding", box=None, pad_edge=False, show_header=False)
        for finding in findings:
            mark = Text(finding.level.upper(), style=_STYLES[finding.level])
            text = Text(finding.text)
            if finding.remedy:
                text.append(f"\n→ {finding.remedy}", style="dim")
            table.add_row(mark, finding.check, text)
        Console(highlight=False).print(table)
    return int(any(finding.level == doctor.Level.FAIL for finding in findings))


def _fsck(given: argparse.Namespace) -> int:
    errors = Console(stderr=True, highlight=False)

    def report(finding: Finding) -> None:
        if given.json:
            _print_json(finding)
        else:
            print(finding.text)  # noqa: T201 - the command's answer

    with errors.status("checking"):
        summary = check_folder(
            _settings(given).options, repair=given.repair, deep=given.deep, report=report
        )
    if given.json:
        _print_json(summary)
    else:
        print(summary.text)  # noqa: T201 - the command's answer
    return int(not summary.is_clean)


def _version(given: argparse.Namespace) -> int:
    facts = {
        "holdfast": storage_server.__version__,
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
    }
    if given.json:
        _print_json(facts)
    else:
        print(f"holdfast {facts['holdfast']} (Python {facts['python']}, {facts['openssl']})")  # noqa: T201 - the command's answer
    return 0


def _show_config(given: argparse.Namespace) -> int:
    settings = _settings(given)
    if given.json:
        _print_json(
            {name: {"value": value, "from": origin} for name, value, origin in settings.shown()}
        )
        return 0
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for name, value, origin in settings.shown():
        table.add_row(Text(name), Text(value), Text(origin, style="dim"))
    Console(highlight=False).print(table)
    return 0


def _render_config(_given: argparse.Namespace) -> int:
    sys.stdout.write(config.render())
    return 0


# --- Output -----------------------------------------------------------------------------------


def _show_secret(shown: ShownOnce) -> None:
    """Print the generated root credential: the only time that it is seen."""
    lines = (
        "",
        "  Root credential, generated now and shown only this once:",
        "",
        f"    access key id      {shown.access_key_id}",
        f"    secret access key  {shown.secret_key}",
        "",
    )
    _say(lines)


def _show_welcome(welcome: Welcome) -> None:
    """Print where everything is and what to type next."""
    generated = welcome.generated
    key = generated.access_key_id if generated else welcome.root_access_key or "<access key id>"
    secret = generated.secret_key if generated else "<secret access key>"
    _say(
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
            f"    export AWS_REGION={welcome.region} AWS_ENDPOINT_URL={welcome.s3_url}",
            "    aws s3 mb s3://first-bucket",
            "    aws s3 cp README.md s3://first-bucket/ && aws s3 ls s3://first-bucket",
            "",
            f"  A key for somebody else: {_program()} key create --owner alice",
            "",
        )
    )


def _program() -> str:
    """Return how this program was called, as far as that can be typed again."""
    called = sys.argv[0]
    return called if Path(called).name == "holdfast" else "holdfast"


def _say(lines: Sequence[str]) -> None:
    """Print for people, beside the log: on the terminal, or on standard error."""
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def _warn(sentence: str) -> None:
    sys.stderr.write(f"holdfast: warning: {sentence}\n")


def _fail(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"holdfast: {sentence}\n")
    return exit_code


def _print_json(value: Any) -> None:
    builtins = msgspec.to_builtins(value)
    sys.stdout.write(json.dumps(builtins, ensure_ascii=False) + "\n")
