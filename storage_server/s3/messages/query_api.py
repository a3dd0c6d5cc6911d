"""The query protocol of IAM and STS: a form in, a document of plain elements out.

Inputs and outputs are structs whose fields are named as the parameters and elements are, so that
an action is described by its types: nothing that a form holds is passed over in silence.

Source: IAM and STS API References ("Making query requests", "Common parameters"); Smithy's
"AWS Query protocol" for lists (``Name.member.N``) and results.
"""

import functools
import re
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote, unquote_to_bytes

import msgspec

from storage_server.core.errors import ApiError
from storage_server.s3 import errors, iam_errors, xml
from storage_server.s3.reply import Reply

T = TypeVar("T", bound=msgspec.Struct)
Node = dict[str, "Node"] | str

FORM_TYPE: Final = "application/x-www-form-urlencoded"
FORM_BYTES_MAX: Final = 1 << 20
FIELDS_MAX: Final = 2_000  # 100 policies and 1,000 simulated actions fit; AWS's lists end before
LIST_MAX: Final = 1_000
_DEPTH_MAX = 8
_COMMON = frozenset({"Action", "Version"})
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z0-9]+)*", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_NAMESPACES: Final = {
    "iam": b"https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": b"https://sts.amazonaws.com/doc/2011-06-15/",
}
VERSIONS: Final = {"iam": "2010-05-08", "sts": "2011-06-15"}
_XML = ("Content-Type", "text/xml")

# S3's words for what went wrong with a signature, in the words of IAM and STS.
_RENAMED: Final[Mapping[type[ApiError], type[ApiError]]] = {
    errors.InvalidAccessKeyId: iam_errors.InvalidClientTokenId,
    errors.InvalidToken: iam_errors.InvalidClientTokenId,
    errors.AuthorizationHeaderMalformed: iam_errors.IncompleteSignature,
    errors.AuthorizationQueryParametersError: iam_errors.IncompleteSignature,
    errors.InvalidArgument: iam_errors.ValidationError,
    errors.InvalidRequest: iam_errors.ValidationError,
    errors.InternalError: iam_errors.InternalFailure,
    errors.MalformedPolicy: iam_errors.MalformedPolicyDocument,
}
_OWN_SENTENCE = frozenset({errors.InvalidArgument, errors.InvalidRequest, errors.MalformedPolicy})


