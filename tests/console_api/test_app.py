"""The console for now: health, one page, and headers that protect it."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from storage_server.console_api.app import build_app


def client(*, is_ready: bool = True) -> TestClient[web.Request, web.Application]:
    """Return a client of a console."""
    app = build_app(
        version="1.2.3",
        endpoint='https://s3.example.org/"><script>',
        region="us-east-1",
        is_ready=lambda: is_ready,
    )
    return TestClient(TestServer(app))


async def test_the_page_says_what_runs_here_and_escapes_it() -> None:
    """Version and endpoint are shown; text of the settings is never markup."""
    async with client() as asking:
        response = await asking.get("/")
        text = await response.text()
    assert response.status == 200
    assert "1.2.3" in text
    assert "https://s3.example.org/&quot;&gt;&lt;script&gt;" in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("POST", "/", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/-/healthz", 200),
        ("GET", "/-/readyz", 200),
    ],
)
async def test_every_answer_is_protected(method: str, path: str, status: int) -> None:
    """No answer can be framed, sniffed, scripted or cached, whatever its status."""
    async with client() as asking:
        response = await asking.request(method, path)
    assert response.status == status
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Server"] == "Holdfast"


async def test_a_stopped_instance_is_alive_but_not_ready() -> None:
    """Health is about this process, readiness about the instance."""
    async with client(is_ready=False) as asking:
        assert (await asking.get("/-/healthz")).status == 200
        assert (await asking.get("/-/readyz")).status == 503
