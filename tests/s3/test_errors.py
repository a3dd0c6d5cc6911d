"""The catalogue of S3's errors."""

import inspect

import pytest

from storage_server.core.errors import ApiError
from storage_server.s3 import errors
from storage_server.s3.errors import S3Error

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, S3Error) and kind is not S3Error
]


def test_the_catalogue_is_aws_in_breadth() -> None:
    """There are at least ninety codes, so that no answer has to be bent."""
    assert len(CLASSES) >= 90


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_has_the_name_of_its_code(kind: type[S3Error]) -> None:
    """Whoever knows the code finds the class."""
    code = "NotImplemented" if kind.__name__ == "NotImplementedByServer" else kind.__name__
    assert kind.code == code
    assert ApiError.by_code[code] is kind
    assert 300 <= kind.status <= 599
    assert kind.message
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.AccessDenied, 403),
        (errors.BadDigest, 400),
        (errors.BucketAlreadyExists, 409),
        (errors.BucketAlreadyOwnedByYou, 409),
        (errors.BucketNotEmpty, 409),
        (errors.EntityTooLarge, 400),
        (errors.EntityTooSmall, 400),
        (errors.InsufficientStorage, 507),
        (errors.InternalError, 500),
        (errors.InvalidAccessKeyId, 403),
        (errors.InvalidBucketName, 400),
        (errors.InvalidBucketState, 409),
        (errors.InvalidPart, 400),
        (errors.InvalidRange, 416),
        (errors.KeyTooLongError, 400),
        (errors.MalformedXML, 400),
        (errors.MethodNotAllowed, 405),
        (errors.MissingContentLength, 411),
        (errors.NoSuchBucket, 404),
        (errors.NoSuchKey, 404),
        (errors.NoSuchTagSet, 404),
        (errors.NoSuchUpload, 404),
        (errors.NoSuchVersion, 404),
        (errors.NotImplementedByServer, 501),
        (errors.NotModified, 304),
        (errors.PreconditionFailed, 412),
        (errors.QuotaExceeded, 403),
        (errors.RequestTimeout, 400),
        (errors.RequestTimeTooSkewed, 403),
        (errors.ServiceUnavailable, 503),
        (errors.SignatureDoesNotMatch, 403),
        (errors.SlowDown, 503),
        (errors.XAmzContentSHA256Mismatch, 400),
    ],
)
def test_a_code_has_the_status_of_aws(kind: type[S3Error], status: int) -> None:
    """SDKs decide by status whether to try again."""
    assert kind.status == status


def test_a_sentence_replaces_the_message_and_details_are_kept() -> None:
    """The client sees what went wrong, and with what."""
    error = errors.NoSuchKey("Gone.", Key="a/b")
    assert (error.sentence, error.details) == ("Gone.", {"Key": "a/b"})
    assert errors.NoSuchKey().sentence == "The specified key does not exist."
