"""What the services are told at start."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuthenticationOptions:
    """How requests may say who sends them.

    ``region`` counts only when ``strict_region``; otherwise any region signs.
    """

    region: str = "us-east-1"
    strict_region: bool = False
    sigv2_enabled: bool = True


@dataclass(frozen=True, slots=True)
class BootstrapOptions:
    """What shall be there; what is empty is not asked for."""

    tenant: str
    user: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """Limits of every address and key; 0 is none. Tenants and users have limits of their own."""

    address_requests_per_s: int = 0
    address_bytes_per_s: int = 0
    key_requests_per_s: int = 0
    key_bytes_per_s: int = 0
