"""One S3 worker: a port, the services behind it, and its life."""

import asyncio
import logging
import ssl
from typing import Final

from storage_server import config
from storage_server.core.clock import SystemClock
from storage_server.engine.drivers.lmdb_writer import Faults
from storage_server.processes import wiring
from storage_server.processes.datafolder import DataFolder
from storage_server.processes.errors import StartError
from storage_server.processes.life import Life
from storage_server.processes.lifeline import Lifeline
from storage_server.processes.listening import load_certificate, open_listener, tls_context
from storage_server.processes.logs import LogWriter, access_writer
from storage_server.processes.port import Port, Proxies
from storage_server.processes.state import InstanceState

_LOG: Final = logging.getLogger("holdfast.s3")


async def serve_s3(
    options: config.Options,
    folder: DataFolder,
    state: InstanceState,
    writer: LogWriter,
    lifeline: Lifeline,
    faults: Faults | None = None,
) -> int:
    """Serve the S3 port until told to end; return the exit code."""
    listener = open_listener(options.listen.s3, "s3_listen")
    context = tls_context(options.listen)
    write_log = access_writer(options.logs, writer)
    async with wiring.opened(options, folder.layout, state, SystemClock(), faults) as graph:
        server = wiring.s3_port(graph, options, state, write_log)
        s3 = options.s3
        proxies = Proxies(s3.trusted_proxies, server.behind) if s3.proxy_protocol else None
        port = Port(server, listener, context, proxies)
        await port.start()
        last_used = graph.services.last_used
        stamping = asyncio.ensure_future(last_used.keep_writing())
        await Life(lifeline, state).live(lambda: reload_certificate(context, options.listen))
        stamping.cancel()
        # What is in flight when a flush failed can't be acknowledged: it need not be waited for.
        await port.drain(0.5 if state.is_stopped() else options.listen.drain_s)
        await last_used.write()
    return int(state.is_stopped() and not lifeline.is_supervised)


def reload_certificate(context: ssl.SSLContext | None, listen: config.ListenOptions) -> None:
    """Read the certificate again; when it can't be used, the old one stays."""
    if context is None or listen.tls_certificate is None or listen.tls_key is None:
        return
    try:
        load_certificate(context, listen.tls_certificate, listen.tls_key)
    except StartError as error:
        _LOG.error("the certificate was not reloaded: %s", error)
    else:
        _LOG.info("the certificate was reloaded")
