"""Running the decision of one member of a commit: the same in every metadata driver."""

from storage_server.core.limits import COMMIT_BYTES_MAX, ROW_BYTES_MAX
from storage_server.engine.errors import EngineError, Faulty
from storage_server.engine.metastore import Tx, View, Writes


def decide(tx: Tx, view: View, driver_error: type[BaseException]) -> Writes:
    """Return what the member wants written, within its limits.

    ``driver_error`` is what the view raises when the store fails; it is not the member's fault.

    Raises:
        EngineError: The member is refused; ``Faulty`` when by its own mistake.
    """
    try:
        writes = tx.decide(view)
        _check(writes)
    except (EngineError, driver_error):
        raise
    except Exception as error:
        # One member's mistake must not take the others of its group with it.
        raise Faulty(f"a decision failed: {error!r}") from error
    return writes


def _check(writes: Writes) -> None:
    commit_bytes = 0
    for key, value in writes.puts:
        row_bytes = len(key) + len(value)
        if row_bytes > ROW_BYTES_MAX:
            raise Faulty(f"a row of {row_bytes} bytes")
        if not key or type(key) is not bytes or type(value) is not bytes:
            raise Faulty("a row needs a key, and both are bytes")
        commit_bytes += row_bytes
    for key in writes.deletes:
        if not key or type(key) is not bytes:
            raise Faulty("a deleted row needs a key of bytes")
        commit_bytes += len(key)
    if commit_bytes > COMMIT_BYTES_MAX:
        raise Faulty(f"a commit of {commit_bytes} bytes")
