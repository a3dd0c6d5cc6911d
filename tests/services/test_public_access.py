"""Public access: the bits mean the same to the protocol, to what is stored, and to what ships."""

from storage_server.control_db.settings import SHIPPED
from storage_server.engine import records
from storage_server.s3.messages.public_access import ALL_FLAGS, FLAGS


def test_every_flag_has_one_bit_everywhere() -> None:
    """The engine and the control database can't import the words of the protocol."""
    assert FLAGS == {
        "BlockPublicAcls": records.BLOCK_PUBLIC_ACLS,
        "IgnorePublicAcls": records.IGNORE_PUBLIC_ACLS,
        "BlockPublicPolicy": records.BLOCK_PUBLIC_POLICY,
        "RestrictPublicBuckets": records.RESTRICT_PUBLIC_BUCKETS,
    }
    assert SHIPPED.default_public_access_block == ALL_FLAGS == 0b1111
