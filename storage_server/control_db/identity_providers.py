"""OIDC providers of a tenant, whose tokens AssumeRoleWithWebIdentity accepts."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage_server.control_db.errors import Exists
from storage_server.control_db.failures import flush
from storage_server.control_db.rows import change, check_tags, end, fold, living, require_revision
from storage_server.control_db.tables import IdentityProviderRow
from storage_server.control_db.views import IdentityProviderView, Page, Pairs, Ref, page, view
from storage_server.core.ids import TenantId


class IdentityProviderChanges(TypedDict, total=False):
    """What ``update`` can change; absent fields stay. The issuer stays: it is who signs."""

    audiences: Sequence[str]
    jwks_url: str
    jwks: bytes
    algorithms: Sequence[str]
    templates: str
    thumbprints: Sequence[str]
    tags: Pairs
    enabled: bool


def create(
    session: Session,
    *,
    provider_id: str,
    tenant_id: TenantId,
    name: str,
    issuer: str,
    audiences: Sequence[str],
    algorithms: Sequence[str],
    jwks_url: str = "",
    jwks: bytes = b"",
    templates: str = "[]",
    thumbprints: Sequence[str] = (),
    tags: Pairs = (),
    now_us: int,
) -> IdentityProviderView:
    """Add a provider; ``templates`` is JSON that says which claims lead to which role.

    Raises:
        Exists: The name or issuer is taken in the tenant, or the id is or was any provider's.
        Missing: There is no such tenant.
        LimitReached: Too many tags.
    """
    check_tags(tags)
    if find_by_name(session, tenant_id, name) or find_by_issuer(session, tenant_id, issuer):
        raise Exists("identity_provider", name)
    row = IdentityProviderRow(
        provider_id=provider_id,
        tenant_id=tenant_id,
        kind="oidc",
        name=name,
        name_key=fold(name),
        issuer=issuer,
        audiences=list(audiences),
        algorithms=list(algorithms),
        jwks_url=jwks_url,
        jwks=jwks,
        templates=templates,
        thumbprints=list(thumbprints),
        tags=tags,
        created_us=now_us,
        updated_us=now_us,
    )
    session.add(row)
    flush(session, "identity_provider", name)
    return view(IdentityProviderView, row)


def get(session: Session, provider_id: str) -> IdentityProviderView:
    """Return a living provider.

    Raises:
        Missing: There is none with this id.
    """
    row = living(session, IdentityProviderRow, "identity_provider", provider_id)
    return view(IdentityProviderView, row)


def find(session: Session, provider_id: str) -> IdentityProviderView | None:
    """Return a provider or its tombstone."""
    row = session.get(IdentityProviderRow, provider_id)
    return None if row is None else view(IdentityProviderView, row)


def find_by_name(session: Session, tenant_id: TenantId, name: str) -> IdentityProviderView | None:
    """Return the living provider of this name, in any case of its letters."""
    row = session.scalar(
        select(IdentityProviderRow).where(
            IdentityProviderRow.tenant_id == tenant_id,
            IdentityProviderRow.name_key == fold(name),
            IdentityProviderRow.deleted_us == 0,
        )
    )
    return None if row is None else view(IdentityProviderView, row)


def find_by_issuer(
    session: Session, tenant_id: TenantId, issuer: str
) -> IdentityProviderView | None:
    """Return the living provider whose tokens name exactly this issuer."""
    row = session.scalar(
        select(IdentityProviderRow).where(
            IdentityProviderRow.tenant_id == tenant_id,
            IdentityProviderRow.issuer == issuer,
            IdentityProviderRow.deleted_us == 0,
        )
    )
    return None if row is None else view(IdentityProviderView, row)


def list_page(
    session: Session, tenant_id: TenantId, *, marker: str = "", limit: int
) -> Page[IdentityProviderView]:
    """Return living providers of a tenant by name, those behind ``marker``."""
    rows = session.scalars(
        select(IdentityProviderRow)
        .where(
            IdentityProviderRow.tenant_id == tenant_id,
            IdentityProviderRow.deleted_us == 0,
            IdentityProviderRow.name_key > fold(marker),
        )
        .order_by(IdentityProviderRow.name_key)
        .limit(limit + 1)
    ).all()
    return page(IdentityProviderView, rows, limit, "name_key")


def update(
    session: Session,
    provider_id: str,
    now_us: int,
    *,
    expected: int | None = None,
    **changes: Unpack[IdentityProviderChanges],
) -> IdentityProviderView:
    """Change a provider.

    Raises:
        Missing: There is no such provider.
        Conflict: ``expected`` is not its revision.
        LimitReached: Too many tags.
    """
    row = living(session, IdentityProviderRow, "identity_provider", provider_id)
    check_tags(changes.get("tags", ()))
    change(row, now_us, changes, kind="identity_provider", expected=expected)
    session.flush()
    return view(IdentityProviderView, row)


def delete(
    session: Session, provider_id: str, now_us: int, *, expected: int | None = None
) -> tuple[Ref, ...]:
    """Turn a provider into a tombstone; return it, as a principal of the projection.

    Raises:
        Missing: There is no such provider.
        Conflict: ``expected`` is not its revision.
    """
    row = living(session, IdentityProviderRow, "identity_provider", provider_id)
    require_revision(row, "identity_provider", expected)
    _end(row, now_us)
    session.flush()
    return (Ref("principal", provider_id),)


def delete_all(session: Session, tenant_id: TenantId, now_us: int) -> tuple[Ref, ...]:
    """Turn all providers of a tenant into tombstones."""
    rows = session.scalars(
        select(IdentityProviderRow).where(
            IdentityProviderRow.tenant_id == tenant_id, IdentityProviderRow.deleted_us == 0
        )
    ).all()
    for row in rows:
        _end(row, now_us)
    session.flush()
    return tuple(Ref("principal", row.provider_id) for row in rows)


def _end(row: IdentityProviderRow, now_us: int) -> None:
    end(row, now_us, enabled=False, jwks=b"", thumbprints=[], tags=[])
