"""The border between engine and protocol."""

import inspect

import pytest

from storage_server.engine import errors as engine
from storage_server.s3 import errors as s3
from storage_server.services.engine_errors import as_s3_error, translated

# These end a process at its start; no request ever meets them.
_AT_START = {"InstanceLocked", "FormatTooNew", "Unsupported", "Faulty"}

KINDS = [
    kind
    for name, kind in vars(engine).items()
    if inspect.isclass(kind)
    and issubclass(kind, engine.EngineError)
    and kind is not engine.EngineError
    and name not in _AT_START
]


def made(kind: type[engine.EngineError]) -> engine.EngineError:
    """Return an error of a kind, with something for each of its arguments."""
    if "__init__" not in vars(kind):
        return kind()
    arguments = list(inspect.signature(kind).parameters.values())
    return kind(*(1 if one.annotation is int else "x" for one in arguments))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_engine_error_has_an_s3_error(kind: type[engine.EngineError]) -> None:
    """Nothing but damage is an InternalError."""
    answer = as_s3_error(made(kind), BucketName="b", Key="k")
    damage = issubclass(kind, (engine.Damaged, engine.BlobGone))
    assert isinstance(answer, s3.InternalError) == damage


def test_details_are_those_that_the_error_shows() -> None:
    """The key of a NoSuchKey, and no bucket beside it."""
    with pytest.raises(s3.NoSuchKey) as caught, translated(BucketName="b", Key="k"):
        raise engine.KeyMissing
    assert caught.value.details == {"Key": "k"}
