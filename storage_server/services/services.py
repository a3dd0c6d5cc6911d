"""All services of one process, as the transports receive them."""

from dataclasses import dataclass

from storage_server.services.account_access import AccountAccessService
from storage_server.services.accounts import Accounts
from storage_server.services.authorize import Authorizer
from storage_server.services.batch_delete import BatchDeleteService
from storage_server.services.bucket_config import BucketConfigService
from storage_server.services.bucket_directory import BucketDirectory
from storage_server.services.bucket_grants import BucketGrantService
from storage_server.services.bucket_policy import BucketPolicyService
from storage_server.services.buckets import BucketService
from storage_server.services.copies import CopyService
from storage_server.services.cors import CorsService
from storage_server.services.credentials import Credentials
from storage_server.services.explain import ExplainService
from storage_server.services.iam import IamService
from storage_server.services.identity_providers import ProviderService
from storage_server.services.last_used import LastUsed
from storage_server.services.listings import ListingService
from storage_server.services.lookups import LookupGuard
from storage_server.services.multipart import MultipartService
from storage_server.services.object_config import ObjectConfigService
from storage_server.services.objects import ObjectService
from storage_server.services.sts import StsService
from storage_server.services.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Services:
    """What a handler may call. Built only by ``processes/wiring.py``."""

    accounts: Accounts
    account_access: AccountAccessService
    credentials: Credentials
    authorizer: Authorizer
    buckets: BucketService
    bucket_config: BucketConfigService
    bucket_directory: BucketDirectory
    bucket_grants: BucketGrantService
    bucket_policy: BucketPolicyService
    cors: CorsService
    explain: ExplainService
    objects: ObjectService
    batch_delete: BatchDeleteService
    object_config: ObjectConfigService
    copies: CopyService
    last_used: LastUsed
    listings: ListingService
    multipart: MultipartService
    lookups: LookupGuard
    iam: IamService
    providers: ProviderService
    sts: StsService
    traffic: Traffic
