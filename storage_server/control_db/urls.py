"""Which addresses of a control database there are; told without loading what connects to them."""

from typing import Literal


def kind_of(url: str) -> Literal["postgresql", "sqlite"]:
    """Return which database a URL names.

    Raises:
        ValueError: It names neither an SQLite file nor a PostgreSQL database. It may hold a
            password, so it is not repeated.
    """
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind in {"postgresql", "postgres"} and _has_port_or_none(rest):
        return "postgresql"
    file = rest.partition("?")[0]
    if kind == "sqlite" and file.startswith("/") and file not in {"/", "/:memory:"}:
        return "sqlite"
    raise ValueError("the control database is sqlite:///<file> or postgresql://<host>/<database>")


def _has_port_or_none(rest: str) -> bool:
    """Tell whether what follows the host's colon is a number; ``[::1]`` is a host too."""
    place = rest.partition("?")[0].rpartition("@")[2].partition("/")[0]
    port = place.rpartition("]")[2].partition(":")[2]
    return not port or (port.isascii() and port.isdigit())
