"""A bucket's cross-origin rules on the wire."""

import re
from typing import Final

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.cors import METHODS, CorsRule
from storage_server.s3.errors import InvalidRequest, MalformedXML
from storage_server.s3.messages.pages import xml_reply
from storage_server.s3.reply import Reply

_RULE_ELEMENTS: Final = (
    *("ID", "AllowedHeader", "AllowedMethod", "AllowedOrigin", "ExposeHeader", "MaxAgeSeconds"),
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
_ORIGIN: Final = re.compile(r"[!-~]{1,2048}", re.ASCII)


def parse_cors(body: bytes, *, size_max: int = limits.CORS_BYTES_MAX) -> tuple[CorsRule, ...]:
    """Return the rules of a CORSConfiguration, in order.

    Raises:
        MalformedXML: It is not the document, has no rule or more than a hundred, or a value
            could not stand in a header.
        InvalidRequest: A method is not S3's, or a wildcard stands where none may.
    """
    root = xml.parse(body, "CORSConfiguration", size_max=size_max)
    elements = root.only(("CORSRule",)).children
    if not 1 <= len(elements) <= limits.CORS_RULES_MAX:
        raise MalformedXML
    return tuple(_parse_rule(element) for element in elements)


def render_cors(rules: tuple[CorsRule, ...]) -> bytes:
    """Return the document of rules, as it is stored and sent."""
    return xml.document(b"CORSConfiguration", *(_render_rule(rule) for rule in rules))


def get_cors_reply(document: bytes) -> Reply:
    """Answer a GetBucketCors with the stored document."""
    return xml_reply(document)


def _parse_rule(element: xml.Element) -> CorsRule:
    element.only(_RULE_ELEMENTS)
    rule = CorsRule(
        rule_id=element.text_of("ID"),
        origins=_texts(element, "AllowedOrigin"),
        methods=_texts(element, "AllowedMethod"),
        headers=_texts(element, "AllowedHeader"),
        exposed=_texts(element, "ExposeHeader"),
        max_age_s=_parse_age(element.text_of("MaxAgeSeconds")),
    )
    if not rule.origins or not rule.methods or len(rule.rule_id or "") > limits.CORS_ID_CHARS_MAX:
        raise MalformedXML
    for method in rule.methods:
        if method not in METHODS:
            raise InvalidRequest(
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method[:64]}"
            )
    for origin in rule.origins:
        _require_form(_ORIGIN, origin, "AllowedOrigin")
    for header in rule.headers:
        _require_form(_TOKEN, header, "AllowedHeader")
    for header in rule.exposed:
        if "*" in header:
            raise InvalidRequest(
                f'ExposeHeader "{header[:64]}" contains wildcard. We currently do not support'
                " wildcard for ExposeHeader."
            )
        _require_form(_TOKEN, header, "ExposeHeader")
    return rule


def _texts(element: xml.Element, name: str) -> tuple[str, ...]:
    return tuple(child.leaf().strip() for child in element if child.name == name)


def _parse_age(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise MalformedXML
    return min(int(text), limits.CORS_AGE_S_MAX)


def _require_form(form: re.Pattern[str], text: str, element: str) -> None:
    if text.count("*") > 1:
        raise InvalidRequest(f'{element} "{text[:64]}" can not have more than one wildcard.')
    # What gets this far is printed into the heads of replies.
    if not form.fullmatch(text):
        raise MalformedXML


def _render_rule(rule: CorsRule) -> bytes:
    return xml.wrap(
        b"CORSRule",
        b"".join(
            (
                xml.tag(b"ID", rule.rule_id),
                *(xml.tag(b"AllowedHeader", header) for header in rule.headers),
                *(xml.tag(b"AllowedMethod", method) for method in rule.methods),
                *(xml.tag(b"AllowedOrigin", origin) for origin in rule.origins),
                *(xml.tag(b"ExposeHeader", header) for header in rule.exposed),
                xml.tag(b"MaxAgeSeconds", rule.max_age_s),
            )
        ),
    )
