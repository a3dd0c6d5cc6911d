"""The one place that imports on demand, so that a command loads what it needs and no more.

All of the program takes ten times as long to load as a command beside a running server takes to
ask: those load only the requests that both ends of the socket know.
"""

import importlib
from typing import Any


def load(name: str) -> Any:
    """Return a module of this package by its name within it, such as ``cli.tenants``."""
    return importlib.import_module(f"storage_server.{name}")
