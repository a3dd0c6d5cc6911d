"""Access lines: one line each, whatever a client sends, and nothing that is secret."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage_server.s3_api.access_log import AccessLog, Line, Render, as_json, as_text

LINE = Line(
    time_us=1_700_000_000_000_042,
    request_id="A1",
    peer="192.0.2.1",
    operation="PutObject",
    method="PUT",
    bucket="b",
    key="a b",
    access_key_id="AKX",
    status=200,
    error="",
    received_bytes=5,
    sent_bytes=0,
    took_us=123,
    agent="x",
)


@settings(max_examples=200)
@given(st.text(max_size=40), st.sampled_from([as_json, as_text]))
def test_a_line_is_one_line_without_control_characters(text: str, render: Render) -> None:
    """Keys and agents are what clients choose; a terminal must not obey them."""
    line = msgspec.structs.replace(LINE, key=text, agent=text[::-1])
    shown = render(line).decode()
    assert len(shown.splitlines()) == 1
    assert not [char for char in shown if ord(char) < 32 or 127 <= ord(char) < 160]
    if render is as_json:
        assert json.loads(shown)["key"] == text


def test_the_text_form_is_for_people() -> None:
    """Time first, then what is not empty, quoted where it must be."""
    assert as_text(LINE) == (
        b"2023-11-14 22:13:20.000042 request_id=A1 peer=192.0.2.1 operation=PutObject method=PUT "
        b'bucket=b key="a b" access_key_id=AKX status=200 received_bytes=5 took_us=123 agent=x'
    )


@pytest.mark.parametrize("agent", ["a" * 256, "a" * 100_000])
async def test_lines_are_written_together_and_bounded(agent: str) -> None:
    """Many lines make one write; a client can't fill the log with its name."""
    written: list[bytes] = []
    log = AccessLog(written.append, as_json)
    for _ in range(3):
        log.add(msgspec.structs.replace(LINE, agent=agent))
    assert written == []
    log.flush()
    log.flush()
    (batch,) = written
    assert [len(json.loads(line)["agent"]) for line in batch.splitlines()] == [256] * 3
