"""Bringing a control database to the schema of this program, all of it or nothing.

The scripts are in ``alembic/`` at the top of the sources, where alembic's command line finds them;
an installed package carries the same folder inside itself. There is no way down: a step back is a
restored backup.
"""

import os
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from storage_server.control_db.engines import WRITES, make_engine, parse_url, sqlite_file
from storage_server.control_db.errors import SchemaMismatch, SqlGone
from storage_server.control_db.failures import translated
from storage_server.control_db.revision import VERSION_TABLE, found_revision
from storage_server.control_db.tables import REVISION

_PACKAGED: Final = Path(__file__).parent / "alembic"
_SOURCES: Final = Path(__file__).parents[2] / "alembic"


def migrate(url: str) -> None:
    """Make the database if there is none, and run what its schema lacks.

    Everything happens in one transaction under the writer lock: a second migration, or a program
    that writes, waits; a crash leaves the schema as it was (at worst an empty file, which everyone
    but a migration refuses).

    Raises:
        ValueError: The URL is none that can be used.
        SqlGone: The database can't be made or reached.
        SchemaMismatch: Its revision is one that this program does not know.
    """
    parsed = parse_url(url)
    path = sqlite_file(parsed)
    if path is not None:
        _create_file(path)
    engine = make_engine(parsed).execution_options(**{WRITES: True})
    try:
        with translated(), engine.connect() as connection, connection.begin():
            _upgrade(connection)
    finally:
        engine.dispose()


def configuration() -> Config:
    """Return alembic's configuration with the folder of scripts that belongs to this program."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _SOURCES
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection) -> None:
    config = configuration()
    has_schema = inspect(connection).has_table(VERSION_TABLE)
    found = found_revision(connection) if has_schema else ""
    if found == REVISION:
        return
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found and found not in known:
        raise SchemaMismatch(found, REVISION)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create_file(path: Path) -> None:
    """Make an empty file that only its owner reads, durably, unless there is one."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        return
    except OSError as error:
        raise SqlGone("the control database's file can't be made") from error
