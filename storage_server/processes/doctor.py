"""Checks of the machine and the installation, each with a remedy when it fails."""

import asyncio
import enum
import errno
import fcntl
import mmap
import os
import platform
import resource
import shutil
import ssl
import stat
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from storage_server import config
from storage_server.core import limits
from storage_server.core.clock import SystemClock
from storage_server.crypto.keyring import MASTER_NAME
from storage_server.engine.drivers.ballast import BACKUP_BARRIER
from storage_server.engine.space import kept_free
from storage_server.processes import wiring
from storage_server.processes.control_db_faults import place_of, reason_of
from storage_server.processes.datafolder import (
    DataFolder,
    Layout,
    as_owner,
    file_system_of,
    is_role_taken,
    refuse_lost_parts,
)
from storage_server.processes.errors import StartError
from storage_server.processes.listening import (
    certificate_worries,
    hold_port,
    is_listened_on,
    tls_context,
)
from storage_server.processes.state import InstanceState
from storage_server.services.account_views import AuditProof, Verified
from storage_server.services.control import ControlUnavailable

FSYNC_TRIES: Final = 32
FSYNC_SLOW_S: Final = 0.02  # a disk of its own answers in less; above it each write will be felt
OPEN_FILES_MIN: Final = 4096
DIFFERENCES_SHOWN: Final = 5
BARRIER_OLD_S: Final = 86_400  # longer than a copy of anything should take
YEAR_2025_S: Final = 1_735_689_600


class Level(enum.StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's outcome; ``remedy`` is empty when all is well."""

    level: Level
    check: str
    text: str
    remedy: str = ""


def examine(options: config.Options) -> list[Finding]:
    """Run every check.

    Nothing is changed but a small file that is written and removed, and that control changes which
    a crash cut short are finished.
    """
    layout = Layout(options.folder.data_dir)
    is_running = is_role_taken(layout, "serve")
    place = _nearest_folder(layout.root)
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        lambda: _folder(layout, place),
        lambda: _file_system(place),
        lambda: _space(place, options.storage),
        lambda: _barrier(layout),
        lambda: _disk(place),
        lambda: _flushes(layout, is_running=is_running),
        lambda: _keys(layout, options.folder),
        lambda: _accounts(options, layout),
        _limits,
        _clock,
        lambda: _tls(options.listen),
        lambda: _ports(options.listen, is_running=is_running),
    )
    return [finding for check in checks for finding in check()]


def _versions() -> Iterator[Finding]:
    yield Finding(
        Level.OK,
        "versions",
        f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}, Linux {platform.release()}",
    )


def _folder(layout: Layout, place: Path) -> Iterator[Finding]:
    if not layout.root.exists():
        if os.access(place, os.W_OK | os.X_OK):
            yield Finding(Level.OK, "data folder", f"{layout.root} will be made at first start")
        else:
            yield Finding(
                Level.FAIL,
                "data folder",
                f"{layout.root} can't be made: {place} is not writable",
                f"make {layout.root} for this user, or set data_dir",
            )
        return
    about = layout.root.stat()
    if os.geteuid() not in {about.st_uid, 0}:
        yield Finding(
            Level.FAIL,
            "data folder",
            f"{layout.root} belongs to another user",
            "run as that user, or chown the folder",
        )
    elif stat.S_IMODE(about.st_mode) & 0o077:
        yield Finding(
            Level.WARN,
            "data folder",
            f"{layout.root} is open to other users",
            f"chmod 700 {layout.root}",
        )
    else:
        yield Finding(Level.OK, "data folder", str(layout.root))


def _file_system(place: Path) -> Iterator[Finding]:
    kind = file_system_of(place)
    try:
        with _Scratch(place) as folder:
            _try_locks(folder / "lock")
    except OSError as error:
        if error.errno == errno.EROFS:
            yield Finding(
                Level.FAIL,
                "file system",
                f"{place} is mounted read-only",
                "mount it for writing; if the kernel did this, look at the disk first",
            )
            return
        yield Finding(
            Level.FAIL,
            "file system",
            f"{kind or 'unknown'} does not lock or map files: {error.strerror}",
            "use a local file system such as ext4 or XFS",
        )
        return
    if kind == "tmpfs":
        yield Finding(
            Level.WARN, "file system", "tmpfs forgets everything at power-off", "use a disk"
        )
        return
    yield Finding(Level.OK, "file system", f"{kind or 'unknown'}, with locks and shared maps")


def _try_locks(path: Path) -> None:
    with path.open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as page:
            page[0] = 1


def _space(place: Path, storage: config.StorageOptions) -> Iterator[Finding]:
    usage = shutil.disk_usage(place)
    inodes = os.statvfs(place)
    reserve, _ = kept_free(storage.space_reserve_bytes, usage.total)
    text = f"{usage.free / limits.GIB:.1f} GiB free"
    if usage.free < reserve:
        yield Finding(
            Level.FAIL,
            "disk space",
            f"{text}, less than the reserve ({reserve // limits.MIB} MiB): writes are refused",
            "free space, or lower space_reserve",
        )
    elif inodes.f_files and inodes.f_favail * 50 < inodes.f_files:
        yield Finding(Level.WARN, "disk space", "under 2 % of inodes are free", "remove files")
    else:
        yield Finding(Level.OK, "disk space", text)


