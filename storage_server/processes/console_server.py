"""The console's process: it answers without the store, so that nothing there can hold it up."""

from aiohttp import web

import storage_server
from storage_server import config
from storage_server.console_api.app import build_app
from storage_server.processes.life import Life
from storage_server.processes.lifeline import Lifeline
from storage_server.processes.listening import open_listener, tls_context, url_of
from storage_server.processes.port import Port
from storage_server.processes.s3_server import reload_certificate
from storage_server.processes.state import InstanceState


async def serve_console(options: config.Options, state: InstanceState, lifeline: Lifeline) -> int:
    """Serve the console until told to end; return the exit code."""
    listener = open_listener(options.listen.console, "console_listen")
    context = tls_context(options.listen)
    endpoint = options.console.public_s3_url or url_of(
        options.listen.s3, is_secure=context is not None
    )
    app = build_app(
        version=storage_server.__version__,
        endpoint=endpoint,
        region=options.s3.region,
        is_ready=lambda: not state.is_stopped(),
    )
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=75.0)
    await runner.setup()
    assert runner.server is not None
    port = Port(runner.server, listener, context)
    await port.start()
    await Life(lifeline, state).live(lambda: reload_certificate(context, options.listen))
    await port.drain(min(options.listen.drain_s, 5))
    await runner.cleanup()
    return 0
