"""Ownership of objects: the same words for the protocol, what is stored, tenants and settings."""

from storage_server.control_db.settings import SHIPPED
from storage_server.engine.records import ObjectOwnership
from storage_server.s3.messages.ownership import OWNERSHIPS
from storage_server.services import ownership
from storage_server.services.account_views import Ownership


def test_there_are_the_same_ownerships_everywhere() -> None:
    """What one of them lacked could be set and would then not be understood."""
    assert ownership.WORDS.keys() == set(ObjectOwnership)
    assert {word.decode() for word in ownership.WORDS.values()} == OWNERSHIPS
    assert {one.value for one in Ownership} == OWNERSHIPS
    assert SHIPPED.default_object_ownership.encode() == ownership.ENFORCED
