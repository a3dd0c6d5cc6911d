"""The data folder: who may open it, and what is refused with which sentence."""

import fcntl
import json
import os
import shutil
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from storage_server.processes.datafolder import (
    DataFolder,
    as_owner,
    file_system_of,
    is_role_taken,
    refuse_file_system,
    refuse_other_owner,
)
from storage_server.processes.errors import StartError
from storage_server.processes.state import InstanceState


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    """The folder and everything in it is its owner's alone."""
    root = tmp_path / "data"
    with DataFolder.open(root, create=True) as folder:
        assert folder.layout.format.read_text() == "holdfast data folder, format 1\n"
        for path in (root, folder.layout.run, folder.layout.keys, folder.layout.objects):
            assert path.stat().st_mode & 0o777 == 0o700
        files = [path for path in root.rglob("*") if path.is_file()]
        assert folder.layout.format in files
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_several_processes_share_a_folder_but_a_repair_is_alone(tmp_path: Path) -> None:
    """Every process holds the lock shared; fsck --repair holds it exclusively."""
    root = tmp_path / "data"
    with (
        DataFolder.open(root, create=True),
        DataFolder.open(root, create=False),
        pytest.raises(StartError, match="is in use"),
    ):
        DataFolder.open(root, create=False, alone=True)
    with (
        DataFolder.open(root, create=False, alone=True),
        pytest.raises(StartError, match="is being repaired"),
    ):
        DataFolder.open(root, create=False)


def test_a_role_has_one_process(tmp_path: Path) -> None:
    """A role that must be single is refused to the second, until the first has gone."""
    root = tmp_path / "data"
    with DataFolder.open(root, create=True) as first:
        first.take_role("serve")
        assert is_role_taken(first.layout, "serve")
        assert not is_role_taken(first.layout, "jobs")
        with (
            DataFolder.open(root, create=False) as second,
            pytest.raises(StartError, match="Another holdfast serve runs on"),
        ):
            second.take_role("serve")
    with DataFolder.open(root, create=False) as later:
        later.take_role("serve")


def test_a_look_at_a_role_takes_nothing(tmp_path: Path) -> None:
    """A command that looks whether a server runs must not keep one from starting."""
    root = tmp_path / "data"
    with DataFolder.open(root, create=True) as folder:
        folder.take_role("serve")
        inherited = os.dup(folder.take_role("jobs"))
    assert not is_role_taken(folder.layout, "serve")
    assert is_role_taken(folder.layout, "jobs")  # a child has the descriptor still
    os.close(inherited)
    assert not is_role_taken(folder.layout, "jobs")

    refused: list[StartError] = []
    ending = threading.Event()

    def look() -> None:
        while not ending.is_set():
            is_role_taken(folder.layout, "serve")

    def open_again() -> None:
        for _ in range(200):
            try:
                DataFolder.open(root, create=False).close()
            except StartError as error:
                refused.append(error)

    looking = threading.Thread(target=look)
    opening = [threading.Thread(target=open_again) for _ in range(2)]
    for thread in (looking, *opening):
        thread.start()
    for _ in range(200):
        with DataFolder.open(root, create=False) as later:
            later.take_role("serve")
    ending.set()
    for thread in (looking, *opening):
        thread.join()
    assert refused == []


def test_a_failed_flush_is_forgotten_with_its_instance(tmp_path: Path) -> None:
    """A command on a stopped folder is not stopped by what happened before; one beside it is."""
    root = tmp_path / "data"
    with DataFolder.open(root, create=True) as folder:
        InstanceState.open(folder.layout.state).stop("the disk said no")
        with DataFolder.open(root, create=False) as beside:
            assert InstanceState.open(beside.layout.state).is_stopped()
    with DataFolder.open(root, create=False) as later:
        assert not InstanceState.open(later.layout.state).is_stopped()


def test_another_kernel_or_namespace_is_refused(tmp_path: Path) -> None:
    """Locks do not reach across PID namespaces, so neither may processes."""
    root = tmp_path / "data"
    DataFolder.open(root, create=True).close()
    with (root / "lock").open("r+") as held:
        held.write(json.dumps({"boot_id": "other", "pid_namespace": "pid:[1]"}))
        held.truncate()
        held.flush()
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(StartError, match="another host or PID namespace"):
            DataFolder.open(root, create=False)
    DataFolder.open(root, create=False).close()  # nobody holds it any more: a stale record


