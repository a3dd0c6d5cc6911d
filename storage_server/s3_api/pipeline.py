"""The only way from a request to its answer, whatever transport it came by."""

import logging
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from storage_server.core.ids import RequestId, new_request_id
from storage_server.s3 import checksums, errors, xml
from storage_server.s3.cors import ConsoleOrigin
from storage_server.s3.messages.query_api import is_query
from storage_server.s3.operations import Operation, Scope
from storage_server.s3.payload import PayloadPlan, plan_payload
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.s3.routing import match
from storage_server.s3.sigv4 import UNSIGNED_PAYLOAD, ChunkSigner
from storage_server.s3_api.body import NO_BODY, RequestBody, Source
from storage_server.s3_api.call import Call, Handler
from storage_server.s3_api.options import S3Options
from storage_server.s3_api.query import QueryHandler, answer_query
from storage_server.s3_api.receiver import BodyBuffers
from storage_server.s3_api.request_head import HeadReader, RawHeaders
from storage_server.services.actor import ANONYMOUS, Bucket
from storage_server.services.credentials import Authenticated
from storage_server.services.lookups import DeniedElsewhere
from storage_server.services.offload import Offload
from storage_server.services.payment import CHARGED, is_charged, require_payer
from storage_server.services.services import Services
from storage_server.services.traffic import Pacer

_log = logging.getLogger("holdfast.s3_api")

_METHODS_WITH_BODY = frozenset({"PUT", "POST"})
_XML = ("Content-Type", "application/xml")
_TEXT = ("Content-Type", "text/plain")
_HEALTH_BUCKET = "-"
_EXPECTED_OWNER = "x-amz-expected-bucket-owner"
_WITHOUT_BUCKET = frozenset({Scope.SERVICE, Scope.ACCOUNT})
_NO_QUERIES: Mapping[str, QueryHandler] = {}
_ERRORS = 400  # the first status that is none of success


class Incoming(msgspec.Struct, frozen=True):
    """One request as a transport received it."""

    method: str
    target: str
    raw_headers: RawHeaders | dict[str, str]
    peer: str
    is_secure: bool
    source: Source
    before_read: Callable[[], None]


