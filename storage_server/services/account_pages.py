"""Pages of listings of accounts."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from storage_server.core import limits
from storage_server.s3.iam_errors import ValidationError

T = TypeVar("T")

PAGE_ITEMS = 100  # IAM's default


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A bounded part of a listing; ``marker`` begins the next one, and is empty in the last."""

    items: tuple[T, ...]
    marker: str = ""


def require_limit(limit: int) -> int:
    """Return how many items a page may have.

    Raises:
        ValidationError: It is none, or more than IAM allows.
    """
    if not 1 <= limit <= limits.CONTROL_PAGE_MAX:
        raise ValidationError(f"A page has 1 to {limits.CONTROL_PAGE_MAX} items.")
    return limit


def cut(items: Iterable[T], name_of: Callable[[T], str], marker: str, limit: int) -> Page[T]:
    """Return the page of few items that begins behind ``marker``, in the order of their names.

    Raises:
        ValidationError: The page can't have so many items.
    """
    require_limit(limit)
    behind = sorted((item for item in items if name_of(item) > marker), key=name_of)
    page = behind[:limit]
    return Page(tuple(page), name_of(page[-1]) if len(behind) > limit else "")


def page_of(shown: Iterable[T], marker: str | None) -> Page[T]:
    """Return a page of the control database, as it is shown."""
    return Page(tuple(shown), marker or "")
