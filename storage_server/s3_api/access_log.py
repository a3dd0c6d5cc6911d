"""One line per request: who did what to which key, with what result and in what time.

Lines are collected and handed on together, so a line costs some microseconds and no system call
of its own; a killed process loses at most a quarter second of them. No query and no header but the
user agent is ever written: both may hold signatures.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Final

import msgspec

_FLUSH_S: Final = 0.25
_LINES_MAX: Final = 1000
_AGENT_CHARS_MAX: Final = 256

_WORD: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""Text that needs no quotes: printable ASCII without blank, quote and backslash."""

_CONTROL: Final = re.compile("[\x7f-\x9f\u2028\u2029]")
"""What moves a terminal or ends a line, of what JSON leaves as it is."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """What the log says of one request."""

    time_us: int
    request_id: str
    peer: str
    operation: str
    method: str
    bucket: str
    key: str
    access_key_id: str
    status: int
    error: str
    received_bytes: int
    sent_bytes: int
    took_us: int
    agent: str


Render = Callable[[Line], bytes]
"""Turns a line into bytes without a line break, control characters escaped."""


class AccessLog:
    """Collects lines and hands them on."""

    def __init__(self, write: Callable[[bytes], object], render: Render) -> None:
        """Write to ``write``, which takes whole lines and must not block for long."""
        self._write = write
        self._render = render
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, line: Line) -> None:
        """Take a line; it is written within a quarter second."""
        if len(line.agent) > _AGENT_CHARS_MAX:
            line = msgspec.structs.replace(line, agent=line.agent[:_AGENT_CHARS_MAX])
        self._lines.append(self._render(line))
        if len(self._lines) >= _LINES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lines, self._lines = self._lines, []
            self._write(b"\n".join(lines) + b"\n")


_encode: Final = msgspec.json.Encoder().encode


def as_json(line: Line) -> bytes:
    """Return a line as one JSON object."""
    encoded = _encode(line)
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    text = encoded.decode()
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def as_text(line: Line) -> bytes:
    """Return a line for people: time, then name=value of everything that is not empty."""
    seconds, us = divmod(line.time_us, 1_000_000)
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    words = [f"{at}.{us:06d}"]
    for name in _NAMES:
        value = getattr(line, name)
        if value:
            text = str(value)
            words.append(f"{name}={text if _WORD.fullmatch(text) else json.dumps(text)}")
    return " ".join(words).encode("ascii", "backslashreplace")


_NAMES: Final = Line.__struct_fields__[1:]
