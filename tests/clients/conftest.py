"""A server that may ask a provider of web identities on loopback, with two tenants."""

from collections.abc import Iterator

import pytest

from tests.fakes.oidc_issuer import OidcIssuer, make_key
from tests.servers import Server
from tests.tenants import Tenancy, make_tenancy


@pytest.fixture(scope="session")
def iam_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests of accounts."""
    shared = Server(tmp_path_factory.mktemp("iam"), OUTBOUND_ALLOWED="127.0.0.1/32")
    try:
        shared.start()
        yield shared
    finally:
        shared.close()


@pytest.fixture(scope="session")
def issuer() -> Iterator[OidcIssuer]:
    """A provider of web identities with keys of two kinds."""
    served = OidcIssuer().start()
    served.keys["ec-1"] = make_key("ES256", "ec-1")
    yield served
    served.stop()


@pytest.fixture(scope="session")
def acme(iam_server: Server) -> Tenancy:
    """One tenant."""
    return make_tenancy(iam_server, "acme")


@pytest.fixture(scope="session")
def umbrella(iam_server: Server) -> Tenancy:
    """Another tenant."""
    return make_tenancy(iam_server, "umbrella")
