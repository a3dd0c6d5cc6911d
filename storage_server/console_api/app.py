"""The console's HTTP application: health, and one page."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from storage_server.console_api.page import content_security_policy, render_page

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": content_security_policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
    "Referrer-Policy": "no-referrer",
    "Server": "Holdfast",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def build_app(
    *, version: str, endpoint: str, region: str, is_ready: Callable[[], bool]
) -> web.Application:
    """Return the application; ``endpoint`` is the S3 port's address as clients see it."""
    page = render_page(version=version, endpoint=endpoint, region=region)

    async def show_page(_request: web.Request) -> web.Response:
        return web.Response(body=page, content_type="text/html", charset="utf-8")

    async def is_alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def answer_ready(_request: web.Request) -> web.Response:
        if is_ready():
            return web.Response(text="ready\n")
        return web.Response(text="not ready\n", status=503)

    app = web.Application(middlewares=[_with_headers], client_max_size=1024)
    app.router.add_get("/", show_page)
    app.router.add_get("/-/healthz", is_alive)
    app.router.add_get("/-/readyz", answer_ready)
    return app


@web.middleware
async def _with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the same protective headers whatever happens, also to an unknown address."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = web.Response(status=error.status, text=f"{error.status} {error.reason}\n")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    response.headers.update(_HEADERS)
    return response
