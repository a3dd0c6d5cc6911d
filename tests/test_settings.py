"""Every setting changes what a running server does: one that is ignored fails here."""

import signal
import time
from collections.abc import Iterator

import pytest

from storage_server import config
from tests.servers import HOST, Server
from tests.signing import SignerV2, SignerV4
from tests.wire import Wire

ELSEWHERE = {
    "data_dir": "test_cli",
    "s3_listen": "test_cli",
    "console_listen": "test_cli",
    "root_access_key": "test_cli",
    "root_secret_key": "test_cli",
    "bootstrap_tenant": "test_cli",
    "bootstrap_user": "test_cli",
    "bootstrap_access_key": "test_cli",
    "bootstrap_secret_key": "test_cli",
    "bootstrap_bucket": "test_cli",
    "control_db_url": "processes/test_control_db",
    "domain": "conformance/test_virtual_host, conformance/test_cross_origin",
    "trusted_proxies": "conformance/test_proxies",
    "proxy_protocol": "conformance/test_proxies",
    "tls_certificate": "conformance/test_proxies",
    "tls_key": "conformance/test_proxies",
    "public_console_url": "conformance/test_cross_origin",
    "display_names": "conformance/test_names",
    "failed_lookups_per_minute": "conformance/test_names",
    "address_requests_per_s": "conformance/test_traffic",
    "address_bytes_per_s": "conformance/test_traffic",
    "key_requests_per_s": "conformance/test_traffic",
    "key_bytes_per_s": "conformance/test_traffic",
    "outbound_allowed": "clients/test_sts_boto3",
}
NAMED = {
    "OWNER_DISPLAY_NAME": "The Owner",
    "REGION": "eu-west-9",
    "STRICT_REGION": "on",
    "SIGV2": "off",
    "PUBLIC_S3_URL": "https://s3.example.org",
    "LOG_FORMAT": "text",
    "WORKERS": "3",
}
TIGHT = {
    "IDLE_TIMEOUT": "1",
    "STALL_TIMEOUT": "1",
    "DRAIN_SECONDS": "1",
    "LOG_LEVEL": "error",
    "ACCESS_LOG": "off",
    "MASTER_KEY": "ab" * 32,
    "WORKERS": "1",
}
LATER = {"SPACE_RESERVE": "9000TiB", "PASSPHRASE": "correct horse battery staple"}


def test_each_setting_has_its_test() -> None:
    """A new row needs a test that fails when nobody reads it."""
    here = {name.lower() for name in (*NAMED, *TIGHT, *LATER)}
    assert here | set(ELSEWHERE) == {row.name for row in config.SETTINGS}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with names and rules of its own."""
    server = Server(tmp_path_factory.mktemp("named"), **NAMED)
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_names_and_rules(named: Server) -> None:
    """Region, owner, signatures: as they were set."""
    wire, keys = named.wire(named.root_keys), named.root_keys
    here = SignerV4(keys, region="eu-west-9")
    place = b"<LocationConstraint>eu-west-9</LocationConstraint>"
    body = b"<CreateBucketConfiguration>%b</CreateBucketConfiguration>" % place
    assert wire.call("PUT", "/kept", body=body, signer=here).status == 200
    assert wire.call("HEAD", "/kept", signer=here).header("x-amz-bucket-region") == "eu-west-9"
    listed = wire.call("GET", "/", signer=here)
    assert listed.texts("Owner/DisplayName") == ["The Owner"]
    assert wire.call("GET", "/").code == "AuthorizationHeaderMalformed"
    target = SignerV2(keys).presign("GET", "/kept", int(time.time()) + 60)
    assert wire.plain("GET", target).code == "InvalidRequest"


def test_processes_addresses_and_lines(named: Server) -> None:
    """So many workers, the public address where people look, and lines for people."""
    supervisor, *_ = named.processes()
    commands = [child.cmdline() for child in supervisor.children()]
    assert sum(command[0] == "holdfast s3" for command in commands) == 3
    named.wait_for_log("console 0")
    while named.status_of("/-/readyz", named.console_port) != 200:
        assert named.status_of("/-/readyz") == 200
    with Wire(HOST, named.console_port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"https://s3.example.org" in wire.read().body
    assert named.wire(named.root_keys).call("GET", "/looked-for").status == 400
    named.wait_for_log(" operation=ListObjects method=GET bucket=looked-for ")
    named.wait_for_log("AWS_ENDPOINT_URL=https://s3.example.org")


@pytest.fixture
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without patience, and without much to say."""
    server = Server(tmp_path_factory.mktemp("tight"), **TIGHT)
    try:
        server.start()
        yield server
    finally:
        server.close()


