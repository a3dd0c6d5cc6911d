"""The way of an IAM or STS request: form, action, sender, permission, handler.

The body comes first, because it is signed and names the action; it is bounded by a mebibyte. What
goes wrong is told in the words and form of IAM and STS.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from storage_server.core.errors import ApiError
from storage_server.core.ids import RequestId
from storage_server.s3 import errors, iam_errors
from storage_server.s3.iam_actions import BY_NAME, IamAction
from storage_server.s3.messages.query_api import (
    FORM_BYTES_MAX,
    VERSIONS,
    parse_form,
    render_error,
    render_reply,
)
from storage_server.s3.messages.query_api import Output as Result
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.sigv4 import AuthenticationKind, authentication_kind
from storage_server.services.actor import Actor
from storage_server.services.body import Body
from storage_server.services.services import Services


class QueryCall(msgspec.Struct, frozen=True):
    """One authorised action with its form."""

    action: IamAction
    form: Mapping[str, str]
    actor: Actor
    services: Services


QueryHandler = Callable[[QueryCall], Awaitable[Result | None]]


class QueryTrace(Protocol):
    """What the access log is told of a request on its way."""

    request_id: RequestId
    operation: str
    actor: Actor
    error: str


async def answer_query(
    head: RequestHead,
    body: Body,
    services: Services,
    table: Mapping[str, QueryHandler],
    trace: QueryTrace,
) -> Reply:
    """Return the reply to a form that was sent to the base host.

    Raises:
        ConnectionError: The client is gone, and there is nobody to reply to.
        Exception: What nobody foresaw; the pipeline logs it and answers.
    """
    service = "sts"
    try:
        services.traffic.admit_address(head.peer)
        content = await body.read_all(FORM_BYTES_MAX)
        form = parse_form(content)
        row = _find_row(form)
        service = row.service
        trace.operation = row.name
        handler = table.get(row.name)
        if handler is None:
            raise iam_errors.InvalidAction
        actor = _prove(head, content, row, services, trace.request_id)
        trace.actor = actor
        services.traffic.admit(actor)
        if row.action:
            services.iam.require(actor, row, form)
        result = await handler(QueryCall(row, form, actor, services))
    except ApiError as error:
        trace.error = error.code
        return render_error(service, error, trace.request_id)
    return render_reply(row.service, row.name, result, trace.request_id)


def _find_row(form: Mapping[str, str]) -> IamAction:
    """Return the row of the action that a form names.

    Raises:
        MissingAction: It names none.
        InvalidAction: There is no such action, or not in the version that it names.
    """
    name, version = form.get("Action", ""), form.get("Version", "")
    if not name:
        raise iam_errors.MissingAction
    row = BY_NAME.get(name)
    if row is None or version not in {"", VERSIONS[row.service]}:
        raise iam_errors.InvalidAction(
            f"Could not find operation {name[:64]} for version {version[:16] or 'NO_VERSION'}"
        )
    return row


def _prove(
    head: RequestHead, content: bytes, row: IamAction, services: Services, request_id: RequestId
) -> Actor:
    """Return the proven sender; nobody, where the action brings its own proof.

    Raises:
        MissingAuthenticationToken: Nobody signed what has to be signed.
        S3Error: The request claims a sender and does not prove it.
    """
    if authentication_kind(head) is AuthenticationKind.NONE:
        if not row.is_unsigned:
            raise errors.MissingAuthenticationToken("Request is missing Authentication Token")
        return services.credentials.authenticate(head, request_id).actor
    digest = hashlib.sha256(content).hexdigest()
    return services.credentials.authenticate_service(head, request_id, row.service, digest).actor
