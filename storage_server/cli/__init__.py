"""The command line: arguments in, one call, text or JSON out."""

from storage_server.cli.program import main

__all__ = ["main"]
