"""Which operation a request head asks for."""

from collections.abc import Iterable, Mapping

from storage_server.s3.errors import InvalidArgument, MethodNotAllowed, NotImplementedByServer
from storage_server.s3.operations import OPERATIONS, SUBRESOURCES, Operation, Scope
from storage_server.s3.request import RequestHead

_SERVICE, _BUCKET, _OBJECT, _ACCOUNT = Scope
_CONTROL_HEADER = "x-amz-account-id"
_CONTROL_PATH = "/v20180820/configuration/"
_READS = frozenset({"GET", "HEAD"})
_SIGNING_NAMES = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
# AWS's Python client repeats headers that it signed in the query; sigv2.py looks at what they say.
_REPEATED_BY_V2 = frozenset({"content-md5", "content-type"})
_FREE_PREFIXES = ("x-", "X-Amz-")  # x-id, hoisted headers, SigV4's own parameters


def _candidates() -> dict[tuple[str, str, str], tuple[Operation, ...]]:
    rows: dict[tuple[str, str, str], tuple[Operation, ...]] = {}
    for operation in sorted(OPERATIONS, key=lambda o: not (o.header or o.selector)):
        place = (operation.method, operation.scope, operation.subresource)
        rows[place] = (*rows.get(place, ()), operation)
    return rows


_CANDIDATES = _candidates()
"""Rows by method, scope and sub-resource; those with a header or selector first."""


def match(head: RequestHead) -> Operation:
    """Return the operation that the head asks for.

    A row is chosen by method, path and sub-resource, and in S3 Control by a setting that the path
    names; hoisted ``x-amz-*`` parameters count as headers. Query names that the row does not read
    are ignored when reading and refused when writing, so that no request changes or deletes more
    than its sender meant.

    Raises:
        NotImplementedByServer: The sub-resource has no row here, or a write carries a query
            name that nobody reads.
        MethodNotAllowed: The path exists, but not with this method.
        InvalidArgument: Two sub-resources at once, or a write with a version id where none is
            taken.
    """
    if _CONTROL_HEADER in head.headers:
        return _match_control(head)
    # A preflight asks about another request, whose query it carries.
    method, query = head.method, {} if head.method == "OPTIONS" else head.query
    scope = _OBJECT if head.key else _BUCKET if head.bucket else _SERVICE
    subresource = _subresource(query) if query else ""
    candidates = _CANDIDATES.get((method, scope, subresource))
    if candidates is None:
        raise _no_row(method, scope, subresource)
    operation = candidates[0] if len(candidates) == 1 else _choose(candidates, head)
    if query and method not in _READS:
        _refuse_unread(operation, query)
    return operation


def _match_control(head: RequestHead) -> Operation:
    """Return the operation on an account that the head asks for: only S3 Control names one."""
    setting = head.raw_path.removeprefix(_CONTROL_PATH)
    if setting == head.raw_path:
        raise NotImplementedByServer(Header=_CONTROL_HEADER)
    candidates = _CANDIDATES.get((head.method, _ACCOUNT, setting))
    if candidates is None:
        raise _no_row(head.method, _ACCOUNT, setting)
    if head.query and head.method not in _READS:
        _refuse_unread(candidates[0], head.query)
    return candidates[0]


def _subresource(query: Iterable[str]) -> str:
    found = ""
    for name in query:
        if name in SUBRESOURCES:
            if found:
                raise InvalidArgument(
                    f"Conflicting query string parameters: {found}, {name}",
                    ArgumentName="ResourceType",
                    ArgumentValue=found,
                )
            found = name
    return found


def _choose(candidates: tuple[Operation, ...], head: RequestHead) -> Operation:
    for operation in candidates:
        wanted = operation.header
        # A hoisted copy source counts even where it was not taken as a header: the copy then
        # fails for want of a source, where a plain PUT would have stored an empty object.
        if wanted and wanted not in head.headers and wanted not in head.query:
            continue
        if operation.selector and operation.selector not in head.query:
            continue
        return operation
    raise _no_row(head.method, candidates[0].scope, candidates[0].subresource)


def _refuse_unread(operation: Operation, query: Mapping[str, str]) -> None:
    for name in query:
        if name in operation.query or (
            name and name in (operation.subresource, operation.selector)
        ):
            continue
        if name.startswith(_FREE_PREFIXES) or name in _SIGNING_NAMES:
            continue
        if name in _REPEATED_BY_V2 and "Signature" in query:
            continue
        if name == "versionId":
            raise InvalidArgument(
                "This operation does not accept a version-id.",
                ArgumentName="versionId",
            )
        raise NotImplementedByServer(Parameter=name)


def _no_row(
    method: str, scope: Scope, subresource: str
) -> NotImplementedByServer | MethodNotAllowed:
    exists = not subresource or any(
        operation.scope == scope and operation.subresource == subresource
        for operation in OPERATIONS
    )
    if exists:
        allowed = sorted(m for m, s, name in _CANDIDATES if s == scope and name == subresource)
        return MethodNotAllowed(
            Method=method, ResourceType=(subresource or scope).upper()
        ).with_headers(("Allow", ", ".join(allowed)))
    return NotImplementedByServer(Parameter=subresource)
