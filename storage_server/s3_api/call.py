"""One authorised request on its way to its handler."""

from collections.abc import Awaitable, Callable

import msgspec

from storage_server.core.ids import RequestId
from storage_server.s3 import errors
from storage_server.s3.operations import Operation
from storage_server.s3.reply import Reply
from storage_server.s3.request import RequestHead
from storage_server.services.actor import Actor, Bucket
from storage_server.services.body import Body
from storage_server.services.request_context import Extra
from storage_server.services.services import Services


class Call(msgspec.Struct, frozen=True):
    """Everything that a handler gets: authenticated, and authorised for the row's action."""

    head: RequestHead
    operation: Operation
    actor: Actor
    request_id: RequestId
    body: Body
    services: Services
    resolved: Bucket | None = None
    """The bucket of the path, when there is one."""

    @property
    def bucket(self) -> Bucket:
        """The bucket of the path.

        Raises:
            NoSuchBucket: There is none (only CreateBucket gets this far without).
        """
        if self.resolved is None:
            raise errors.NoSuchBucket(BucketName=self.head.bucket)
        return self.resolved

    async def require(self, extra: Extra) -> None:
        """Return when the sender may do the operation, given what its body says.

        Rows that are asked late call this before anything else that their body is for.

        Raises:
            AccessDenied: It may not.
        """
        version_id = self.head.query.get("versionId")
        await self.services.authorizer.require(
            self.actor,
            self.operation.action_of(version_id),
            self.bucket,
            self.head.key,
            version_id=version_id,
            extra=extra,
        )


Handler = Callable[[Call], Awaitable[Reply]]
"""Parse, one service call, reply."""