def test_a_first_start_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    """What it left of the format's file makes the folder nobody else's."""
    root = tmp_path / "data"
    root.mkdir()
    (root / ".format-4711").write_text("holdfast data")
    with DataFolder.open(root, create=True) as folder:
        assert folder.layout.format.read_text() == "holdfast data folder, format 1\n"


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """What a newer program wrote is left alone."""
    root = tmp_path / "data"
    DataFolder.open(root, create=True).close()
    (root / "format").write_text("holdfast data folder, format 2\n")
    with pytest.raises(StartError, match="newer program"):
        DataFolder.open(root, create=True)
    (root / "format").write_text("?")
    with pytest.raises(StartError, match="damaged"):
        DataFolder.open(root, create=True)


def test_a_foreign_or_absent_folder_is_refused(tmp_path: Path) -> None:
    """A folder with other people's files is never taken over, and none is made for a command."""
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StartError, match="not a Holdfast data folder"):
        DataFolder.open(tmp_path, create=True)
    with pytest.raises(StartError, match="There is no data folder"):
        DataFolder.open(tmp_path / "none", create=False)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_file_systems_without_locks_are_known(kind: str, tmp_path: Path) -> None:
    """The mount with the longest path decides, and blanks in it are understood."""
    mounts = tmp_path / "mountinfo"
    here = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:50 / {here} rw shared:1 - {kind} host:/x rw\n"
    )
    assert file_system_of(tmp_path / "data", mounts) == kind
    assert file_system_of(Path("/"), mounts) == "ext4"
    refuse_file_system(tmp_path)  # the real one has locks


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("left", ["control.db", "objects/0123456789abcdef"])
def test_a_folder_that_lost_its_metadata_is_not_begun_anew(
    tmp_path: Path, left: str, *, is_cut: bool
) -> None:
    """An empty store in its place would call every object an orphan, and a repair remove it."""
    root = tmp_path / "data"
    DataFolder.open(root, create=True).close()
    (root / left).mkdir()
    if is_cut:
        (root / "meta" / "data.mdb").touch()
    for create in (True, False):
        with pytest.raises(StartError, match="has lost its metadata"):
            DataFolder.open(root, create=create)


def test_a_folder_that_lost_its_keyring_is_given_no_other(tmp_path: Path) -> None:
    """With new keys the server would run, and no object could be read."""
    root = tmp_path / "data"
    DataFolder.open(root, create=True).close()
    (root / "meta" / "data.mdb").write_bytes(b"rows")
    for create in (True, False):
        with pytest.raises(StartError, match=r"has lost keyring\.json"):
            DataFolder.open(root, create=create)
    (root / "keys" / "keyring.json").touch()
    DataFolder.open(root, create=True).close()


def test_a_server_runs_as_the_user_whose_folder_it_is(tmp_path: Path) -> None:
    """What root would write there, the owner could not read at its next start."""
    path = tmp_path / "format"
    path.touch()
    refuse_other_owner(path, os.geteuid())
    with pytest.raises(StartError, match="belongs to the user"):
        refuse_other_owner(path, os.geteuid() + 1)


def test_what_root_does_on_a_stopped_folder_is_done_as_its_owner() -> None:
    """Locks and folders that were root's would keep the owner's server from starting."""
    nobody = 65534 if os.geteuid() == 0 else os.geteuid()
    with TemporaryDirectory() as name:
        root = Path(name) / "data"
        root.mkdir(mode=0o700)
        with DataFolder.open(root, create=True):
            pass
        shutil.rmtree(root / "run")
        Path(name).chmod(0o755)
        for path in (root, *root.rglob("*")):
            os.chown(path, nobody, -1)
        with as_owner(root):
            assert os.geteuid() == nobody
            DataFolder.open(root, create=False).close()
        assert os.geteuid() == os.getuid()
        assert {path.stat().st_uid for path in root.rglob("*")} == {nobody}
        assert (root / "run").is_dir()


def test_what_is_no_folder_has_no_owner_to_work_as(tmp_path: Path) -> None:
    """Whoever opens it then says what is wrong."""
    path = tmp_path / "data"
    path.touch()
    with as_owner(path), pytest.raises(StartError):
        DataFolder.open(path, create=False)
