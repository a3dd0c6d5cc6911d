"""s3cmd, with signature V4 and with V2."""

import urllib.request
from pathlib import Path

import pytest

from tests.clients.commands import find_program, make_large, make_tree, read_tree, run
from tests.servers import HOST, Server, fresh_name
from tests.signing import Keys


@pytest.mark.parametrize("version", ["4", "2"])
def test_s3cmd_round_trip(server: Server, alice: Keys, tmp_path: Path, version: str) -> None:
    """Make, sync, list, copy, move, download whole and from the middle, presign, parts, delete."""
    program = find_program("s3cmd", "s3cmd (requirements-clients.lock)")
    settings = tmp_path / "s3cfg"
    settings.write_text(
        f"[default]\naccess_key = {alice.access_key}\nsecret_key = {alice.secret_key}\n"
        f"host_base = {HOST}:{server.port}\nhost_bucket = {HOST}:{server.port}\n"
        f"use_https = False\nsignature_v2 = {version == '2'}\nbucket_location = US\n"
        "multipart_chunk_size_mb = 5\nmax_retries = 1\n"
    )

    def s3cmd(*arguments: str) -> str:
        return run(program, "-c", str(settings), *arguments, env={}, home=tmp_path)

    tree, back = tmp_path / "tree", tmp_path / "back"
    contents = make_tree(tree)
    back.mkdir()
    bucket = f"s3://{fresh_name()}"
    s3cmd("mb", bucket)
    s3cmd("sync", f"{tree}/", f"{bucket}/t/")
    s3cmd("sync", f"{bucket}/t/", f"{back}/")
    assert read_tree(back) == contents
    assert len(s3cmd("ls", "-r", bucket).splitlines()) == len(contents)
    s3cmd("cp", f"{bucket}/t/small.txt", f"{bucket}/copy")
    s3cmd("mv", f"{bucket}/copy", f"{bucket}/moved")
    s3cmd("get", f"{bucket}/moved", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"hello"
    assert "MD5" in s3cmd("info", f"{bucket}/t/big")
    url = s3cmd("signurl", f"{bucket}/moved", "+60").strip()
    with urllib.request.urlopen(url) as reply:  # noqa: S310 -- our own server's URL
        assert reply.read() == b"hello"
    (tmp_path / "out").write_bytes(b"he")
    s3cmd("get", "--continue", f"{bucket}/moved", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"hello"
    large = make_large(tmp_path / "large", 12)
    s3cmd("put", str(large), f"{bucket}/large")
    s3cmd("get", f"{bucket}/large", str(tmp_path / "large2"))
    assert (tmp_path / "large2").read_bytes() == large.read_bytes()
    s3cmd("del", "-r", "-f", bucket)
    s3cmd("rb", bucket)