def _barrier(layout: Layout) -> Iterator[Finding]:
    """Warn of a backup's barrier that was left behind; say nothing of one that is in use."""
    barrier = layout.root / BACKUP_BARRIER
    try:
        stands_s = time.time() - barrier.stat().st_mtime
    except OSError:
        return  # there is none, or no folder that can be looked into, which is told by itself
    if stands_s > BARRIER_OLD_S:
        yield Finding(
            Level.WARN,
            "disk space",
            f"{barrier} stands for {stands_s / 86_400:.0f} days: no space is given back meanwhile",
            "remove it when no backup is running",
        )


def _disk(place: Path) -> Iterator[Finding]:
    try:
        with _Scratch(place) as folder:
            flush_s = _flush_time(folder / "flush")
            has_direct = _has_direct_io(folder / "direct")
    except OSError as error:
        yield Finding(
            Level.FAIL, "flush", f"can't write to {place}: {error.strerror}", "check the disk"
        )
        return
    text = f"fdatasync takes {flush_s * 1000:.2f} ms (median of {FSYNC_TRIES})"
    if flush_s > FSYNC_SLOW_S:
        yield Finding(
            Level.WARN, "flush", text, "each acknowledged write waits for this: use a faster disk"
        )
    else:
        yield Finding(Level.OK, "flush", text)
    if has_direct:
        yield Finding(Level.OK, "direct I/O", "supported")
    else:
        yield Finding(
            Level.WARN,
            "direct I/O",
            "not supported here: large writes go through the page cache",
            "use ext4 or XFS for speed",
        )


def _flush_time(path: Path) -> float:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        times = []
        for number in range(FSYNC_TRIES):
            os.pwrite(descriptor, bytes(4096), number * 4096)
            before = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - before)
        return statistics.median(times)
    finally:
        os.close(descriptor)


