"""What alembic runs for every command: it works on a connection of ours, in our transaction.

``storage_server.control_db.migrations`` hands its connection in. From alembic's command line the
database is named with ``-x url=…``, for example to write the next migration:
``alembic -x url=sqlite:////tmp/empty.db revision --autogenerate --rev-id 0002 -m topic``.
"""

from alembic import context
from sqlalchemy import Connection

from storage_server.control_db.engines import WRITES, make_engine, parse_url
from storage_server.control_db.tables import Row


def run(connection: Connection) -> None:
    """Run the command in the transaction that the connection has begun."""
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        transactional_ddl=True,  # SQLite can: its transaction is begun by us, not by the driver
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is None:
    engine = make_engine(parse_url(context.get_x_argument(as_dictionary=True)["url"]))
    with engine.execution_options(**{WRITES: True}).begin() as own:
        run(own)
    engine.dispose()
else:
    run(given)
