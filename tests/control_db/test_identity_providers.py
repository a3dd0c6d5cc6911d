"""OIDC providers of a tenant."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from storage_server.control_db import identity_providers
from storage_server.control_db.errors import Conflict, Exists, Missing
from storage_server.control_db.views import IdentityProviderView, Ref
from storage_server.core.ids import TenantId
from tests.control_db import world

NOW_US = world.NOW_US
ISSUER = "https://idp.example.org"


def _create(session: Session, tenant_id: TenantId, **more: Any) -> IdentityProviderView:
    wanted: dict[str, Any] = {
        "provider_id": "P1",
        "tenant_id": tenant_id,
        "name": "Idp",
        "issuer": ISSUER,
        "audiences": ["one", "two"],
        "algorithms": ["RS256"],
        "now_us": NOW_US,
    }
    return identity_providers.create(session, **(wanted | more))


def test_a_provider_is_made_found_changed_and_deleted(session: Session) -> None:
    """Issuers are compared exactly: they are what a token names."""
    acme = world.tenant(session).tenant_id
    made = _create(session, acme)
    assert made.audiences == ("one", "two")
    assert identity_providers.get(session, "P1") == made
    assert identity_providers.find_by_name(session, acme, "IDP") == made
    assert identity_providers.find_by_issuer(session, acme, ISSUER) == made
    assert identity_providers.find_by_issuer(session, acme, ISSUER.upper()) is None
    changed = identity_providers.update(
        session, "P1", NOW_US, expected=1, audiences=["three"], jwks=b"{}", enabled=False
    )
    assert (changed.audiences, changed.jwks, changed.revision) == (("three",), b"{}", 2)
    with pytest.raises(Conflict):
        identity_providers.update(session, "P1", NOW_US, expected=1, enabled=True)
    assert identity_providers.delete(session, "P1", NOW_US) == (Ref("principal", "P1"),)
    with pytest.raises(Missing):
        identity_providers.get(session, "P1")
    assert identity_providers.find_by_issuer(session, acme, ISSUER) is None
    assert identity_providers.find(session, "P1") is not None
    with pytest.raises(Exists):
        _create(session, acme, name="new")
    session.rollback()


def test_a_tenant_has_one_provider_per_issuer_and_name(session: Session) -> None:
    """Other tenants may trust the same one."""
    acme, other = world.tenant(session).tenant_id, world.tenant(session, "other").tenant_id
    _create(session, acme)
    _create(session, other, provider_id="P2")
    for more in ({"issuer": "https://b"}, {"name": "b"}):
        with pytest.raises(Exists):
            _create(session, acme, provider_id="P3", **more)
    _create(session, acme, provider_id="P4", name="a", issuer="https://b")
    page = identity_providers.list_page(session, acme, limit=1)
    rest = identity_providers.list_page(session, acme, marker=page.marker or "", limit=9)
    assert [one.name for one in page.items + rest.items] == ["a", "Idp"]
