"""The only way from a request to its answer, whatever transport it came by."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from storage_server.core.ids import RequestId, new_request_id
from storage_server.s3 import checksums, errors, xml
from storage_server.s3.cors import ConsoleOrigin
from storage_server.s3.operations import Operation
from storage_server.s3.payload import PayloadPlan, plan_payload
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.routing import match
from storage_server.s3.sigv4 import UNSIGNED_PAYLOAD, ChunkSigner
from storage_server.s3_api.body import NO_BODY, BodyBuffers, RequestBody, Source
from storage_server.s3_api.call import Call, Handler
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.request_head import HeadReader, RawHeaders
from storage_server.services.actor import ANONYMOUS, Actor, Bucket
from storage_server.services.credentials import Authenticated
from storage_server.services.offload import Offload
from storage_server.services.services import Services

_log = logging.getLogger("storage_server.s3_api")

# These prove their sender in a form, or have none by design (a browser's preflight).
_OWN_AUTHENTICATION = frozenset({"PostObject", "OptionsBucket", "OptionsObject"})
# The length of these bodies must be said; other operations take a missing length for nothing.
_NEEDS_LENGTH = frozenset({"PutObject", "UploadPart", "PostObject"})
_METHODS_WITH_BODY = frozenset({"PUT", "POST"})
_XML = ("Content-Type", "application/xml")
_TEXT = ("Content-Type", "text/plain")
_HEALTH_BUCKET = "-"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request as a transport received it."""

    method: str
    target: str
    raw_headers: RawHeaders
    peer: str
    is_secure: bool
    source: Source
    before_read: Callable[[], None]


class Trace:
    """What became known of a request on its way: for the reply's head and the access log."""

    __slots__ = ("actor", "error", "head", "operation", "request_id")

    def __init__(self) -> None:
        """Begin with the request's new id."""
        self.request_id: RequestId = new_request_id()
        self.head: RequestHead | None = None
        self.operation = ""
        self.actor = ANONYMOUS
        self.error = ""


