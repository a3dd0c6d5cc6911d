"""Which page may do what, by the rules of a bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_server.s3.cors import VARY, CorsRule, find_headers, preflight_headers
from storage_server.s3.errors import AccessForbidden, BadRequest
from storage_server.s3.request import RequestHead

ORIGIN = "https://app.example.org"
RULES = (
    CorsRule((ORIGIN,), ("PUT",), ("x-amz-*", "Content-Type"), ("ETag",), 60),
    CorsRule(("https://*.example.org",), ("GET", "HEAD")),
    CorsRule(("http://public*",), ("GET",), ("*",)),
)
ANYONE = (CorsRule(("*",), ("GET", "PUT"), ("*",)),)


def head(method: str = "GET", **headers: str) -> RequestHead:
    """Return the head of a request with an object."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestHead(method, "/b/k", "", "h", "b", "k", {}, named)


def preflight(origin: str, method: str, asked: str | None = None) -> RequestHead:
    """Return the question that a browser sends first."""
    headers = {"origin": origin, "access_control_request_method": method}
    if asked is not None:
        headers["access_control_request_headers"] = asked
    return head("OPTIONS", **headers)


@pytest.mark.parametrize(
    ("method", "origin", "shown"),
    [
        ("PUT", ORIGIN, ORIGIN),
        ("GET", ORIGIN, ORIGIN),
        ("GET", "https://a.b.example.org", "https://a.b.example.org"),
        ("GET", "http://public", "http://public"),
        ("GET", "http://public.evil", "http://public.evil"),
        ("PUT", "https://other.example.org", None),
        ("DELETE", ORIGIN, None),
        ("GET", "https://example.org", None),
        ("GET", "https://app.example.org.evil", None),
        ("GET", "http://app.example.org", None),
        ("GET", "HTTPS://APP.EXAMPLE.ORG", None),
        ("GET", "null", None),
        ("GET", "", None),
    ],
)
def test_the_first_rule_about_origin_and_method_decides(
    method: str, origin: str, shown: str | None
) -> None:
    """Origins are compared to the letter, one star stands for any letters."""
    headers = dict(find_headers(RULES, head(method, origin=origin)))
    assert headers.get("Access-Control-Allow-Origin") == shown
    assert headers["Vary"] == VARY[1]


def test_a_reply_says_what_the_rule_says() -> None:
    """Methods, exposed headers and the age."""
    assert find_headers(RULES, head("PUT", origin=ORIGIN)) == (
        ("Access-Control-Allow-Origin", ORIGIN),
        ("Access-Control-Allow-Methods", "PUT"),
        ("Access-Control-Expose-Headers", "ETag"),
        ("Access-Control-Max-Age", "60"),
        VARY,
    )


def test_a_reply_to_nobody_varies_too() -> None:
    """Else a cache would give a page the copy that it made for a request without origin."""
    assert find_headers(RULES, head()) == (VARY,)


@pytest.mark.parametrize("origin", [ORIGIN, "null", "http://evil"])
def test_s44_no_rule_ever_allows_credentials(origin: str) -> None:
    """Neither with a star nor with a reflected origin (GHSA-x5xv)."""
    for headers in (
        find_headers(ANYONE, head(origin=origin)),
        preflight_headers(ANYONE, preflight(origin, "PUT", "authorization")),
    ):
        assert dict(headers)["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in dict(headers)


@pytest.mark.parametrize(
    "origin",
    ["http://a\r\nSet-Cookie: x", "http://a\nb", "http://a b", "http://\u00e9", "x" * 2049],
)
def test_s46_an_origin_that_could_break_a_head_is_nobodys(origin: str) -> None:
    """Whatever the rules say."""
    rules = (CorsRule(("http://*",), ("GET",)), *ANYONE)
    assert find_headers(rules, head(origin=origin)) == (VARY,)
    with pytest.raises(AccessForbidden):
        preflight_headers(rules, preflight(origin, "GET"))


@pytest.mark.parametrize(
    ("origin", "method", "asked", "allowed"),
    [
        (ORIGIN, "PUT", None, None),
        (ORIGIN, "PUT", "", None),
        (ORIGIN, "PUT", "X-Amz-Date,content-type", "x-amz-date, content-type"),
        ("http://public", "GET", "anything", "anything"),
    ],
)
def test_a_preflight_is_told_the_headers_that_it_asked_for(
    origin: str, method: str, asked: str | None, allowed: str | None
) -> None:
    """Names in any case; the answer has them in small letters."""
    headers = dict(preflight_headers(RULES, preflight(origin, method, asked)))
    assert headers["Access-Control-Allow-Origin"] == origin
    assert method in headers["Access-Control-Allow-Methods"]
    assert headers.get("Access-Control-Allow-Headers") == allowed


@pytest.mark.parametrize(
    ("origin", "method", "asked"),
    [
        ("http://evil", "GET", None),
        (ORIGIN, "DELETE", None),
        (ORIGIN, "PUT", "authorization"),
        (ORIGIN, "PUT", "content-type, x-other"),
        (ORIGIN, "GET", "x-amz-date"),
        (ORIGIN, "PUT", "content-type\r\nx: y"),
        ("http://public", "GET", "a" * 5000),
    ],
)
def test_a_preflight_that_no_rule_allows_is_refused(
    origin: str, method: str, asked: str | None
) -> None:
    """One header too many is enough."""
    with pytest.raises(AccessForbidden):
        preflight_headers(RULES, preflight(origin, method, asked))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": ORIGIN},
        {"origin": ORIGIN, "access_control_request_method": "PATCH"},
        {"access_control_request_method": "GET"},
    ],
)
def test_a_request_that_is_no_preflight_is_a_mistake(headers: dict[str, str]) -> None:
    """Origin and method, or it is no question."""
    with pytest.raises(BadRequest):
        preflight_headers(RULES, head("OPTIONS", **headers))


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_a_star_covers_exactly_what_stands_between(origin: str, before: str, behind: str) -> None:
    """The ends may not overlap."""
    before, behind = before.replace("*", ""), behind.replace("*", "")
    rule = CorsRule((f"{before}*{behind}",), ("GET",))
    expected = any(
        origin == before + origin[len(before) : end] + behind and end >= len(before)
        for end in [len(origin) - len(behind)]
    )
    assert (rule.allows_origin(origin) is not None) is expected or rule.origins == ("*",)
