"""What the console is told at start."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """The addresses that people use; empty when they are those that we listen on."""

    public_s3_url: str = ""
    public_console_url: str = ""
