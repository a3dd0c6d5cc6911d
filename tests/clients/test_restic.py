"""restic: a repository of backups, checked by itself with all its data."""

from pathlib import Path

from tests.clients.commands import find_program, make_large, make_tree, read_tree, run
from tests.servers import Server, fresh_name
from tests.signing import Keys


def test_restic_backs_up_and_restores(server: Server, alice: Keys, tmp_path: Path) -> None:
    """Init, two backups, check --read-data, restore, forget and prune."""
    program = find_program("restic", "the package restic")
    env = {
        "RESTIC_REPOSITORY": f"s3:{server.url}/{fresh_name()}/repo",
        "RESTIC_PASSWORD": "password",
        "AWS_ACCESS_KEY_ID": alice.access_key,
        "AWS_SECRET_ACCESS_KEY": alice.secret_key,
    }

    def restic(*arguments: str) -> str:
        return run(program, "--no-cache", *arguments, env=env, home=tmp_path)

    tree = tmp_path / "tree"
    contents = make_tree(tree)
    make_large(tree / "large", 20)
    contents["large"] = (tree / "large").read_bytes()
    restic("init")
    restic("backup", str(tree))
    (tree / "later").write_bytes(b"later")
    restic("backup", str(tree))
    restic("check", "--read-data")
    restic("restore", "latest", "--target", str(tmp_path / "back"))
    back = tmp_path / "back" / tree.relative_to(tree.anchor)
    assert read_tree(back) == contents | {"later": b"later"}
    restic("forget", "--keep-last", "1", "--prune")
    restic("check")
