"""A disk that fails to flush under a real server: one failure restarts, two end all writing."""

from pathlib import Path

from tests.processes import faulty_instance
from tests.servers import Server


def test_after_two_failed_flushes_the_server_reads_and_refuses_writes(tmp_path: Path) -> None:
    """Nothing acknowledged is lost, reads go on, each write says why, and a restart heals it."""
    server = Server(tmp_path / "server", WORKERS="1")
    server.program = [faulty_instance.SCRIPT]
    try:
        server.start()
        wire = server.wire(server.root_keys)
        assert wire.call("PUT", "/bkt").status == 200
        assert wire.call("PUT", "/bkt/kept", body=b"kept").status == 200
        for number in (1, 2):
            (server.data_dir / "run" / "fail-next-flush").touch()
            lost = wire.call("PUT", f"/bkt/lost{number}", body=b"x")
            assert (lost.status, lost.code) == (503, "ServiceUnavailable")
            server.wait_for_log_count("the instance stops to recover", number)
            server.wait_until_ready()
            wire.close()
            assert wire.call("GET", "/bkt/kept").body == b"kept"
            if number == 1:
                assert wire.call("PUT", "/bkt/again", body=b"x").status == 200
        assert "read-only until holdfast is started anew" in server.log_path.read_text()
        for method, target in (("PUT", "/bkt/k"), ("DELETE", "/bkt/kept"), ("PUT", "/other")):
            refused = wire.call(method, target, body=b"x" if target == "/bkt/k" else b"")
            assert (refused.status, refused.code) == (503, "ServiceUnavailable")
            assert b"Reading works" in refused.body
        assert wire.call("GET", "/bkt?list-type=2").texts("Contents/Key") == ["again", "kept"]
        assert server.status_of("/-/readyz") == 200
        assert "clean" in server.command("fsck").stdout
        told = server.command("doctor", expect=None).stdout
        assert "the running server is read-only" in told
        assert "Traceback" not in server.log_path.read_text()
        assert server.stop() == 0
        server.start()
        assert wire.call("PUT", "/bkt/k", body=b"x").status == 200
    finally:
        server.close()
