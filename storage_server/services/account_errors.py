"""What the control database refuses, in IAM's words: the one table of both."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from storage_server.control_db.errors import Conflict, Exists, LimitReached, Missing
from storage_server.s3 import iam_errors

_WORDS: Final = {"access_key": "access key", "identity_provider": "identity provider"}


@contextmanager
def translated() -> Iterator[None]:
    """Turn a refusal of the control database into the error that a client is told.

    Raises:
        EntityAlreadyExists: A name, an address or an id is taken.
        NoSuchEntity: Nothing that lives bears this name.
        DeleteConflict: Something still hangs on what was to go, or it changed meanwhile.
        LimitExceeded: There may be no more.
    """
    try:
        yield
    except Exists as refused:
        raise iam_errors.EntityAlreadyExists(_taken(refused)) from refused
    except Missing as refused:
        raise iam_errors.NoSuchEntity(
            f"The {_word(refused.kind)} {refused.name} cannot be found."
        ) from refused
    except Conflict as refused:
        raise iam_errors.DeleteConflict(refused.sentence) from refused
    except LimitReached as refused:
        raise iam_errors.LimitExceeded(
            f"Cannot exceed the limit of {refused.limit_max} {_word(refused.name)}."
        ) from refused


def _taken(refused: Exists) -> str:
    if refused.kind == "access_key":
        return f"The access key id {refused.name} is taken: ids are never given twice."
    if refused.kind == "email":
        return f"The e-mail address {refused.name} is taken in this tenant."
    return f"There is a {_word(refused.kind)} {refused.name} already."


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind)
