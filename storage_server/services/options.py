"""What the services are told at start."""

from dataclasses import dataclass

from storage_server.s3.sigv4 import VerifyOptions


@dataclass(frozen=True, slots=True)
class AuthenticationOptions:
    """How requests may say who sends them.

    ``region`` counts only when ``strict_region``; otherwise any region signs.
    """

    region: str = "us-east-1"
    strict_region: bool = False
    sigv2_enabled: bool = True

    def verify_options(self) -> VerifyOptions:
        """Return what SigV4 scopes must be."""
        return VerifyOptions(region=self.region, strict_region=self.strict_region)
