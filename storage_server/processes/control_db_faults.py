"""Where the control database is and what keeps it away: for whoever runs the server.

Clients are told neither; the sentences that they get say only that it is away.
"""

from typing import Final

from sqlalchemy import URL

from storage_server.control_db.engines import parse_url

_CHARS_MAX: Final = 300


def place_of(url: str) -> str:
    """Return the database's address without the password in it.

    It is read as whoever connects reads it: a password may hold any sign but an at sign.
    """
    told = parse_url(url)
    shown = URL.create(
        told.get_backend_name(), told.username, None, told.host, told.port, told.database
    )
    return shown.render_as_string()


def reason_of(error: BaseException, url: str) -> str:
    """Return what the operating system or the database said first, without the password."""
    first: BaseException = error
    while first.__cause__ is not None:
        first = first.__cause__
    told = getattr(first, "orig", None) or first
    lines = str(getattr(told, "strerror", None) or told).strip().splitlines()
    address = parse_url(url)
    line = lines[0] if lines else type(told).__name__
    for secret in (address.password, address.query.get("password")):
        if isinstance(secret, str) and secret:
            line = line.replace(secret, "***")
    return line[:_CHARS_MAX]