class Trace:
    """What became known of a request on its way: for the reply's head and the access log."""

    __slots__ = ("actor", "bucket", "error", "head", "operation", "pacer", "request_id")

    def __init__(self) -> None:
        """Begin with the request's new id."""
        self.request_id: RequestId = new_request_id()
        self.head: RequestHead | None = None
        self.operation = ""
        self.actor = ANONYMOUS
        self.bucket: Bucket | None = None
        self.pacer: Pacer | None = None
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
        queries: Mapping[str, QueryHandler] = _NO_QUERIES,
    ) -> None:
        """Serve the operations of ``table``, the others answer 501; and IAM's and STS's actions."""
        self._queries = queries
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
        try:
            reply = await self._answer(incoming, trace)
        except errors.S3Error as raised:
            peer = incoming.peer if trace.head is None else trace.head.peer
            error = self._services.lookups.judge(trace.actor, peer, raised)
            trace.error = error.code
            reply = self.error_reply(error, trace, incoming.method)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 - what nobody foresaw is an answer too, and logged
            _log.exception("request %s failed", trace.request_id)
            trace.error = errors.InternalError.code
            reply = self.error_reply(errors.InternalError(), trace, incoming.method)
        added = self._added_headers(reply, trace)
        return replace(reply, headers=(*reply.headers, *added)) if added else reply

    def _added_headers(self, reply: Reply, trace: Trace) -> tuple[tuple[str, str], ...]:
        """Return what a bucket's settings add to a reply, be it a success or an error."""
        head, console = trace.head, self._console
        if head is None:
            return ()
        if console is not None and console.is_asking(head):
            return console.reply_headers(head)
        bucket = trace.bucket
        if head.method == "OPTIONS":
            return ()
        if bucket is None:
            # A page is to learn why its request failed, however early that was.
            return self._services.cors.early_headers(head) if "origin" in head.headers else ()
        added = self._services.cors.reply_headers(bucket, head)
        if reply.status < _ERRORS and is_charged(trace.actor, bucket):
            added += (CHARGED,)
        return added

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
        if is_query(head.method, head.bucket, head.key, head.header("content-type")):
            return await self._answer_query(incoming, head, trace)
        self._services.traffic.admit_address(head.peer)
        operation = match(head)
        trace.operation = operation.name
        handler = self._table.get(operation.name)
        if handler is None:
            raise errors.NotImplementedByServer(Operation=operation.name)
        if operation.proves_itself:
            console = self._console if head.method == "OPTIONS" else None
            if console is not None and console.is_asking(head):
                return Reply(200, console.preflight_headers(head))
            nobody = self._services.credentials.anonymous(head, trace.request_id)
            sender = Authenticated(nobody, head, UNSIGNED_PAYLOAD)
            found = self._services.authorizer.require_bucket(head.bucket)
            self._services.authorizer.require_owner(head.headers.get(_EXPECTED_OWNER), found)
            bucket: Bucket | None = found
            trace.bucket = bucket
        else:
            sender = self._services.credentials.authenticate(head, trace.request_id)
            trace.actor = sender.actor
            self._services.traffic.admit(sender.actor)
            bucket = await self._admit(operation, sender, trace)
            trace.pacer = self._services.traffic.pacer(sender.actor, head.peer)
        body: RequestBody | None = None
        if head.method in _METHODS_WITH_BODY:
            plan = _plan(operation, sender)
            owner = None if bucket is None else bucket.tenant_id
            still = partial(self._services.credentials.require_alive, sender.actor, owner)
            body = self._body(incoming, plan, sender.signer, trace.pacer, still)
        call = Call(
            sender.head,
            operation,
            sender.actor,
            trace.request_id,
            NO_BODY if body is None else body,
            self._services,
            bucket,
        )
        try:
            return await handler(call)
        except (errors.NoSuchKey, errors.NoSuchVersion) as error:
            if bucket is None or operation.names_two_buckets:
                raise
            missing = await self._services.authorizer.as_missing(sender.actor, bucket, error)
            raise missing from error
        finally:
            if body is not None:
                await body.close()

    async def _answer_query(self, incoming: Incoming, head: RequestHead, trace: Trace) -> Reply:
        """Answer a form of IAM or STS: its body is read first, because it is what is signed."""
        length = {name: text for name, text in head.headers.items() if name == "content-length"}
        plan = plan_payload(length, UNSIGNED_PAYLOAD)
        body = self._body(incoming, plan, None, self._services.traffic.pacer(ANONYMOUS, head.peer))
        try:
            return await answer_query(head, body, self._services, self._queries, trace)
        finally:
            await body.close()

    async def _admit(
        self, operation: Operation, sender: Authenticated, trace: Trace
    ) -> Bucket | None:
        """Return the bucket of the path when the sender may do the operation there.

        Raises:
            NoSuchBucket: There is none.
            AccessDenied: The sender may not.
        """
        head, actor, authorizer = sender.head, sender.actor, self._services.authorizer
        if operation.scope in _WITHOUT_BUCKET or operation.name == "CreateBucket":
            if operation.is_asked_late:
                authorizer.require_somebody(actor)
            else:
                authorizer.require_service(actor, operation.action, "*")
            return None
        bucket = trace.bucket = authorizer.require_bucket(head.bucket)
        if actor.principal is None and not operation.is_anonymous:
            raise DeniedElsewhere
        if not operation.is_per_key and not operation.is_asked_late:
            version_id = head.query.get("versionId")
            await authorizer.require(
                actor,
                operation.action_of(version_id),
                bucket,
                head.key,
                version_id=version_id,
                is_listing=operation.is_listing,
            )
            if operation.further:
                for action in operation.further_actions(head.headers, version_id):
                    await authorizer.require(actor, action, bucket, head.key, version_id=version_id)
        authorizer.require_owner(head.headers.get(_EXPECTED_OWNER), bucket)
        require_payer(actor, bucket, head.headers)
        return bucket

    def _body(
        self,
        incoming: Incoming,
        plan: PayloadPlan,
        signer: ChunkSigner | None,
        pacer: Pacer | None,
        still: Callable[[], None] | None = None,
    ) -> RequestBody:
        return RequestBody(
            incoming.source,
            plan,
            signer,
            before_read=incoming.before_read,
            buffers=self._buffers,
            offload=self._offload,
            stall_s=self._options.stall_timeout_s,
            pacer=pacer,
            still=still,
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
    default = None if is_chunked or operation.needs_length else 0
    return plan_payload(headers, sender.payload, default_length=default)