def test_patience_and_silence(tight: Server) -> None:
    """Idle and stalled connections end after a second; nothing but errors is logged."""
    wire = tight.wire(tight.root_keys)
    assert wire.call("PUT", "/kept").status == 200
    before_s = time.monotonic()
    with wire.connect() as idle, wire.connect() as stalled:
        idle.send(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.read().status == 200
        head = wire.signed_head("PUT", "/kept/k", body=b"whole", payload_hash="UNSIGNED-PAYLOAD")
        stalled.send(head + b"half")
        assert stalled.read().code == "RequestTimeout"
        assert idle.is_closed_by_peer()
    assert time.monotonic() - before_s < 20
    assert '"level"' not in tight.log_path.read_text()
    assert '"operation"' not in tight.log_path.read_text()


def test_a_drain_ends_in_time(tight: Server) -> None:
    """What is still under way after drain_seconds is cut."""
    tight.settings["STALL_TIMEOUT"] = "600"
    tight.stop()
    tight.start()
    wire = tight.wire(tight.root_keys)
    with wire.connect() as endless:
        assert wire.call("PUT", "/kept").status == 200
        endless.send(wire.signed_head("PUT", "/kept/k", body=bytes(10)) + b"half")
        assert tight.process is not None
        before_s = time.monotonic()
        tight.process.send_signal(signal.SIGTERM)
        assert tight.process.wait(30) == 0
        assert time.monotonic() - before_s < 15
    tight.process = None


def test_the_master_key_is_the_one_that_was_given(tight: Server) -> None:
    """It is kept nowhere, and nothing opens with another one or with a passphrase."""
    assert tight.stop() == 0
    assert not (tight.data_dir / "keys" / "master.key").exists()
    for change in ({"MASTER_KEY": "cd" * 32}, {"MASTER_KEY": "", "PASSPHRASE": "x" * 12}):
        tight.settings.update(change)
        assert "Can't open" in tight.command("serve", expect=78).stderr


def test_a_passphrase_opens_what_it_sealed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same words open the folder again; others don't."""
    server = Server(tmp_path_factory.mktemp("sealed"), PASSPHRASE=LATER["PASSPHRASE"], WORKERS="1")
    try:
        for _ in range(2):
            server.start()
            assert server.wire(server.root_keys).call("GET", "/").status == 200
            assert server.stop() == 0
        server.settings["PASSPHRASE"] = "another sentence"
        assert "Can't open" in server.command("serve", expect=78).stderr
    finally:
        server.close()


def test_the_space_reserve_is_kept(tight: Server) -> None:
    """More than the disk has: writes are refused, deletes and reads are not."""
    wire = tight.wire(tight.root_keys)
    assert wire.call("PUT", "/kept").status == 200
    assert wire.call("PUT", "/kept/k", body=b"x").status == 200
    wire.close()
    tight.stop()
    tight.settings["SPACE_RESERVE"] = LATER["SPACE_RESERVE"]
    tight.start()
    assert wire.call("PUT", "/kept/more", body=bytes(100_000)).status in {503, 507}
    assert wire.call("GET", "/kept/k").body == b"x"
    assert wire.call("DELETE", "/kept/k").status == 204
