"""rclone: copy, check, sync, move, purge."""

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.commands import find_program, make_large, make_tree, read_tree, run
from tests.servers import IS_LONG, Server, boto_client, fresh_name
from tests.signing import Keys

Rclone = Callable[..., str]
LARGE_MIB = 2 * 1024 if IS_LONG else 64


@pytest.fixture
def rclone(server: Server, alice: Keys, tmp_path: Path) -> Rclone:
    """The program with a remote named ``hf``."""
    program = find_program("rclone", "the package rclone")
    env = {
        "RCLONE_CONFIG_HF_TYPE": "s3",
        "RCLONE_CONFIG_HF_PROVIDER": "Other",
        "RCLONE_CONFIG_HF_ENDPOINT": server.url,
        "RCLONE_CONFIG_HF_ACCESS_KEY_ID": alice.access_key,
        "RCLONE_CONFIG_HF_SECRET_ACCESS_KEY": alice.secret_key,
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
    }
    return lambda *arguments, **more: run(program, *arguments, env=env, home=tmp_path, **more)


def test_rclone_round_trip(rclone: Rclone, tmp_path: Path) -> None:
    """Sync there, check, sync back, delete a file and sync again, purge."""
    tree, back = tmp_path / "tree", tmp_path / "back"
    contents = make_tree(tree)
    remote = f"hf:{fresh_name()}"
    rclone("mkdir", remote)
    rclone("sync", str(tree), f"{remote}/t")
    rclone("check", str(tree), f"{remote}/t")
    rclone("check", "--download", str(tree), f"{remote}/t")
    rclone("copy", f"{remote}/t", str(back))
    assert read_tree(back) == contents
    (tree / "small.txt").unlink()
    rclone("sync", str(tree), f"{remote}/t")
    assert "small.txt" not in rclone("lsf", "-R", f"{remote}/t")
    rclone("moveto", f"{remote}/t/big", f"{remote}/moved")
    assert rclone("lsf", remote).split() == ["moved", "t/"]
    assert rclone("cat", "--offset", "5", "--count", "3", f"{remote}/moved") == (
        contents["big"][5:8].decode()
    )
    rclone("purge", remote)


def test_rclone_shares_and_knows_versions(
    rclone: Rclone, server: Server, alice: Keys, tmp_path: Path
) -> None:
    """A presigned link, and the version that an overwrite left."""
    bucket = fresh_name()
    rclone("mkdir", f"hf:{bucket}")
    boto_client(server.url, alice).put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    for body in (b"old", b"newer"):
        rclone("rcat", f"hf:{bucket}/k.txt", stdin=body)
    url = rclone("link", "--expire", "1m", f"hf:{bucket}/k.txt").strip()
    with urllib.request.urlopen(url) as reply:  # noqa: S310 -- our own server's URL
        assert reply.read() == b"newer"
    former, current = rclone("lsf", "--s3-versions", f"hf:{bucket}").split()
    assert current == "k.txt"
    assert rclone("cat", "--s3-versions", f"hf:{bucket}/{former}") == "old"


def test_rclone_uploads_in_parts(rclone: Rclone, tmp_path: Path) -> None:
    """A file above the cutoff, and a stream of unknown length."""
    large = make_large(tmp_path / "large", LARGE_MIB)
    remote = f"hf:{fresh_name()}"
    rclone("mkdir", remote)
    rclone("copyto", "--s3-upload-cutoff", "5Mi", str(large), f"{remote}/large")
    rclone("check", "--download", "--include", "large", str(tmp_path), remote)
    rclone("rcat", f"{remote}/stream", stdin=bytes(7_000_000))
    assert rclone("size", "--json", f"{remote}/stream").count("7000000") == 1


def test_rclone_lists_more_than_a_page(rclone: Rclone, tmp_path: Path) -> None:
    """1,100 small files."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1100):
        (many / f"{number:05}").write_bytes(b"")
    remote = f"hf:{fresh_name()}"
    rclone("copy", "--transfers", "16", "--s3-no-check-bucket", str(many), mkdir(rclone, remote))
    assert rclone("lsf", remote).split() == [f"{number:05}" for number in range(1100)]


def mkdir(rclone: Rclone, remote: str) -> str:
    """Make the bucket and return the remote."""
    rclone("mkdir", remote)
    return remote
