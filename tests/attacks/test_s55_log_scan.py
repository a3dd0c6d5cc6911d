"""S55: no secret, signature or body reaches a log."""

import time

from tests.servers import Server, fresh_name
from tests.signing import STREAMING_SIGNED, SignerV2
from tests.wire import S3Wire


def test_s55_logs_hold_no_secrets(server: Server, wire: S3Wire) -> None:
    """After requests that carry every kind of secret, right and wrong, none is in the log."""
    bucket = fresh_name()
    assert wire.keys
    marks = ["hidden-header-value", "hidden-body-value", "hidden-token-value"]
    wire.call("PUT", f"/{bucket}")
    wire.call("PUT", f"/{bucket}/k", [("x-amz-meta-a", marks[0])], marks[1].encode())
    wire.put_chunked(f"/{bucket}/k", [marks[1].encode()], mode=STREAMING_SIGNED)
    for method in ("GET", "PUT", "DELETE"):
        wire.plain(method, wire.signer.presign("GET", f"/{bucket}/k", wire.netloc))
        soon = int(time.time()) + 60
        wire.plain(method, SignerV2(wire.keys).presign("GET", f"/{bucket}/k", soon))
    url = wire.signer.presign("GET", f"/{bucket}/k?X-Amz-Security-Token={marks[2]}", wire.netloc)
    wire.plain("GET", url)
    wire.plain("GET", f"/{bucket}/k", [("Authorization", f"Bearer {marks[2]}")])
    sse = [("x-amz-server-side-encryption-customer-key", marks[2])]
    wire.call("GET", f"/{bucket}/k", sse)
    last = wire.call("GET", f"/{bucket}").header("x-amz-request-id")
    server.wait_for_log(last)
    assert server.leaks() == []
    log = server.log_path.read_text(errors="replace")
    assert bucket in log
    assert [mark for mark in marks if mark in log] == []
