"""Who writes seldom among those that write now: where small bodies of many tenants go.

A segment belongs to one tenant, so a group commit flushes as many segments as it has tenants with
bodies in them. That pays where a flush is shared by several bodies. A small body that would have it
alone is cheaper in its row, which is flushed with everybody's rows: it takes two pages of metadata
in place of one of a segment, and no flush, no file and no open descriptor of its own.
"""

from collections import deque
from typing import Final

from storage_server.core.ids import TenantId

_LOOKED_BACK: Final = 32
"""Bodies: about as many as a group has under load, so that it need not be known how long ago."""
_SHARED_BY: Final = 4
"""Bodies that make a flush of their own worth it: it takes what writing so many rows does."""


class Sparse:
    """The tenants of the small bodies that came last, in one process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._last: deque[TenantId] = deque()
        self._counts: dict[TenantId, int] = {}

    def comes(self, tenant_id: TenantId) -> bool:
        """Note that a tenant's body comes; tell whether it writes seldom among others."""
        last, counts = self._last, self._counts
        last.append(tenant_id)
        count = counts[tenant_id] = counts.get(tenant_id, 0) + 1
        if len(last) <= _LOOKED_BACK:
            return False  # nobody knows yet who else writes
        gone = last.popleft()
        if counts[gone] == 1:
            del counts[gone]
        else:
            counts[gone] -= 1
        return count <= _SHARED_BY
