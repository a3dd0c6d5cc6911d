"""Which names, paths, tags and texts tenants, users, groups, roles, policies and keys may have."""

import re
from collections.abc import Sequence
from typing import Final

from storage_server.core import limits
from storage_server.engine.records import Pairs
from storage_server.s3.iam_errors import LimitExceeded, ValidationError

_NAME: Final = re.compile(r"[A-Za-z0-9+=,.@_-]+", re.ASCII)
_PATH: Final = re.compile(r"/|/[\x21-\x7e]+/", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")
# AWS's own ids are 16 to 128 word characters; other servers' are shorter and have more signs.
_ACCESS_KEY_ID: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{3,128}", re.ASCII)
_TAG_SIGNS: Final = frozenset("_.:/=+-@ ")

ROOT_NAME: Final = "root"
"""The name of an installation's and of a tenant's root: nobody else may look like it."""


def require_name(kind: str, name: str, chars_max: int = limits.USER_NAME_CHARS_MAX) -> None:
    """Refuse a name that would not be safe in ARNs, logs and listings.

    Raises:
        ValidationError: It is empty, too long, or has other signs.
    """
    if not 1 <= len(name) <= chars_max or not _NAME.fullmatch(name):
        raise ValidationError(
            f"The name of a {kind} has 1 to {chars_max} ASCII letters, digits or any of +=,.@_-"
        )


def require_user_name(name: str) -> None:
    """Refuse a user's name that is none, or that is the root's.

    Raises:
        ValidationError: It can't be a user's.
    """
    require_name("user", name)
    if name.lower() == ROOT_NAME:
        raise ValidationError(
            "The name root is the tenant's and the installation's own (the installation's key is"
            " root_access_key in the settings). Choose another name."
        )


def require_path(path: str) -> None:
    """Refuse a path that is none.

    Raises:
        ValidationError: It does not begin and end with a slash, or is too long.

    Source: IAM API Reference, CreateUser (Path).
    """
    if len(path) > limits.PATH_CHARS_MAX or not _PATH.fullmatch(path):
        raise ValidationError(
            "A path begins and ends with / and has printable ASCII characters between, at most"
            f" {limits.PATH_CHARS_MAX} in all."
        )


def require_email(email: str) -> None:
    """Refuse an address that nobody could be written to; none at all is fine.

    Raises:
        ValidationError: It has not the form of an address.
    """
    if email and not _EMAIL.fullmatch(email):
        raise ValidationError("An e-mail address looks like ana@example.org.")


def require_text(what: str, text: str, chars_max: int) -> None:
    """Refuse a text for people that is too long or that would move a terminal's cursor.

    Raises:
        ValidationError: It is, or does.
    """
    if len(text) > chars_max or not text.isprintable():
        raise ValidationError(f"{what} has at most {chars_max} printable characters.")


def require_tags(tags: Pairs) -> None:
    """Refuse tags that AWS would not take.

    Raises:
        ValidationError: A key or value has another form, or a key comes twice (in any case).
        LimitExceeded: There are too many.

    Source: IAM User Guide, "Tags for IAM resources" (naming rules).
    """
    if len(tags) > limits.IAM_TAGS_MAX:
        raise LimitExceeded(f"There may be {limits.IAM_TAGS_MAX} tags.")
    seen: set[str] = set()
    for key, value in tags:
        if not 1 <= len(key) <= limits.TAG_KEY_CHARS_MAX or not _has_tag_signs(key):
            raise ValidationError(
                f"A tag's key has 1 to {limits.TAG_KEY_CHARS_MAX} letters, digits, blanks or any"
                " of _.:/=+-@"
            )
        if len(value) > limits.TAG_VALUE_CHARS_MAX or not _has_tag_signs(value):
            raise ValidationError(
                f"A tag's value has up to {limits.TAG_VALUE_CHARS_MAX} letters, digits, blanks or"
                " any of _.:/=+-@"
            )
        if key.lower().startswith("aws:"):
            raise ValidationError("Tag keys that start with aws: are reserved.")
        if key.lower() in seen:
            raise ValidationError("Duplicate tag keys found. Tag keys are case insensitive.")
        seen.add(key.lower())


def merged_tags(present: Pairs, added: Pairs) -> Pairs:
    """Return tags with others put in place of those with the same key, in any case."""
    named = {key.lower() for key, _ in added}
    return (*(tag for tag in present if tag[0].lower() not in named), *added)


def without_tags(present: Pairs, keys: Sequence[str]) -> Pairs:
    """Return tags without those of the keys, in any case."""
    named = {key.lower() for key in keys}
    return tuple(tag for tag in present if tag[0].lower() not in named)


def require_session_seconds(session_max_s: int) -> None:
    """Refuse a duration of a role's sessions that AWS would not take.

    Raises:
        ValidationError: It is shorter than an hour or longer than twelve.
    """
    least, most = limits.ROLE_SESSION_SECONDS_MIN, limits.ROLE_SESSION_SECONDS_MAX
    if not least <= session_max_s <= most:
        raise ValidationError(f"A role's sessions last {least} to {most} seconds at most.")


def require_importable(access_key_id: str, secret_key: str) -> None:
    """Refuse an access key that can't be used by SDKs or is too easy to guess.

    Raises:
        ValidationError: Id or secret has another form.
    """
    if not _ACCESS_KEY_ID.fullmatch(access_key_id):
        raise ValidationError(
            "An access key id has 3 to 128 ASCII letters, digits or any of +=,.@_-"
        )
    least, most = limits.SECRET_KEY_CHARS_MIN, limits.SECRET_KEY_CHARS_MAX
    if not least <= len(secret_key) <= most or not secret_key.isprintable():
        raise ValidationError(f"A secret has {least} to {most} printable characters.")


def _has_tag_signs(text: str) -> bool:
    return all(sign.isalnum() or sign in _TAG_SIGNS for sign in text)
