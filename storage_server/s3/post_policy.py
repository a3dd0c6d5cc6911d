"""Browser uploads: the policy of a POST form, its signature, and what the form asks for."""

import base64
import datetime as dt
import hmac
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from storage_server.core import limits
from storage_server.s3 import checksums, sigv2, sigv4
from storage_server.s3.errors import (
    AccessDenied,
    EntityTooLarge,
    EntityTooSmall,
    InvalidArgument,
    InvalidPolicyDocument,
    MaxPostPreDataLengthExceededError,
    NotImplementedByServer,
    SignatureDoesNotMatch,
    UserKeyMustBeSpecified,
)
from storage_server.s3.tagging import parse_object_tags

_EXEMPT = frozenset({"awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"})
_IGNORED_PREFIX = "x-ignore-"
_FILENAME_VARIABLE = "${filename}"
# Who signed and how: fields of the form that are no headers of the object.
_AUTHENTICATION = frozenset(
    {
        *("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token"),
        "x-amz-signature",
    }
)
_V4_MARKS = ("x-amz-algorithm", "x-amz-credential", "x-amz-signature")
# They say how a PUT's body is sent, and a form has no such body.
_BODY_HEADERS = frozenset({"x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer"})
_PLAIN_HEADERS = frozenset(
    {
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        *("content-md5", "content-type", "expires"),
    }
)
# Headers that have a field of another name in forms.
_SHORT_NAMES = {"x-amz-acl": "acl", "x-amz-tagging": "tagging"}
_SUCCESS_STATUSES = {"200": 200, "201": 201, "204": 204}
DEFAULT_STATUS: Final = 204


class Condition(msgspec.Struct, frozen=True, gc=False):
    """One ``eq`` or ``starts-with`` condition; ``field`` is in lower case, without its ``$``."""

    operator: str
    field: str
    value: str


