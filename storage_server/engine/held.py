"""What the rows of a store refer to, collected on one pass over them."""

from dataclasses import dataclass, field

from storage_server.core.ids import TenantId
from storage_server.engine.blob_set import BlobSet
from storage_server.engine.blobstore import Ref


@dataclass(slots=True)
class Held:
    """References by kind.

    ``live`` are places that versions, parts and manifests refer to; ``pending`` those that only
    due work, intents or ended uploads do: their bytes may be gone already. ``holders`` are shared
    references (id and holder), ``manifests`` ids. ``unheld`` are entries that nothing refers to.
    """

    live: BlobSet = field(default_factory=BlobSet)
    pending: BlobSet = field(default_factory=BlobSet)
    holders: set[bytes] = field(default_factory=set)
    manifests: set[bytes] = field(default_factory=set)
    unheld: list[tuple[TenantId, Ref]] = field(default_factory=list)
