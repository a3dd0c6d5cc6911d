"""What the upkeep of a store works with: its parts, without the doors that clients come through."""

from dataclasses import dataclass

from storage_server.core.clock import Clock
from storage_server.core.ids import BucketId
from storage_server.engine import configuration, rows
from storage_server.engine.bodies import Bodies
from storage_server.engine.committer import Committer
from storage_server.engine.drivers.file_blobs import FileBlobStore
from storage_server.engine.drivers.incarnations import Incarnation
from storage_server.engine.grants import Grants
from storage_server.engine.keyholder import KeyHolder
from storage_server.engine.manifests import Manifests
from storage_server.engine.metastore import MetaStore, bucket_part
from storage_server.engine.records import BucketRecord
from storage_server.engine.sharing import Sharing


@dataclass(frozen=True, slots=True)
class Inside:
    """The parts of one open store."""

    meta: MetaStore
    committer: Committer
    blobs: FileBlobStore
    bodies: Bodies
    keyholder: KeyHolder
    manifests: Manifests
    sharing: Sharing
    incarnation: Incarnation
    clock: Clock
    grants: Grants

    async def configuration_of(self, bucket_id: BucketId) -> BucketRecord | None:
        """Return a bucket's configuration, closed or not; None when its partition has none.

        Raises:
            Damaged: The row is not sound.
        """
        found = await self.meta.get_many(bucket_part(bucket_id), [rows.CONFIGURATION])
        row = found.get(rows.CONFIGURATION)
        return None if row is None else configuration.decode(row)