class Policy(msgspec.Struct, frozen=True):
    """What a form may hold, until when; ``length_range`` bounds the file, both ends included."""

    expires_us: int
    conditions: tuple[Condition, ...]
    length_range: tuple[int, int] | None = None

    def check_length(self, length: int, *, is_final: bool = True) -> None:
        """Check the file's length, or what has come of it so far when it is not final.

        Raises:
            EntityTooLarge: There is more of it than the policy allows.
            EntityTooSmall: That was all, and there is less.
        """
        if self.length_range is None:
            return
        lowest, highest = self.length_range
        if length > highest:
            raise EntityTooLarge(ProposedSize=length, MaxSizeAllowed=highest)
        if is_final and length < lowest:
            raise EntityTooSmall(ProposedSize=length, MinSizeAllowed=lowest)


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a form claims about its sender; ``scope`` is None for Signature Version 2.

    ``policy_text`` is the base64 as sent: the text that is signed.
    """

    access_key_id: str
    signature: str
    policy_text: str
    scope: sigv4.Scope | None
    session_token: str = ""


class _Document(msgspec.Struct):
    expiration: str
    conditions: list[dict[str, str] | list[str | int]]


_DECODER = msgspec.json.Decoder(_Document)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
# Escapes of policies that JSON does not have (AWS: "Creating a POST policy", character escaping).
_OWN_ESCAPES: Final = {b"$": b"$", b"v": b"\\u000b"}


# --- Who sent the form -----------------------------------------------------------------------


def parse_claim(fields: Mapping[str, str]) -> Claim | None:
    """Read the claim out of a form's fields (lower-case names); None for an anonymous form.

    Raises:
        InvalidArgument: A field that the signature needs is missing or malformed, there are
            signatures of both versions, or the signature comes without a policy.
        NotImplementedByServer: The signature is asymmetric (Signature Version 4A).
    """
    is_v4 = any(name in fields for name in _V4_MARKS)
    is_v2 = "awsaccesskeyid" in fields or "signature" in fields
    if is_v4 and is_v2:
        raise InvalidArgument("Only one auth mechanism allowed", ArgumentName="signature")
    if not is_v4 and not is_v2 and "policy" not in fields:
        return None
    policy_text = _require(fields, "policy")
    token = fields.get("x-amz-security-token", "")
    if not is_v4:
        return Claim(
            _require(fields, "AWSAccessKeyId"),
            _require(fields, "signature"),
            policy_text,
            None,
            token,
        )
    algorithm = _require(fields, "x-amz-algorithm")
    if algorithm == "AWS4-ECDSA-P256-SHA256":
        raise NotImplementedByServer("Signature Version 4A is not implemented.")
    if algorithm != sigv4.ALGORITHM:
        raise InvalidArgument(
            f"x-amz-algorithm only supports {sigv4.ALGORITHM}", ArgumentName="x-amz-algorithm"
        )
    scope = sigv4.parse_credential(
        _require(fields, "x-amz-credential"), InvalidArgument, "Error parsing x-amz-credential; "
    )
    date = _require(fields, "x-amz-date")
    if not sigv4.parse_basic_time(date) or not date.startswith(scope.date):
        raise InvalidArgument(
            "x-amz-date must be yyyyMMddTHHmmssZ, of the day in the credential",
            ArgumentName="x-amz-date",
        )
    signature = _require(fields, "x-amz-signature")
    return Claim(scope.access_key_id, signature, policy_text, scope, token)


def verify_v4(
    claim: Claim,
    key: sigv4.SigningKey,
    options: sigv4.VerifyOptions = sigv4.DEFAULT_OPTIONS,
) -> None:
    """Prove that the holder of the key signed the policy; ``key`` is of the claim's scope.

    Raises:
        InvalidArgument: The scope is of another service or (when strict) region.
        SignatureDoesNotMatch: The policy is not the one that was signed.
    """
    scope = claim.scope
    assert scope is not None
    if scope.service not in options.services:
        raise InvalidArgument(
            f'Error parsing x-amz-credential; incorrect service "{scope.service}".',
            ArgumentName="x-amz-credential",
        )
    if options.strict_region and scope.region != options.region:
        raise InvalidArgument(
            f"Error parsing x-amz-credential; the region '{scope.region}' is wrong; expecting "
            f"'{options.region}'",
            ArgumentName="x-amz-credential",
        )
    _compare(claim, key.sign(claim.policy_text.encode()))


def verify_v2(claim: Claim, secret: str) -> None:
    """Prove that the holder of the secret signed the policy.

    Raises:
        SignatureDoesNotMatch: The policy is not the one that was signed.
    """
    assert claim.scope is None
    assert secret, "an empty secret would let anyone sign"
    _compare(claim, sigv2.sign(secret, claim.policy_text))


def _compare(claim: Claim, expected: str) -> None:
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise SignatureDoesNotMatch(
            AWSAccessKeyId=claim.access_key_id,
            StringToSign=claim.policy_text,
            SignatureProvided=claim.signature,
        )


def _require(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name.lower())
    if not value:
        raise InvalidArgument(
            f"Bucket POST must contain a field named '{name}'.  If it is specified, please check "
            "the order of the fields.",
            ArgumentName=name,
            ArgumentValue="",
        )
    return value


# --- What the policy allows ----------------------------------------------------------------------


def _as_json(escape: re.Match[bytes]) -> bytes:
    return _OWN_ESCAPES.get(escape[1], escape[0])


def parse_policy(text: str) -> Policy:
    """Read a policy from the base64 of its JSON.

    Raises:
        MaxPostPreDataLengthExceededError: It is longer than all fields of a form may be.
        InvalidPolicyDocument: It is not a policy.
    """
    if len(text) > limits.POST_FORM_FIELD_BYTES_MAX:
        raise MaxPostPreDataLengthExceededError
    plain = checksums.decode_base64("".join(text.split()))
    if plain is None:
        raise InvalidPolicyDocument("Invalid Policy: it is not base64.")
    try:
        document = _DECODER.decode(_ESCAPE.sub(_as_json, plain))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidPolicyDocument("Invalid Policy: Invalid JSON.") from None
    conditions: list[Condition] = []
    length_range = None
    for item in document.conditions:
        if isinstance(item, dict):
            conditions += _exact_conditions(item)
        elif _word(item, 0).lower() == "content-length-range":
            length_range = _narrower(length_range, _length_range(item))
        else:
            conditions.append(_listed_condition(item))
    return Policy(_expiration_us(document.expiration), tuple(conditions), length_range)


def check_policy(policy: Policy, fields: Mapping[str, str], bucket: str, now_us: int) -> None:
    """Check a form's fields (``$`` variables expanded) against its policy.

    The file's length is not checked: see ``Policy.check_length``.

    Raises:
        AccessDenied: The policy is expired, one of its conditions fails, or a field (the bucket
            counts as one) is not covered by any.

    Source: S3 API Reference, "Creating a POST Policy".
    """
    if now_us > policy.expires_us:
        raise AccessDenied("Invalid according to Policy: Policy expired.")
    values = {**fields, "bucket": bucket}
    if fields.get("bucket", bucket) != bucket:
        raise AccessDenied("Invalid according to Policy: the bucket is another one.")
    for condition in policy.conditions:
        if not _holds(condition, values):
            words = f'["{condition.operator}", "${condition.field}", "{condition.value}"]'
            raise AccessDenied(f"Invalid according to Policy: Policy Condition failed: {words}")
    covered = {condition.field for condition in policy.conditions}
    for name in values:
        if name not in covered and name not in _EXEMPT and not name.startswith(_IGNORED_PREFIX):
            raise AccessDenied(f"Invalid according to Policy: Extra input fields: {name}")


def _holds(condition: Condition, values: Mapping[str, str]) -> bool:
    value = values.get(condition.field)
    if value is None:
        return False
    if condition.operator == "eq":
        return value == condition.value
    if condition.field == "content-type" and "," in value:
        # A list of types: each of them has to begin so.
        return all(word.strip().startswith(condition.value) for word in value.split(","))
    return value.startswith(condition.value)


def _exact_conditions(item: dict[str, str]) -> list[Condition]:
    if not item:
        raise InvalidPolicyDocument("Invalid Policy: Invalid Simple-Condition: it is empty.")
    return [Condition("eq", name.lower(), value) for name, value in item.items()]


def _listed_condition(item: list[str | int]) -> Condition:
    operator, field, value = _word(item, 0).lower(), _word(item, 1), _word(item, 2)
    if len(item) != 3 or operator not in ("eq", "starts-with") or not field.startswith("$"):
        raise InvalidPolicyDocument("Invalid Policy: Invalid Condition.")
    return Condition(operator, field[1:].lower(), value)


def _word(item: list[str | int], place: int) -> str:
    if place >= len(item) or not isinstance(item[place], str):
        raise InvalidPolicyDocument("Invalid Policy: a Condition lacks an argument.")
    return str(item[place])


def _length_range(item: list[str | int]) -> tuple[int, int]:
    bounds = [_bound(bound) for bound in item[1:]]
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise InvalidPolicyDocument("Invalid Policy: Invalid content-length-range.")
    return bounds[0], bounds[1]


def _bound(text: str | int) -> int:
    digits = str(text)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise InvalidPolicyDocument("Invalid Policy: Invalid content-length-range.")
    return int(digits)


def _narrower(known: tuple[int, int] | None, other: tuple[int, int]) -> tuple[int, int]:
    return other if known is None else (max(known[0], other[0]), min(known[1], other[1]))


def _expiration_us(text: str) -> int:
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            moment = dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
        return int(moment.timestamp() * 1_000_000)
    raise InvalidPolicyDocument(f"Invalid Policy: Invalid 'expiration' value: '{text[:64]}'")


# --- What the form asks for ----------------------------------------------------------------------


def expand(fields: Mapping[str, str], filename: str) -> dict[str, str]:
    """Return the fields with ``${filename}`` replaced in each, before any condition is checked.

    Of a path only what follows the last slash or backslash is used.

    Raises:
        UserKeyMustBeSpecified: There is no key.

    Source: S3 API Reference, "Creating an HTML Form", on fields.
    """
    if not fields.get("key"):
        raise UserKeyMustBeSpecified
    name = filename.replace("\\", "/").rpartition("/")[2]
    return {field: value.replace(_FILENAME_VARIABLE, name) for field, value in fields.items()}


def headers_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a PUT of the same object would have had.

    Raises:
        InvalidArgument: A field asks for a copy, which a form is not; or the ACL or the tags are
            given twice.
        MalformedXML, InvalidTag, BadRequest: The tags, a document in forms, are none.
    """
    headers: dict[str, str] = {}
    for name, value in fields.items():
        if name.startswith("x-amz-copy-source") or _SHORT_NAMES.get(name) in fields:
            raise InvalidArgument("A POST form may not have this field.", ArgumentName=name)
        is_ours = name.startswith("x-amz-") and name not in _AUTHENTICATION | _BODY_HEADERS
        if is_ours or name in _PLAIN_HEADERS:
            headers[name] = value
        elif name == "acl":
            headers["x-amz-acl"] = value
        elif name == "tagging":
            headers["x-amz-tagging"] = urlencode(parse_object_tags(value.encode()))
    return headers


