"""Who is asking: the one value that every service receives first."""

import msgspec

from storage_server.core.ids import PrincipalId, RequestId
from storage_server.engine.records import (
    BucketRecord,
    PrincipalRecord,
    TenantRecord,
    Writer,
)

Bucket = BucketRecord
"""A bucket as the pipeline resolved it; the transports only pass it on."""


class Actor(msgspec.Struct, frozen=True):
    """The principal behind a request; anonymous has neither principal nor tenant.

    ``request_id`` rides along so that what is written names the request that wrote it.
    """

    principal: PrincipalRecord | None = None
    access_key_id: str = ""
    tenant: TenantRecord | None = None
    is_root: bool = False
    request_id: RequestId = RequestId("")

    @property
    def is_anonymous(self) -> bool:
        """Tell whether nobody signed the request."""
        return self.principal is None

    def writer(self) -> Writer:
        """Return who and what to record with a write."""
        principal_id = PrincipalId("") if self.principal is None else self.principal.principal_id
        return Writer(principal_id, self.access_key_id, self.request_id)


ANONYMOUS = Actor()
