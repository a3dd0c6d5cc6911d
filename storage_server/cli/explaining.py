"""``holdfast explain``: why a request was refused, or whether one would be."""

import argparse
from typing import Any

from storage_server.cli.arguments import add_word
from storage_server.cli.asking import ask, parse_pairs
from storage_server.cli.output import day_and_time, print_json, print_line
from storage_server.core.names import DEFAULT_TENANT
from storage_server.processes.errors import EXIT_USAGE, StartError
from storage_server.processes.requests import explaining


def add(commands: Any) -> None:
    """Add the command that answers why."""
    parser = add_word(commands, "explain", _explain, has_json=True)
    parser.add_argument(
        "--tenant",
        metavar="NAME",
        help=f"whose principal ({DEFAULT_TENANT}); with --request-id: only what it may see",
    )
    parser.add_argument(
        "--principal", metavar="WHO", help="a user's name, an ARN, an id, or anonymous"
    )
    parser.add_argument("--action", metavar="SERVICE:NAME", help="such as s3:GetObject")
    parser.add_argument("--resource", metavar="ARN", help="such as arn:aws:s3:::bucket/key")
    parser.add_argument(
        "--context",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a condition key's value, such as aws:SourceIp=10.0.0.1; may be given again",
    )
    parser.add_argument("--request-id", metavar="ID", help="of a request that was refused")


def _explain(given: argparse.Namespace) -> int:
    question = (given.principal, given.action, given.resource)
    if given.request_id is not None:
        if any(question) or given.context:
            raise StartError("Give --request-id alone: the request is known.", EXIT_USAGE)
        told = ask(given, explaining.RECALL, explaining.Past(given.request_id, given.tenant or ""))
    elif not all(question):
        raise StartError("Give --principal, --action and --resource, or --request-id.", EXIT_USAGE)
    else:
        context: dict[str, tuple[str, ...]] = {}
        for key, value in parse_pairs(given.context):
            context[key] = (*context.get(key, ()), value)
        tenant = given.tenant or DEFAULT_TENANT
        told = ask(given, explaining.ASK, explaining.Question(tenant, *question, context))
    if given.json:
        print_json(told)
        return 0
    when = f" at {day_and_time(told.at_us)}" if told.at_us else ""
    verdict = "allowed" if told.allowed else "denied"
    print_line(f"{told.principal}: {told.action} on {told.resource}{when}: {verdict}")
    for line in told.lines:
        print_line(f"  {line}")
    return 0
