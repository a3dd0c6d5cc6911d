"""The data folder: its layout, its format, and the locks that keep two instances off it."""

import errno
import fcntl
import json
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from storage_server.core import file_locks
from storage_server.processes.errors import EXIT_CONFIG, StartError

FORMAT: Final = 1
FORMAT_LINE: Final = "holdfast data folder, format"

NETWORK_FILE_SYSTEMS: Final = frozenset(
    # Their locks and shared memory maps do not hold between machines, and some not even on one.
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "ocfs2", "gfs2"}
)
FUSE_PREFIX: Final = "fuse"

LOCK_WAIT_S: Final = 1.0
"""How long another process's look at the folder's lock is waited for; it takes microseconds."""

_LOCK_RETRY_S: Final = 0.01

SINGLE_ROLES: Final = ("serve", "console", "jobs")
"""Roles of which one data folder has at most one process."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie below the data folder."""

    root: Path

    @property
    def meta(self) -> Path:
        """The metadata environment."""
        return self.root / "meta"

    @property
    def objects(self) -> Path:
        """Ciphertext only."""
        return self.root / "objects"

    @property
    def keys(self) -> Path:
        """The wrapped keyring."""
        return self.root / "keys"

    @property
    def keyring(self) -> Path:
        """The root keys, sealed by the master key."""
        return self.keys / "keyring.json"

    @property
    def control_db(self) -> Path:
        """Accounts, keys and policies, unless the settings name another database."""
        return self.root / "control.db"

    @property
    def run(self) -> Path:
        """What only lives while processes do: locks, the shared state, the admin socket."""
        return self.root / "run"

    @property
    def lock(self) -> Path:
        """Held shared by every process on the folder, exclusively by a repair."""
        return self.root / "lock"

    @property
    def format(self) -> Path:
        """One line that names the format's version."""
        return self.root / "format"

    @property
    def state(self) -> Path:
        """The shared memory of all processes of the instance."""
        return self.run / "state"

    @property
    def admin_socket(self) -> Path:
        """Where the command line reaches a running instance."""
        return self.run / "admin.sock"

    @property
    def denials(self) -> Path:
        """The rings of recent refusals, one for each process that refused something."""
        return self.run / "denials"

    @property
    def rates(self) -> Path:
        """The shared counters of requests and bytes a second."""
        return self.run / "rates"

    def role_lock(self, role: str) -> Path:
        """The lock of a role that must be single."""
        return self.run / f"{role}.lock"


class DataFolder:
    """A data folder that this process has opened and holds a lock on until ``close``."""

    def __init__(self, layout: Layout, descriptors: list[int]) -> None:
        """Use ``open``."""
        self.layout = layout
        self._descriptors = descriptors

    @classmethod
    def open(cls, root: Path, *, create: bool, alone: bool = False) -> Self:
        """Lock the folder, shared or (``alone``) exclusively, and check that it can be used.

        Raises:
            StartError: It is absent (and not to be made), foreign, another user's, too new,
                without its metadata or keyring, on a file system without the locks it needs, or
                held by processes that exclude this one.
        """
        layout = Layout(root)
        _make_root(root, create=create)
        refuse_file_system(root)
        _check_format(layout, create=create)
        if create:
            refuse_other_owner(layout.format, os.geteuid())
        for folder in (layout.run, layout.meta, layout.objects, layout.keys):
            _make_folder(folder)
        refuse_lost_parts(layout)
        opened = cls(layout, [])
        try:
            opened._lock_shared_or_alone(alone=alone)
        except BaseException:
            opened.close()
            raise
        return opened

    def take_role(self, role: str) -> int:
        """Hold the lock of a single role and return its descriptor, which ``close`` closes.

        Raises:
            StartError: Another process has the role.
        """
        assert role in SINGLE_ROLES
        descriptor = _open_lock(self.layout.role_lock(role))
        if not _try_role(descriptor):
            os.close(descriptor)
            raise StartError(_taken_sentence(role, self.layout.root), EXIT_CONFIG)
        self._descriptors.append(descriptor)
        return descriptor

    def adopt(self, descriptor: int) -> None:
        """Keep a lock that the supervisor handed down; ``close`` closes it."""
        os.set_inheritable(descriptor, False)
        self._descriptors.append(descriptor)

    def close(self) -> None:
        """Let go of every lock."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        """Return the folder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _lock_shared_or_alone(self, *, alone: bool) -> None:
        descriptor = _open_lock(self.layout.lock)
        self._descriptors.append(descriptor)
        ours = _kernel_and_namespace()
        deadline_s = time.monotonic() + LOCK_WAIT_S
        while not _take(descriptor, ours, self.layout.state, alone=alone):
            # The first process on a folder holds its lock exclusively for an instant.
            if time.monotonic() > deadline_s:
                raise StartError(_held_sentence(self.layout.root, alone=alone))
            time.sleep(_LOCK_RETRY_S)
        if _read_record(descriptor) != ours:
            raise StartError(
                f"{self.layout.root} is in use by processes of another host or PID namespace: "
                "run all of them in one (in Kubernetes: shareProcessNamespace).",
                EXIT_CONFIG,
            )


