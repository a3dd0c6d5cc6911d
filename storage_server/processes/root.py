"""The first steps of a start: the control database, the built-in tenants, root and its key."""

import logging
from typing import Final

from storage_server.config import RootOptions
from storage_server.control_db.errors import SchemaMismatch, SqlGone
from storage_server.control_db.migrations import migrate
from storage_server.control_db.session import ControlDb
from storage_server.core.errors import ApiError
from storage_server.processes.control_db_faults import place_of, reason_of
from storage_server.processes.errors import EXIT_CONFIG, StartError
from storage_server.processes.wiring import Graph
from storage_server.services.bootstrap import Bootstrap
from storage_server.services.control import ControlUnavailable, ForeignControlDb
from storage_server.services.founding import Founding, RootKeyTaken, ShownOnce
from storage_server.services.options import BootstrapOptions

_LOG: Final = logging.getLogger("holdfast.root")


async def found_installation(
    graph: Graph, database_url: str, options: RootOptions, *, migrates: bool
) -> ShownOnce | None:
    """See that the control database, the built-in tenants, root and its key are there.

    ``migrates`` brings an older database up to date; an absent one is made either way, but only
    before anything was ever projected from one: a database that is gone is not replaced. Then, and
    when it is out of reach, the server starts with what is in force.

    Returns:
        The root credential when it was generated now.

    Raises:
        StartError: The database can't be made, is of a newer program or another installation's,
            or the access key id in the settings belongs to somebody, or was deleted.
    """
    is_new = graph.store.identity.applied_now() == 0
    try:
        await graph.offload.start(lambda: _prepare(database_url, is_new=is_new, migrates=migrates))
        await graph.control.replay(is_alone=migrates)
        founding = Founding(graph.control, graph.store.identity)
        await founding.lay(options.display_name)
        return await founding.ensure_key(options.access_key, options.secret_key)
    except RootKeyTaken:
        raise StartError(
            f"root_access_key {options.access_key} is an owner's key or was deleted: "
            "choose another id.",
            EXIT_CONFIG,
        ) from None
    except SchemaMismatch as error:
        raise StartError(f"Can't use the control database: {error}.", EXIT_CONFIG) from error
    except ForeignControlDb as error:
        raise StartError(str(error), EXIT_CONFIG) from error
    except (SqlGone, ControlUnavailable) as error:
        place, reason = place_of(database_url), reason_of(error, database_url)
        if is_new:
            raise StartError(
                f"Can't make the control database at {place}: {reason.rstrip('.')}. Set "
                "control_db_url to one that is there and can be written.",
                EXIT_CONFIG,
            ) from error
        _LOG.error(
            "the control database at %s is out of reach, accounts can't be changed: %s",
            place,
            reason,
        )
        return None


async def bootstrap(graph: Graph, options: BootstrapOptions) -> None:
    """See that what the settings ask for is there: a tenant, a user, its key, a bucket.

    While the control database is out of reach the server starts with what there is.

    Raises:
        StartError: Something can't be made, or is somebody else's.
    """
    services = graph.services
    try:
        await Bootstrap(services.accounts, services.buckets, graph.store).ensure(options)
    except ControlUnavailable as error:
        _LOG.error("nothing was made at this start: %r", error)
    except ApiError as error:
        raise StartError(
            f"What the bootstrap settings ask for can't be made: {error.sentence}", EXIT_CONFIG
        ) from None


def migrate_existing(url: str) -> None:
    """Bring a database that is there up to date.

    Raises:
        SqlGone: It is out of reach, or is none.
        SchemaMismatch: A newer program has migrated it before.
    """
    _require_schema(url)
    migrate(url)


def _prepare(url: str, *, is_new: bool, migrates: bool) -> None:
    if is_new:
        migrate(url)
    elif migrates:
        migrate_existing(url)
    else:
        _require_schema(url)


def _require_schema(url: str) -> None:
    database = ControlDb.open(url)
    try:
        if not database.revision():
            raise SqlGone("there is none, or it has no tables")
    finally:
        database.close()
