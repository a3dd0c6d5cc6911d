"""All services of one process, as the transports receive them."""

from dataclasses import dataclass

from storage_server.services.authorize import Authorizer
from storage_server.services.batch_delete import BatchDeleteService
from storage_server.services.bucket_config import BucketConfigService
from storage_server.services.buckets import BucketService
from storage_server.services.copies import CopyService
from storage_server.services.credentials import Credentials
from storage_server.services.keys import KeyService
from storage_server.services.listings import ListingService
from storage_server.services.lookups import LookupGuard
from storage_server.services.multipart import MultipartService
from storage_server.services.object_config import ObjectConfigService
from storage_server.services.objects import ObjectService


@dataclass(frozen=True, slots=True)
class Services:
    """What a handler may call. Built only by ``processes/wiring.py``."""

    credentials: Credentials
    authorizer: Authorizer
    buckets: BucketService
    bucket_config: BucketConfigService
    objects: ObjectService
    batch_delete: BatchDeleteService
    object_config: ObjectConfigService
    copies: CopyService
    listings: ListingService
    multipart: MultipartService
    keys: KeyService
    lookups: LookupGuard
