"""Which bucket names exist at all (their only validator), and the tenants that always exist."""

import ipaddress
import re
from typing import Final

SYSTEM_TENANT: Final = "system"
"""The tenant of the installation's root and of the global administrators."""
DEFAULT_TENANT: Final = "default"
"""The tenant of the first users."""

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def is_bucket_name(name: str) -> bool:
    """Tell whether AWS's rules for general purpose buckets allow the name.

    Source: S3 User Guide, "General purpose bucket naming rules".
    """
    if not _BUCKET_NAME.fullmatch(name):
        return False
    if ".." in name or name.startswith(_RESERVED_PREFIXES) or name.endswith(_RESERVED_SUFFIXES):
        return False
    return not _looks_like_ipv4(name)


def _looks_like_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
