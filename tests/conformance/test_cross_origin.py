"""The console's pages in a browser: they use presigned URLs without any rule of the bucket's."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.servers import Server, fresh_name
from tests.wire import Answer, S3Wire

ORIGIN = "https://console.example.org"
PAGE = ("Origin", ORIGIN)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose console has a public address, with two domains."""
    server = Server(
        tmp_path_factory.mktemp("site"),
        PUBLIC_CONSOLE_URL=ORIGIN,
        DOMAIN="example.net,s3.example.net",
        WORKERS="1",
    )
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def page(site: Server) -> Iterator[S3Wire]:
    """A page's requests, signed by root."""
    wire = S3Wire("127.0.0.1", site.port, site.root_keys)
    yield wire
    wire.close()


@pytest.fixture
def place(page: S3Wire) -> str:
    """A new bucket."""
    name = fresh_name()
    assert page.call("PUT", f"/{name}").status == 200
    return name


def allowed(answer: Answer) -> str:
    """Return the origin that may read an answer."""
    assert answer.header("Access-Control-Allow-Credentials") == ""
    return answer.header("Access-Control-Allow-Origin")


def test_a_presigned_upload_and_download_from_the_page(page: S3Wire, place: str) -> None:
    """Preflight, PUT and GET are allowed; the page can read every header of the reply."""
    put = page.signer.presign("PUT", f"/{place}/k", page.netloc)
    asked = [
        PAGE,
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "content-type,x-amz-checksum-crc32"),
    ]
    before = page.plain("OPTIONS", put, asked)
    assert (before.status, allowed(before)) == (200, ORIGIN)
    assert "PUT" in before.header("Access-Control-Allow-Methods").split(", ")
    assert before.header("Access-Control-Allow-Headers") == asked[2][1]
    stored = page.plain("PUT", put, [PAGE], b"hello")
    assert (stored.status, allowed(stored)) == (200, ORIGIN)
    assert stored.header("Access-Control-Expose-Headers") == "*"
    assert "Origin" in stored.header("Vary")
    read = page.plain("GET", page.signer.presign("GET", f"/{place}/k", page.netloc), [PAGE])
    assert (read.status, read.body, allowed(read)) == (200, b"hello", ORIGIN)


def test_a_preflight_of_a_part_is_about_its_url(page: S3Wire, place: str) -> None:
    """The preflight has the query of the upload, sub-resources and all."""
    target = page.signer.presign("PUT", f"/{place}/k?partNumber=1&uploadId=x", page.netloc)
    asked = [PAGE, ("Access-Control-Request-Method", "PUT")]
    assert allowed(page.plain("OPTIONS", target, asked)) == ORIGIN


def test_errors_can_be_read_too(page: S3Wire, place: str) -> None:
    """A page that can't read the code of an error can't tell its user anything."""
    gone = page.plain("GET", page.signer.presign("GET", f"/{place}/gone", page.netloc), [PAGE])
    assert (gone.status, gone.code, allowed(gone)) == (404, "NoSuchKey", ORIGIN)
    spoiled = re.sub("Signature=.", "Signature=z", page.signer.presign("GET", "/x/y", page.netloc))
    refused = page.plain("GET", spoiled, [PAGE])
    assert (refused.status, allowed(refused)) == (403, ORIGIN)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://console.example.org", "null", f"{ORIGIN}.evil", ""]
)
def test_other_origins_get_nothing(page: S3Wire, place: str, origin: str) -> None:
    """Only the console's own pages; a bucket has no rules of its own."""
    target = page.signer.presign("GET", f"/{place}/k", page.netloc)
    page.call("PUT", f"/{place}/k", body=b"x")
    answer = page.plain("GET", target, [("Origin", origin)] if origin else [])
    assert (answer.status, allowed(answer)) == (200, "")
    asked = [("Origin", origin or "x"), ("Access-Control-Request-Method", "GET")]
    before = page.plain("OPTIONS", target, asked)
    assert (before.status, before.code, allowed(before)) == (403, "AccessForbidden", "")


def test_only_requests_signed_in_the_query(page: S3Wire, place: str) -> None:
    """The signature in the URL is the permission; a browser's own credentials are none."""
    assert allowed(page.call("PUT", f"/{place}/k", [PAGE], b"x")) == ""
    assert allowed(page.plain("GET", f"/{place}/k", [PAGE])) == ""
    asked = [PAGE, ("Access-Control-Request-Method", "PUT")]
    assert page.plain("OPTIONS", f"/{place}/k", asked).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        [("Access-Control-Request-Method", "TRACE")],
        [],
        [
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", "authorization"),
        ],
        [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Headers", "a\x7fb")],
    ],
)
def test_a_preflight_of_something_else_is_refused(
    page: S3Wire, place: str, headers: list[tuple[str, str]]
) -> None:
    """Methods and headers that no presigned request has."""
    target = page.signer.presign("PUT", f"/{place}/k", page.netloc)
    assert page.plain("OPTIONS", target, [PAGE, *headers]).status in {400, 403}


@pytest.mark.parametrize("base", ["example.net", "s3.example.net"])
def test_several_domains(page: S3Wire, place: str, base: str) -> None:
    """A domain below another is a base host too, never a bucket called ``s3``."""
    assert page.call("PUT", "/k", body=base.encode(), host=f"{place}.{base}").status == 200
    assert page.call("GET", f"/{place}/k", host=base).body == base.encode()
    assert page.call("GET", f"/{quote(place)}/k").body == base.encode()