class Pipeline:
    """Head, route, sender, bucket, permission, handler: in this order, for every request."""

    def __init__(
        self,
        services: Services,
        table: Mapping[str, Handler],
        options: S3Options,
        offload: Offload,
        is_ready: Callable[[], bool],
    ) -> None:
        """Serve the operations of ``table``; the others answer 501."""
        self._services = services
        self._table = table
        self._heads = HeadReader(options)
        self._options = options
        self._offload = offload
        self._buffers = BodyBuffers(options.body_buffers_bytes)
        self._is_ready = is_ready
        self._console = ConsoleOrigin(options.console_origin) if options.console_origin else None

    async def answer(self, incoming: Incoming, trace: Trace) -> Reply:
        """Return the reply to a request; what goes wrong becomes an error reply.

        Raises:
            ConnectionError: The client is gone, and there is nobody to reply to.
        """
        reply = await self._answer_or_tell(incoming, trace)
        console, head = self._console, trace.head
        if console is not None and head is not None and console.is_asking(head):
            return replace(reply, headers=(*reply.headers, *console.reply_headers(head)))
        return reply

    async def _answer_or_tell(self, incoming: Incoming, trace: Trace) -> Reply:
        try:
            return await self._answer(incoming, trace)
        except errors.S3Error as raised:
            peer = incoming.peer if trace.head is None else trace.head.peer
            error = self._services.lookups.judge(trace.actor, peer, raised)
            trace.error = error.code
            return self.error_reply(error, trace, incoming.method)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - what nobody foresaw is an answer too, and logged
            _log.exception("request %s failed", trace.request_id)
            trace.error = errors.InternalError.code
            return self.error_reply(errors.InternalError(), trace, incoming.method)

    def error_reply(self, error: errors.S3Error, trace: Trace, method: str) -> Reply:
        """Return the reply that tells a client of an error."""
        headers = (_XML, *error.headers)
        if method == "HEAD" or error.status in {204, 304}:
            return Reply(error.status, headers)
        details = b"".join(xml.echo(name.encode(), value) for name, value in error.details.items())
        resource = xml.tag(b"Resource", trace.head.raw_path) if trace.head is not None else b""
        document = b"%b<Error>%b%b%b%b%b%b</Error>" % (
            xml.DECLARATION,
            xml.tag(b"Code", error.code),
            xml.echo(b"Message", error.sentence),
            details,
            resource,
            xml.tag(b"RequestId", trace.request_id),
            xml.tag(b"HostId", self._options.host_id),
        )
        return Reply(error.status, headers, document)

    async def _answer(self, incoming: Incoming, trace: Trace) -> Reply:
        head = self._heads.read(
            incoming.method,
            incoming.target,
            incoming.raw_headers,
            peer=incoming.peer,
            is_secure=incoming.is_secure,
        )
        trace.head = head
        if head.bucket == _HEALTH_BUCKET and not head.is_virtual_hosted:
            return self._health(head)
        operation = match(head)
        trace.operation = operation.name
        handler = self._table.get(operation.name)
        if handler is None:
            raise errors.NotImplementedByServer(Operation=operation.name)
        if operation.name in _OWN_AUTHENTICATION:
            console = self._console if head.method == "OPTIONS" else None
            if console is not None and console.is_asking(head):
                return Reply(200, console.preflight_headers(head))
            sender = Authenticated(Actor(request_id=trace.request_id), head, UNSIGNED_PAYLOAD)
            bucket: Bucket | None = self._services.authorizer.require_bucket(head.bucket)
        else:
            sender = self._services.credentials.authenticate(head, trace.request_id)
            trace.actor = sender.actor
            bucket = self._admit(operation, sender)
        if head.method not in _METHODS_WITH_BODY:
            return await handler(
                Call(
                    sender.head,
                    operation,
                    sender.actor,
                    trace.request_id,
                    NO_BODY,
                    self._services,
                    bucket,
                )
            )
        plan = _plan(operation, sender)
        body = self._body(incoming, plan, sender.signer)
        try:
            return await handler(
                Call(
                    sender.head,
                    operation,
                    sender.actor,
                    trace.request_id,
                    body,
                    self._services,
                    bucket,
                )
            )
        finally:
            await body.close()

    def _admit(self, operation: Operation, sender: Authenticated) -> Bucket | None:
        """Return the bucket of the path when the sender may do the operation there.

        Raises:
            NoSuchBucket: There is none.
            AccessDenied: The sender may not.
        """
        head, authorizer = sender.head, self._services.authorizer
        if not head.bucket or operation.name == "CreateBucket":
            authorizer.require(sender.actor, operation.action, None)
            return None
        bucket = authorizer.require_bucket(head.bucket)
        if operation.is_per_key:
            authorizer.require_somebody(sender.actor)
        else:
            action = operation.action_of(head.query.get("versionId"))
            authorizer.require(sender.actor, action, bucket, head.key)
        authorizer.require_owner(head.headers.get("x-amz-expected-bucket-owner"), bucket)
        return bucket

    def _body(
        self, incoming: Incoming, plan: PayloadPlan, signer: ChunkSigner | None
    ) -> RequestBody:
        return RequestBody(
            incoming.source,
            plan,
            signer,
            before_read=incoming.before_read,
            buffers=self._buffers,
            offload=self._offload,
            idle_s=self._options.idle_timeout_s,
        )

    def _health(self, head: RequestHead) -> Reply:
        """Answer a probe; these paths are no bucket's, so nobody signs for them.

        Raises:
            MethodNotAllowed: It is not a read.
            NoSuchBucket: The path is no probe's.
        """
        if head.key not in {"healthz", "readyz"}:
            raise errors.InvalidBucketName(BucketName=head.bucket)
        if head.method not in {"GET", "HEAD"}:
            raise errors.MethodNotAllowed(Method=head.method)
        if head.key == "readyz" and not self._is_ready():
            return Reply(503, (_TEXT,), b"" if head.method == "HEAD" else b"not ready\n")
        return Reply(200, (_TEXT,), b"" if head.method == "HEAD" else b"ok\n")


def _plan(operation: Operation, sender: Authenticated) -> PayloadPlan:
    """Return what the body must be found to be.

    Raises:
        S3Error: Its length is not said, or what is said of it contradicts itself.
    """
    headers = sender.head.headers
    if operation.name == "CompleteMultipartUpload":
        # Its checksum is that of the object to be, not of the document.
        headers = {
            name: value
            for name, value in headers.items()
            if not name.startswith(checksums.HEADER_PREFIX)
        }
    is_chunked = "transfer-encoding" in headers
    if is_chunked and "content-length" in headers:
        raise errors.InvalidRequest("Content-Length and Transfer-Encoding exclude each other.")
    default = None if is_chunked or operation.name in _NEEDS_LENGTH else 0
    return plan_payload(headers, sender.payload, default_length=default)