def is_role_taken(layout: Layout, role: str) -> bool:
    """Tell whether a process holds the lock of a single role at this moment.

    Looks without taking it, so that a server that starts just now is not refused.
    """
    try:
        descriptor = os.open(layout.role_lock(role), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, file_locks.exclusive())
    finally:
        os.close(descriptor)
    return file_locks.is_taken(found)


def refuse_other_owner(path: Path, user_id: int) -> None:
    """Check that a server runs as the user whose data these are.

    Root could write there, but what it makes its owner could not read afterwards.

    Raises:
        StartError: They are another user's.
    """
    owner_id = path.stat().st_uid
    if owner_id != user_id:
        raise StartError(
            f"{path.parent} belongs to the user {_user_name(owner_id)}: run the server as that "
            "user, or give the folder and all that is in it to this one (chown -R).",
            EXIT_CONFIG,
        )


@contextmanager
def as_owner(root: Path) -> Iterator[None]:
    """Work as the user whose data folder it is, if this is root: for commands on a stopped folder.

    What root made there, a lock or a folder of locks, would keep the owner's server from starting.
    """
    try:
        about = Layout(root).format.stat()
    except OSError:  # there is none, or it can't be looked into: whoever opens it says so
        yield
        return
    user_id, group_id = os.geteuid(), os.getegid()
    if user_id != 0 or about.st_uid == 0:
        yield
        return
    os.setegid(about.st_gid)
    os.seteuid(about.st_uid)
    try:
        yield
    finally:
        os.seteuid(user_id)
        os.setegid(group_id)