def success_status(fields: Mapping[str, str]) -> int:
    """Return the status of an upload that worked; 201 has a document, and 204 is the default."""
    return _SUCCESS_STATUSES.get(fields.get("success_action_status", ""), DEFAULT_STATUS)


def redirect_location(fields: Mapping[str, str], *, bucket: str, key: str, etag: str) -> str:
    """Return where to send the browser after an upload that worked, or ``""`` for nowhere.

    ``etag`` is quoted. A target that is no plain URL counts as absent, as AWS has it.
    """
    target = fields.get("success_action_redirect") or fields.get("redirect", "")
    if not target.isascii() or not target.isprintable() or " " in target:
        return ""
    try:
        parts = urlsplit(target)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    told = urlencode({"bucket": bucket, "key": key, "etag": etag}, errors="surrogateescape")
    query = f"{parts.query}&{told}" if parts.query else told
    return parts._replace(query=query).geturl()


# --- Signing, for our own clients ----------------------------------------------------------------


def sign_form(
    policy: bytes, *, access_key_id: str, secret: str, now_us: int, region: str = "us-east-1"
) -> dict[str, str]:
    """Return the fields that sign a policy (its JSON) with Signature Version 4.

    The policy has to name them: ``x-amz-algorithm``, ``x-amz-credential`` and ``x-amz-date``.
    """
    stamp = sigv4.basic_time(now_us // 1_000_000)
    scope = sigv4.Scope(access_key_id, stamp[:8], region, "s3")
    text = base64.b64encode(policy).decode()
    return {
        "policy": text,
        "x-amz-algorithm": sigv4.ALGORITHM,
        "x-amz-credential": f"{access_key_id}/{scope.text}",
        "x-amz-date": stamp,
        "x-amz-signature": sigv4.derive_key(secret, scope).sign(text.encode()),
    }
