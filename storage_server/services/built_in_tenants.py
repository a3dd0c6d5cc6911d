"""The two tenants that every installation has, by their names."""

from typing import Final

SYSTEM_TENANT: Final = "system"
"""The tenant of the installation's root and of the global administrators."""
DEFAULT_TENANT: Final = "default"
"""The tenant of the first users."""