class Input(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", forbid_unknown_fields=True):
    """Base of what a form asks for; a parameter that the action does not have is refused."""


class Output(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Base of results and their parts; what is None is left out."""


def is_query(method: str, bucket: str, key: str, content_type: str) -> bool:
    """Tell whether a request is one of IAM's or STS's: a form sent to the base host's root."""
    return (
        method == "POST"
        and not bucket
        and not key
        and content_type.partition(";")[0].strip().lower() == FORM_TYPE
    )


# --- In ------------------------------------------------------------------------------------------


def parse_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        MalformedQueryString: It is no form in UTF-8, has too many fields, or one of them twice.
    """
    fields: dict[str, str] = {}
    for pair in body.split(b"&"):
        if not pair:
            continue
        name, value = (_decode(text) for text in (pair.partition(b"=")[0], pair.partition(b"=")[2]))
        if name in fields or not _NAME.fullmatch(name) or len(fields) == FIELDS_MAX:
            raise iam_errors.MalformedQueryString
        fields[name] = value
    return fields


def _decode(text: bytes) -> str:
    if _BAD_PERCENT.search(text):
        raise iam_errors.MalformedQueryString
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise iam_errors.MalformedQueryString from None


def read(form: Mapping[str, str], wanted: type[T]) -> T:
    """Return the input of an action as its type describes it.

    Raises:
        MalformedQueryString: A name is both a value and a list or structure.
        ValidationError: A parameter is missing, unknown, malformed or out of its bounds.
    """
    tree: dict[str, Node] = {}
    for name, value in form.items():
        if name not in _COMMON:
            _place(tree, name.split("."), value)
    # An empty list is sent as its name with nothing behind it.
    lists = _lists(wanted)
    nested = {name: _flatten(tree[name]) for name in tree if name not in lists or tree[name]}
    try:
        return msgspec.convert(nested, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise iam_errors.ValidationError(f"1 validation error detected: {error}") from None


@functools.cache
def _lists(wanted: type[msgspec.Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(wanted)
    return frozenset(field.encode_name for field in fields if field.default == ())


def _place(tree: dict[str, Node], words: list[str], value: str) -> None:
    if len(words) > _DEPTH_MAX:
        raise iam_errors.MalformedQueryString
    for word in words[:-1]:
        inner = tree.setdefault(word, {})
        if isinstance(inner, str):
            raise iam_errors.MalformedQueryString
        tree = inner
    if words[-1] in tree:
        raise iam_errors.MalformedQueryString
    tree[words[-1]] = value


def _flatten(node: Node) -> object:
    """Return a structure with its ``member`` lists as lists, in the order of their numbers."""
    if isinstance(node, str):
        return node
    members = node.get("member")
    if len(node) > 1 or not isinstance(members, dict):
        return {name: _flatten(inner) for name, inner in node.items()}
    numbers = [int(word) for word in members if _NUMBER.fullmatch(word)]
    if (
        len(numbers) != len(members)
        or len(members) > LIST_MAX
        or sorted(numbers) != list(range(1, len(numbers) + 1))
    ):
        raise iam_errors.MalformedQueryString
    return [_flatten(members[str(number)]) for number in sorted(numbers)]


# --- Out -----------------------------------------------------------------------------------------


def render_reply(service: str, action: str, result: Output | None, request_id: str) -> Reply:
    """Return the reply of an action; one without a result says only who asked."""
    metadata = xml.wrap(b"ResponseMetadata", xml.tag(b"RequestId", request_id))
    inner = b""
    if result is not None:
        inner = xml.wrap(f"{action}Result".encode(), _render(result))
    name = f"{action}Response".encode()
    document = b'<%b xmlns="%b">%b%b</%b>' % (name, _NAMESPACES[service], inner, metadata, name)
    return Reply(200, (_XML, ("x-amzn-RequestId", request_id)), xml.DECLARATION + document)


def render_error(service: str, error: ApiError, request_id: str) -> Reply:
    """Return the reply that tells a client of an error, in the words of IAM and STS."""
    kind = _RENAMED.get(type(error), type(error))
    sentence = error.sentence if kind is type(error) or type(error) in _OWN_SENTENCE else ""
    content = b"".join(
        (
            xml.tag(b"Type", "Sender" if kind.status < 500 else "Receiver"),
            xml.tag(b"Code", kind.code),
            xml.echo(b"Message", sentence or kind.message),
        )
    )
    document = b'<ErrorResponse xmlns="%b">%b%b</ErrorResponse>' % (
        _NAMESPACES[service],
        xml.wrap(b"Error", content),
        xml.tag(b"RequestId", request_id),
    )
    own = error.headers if isinstance(error, errors.S3Error) else ()
    headers = (_XML, ("x-amzn-RequestId", request_id), *own)
    return Reply(kind.status, headers, xml.DECLARATION + document)


def url_encoded(document: bytes) -> str:
    """Return a policy document as IAM's replies hold it (RFC 3986)."""
    return quote(document, safe="")


@functools.cache
def _elements(kind: type[msgspec.Struct]) -> tuple[tuple[str, bytes], ...]:
    fields = msgspec.structs.fields(kind)
    return tuple((field.name, field.encode_name.encode()) for field in fields)


def _render(value: msgspec.Struct) -> bytes:
    return b"".join(
        _element(name, getattr(value, attribute)) for attribute, name in _elements(type(value))
    )


def _element(name: bytes, value: object) -> bytes:
    match value:
        case None:
            return b""
        case bool():
            return xml.flag(name, value=value)
        case int() | str():
            return xml.echo(name, value)
        case msgspec.Struct():
            return xml.wrap(name, _render(value))
        case dict():
            entries = (
                xml.wrap(b"entry", xml.echo(b"key", key) + _element(b"value", entry))
                for key, entry in value.items()
            )
            return xml.wrap(name, b"".join(entries))
        case tuple() | list():
            return xml.wrap(name, b"".join(_element(b"member", member) for member in value))
        case _:
            raise TypeError(f"{type(value).__name__} has no form in a reply")