def refuse_file_system(path: Path) -> None:
    """Check that locks and shared maps hold where the path lies.

    Raises:
        StartError: It is a network or user-space file system.
    """
    kind = file_system_of(path)
    if kind in NETWORK_FILE_SYSTEMS or kind.startswith(FUSE_PREFIX):
        raise StartError(
            f"{path} is on {kind}, which lacks the locks that the store relies on: "
            "use a local file system such as ext4 or XFS.",
            EXIT_CONFIG,
        )


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system that a path lies on, or an empty text."""
    target = path.resolve()
    best, kind = -1, ""
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        mount_point = Path(_unescape(before.split(" ")[4]))
        # A later mount on the same point hides the earlier one.
        if target.is_relative_to(mount_point) and len(mount_point.parts) >= best:
            best, kind = len(mount_point.parts), after.split(" ")[0]
    return kind


def _unescape(text: str) -> str:
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, plain)
    return text


def _make_root(root: Path, *, create: bool) -> None:
    if root.is_dir():
        return
    if not create:
        raise StartError(f"There is no data folder {root}: start the server once, or set data_dir.")
    _make_folder(root)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"Can't make the folder {folder}: {error.strerror}. "
            "Make it for this user, or set data_dir.",
            EXIT_CONFIG,
        ) from None


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def refuse_lost_parts(layout: Layout) -> None:
    """Check that what only a first start makes is there: made anew, it would hide the loss.

    Raises:
        StartError: The metadata or the keyring is gone, and something else is not.
    """
    has_metadata = _is_filled(layout.meta / "data.mdb")
    if has_metadata and not layout.keyring.exists():
        raise StartError(
            f"{layout.root} has lost {layout.keyring.name}, without which nothing in it can be "
            "read: restore it into keys/ from a backup. Nothing was changed.",
            EXIT_CONFIG,
        )
    has_objects = layout.objects.is_dir() and any(layout.objects.iterdir())
    if not has_metadata and (has_objects or layout.control_db.exists()):
        raise StartError(
            f"{layout.root} has lost its metadata (meta/data.mdb): restore the whole folder from "
            "a backup. Nothing was changed.",
            EXIT_CONFIG,
        )


def _is_filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _check_format(layout: Layout, *, create: bool) -> None:
    try:
        line = layout.format.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        _begin_format(layout, create=create)
        return
    except OSError as error:
        raise StartError(
            f"Can't read {layout.format}: {error.strerror}. {_remedy(error)}", EXIT_CONFIG
        ) from None
    words, _, version = line.rpartition(" ")
    if words != FORMAT_LINE or not version.isdigit():
        raise StartError(f"{layout.format} is damaged: it should say '{FORMAT_LINE} {FORMAT}'.")
    if int(version) > FORMAT:
        raise StartError(
            f"{layout.root} was written by a newer program (format {version}, this one reads "
            f"{FORMAT}): install the newer version.",
            EXIT_CONFIG,
        )


def _begin_format(layout: Layout, *, create: bool) -> None:
    """Say durably whose the folder is, before anything else is put into it.

    A start that was killed here leaves a draft, which makes the folder nobody else's.
    """
    names = {entry.name for entry in layout.root.iterdir()} - _OURS_BEFORE_FORMAT
    foreign = {name for name in names if not name.startswith(_DRAFT)}
    if foreign or not create:
        raise StartError(
            f"{layout.root} is not a Holdfast data folder: give an empty or absent folder.",
            EXIT_CONFIG,
        )
    temporary = layout.root / f"{_DRAFT}{os.getpid()}"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
            file.write(f"{FORMAT_LINE} {FORMAT}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(layout.format)
        _sync_folder(layout.root)
    except OSError as error:
        raise StartError(
            f"Can't write into {layout.root}: {error.strerror}. Give it to this user, or set "
            "data_dir.",
            EXIT_CONFIG,
        ) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_DRAFT: Final = ".format-"
_OURS_BEFORE_FORMAT: Final = frozenset(
    {"lost+found", "holdfast.toml", "lock", "run", "meta", "objects", "keys"}
)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(
            f"Can't open {path}: {error.strerror}. {_remedy(error)}", EXIT_CONFIG
        ) from None


def _remedy(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "Mount it for writing; if the kernel did this, look at the disk first."
    if isinstance(error, PermissionError):
        return "Run as the folder's owner."
    return "Look at the disk."


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(descriptor: int, ours: dict[str, str], state: Path, *, alone: bool) -> bool:
    """Take the folder's lock, shared or alone.

    The first to come writes down where it runs, and forgets what an earlier life had in common:
    a flush that failed then stops nobody now.
    """
    if not _try_lock(descriptor, fcntl.LOCK_EX):
        return not alone and _try_lock(descriptor, fcntl.LOCK_SH)
    _write_record(descriptor, ours)
    state.unlink(missing_ok=True)
    # Going from exclusive to shared is not atomic: another process may get in between, which is
    # why the record is read by whoever holds the lock shared.
    return alone or _try_lock(descriptor, fcntl.LOCK_SH)


def _try_role(descriptor: int) -> bool:
    """Take a role's lock, which lives as long as any copy of the descriptor, also a child's."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, file_locks.exclusive())
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def _held_sentence(root: Path, *, alone: bool) -> str:
    if alone:
        return f"{root} is in use: stop the server (and every holdfast command) first."
    return f"{root} is being repaired: wait until fsck has finished."


def _kernel_and_namespace() -> dict[str, str]:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return {"boot_id": boot_id, "pid_namespace": str(Path("/proc/self/ns/pid").readlink())}


def _write_record(descriptor: int, record: dict[str, str]) -> None:
    text = json.dumps(record).encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text, 0)


def _read_record(descriptor: int) -> object:
    try:
        return json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None


def _taken_sentence(role: str, root: Path) -> str:
    if role == "serve":
        return f"Another holdfast serve runs on {root}: stop it, or give this one its own data_dir."
    return f"Another process has the role '{role}' on {root}: stop it first."
