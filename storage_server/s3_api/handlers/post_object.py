"""The handler of form uploads: the policy is proven before the file is touched."""

from collections import deque
from functools import partial
from urllib.parse import quote

import msgspec

from storage_server.s3 import post_policy
from storage_server.s3.form_data import FormReader, parse_boundary
from storage_server.s3.messages.objects import version_headers
from storage_server.s3.messages.post_object import PostObjectInput, post_object_reply
from storage_server.s3.payload import PayloadPlan, plan_payload
from storage_server.s3.post_policy import Policy
from storage_server.s3.reply import Reply
from storage_server.s3.sigv4 import UNSIGNED_PAYLOAD
from storage_server.s3_api.body import RequestBody
from storage_server.s3_api.call import Call, Handler
from storage_server.services.actor import Actor
from storage_server.services.objects import checksum_pairs
from storage_server.services.payment import require_payer


class FormFile:
    """The file of a form as a source of bytes; the policy's length is checked as they come."""

    def __init__(self, body: RequestBody, form: FormReader) -> None:
        """Read a form out of a body."""
        self._body = body
        self._form = form
        self._ready: deque[memoryview] = deque()
        self._length = 0
        self._ended = False
        self.policy: Policy | None = None

    async def read_fields(self) -> None:
        """Read up to where the file begins.

        Raises:
            S3Error: The body is no form, or has no file.
        """
        while self._form.file is None:
            if not await self._step():
                self._form.finish()

    async def read(self, limit: int, wait_s: float) -> bytes | memoryview | None:
        """Return up to ``limit`` bytes of the file, ``b""`` at its end.

        Raises:
            EntityTooLarge, EntityTooSmall: The policy allows another length.
        """
        del wait_s  # the body's own reading waits
        while not self._ready and not self._ended:
            if not await self._step():
                self._ended = True
                self._form.finish()
                self._check(is_final=True)
        if not self._ready:
            return b""
        view = self._ready.popleft()
        if len(view) > limit:
            self._ready.appendleft(view[limit:])
            view = view[:limit]
        return view

    async def _step(self) -> bool:
        """Take a piece of the body; tell whether there was one."""
        piece = await self._body.read_raw()
        for view in self._form.feed(piece):
            self._length += len(view)
            self._ready.append(view)
        self._check(is_final=False)
        return bool(piece)

    def _check(self, *, is_final: bool) -> None:
        if self.policy is not None:
            self.policy.check_length(self._length, is_final=is_final)


async def post_object(call: Call) -> Reply:
    """Store the file of a form."""
    assert isinstance(call.body, RequestBody)
    form = FormReader(parse_boundary(call.head.header("content-type")))
    file = FormFile(call.body, form)
    await file.read_fields()
    assert form.file is not None
    fields = post_policy.expand(form.fields, form.file.filename)
    signer = _admit(call, fields, file)
    traffic = call.services.traffic
    traffic.admit(signer)
    wanted = PostObjectInput.parse(fields)
    actor = signer.saying(wanted.headers)
    for action in ("s3:PutObject", *call.operation.further_actions(wanted.headers, None)):
        await call.services.authorizer.require(actor, action, call.bucket, wanted.key)
    require_payer(actor, call.bucket, wanted.headers)
    stored = await call.services.objects.put(
        actor,
        call.bucket,
        wanted.key,
        wanted.words,
        wanted.conditions,
        call.body.inner(
            file,
            _plan(wanted.headers),
            traffic.pacer(signer, call.head.peer),
            partial(call.services.credentials.require_alive, signer, call.bucket.tenant_id),
        ),
    )
    head = call.head
    path = quote(wanted.key if head.is_virtual_hosted else f"{head.bucket}/{wanted.key}")
    return post_object_reply(
        wanted,
        bucket=call.bucket.name,
        location=f"{'https' if head.is_secure else 'http'}://{head.host}/{path}",
        object_etag=stored.etag,
        headers=(*version_headers(stored), *checksum_pairs(stored.checksum)),
    )


def _admit(call: Call, fields: dict[str, str], file: FormFile) -> Actor:
    """Return who signed the form's policy, which must allow what the form holds; else nobody.

    Raises:
        AccessDenied: The policy does not allow a field.
        S3Error: The signature is not the signer's, or the policy is none.
    """
    claim = post_policy.parse_claim(fields)
    if claim is None:
        return call.actor  # only a bucket that is open to anyone takes it
    credentials = call.services.credentials
    actor = credentials.authenticate_form(claim, call.head, call.request_id)
    file.policy = post_policy.parse_policy(claim.policy_text)
    post_policy.check_policy(file.policy, fields, call.bucket.name, credentials.now_us())
    return actor


def _plan(headers: dict[str, str]) -> PayloadPlan:
    """Return what the file must be found to be: its length is known only at its end."""
    plan = plan_payload(headers, UNSIGNED_PAYLOAD, default_length=0)
    return msgspec.structs.replace(plan, wire_length=None, length=None)


TABLE: dict[str, Handler] = {"PostObject": post_object}