def _has_direct_io(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as page:
            return os.pwritev(descriptor, [page], 0) == mmap.PAGESIZE
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _keys(layout: Layout, folder: config.FolderOptions) -> Iterator[Finding]:
    if not layout.keys.is_dir():
        yield Finding(Level.OK, "keys", "none yet; they are made at first start")
        return
    try:
        names = sorted(path.name for path in layout.keys.iterdir() if _is_exposed(path))
    except PermissionError:
        yield Finding(
            Level.FAIL, "keys", f"can't read {layout.keys}", "run as the user of the server"
        )
        return
    if names:
        yield Finding(
            Level.FAIL,
            "keys",
            f"other users can read {', '.join(names)} in {layout.keys}",
            f"chmod 600 {layout.keys}/*",
        )
    elif folder.master_key or folder.passphrase or not layout.keyring.exists():
        yield Finding(Level.OK, "keys", "readable by their owner only")
    elif not (layout.keys / MASTER_NAME).exists():
        yield Finding(
            Level.FAIL,
            "keys",
            f"the master key is neither in {layout.keys} nor in the settings",
            f"put {MASTER_NAME} back, or name the file with it in HOLDFAST_MASTER_KEY_FILE",
        )
    else:
        yield Finding(
            Level.WARN,
            "keys",
            "the master key lies on the disk that it protects",
            "for protection against a stolen disk, keep it elsewhere: "
            "HOLDFAST_MASTER_KEY_FILE or a passphrase",
        )


def _accounts(options: config.Options, layout: Layout) -> Iterator[Finding]:
    """Prove that what the data path obeys is what the control database says."""
    url = wiring.control_db_url(options.folder, layout)
    try:
        refuse_lost_parts(layout)
        if not (layout.meta / "data.mdb").exists():
            yield Finding(Level.OK, "accounts", "none yet; they are made at first start")
            return
        verified, proof = asyncio.run(_verify(options, layout))
    except ControlUnavailable as error:
        yield Finding(
            Level.FAIL,
            "accounts",
            f"the control database at {place_of(url)} can't be used: {reason_of(error, url)}",
            "bring it back; until then S3 keeps serving what is in force, and accounts stay as "
            "they are",
        )
        return
    except StartError as error:
        yield Finding(Level.FAIL, "accounts", str(error), "the server does not start before that")
        return
    yield from _compared(verified)
    yield _proven(proof)


def _compared(verified: Verified) -> Iterator[Finding]:
    if not verified.differences:
        yield Finding(
            Level.OK, "accounts", f"{verified.values_count} values, in force as they are kept"
        )
        return
    shown = verified.differences[:DIFFERENCES_SHOWN]
    rest = len(verified.differences) - len(shown)
    more = f"; and {rest} more" if rest else ""
    yield Finding(
        Level.FAIL, "accounts", "; ".join(shown) + more, "run holdfast projection rebuild"
    )


def _proven(proof: AuditProof) -> Finding:
    """Say whether everything that was written to the audit is still there."""
    if proof.broken_at is None:
        waiting = proof.buckets_waiting
        more = f"; changes of {waiting} buckets wait to be written to it" if waiting else ""
        sentence = f"{proof.rows_count} rows, none changed or missing{more}"
        return Finding(Level.OK, "audit", sentence)
    return Finding(
        Level.FAIL,
        "audit",
        f"row {proof.broken_at}, or one before it, was changed or removed",
        "find out who can write to the control database, and compare it with a backup",
    )


async def _verify(options: config.Options, layout: Layout) -> tuple[Verified, AuditProof]:
    with as_owner(layout.root), DataFolder.open(layout.root, create=False) as folder:
        state = InstanceState.open(folder.layout.state)
        async with wiring.opened(options, folder.layout, state, SystemClock()) as graph:
            accounts = graph.services.accounts
            return await accounts.projection.verify(), await accounts.audit.verify()


def _is_exposed(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _limits() -> Iterator[Finding]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # the server takes all it may
    if files != resource.RLIM_INFINITY and files < OPEN_FILES_MIN:
        yield Finding(
            Level.WARN,
            "limits",
            f"{files} open files per process",
            f"raise it to {OPEN_FILES_MIN} or more: ulimit -n, or LimitNOFILE= in the unit",
        )
        return
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY and space < 64 * limits.GIB:
        yield Finding(
            Level.WARN,
            "limits",
            f"address space is limited to {space // limits.GIB} GiB",
            "remove the limit (ulimit -v unlimited): the metadata map is reserved once",
        )
        return
    yield Finding(Level.OK, "limits", f"{files} open files, address space unlimited")


def _clock() -> Iterator[Finding]:
    now = time.time()
    if now < YEAR_2025_S:
        yield Finding(
            Level.FAIL,
            "clock",
            f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}",
            "set the clock: signatures more than 15 minutes off are refused",
        )
        return
    synchronised = Path("/run/systemd/timesync/synchronized").exists()
    said = "synchronised" if synchronised else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    yield Finding(Level.OK, "clock", said)


def _tls(listen: config.ListenOptions) -> Iterator[Finding]:
    try:
        context = tls_context(listen)
    except StartError as error:
        yield Finding(
            Level.FAIL, "TLS", str(error), "give a certificate and key that belong together"
        )
        return
    if context is None:
        yield Finding(
            Level.OK, "TLS", "off: put a proxy in front, or set tls_certificate and tls_key"
        )
        return
    worries = certificate_worries(listen, datetime.now(UTC))
    for worry in worries:
        level = Level.FAIL if worry.is_fatal else Level.WARN
        yield Finding(level, "TLS", worry.text, worry.remedy)
    if not worries:
        yield Finding(Level.OK, "TLS", f"certificate {listen.tls_certificate}")


def _flushes(layout: Layout, *, is_running: bool) -> Iterator[Finding]:
    """Say what the running server makes of its disk."""
    if not is_running:
        return
    try:
        state = InstanceState.open(layout.state)
    except OSError:
        return  # on a full disk, which is told by itself, there is none to be had
    try:
        if state.is_read_only():
            yield Finding(
                Level.FAIL,
                "writing",
                "the running server is read-only: its disk failed to flush, twice in ten minutes",
                "look at the disk and the system's log, then start the server anew",
            )
        elif state.is_stopped():
            yield Finding(
                Level.WARN,
                "writing",
                f"the running server recovers from a failed flush ({state.reason()})",
                "look at the disk and the system's log",
            )
        else:
            yield Finding(Level.OK, "writing", "no flush failed of late in the running server")
    finally:
        state.close()


def _ports(listen: config.ListenOptions, *, is_running: bool) -> Iterator[Finding]:
    for setting, address in (("s3_listen", listen.s3), ("console_listen", listen.console)):
        if is_running and address.port:
            yield _port_of_running(address, setting)
            continue
        try:
            hold_port(address, setting).close()
        except StartError as error:
            yield Finding(Level.FAIL, f"port {address.port}", str(error), f"change {setting}")
        else:
            yield Finding(Level.OK, f"port {address.port}", "free")


def _port_of_running(address: config.Address, setting: str) -> Finding:
    name = f"port {address.port}"
    if is_listened_on(address):
        return Finding(Level.OK, name, "the server of this folder is running")
    return Finding(
        Level.WARN,
        name,
        "nobody listens there, but a server of this folder is running",
        f"give doctor the settings of that server: {setting} is another one",
    )


def _nearest_folder(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path


class _Scratch:
    """A folder that is removed at the end."""

    def __init__(self, place: Path) -> None:
        self._folder = TemporaryDirectory(prefix=".doctor-", dir=place)

    def __enter__(self) -> Path:
        return Path(self._folder.__enter__())

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()
