"""XML in and out; attack S47."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.core import limits
from storage_server.s3 import xml
from storage_server.s3.errors import (
    MalformedXML,
    MaxMessageLengthExceeded,
    MissingRequestBodyError,
)

LAUGHS = (
    b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">'
    b'<!ENTITY z "&y;&y;&y;&y;">]><Delete>&z;</Delete>'
)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(LAUGHS, id="billion laughs"),
        pytest.param(
            b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete>&x;</Delete>',
            id="external entity",
        ),
        pytest.param(b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><Delete/>', id="external DTD"),
        pytest.param(b"<!DOCTYPE Delete><Delete/>", id="document type"),
        pytest.param(b"<Delete>&unknown;</Delete>", id="undeclared entity"),
        pytest.param(b"<?php x ?><Delete/>", id="processing instruction"),
        pytest.param(b"<a>" * 500_000, id="endless nesting"),
        pytest.param(b"<Delete>" + b"<a>" * 20 + b"</a>" * 20 + b"</Delete>", id="too deep"),
        pytest.param(b'<Delete xmlns="urn:other"/>', id="wrong namespace"),
        pytest.param(b'<Delete><a xmlns="urn:other"/></Delete>', id="wrong namespace inside"),
        pytest.param("<Delete/>".encode("utf-16"), id="UTF-16"),
        pytest.param("<Delete/>".encode("utf-16-le"), id="UTF-16 without mark"),
        pytest.param("<Delete/>".encode("utf-16-be"), id="UTF-16 big without mark"),
        pytest.param("<Delete/>".encode("utf-32"), id="UTF-32"),
        pytest.param(b'<?xml version="1.0" encoding="UTF-7"?><Delete/>', id="UTF-7"),
        pytest.param(b'<?xml version="1.0" encoding="latin-1"?><Delete/>', id="Latin 1"),
        pytest.param(b"<Delete>\xff</Delete>", id="not UTF-8"),
        pytest.param(b"<Delete>&#0;</Delete>", id="NUL"),
        pytest.param(b"<Delete>text<a/></Delete>", id="mixed content"),
        pytest.param(b"<Delete>", id="unfinished"),
        pytest.param(b"<Delete/><Delete/>", id="two roots"),
        pytest.param(b"<Other/>", id="another root"),
        pytest.param(b"{}", id="no XML"),
        pytest.param(b" ", id="blank"),
    ],
)
def test_s47_a_hostile_document_is_refused_before_expansion(body: bytes) -> None:
    """MalformedXML, in bounded time and memory."""
    with pytest.raises(MalformedXML):
        xml.parse(body, "Delete")


def test_s47_length_and_number_are_bounded() -> None:
    """What is too long is not even looked at; what has too many elements is left half-way."""
    with pytest.raises(MaxMessageLengthExceeded):
        xml.parse(b" " * (limits.XML_BYTES_MAX + 1), "Delete")
    many = b"<Delete>" + b"<a/>" * (limits.XML_ELEMENTS_MAX + 1) + b"</Delete>"
    with pytest.raises(MalformedXML):
        xml.parse(many, "Delete", size_max=limits.COMPLETE_XML_BYTES_MAX)
    with pytest.raises(MissingRequestBodyError):
        xml.parse(b"", "Delete")


@pytest.mark.parametrize(
    "body",
    [
        b"<Delete><Key>a&amp;b</Key></Delete>",
        b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Key>a&amp;b</Key></Delete>',
        b'<s:Delete xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/"><s:Key>a&amp;b</s:Key></s:Delete>',
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Delete>\n <Key>a&amp;b</Key>\n</Delete>\n',
        b"\xef\xbb\xbf<Delete><!-- why --><Key><![CDATA[a&b]]></Key></Delete>",
        b"<Delete><Key>a&#38;b</Key></Delete>",
    ],
)
def test_what_clients_send_is_read(body: bytes) -> None:
    """With and without namespace, declaration, comments and references."""
    assert xml.parse(body, "Delete").text_of("Key") == "a&b"


def test_spaces_in_a_text_are_kept() -> None:
    """A key may begin with a blank, and end with a line feed."""
    assert xml.parse(b"<D><Key> a &#10;</Key></D>", "D").text_of("Key") == " a \n"


def test_s47_doubled_and_unknown_elements() -> None:
    """Nobody may wonder which of two counts, or whether a rule was understood."""
    root = xml.parse(b"<R><A>1</A><A>2</A><B><C/></B></R>", "R")
    for refused in (
        lambda: root.find("A"),
        lambda: root.text_of("A"),
        lambda: root.get("X"),
        lambda: root.text_of("B"),
        lambda: root.only(("A",)),
    ):
        with pytest.raises(MalformedXML):
            refused()
    assert root.find("X") is None
    assert root.text_of("X") is None
    assert root.only(("A", "B")) is root
    assert [child.text for child in root] == ["1", "2", ""]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain/Key-1.jpg", b"plain/Key-1.jpg"),
        ("a&b<c>d\"e'f", b"a&amp;b&lt;c&gt;d&quot;e'f"),
        ("\x00\x01\t\n\r\x1f\x7f", b"&#x0;&#x1;&#x9;&#xA;&#xD;&#x1F;&#x7F;"),
        ("é漢\U0001f600", "é漢\U0001f600".encode()),
        ("\ufffe\uffff", b"&#xFFFE;&#xFFFF;"),
    ],
)
def test_escaping(text: str, escaped: bytes) -> None:
    """Markup and control characters become references."""
    assert xml.escape(text) == escaped


ALLOWED = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from('\t\n\r<>&"')
)


@given(ALLOWED)
def test_what_is_written_reads_back(text: str) -> None:
    """Every text that XML can carry survives, line ends and blanks included."""
    document = xml.document(b"R", xml.tag(b"Key", text))
    assert xml.parse(document, "R").text_of("Key") == text


def test_small_writers() -> None:
    """None leaves an element out; numbers and flags are printed."""
    assert xml.tag(b"A", None) == b""
    assert xml.tag(b"A", 5) == b"<A>5</A>"
    assert xml.flag(b"A", value=True) == b"<A>true</A>"
    assert xml.flag(b"A", value=False) == b"<A>false</A>"
    assert xml.wrap(b"A", b"<B/>") == b"<A><B/></A>"


def test_an_echo_can_always_be_read() -> None:
    """What a client sent comes back in an error without making the error unreadable."""
    echoed = xml.document(b"Error", xml.echo(b"Value", "a\x00\x1f\t\uffff&"), xml.echo(b"N", 5))
    assert xml.parse(echoed, "Error").text_of("Value") == "a\ufffd\ufffd\t\ufffd&"
