"""Commands about buckets: all there are, and whose they are."""

from typing import Final

from storage_server.core.ids import CanonicalId
from storage_server.processes.admin import Desk, Row
from storage_server.processes.admin_socket import Done
from storage_server.processes.requests.buckets import GIVE, LIST, Bucket, Give, Listing
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.services.account_pages import Page, require_limit


async def _list(desk: Desk, wanted: Listing) -> Page[Bucket]:
    found, marker = await desk.services.bucket_directory.page(
        desk.tenant(wanted.tenant), wanted.marker, require_limit(wanted.limit)
    )
    return Page(
        tuple(
            Bucket(
                name=one.bucket.name,
                tenant=wanted.tenant,
                owner=one.owner,
                owner_id=one.bucket.owner,
                versioning=one.bucket.versioning.name.lower(),
                objects=one.usage.objects,
                bytes=one.usage.charged_bytes,
                created_us=one.bucket.created_us,
            )
            for one in found
        ),
        marker,
    )


async def _give(desk: Desk, wanted: Give) -> Done:
    bucket = desk.services.authorizer.find_bucket(wanted.bucket)
    tenant = None if bucket is None else desk.services.bucket_grants.tenant_of(bucket)
    if bucket is None or tenant is None:
        raise NoSuchEntity(f"The bucket {wanted.bucket} cannot be found.")
    owner = tenant.canonical_id
    if wanted.user:
        user = await desk.accounts.users.get(tenant.tenant_id, wanted.user)
        if user.owns_as != "self":
            raise ValidationError(
                f"What {user.name} makes belongs to its {user.owns_as}, and so would this bucket: "
                "give it to that one, or change --owns-as of the user."
            )
        owner = CanonicalId(user.canonical_id)
    await desk.services.bucket_directory.give(desk.by(), bucket, owner)
    return Done()


ROWS: Final = (
    Row(LIST, _list),
    Row(GIVE, _give),
)
