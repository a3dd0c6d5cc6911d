"""What the S3 port is told at start."""

import base64
import ipaddress
import os
from dataclasses import dataclass, field

from storage_server.core import limits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class S3Options:
    """Settings of one worker's S3 port.

    ``domains``: hosts below which a label is a bucket (virtual-hosted style). ``trusted_proxies``:
    peers whose X-Forwarded-For and X-Forwarded-Proto are believed; with ``proxy_protocol`` they
    begin each connection with a PROXY header. ``console_origin``: whose pages may use presigned
    URLs. ``failed_lookups_per_minute``: misses of bucket names that one tenant may cause from one
    address (0: any number). ``stall_timeout_s``: how long a client may neither send nor take a
    byte; ``idle_timeout_s``: how long a connection is kept between requests. ``has_fast_lane``:
    plain requests are answered ahead of the server library's parser.
    """

    region: str = "us-east-1"
    domains: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    proxy_protocol: bool = False
    console_origin: str = ""
    shows_display_names: bool = True
    failed_lookups_per_minute: int = 600
    strict_region: bool = False
    sigv2_enabled: bool = True
    stall_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    body_buffers_bytes: int = 64 * limits.MIB
    has_fast_lane: bool = True
    host_id: str = field(default_factory=lambda: base64.b64encode(os.urandom(32)).decode("ascii"))
