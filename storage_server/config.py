"""Settings: one table of rows, four sources, and the typed options that each layer is given."""

import difflib
import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from storage_server.console_api.options import ConsoleOptions
from storage_server.control_db.urls import kind_of
from storage_server.core import limits
from storage_server.outbound.options import OutboundOptions
from storage_server.s3_api.options import Network, S3Options
from storage_server.services.options import BootstrapOptions, TrafficOptions

ENVIRONMENT_PREFIX: Final = "HOLDFAST_"
CONFIG_VARIABLE: Final = "HOLDFAST_CONFIG"
TEST_VARIABLES: Final = "HOLDFAST_TEST_"  # read by the test-suite alone
CONFIG_FILE_NAME: Final = "holdfast.toml"
MASK: Final = "********"
SECRET_BYTES_MAX: Final = 4 * limits.KIB

KNOWN_DEFAULTS: Final = frozenset(
    {
        "minioadmin",
        "admin",
        "password",
        "admin123",
        "changeme",
        "secret",
        "root",
        "rustfsadmin",
        "holdfast",
        "test",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }
)


class ConfigError(Exception):
    """A setting can't be used; the sentence says which one and what to do."""


class Address(NamedTuple):
    """A host and a TCP port to listen on; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the form that ``parse_address`` reads."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


# --- The options of each layer ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """Where everything is kept, and what seals its keys."""

    data_dir: Path
    master_key: str
    passphrase: str
    control_db_url: str
    """Where accounts, keys and policies are kept; empty: an SQLite file in the data folder."""


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """The two ports and who may speak for a client."""

    s3: Address
    console: Address
    workers: int
    tls_certificate: Path | None
    tls_key: Path | None
    drain_s: int


@dataclass(frozen=True, slots=True)
class RootOptions:
    """The credential of the installation's root."""

    access_key: str
    secret_key: str
    display_name: str


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """How much of the disk is left alone."""

    space_reserve_bytes: int


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is written to standard output."""

    level: str
    format: str
    access_log: bool


@dataclass(frozen=True, slots=True)
class Options:
    """Every layer's options, typed and checked."""

    folder: FolderOptions
    listen: ListenOptions
    root: RootOptions
    s3: S3Options
    console: ConsoleOptions
    storage: StorageOptions
    logs: LogOptions
    outbound: OutboundOptions
    bootstrap: BootstrapOptions
    traffic: TrafficOptions


# --- Values: text to type; each raises ValueError with what is wanted ------------------------


def parse_text(text: str) -> str:
    """Return text without the blanks around it."""
    return text.strip()


def parse_path(text: str) -> Path:
    """Return a path, absolute, with ``~`` expanded."""
    if not text.strip():
        raise ValueError("a path")
    return Path(text).expanduser().absolute()


def parse_optional_path(text: str) -> Path | None:
    """Return a path, or None for an empty text."""
    return parse_path(text) if text.strip() else None


def parse_address(text: str) -> Address:
    """Return ``host:port``, ``[v6]:port`` or ``:port`` (all IPv4 addresses) as an Address."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("host:port, such as 0.0.0.0:8080 or [::]:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address in brackets, such as [::1]:8080")
    return Address(host or "0.0.0.0", int(port))  # noqa: S104 - an object store is for the network


def parse_bool(text: str) -> bool:
    """Return a switch."""
    value = _BOOLS.get(text.strip().lower())
    if value is None:
        raise ValueError("true or false")
    return value


_BOOLS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def parse_workers(text: str) -> int:
    """Return a number of processes; 0 is one for each core this process may use."""
    count = _parse_whole(text, 0, limits.WORKERS_MAX)
    return count or len(os.sched_getaffinity(0))


def parse_count(text: str) -> int:
    """Return a number from 0 to a million."""
    return _parse_whole(text, 0, 1_000_000)


def parse_seconds(text: str) -> int:
    """Return whole seconds, up to a day."""
    return _parse_whole(text.strip().removesuffix("s"), 1, 86_400)


def parse_size(text: str) -> int:
    """Return bytes from ``256MiB``, ``1GB`` (a thousand to the third) or a bare number."""
    found = re.fullmatch(r"(\d{1,18})\s*([KkMGT]i?B|B)?", text.strip(), re.ASCII)
    size_bytes = -1 if found is None else int(found[1]) * _SIZE_UNITS.get(found[2] or "B", -1)
    if not 0 <= size_bytes <= SIZE_BYTES_MAX:
        raise ValueError("a size such as 256MiB or 1GB")
    return size_bytes


SIZE_BYTES_MAX: Final = (1 << 63) - 1
"""More is no size of anything, and no column of a database holds it."""


_SIZE_UNITS: Final = {
    "B": 1,
    "KiB": limits.KIB,
    "MiB": limits.MIB,
    "GiB": limits.GIB,
    "TiB": limits.TIB,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}


def parse_domains(text: str) -> tuple[str, ...]:
    """Return host names, separated by commas, in lower case and without a port."""
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for name in names:
        if not re.fullmatch(r"(?!-)[a-z0-9.-]{1,253}(?<![.-])", name, re.ASCII):
            raise ValueError("host names separated by commas, such as s3.example.org")
    return names


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return networks, separated by commas; a bare address is a network of one."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        wanted = "addresses or networks separated by commas, such as 10.0.0.0/8"
        raise ValueError(wanted) from None


def parse_url(text: str) -> str:
    """Return an http or https origin without a path, or empty text."""
    url = text.strip().rstrip("/")
    if url and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", url, re.ASCII):
        raise ValueError("an address without a path, such as https://s3.example.org")
    return url


def parse_region(text: str) -> str:
    """Return a region's name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", text.strip(), re.ASCII):
        raise ValueError("lower-case letters, digits and dashes, such as us-east-1")
    return text.strip()


def parse_level(text: str) -> str:
    """Return the least severity that is logged."""
    return _parse_word(text, ("debug", "info", "warning", "error"))


def parse_format(text: str) -> str:
    """Return the form of a log line."""
    return _parse_word(text, ("json", "text"))


def parse_access_key(text: str) -> str:
    """Return an access key id that can stand in a credential scope and in a URL, or empty text."""
    if text and not re.fullmatch(r"[A-Za-z0-9+=,.@_-]{3,128}", text, re.ASCII):
        raise ValueError("3 to 128 letters, digits or +=,.@_- (no slash)")
    return text


def parse_secret_key(text: str) -> str:
    """Return a secret access key, or empty text."""
    if text and not re.fullmatch(r"[\x21-\x7e]{8,128}", text, re.ASCII):
        raise ValueError("8 to 128 printable characters without blanks")
    return text


def parse_master_key(text: str) -> str:
    """Return the master key, 32 bytes in hex or base64, or empty text."""
    key = text.strip()
    if key and not re.fullmatch(r"[0-9A-Fa-f]{64}|[A-Za-z0-9+/]{43}=", key, re.ASCII):
        raise ValueError("64 hexadecimal digits, such as `openssl rand -hex 32` prints")
    return key


def parse_control_db_url(text: str) -> str:
    """Return the address of the control database, or empty text."""
    url = text.strip()
    if url:
        try:
            kind_of(url)
        except ValueError:
            wanted = "sqlite:///<absolute file> or postgresql://<user>:<password>@<host>/<database>"
            raise ValueError(wanted) from None
    return url


def parse_passphrase(text: str) -> str:
    """Return the passphrase that unlocks the keys, or empty text."""
    if text and len(text) < 12:
        raise ValueError("at least 12 characters")
    return text


def _parse_whole(text: str, least: int, most: int) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or not least <= int(digits) <= most:
        raise ValueError(f"a whole number from {least} to {most}")
    return int(digits)


def _parse_word(text: str, words: Sequence[str]) -> str:
    word = text.strip().lower()
    if word not in words:
        raise ValueError("one of " + ", ".join(words))
    return word


# --- The table --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: its name in the file, and with it in the environment and on the command line."""

    name: str
    type: str
    default: str
    parse: Callable[[str], object]
    target: str
    """``group.field`` of the Options that it fills."""
    text: str
    is_secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The command line's flag; of a secret, the flag that names a file."""
        suffix = "-file" if self.is_secret else ""
        return "--" + self.name.replace("_", "-") + suffix


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "data_dir",
        "path",
        "data",
        parse_path,
        "folder.data_dir",
        "The folder that holds everything. It is made, with mode 0700, when it is absent.",
    ),
    Setting(
        "s3_listen",
        "address",
        "0.0.0.0:8080",
        parse_address,
        "listen.s3",
        "Where the S3 port listens. Port 0 takes any free one.",
    ),
    Setting(
        "console_listen",
        "address",
        "0.0.0.0:8081",
        parse_address,
        "listen.console",
        "Where the console listens.",
    ),
    Setting(
        "workers",
        "number",
        "0",
        parse_workers,
        "listen.workers",
        "S3 worker processes behind the one port; 0 is one for each core.",
    ),
    Setting(
        "root_access_key",
        "text",
        "",
        parse_access_key,
        "root.access_key",
        "The root access key id. Without it one is generated at first start and shown once. "
        "A changed value replaces the old root key at start.",
    ),
    Setting(
        "root_secret_key",
        "text",
        "",
        parse_secret_key,
        "root.secret_key",
        "The root secret key. It goes with root_access_key; well-known ones are refused.",
        is_secret=True,
    ),
    Setting(
        "owner_display_name",
        "text",
        "root",
        parse_text,
        "root.display_name",
        "The display name of the root owner in listings.",
    ),
    Setting(
        "display_names",
        "switch",
        "true",
        parse_bool,
        "s3.shows_display_names",
        "Show owners' display names in replies. AWS no longer does; older clients expect them.",
    ),
    Setting(
        "domain",
        "list",
        "",
        parse_domains,
        "s3.domains",
        "Base host names, separated by commas, under which a bucket is a subdomain "
        "(virtual-hosted style). Path style always works.",
    ),
    Setting(
        "region",
        "text",
        "us-east-1",
        parse_region,
        "s3.region",
        "The region this installation calls itself.",
    ),
    Setting(
        "strict_region",
        "switch",
        "false",
        parse_bool,
        "s3.strict_region",
        "Refuse signatures that were made for another region.",
    ),
    Setting(
        "sigv2",
        "switch",
        "true",
        parse_bool,
        "s3.sigv2_enabled",
        "Accept Signature Version 2 from old clients, within the operations that it can protect.",
    ),
    Setting(
        "failed_lookups_per_minute",
        "number",
        "600",
        parse_count,
        "s3.failed_lookups_per_minute",
        "How many requests a minute of one tenant from one address may miss (no such bucket, "
        "somebody else's, a name that is taken) before they answer 503 SlowDown, in each worker. "
        "0 is any number; root is never slowed.",
    ),
    Setting(
        "address_requests_per_s",
        "number",
        "0",
        parse_count,
        "traffic.address_requests_per_s",
        "How many requests a second one client address may make (of IPv6, its /64 network), over "
        "all workers, before they answer 503 SlowDown; counted before anything is verified. 0 is "
        "any number.",
    ),
    Setting(
        "address_bytes_per_s",
        "size",
        "0",
        parse_size,
        "traffic.address_bytes_per_s",
        "How many bytes a second of bodies one client address may send and take together; more "
        "are slowed down. 0 is any number.",
    ),
    Setting(
        "key_requests_per_s",
        "number",
        "0",
        parse_count,
        "traffic.key_requests_per_s",
        "How many requests a second one access key may make before they answer 503 SlowDown; the "
        "sessions of one user or role are one. A tenant may have another limit for its keys "
        "(`holdfast quota`). 0 is any number.",
    ),
    Setting(
        "key_bytes_per_s",
        "size",
        "0",
        parse_size,
        "traffic.key_bytes_per_s",
        "How many bytes a second of bodies one access key may send and take together; more are "
        "slowed down. A tenant may have another limit for its keys. 0 is any number.",
    ),
    Setting(
        "trusted_proxies",
        "list",
        "",
        parse_networks,
        "s3.trusted_proxies",
        "Peers whose X-Forwarded-For and X-Forwarded-Proto are believed.",
    ),
    Setting(
        "outbound_allowed",
        "list",
        "",
        parse_networks,
        "outbound.allowed_networks",
        "Networks that the server itself may connect to although they are not public, and without "
        "TLS: where your web identity providers are, if they are inside.",
    ),
    Setting(
        "proxy_protocol",
        "switch",
        "false",
        parse_bool,
        "s3.proxy_protocol",
        "The trusted_proxies begin each connection to the S3 port with a PROXY protocol header "
        "(version 1 or 2, in front of TLS). Theirs without one are closed; no other peer may "
        "send one.",
    ),
    Setting(
        "public_s3_url",
        "URL",
        "",
        parse_url,
        "console.public_s3_url",
        "The S3 port's address as clients see it, when a proxy stands in front.",
    ),
    Setting(
        "public_console_url",
        "URL",
        "",
        parse_url,
        "console.public_console_url",
        "The console's address as browsers see it, when a proxy stands in front. Pages of this "
        "origin may use presigned URLs of the S3 port (CORS, without credentials).",
    ),
    Setting(
        "tls_certificate",
        "path",
        "",
        parse_optional_path,
        "listen.tls_certificate",
        "PEM file with the certificate chain; with tls_key it turns HTTPS on for both ports. "
        "SIGHUP reloads it.",
    ),
    Setting(
        "tls_key",
        "path",
        "",
        parse_optional_path,
        "listen.tls_key",
        "PEM file with the certificate's private key.",
    ),
    Setting(
        "idle_timeout",
        "seconds",
        "75",
        parse_seconds,
        "s3.idle_timeout_s",
        "How long an idle connection is kept open.",
    ),
    Setting(
        "stall_timeout",
        "seconds",
        "60",
        parse_seconds,
        "s3.stall_timeout_s",
        "How long a request may send no byte, or take none, before it is given up.",
    ),
    Setting(
        "drain_seconds",
        "seconds",
        "30",
        parse_seconds,
        "listen.drain_s",
        "How long requests in flight may take to finish after SIGTERM.",
    ),
    Setting(
        "space_reserve",
        "size",
        "256MiB",
        parse_size,
        "storage.space_reserve_bytes",
        "Writes are refused when less than this is free; deletes keep working. Up to 256MiB it is "
        "at most a 64th of the disk; a larger one is taken as it is.",
    ),
    Setting(
        "master_key",
        "text",
        "",
        parse_master_key,
        "folder.master_key",
        "The master key. Without it and without a passphrase, one is made in "
        "<data_dir>/keys/master.key (0600): move it off the disk that it protects.",
        is_secret=True,
    ),
    Setting(
        "passphrase",
        "text",
        "",
        parse_passphrase,
        "folder.passphrase",
        "A passphrase from which the master key is derived, instead of master_key.",
        is_secret=True,
    ),
    Setting(
        "control_db_url",
        "URL",
        "",
        parse_control_db_url,
        "folder.control_db_url",
        "The database of accounts, keys and policies: postgresql://… or sqlite:///…. Without it, "
        "the file control.db in data_dir. While it is out of reach, S3 keeps serving and nothing "
        "about accounts can be changed.",
        is_secret=True,
    ),
    Setting(
        "bootstrap_tenant",
        "text",
        "",
        parse_text,
        "bootstrap.tenant",
        "A tenant that is made when it is missing. This and the next settings are for containers: "
        "each start makes what is missing and changes nothing else.",
    ),
    Setting(
        "bootstrap_user",
        "text",
        "",
        parse_text,
        "bootstrap.user",
        "A user of bootstrap_tenant (else of the tenant default) that is made when it is missing, "
        "with the shipped policy user.",
    ),
    Setting(
        "bootstrap_access_key",
        "text",
        "",
        parse_access_key,
        "bootstrap.access_key",
        "The id of an access key of bootstrap_user that is made when it is missing.",
    ),
    Setting(
        "bootstrap_secret_key",
        "text",
        "",
        parse_secret_key,
        "bootstrap.secret_key",
        "The secret of bootstrap_access_key, when that is made.",
        is_secret=True,
    ),
    Setting(
        "bootstrap_bucket",
        "text",
        "",
        parse_text,
        "bootstrap.bucket",
        "A bucket of bootstrap_user that is made when it is missing.",
    ),
    Setting(
        "log_level",
        "word",
        "info",
        parse_level,
        "logs.level",
        "The least severity that is logged: debug, info, warning or error.",
    ),
    Setting(
        "log_format",
        "word",
        "json",
        parse_format,
        "logs.format",
        "json (one object in a line) or text.",
    ),
    Setting(
        "access_log",
        "switch",
        "true",
        parse_bool,
        "logs.access_log",
        "Write one line for each request.",
    ),
)

BY_NAME: Final = {row.name: row for row in SETTINGS}


# --- Sources ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting's text and where it comes from."""

    text: str
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The outcome: typed options, and for each row its text and origin."""

    options: Options
    origins: Mapping[str, Origin]
    config_file: Path | None

    def shown(self) -> list[tuple[str, str, str]]:
        """Return name, text and origin of every row, secrets masked."""
        return [
            (row.name, MASK if row.is_secret and found.text else found.text, found.source)
            for row in SETTINGS
            for found in [self.origins[row.name]]
        ]


def load(
    flags: Mapping[str, str], environment: Mapping[str, str], config_file: Path | None = None
) -> Settings:
    """Read every source and return the settings: flag over environment over file over default.

    ``flags`` holds texts by setting name; ``<name>_file`` names a secret's file.

    Raises:
        ConfigError: A name is unknown, a value can't be used, or two don't go together.
    """
    _refuse_unknown(environment)
    file = _find_file(flags, environment, config_file)
    from_file = {} if file is None else read_file(file)
    origins = {row.name: _resolve(row, flags, environment, from_file, file) for row in SETTINGS}
    values = {row.target: _typed(row, origins[row.name]) for row in SETTINGS}
    settings = Settings(_compose(values), origins, file)
    _check_together(settings)
    return settings


def read_file(path: Path) -> dict[str, str]:
    """Return a TOML file's settings as texts by name; lists are joined with commas.

    Raises:
        ConfigError: The file can't be read, names an unknown setting, or shows a secret to others.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise ConfigError(f"Can't read the settings in {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings in {path} are not TOML: {error}.") from None
    texts = {name: _file_text(name, value, path) for name, value in document.items()}
    if mode & 0o077 and any(name in BY_NAME and BY_NAME[name].is_secret for name in texts):
        raise ConfigError(f"{path} holds a secret but others can read it: run chmod 600 {path}.")
    return texts


CONTAINER_SECRETS: Final = Path("/run/secrets")
"""Where Docker mounts secrets: readable for everybody, in a container that nobody else is in."""


def is_open_to_all(path: Path, mode: int) -> bool:
    """Tell whether a secret's file of this mode, at this place, is no secret from anybody."""
    return bool(mode & 0o007) and not path.resolve().is_relative_to(CONTAINER_SECRETS)


def read_secret(path: Path, name: str) -> str:
    """Return the first line of a secret's file.

    Who may read what a container's runtime puts into its own place for secrets, the runtime says.

    Raises:
        ConfigError: The file can't be read, is empty or too long, or is open to everybody.
    """
    try:
        with path.open("rb") as file:
            blob = file.read(SECRET_BYTES_MAX + 1)
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise ConfigError(f"Can't read {name} from {path}: {error.strerror}.") from None
    if is_open_to_all(path, mode):
        raise ConfigError(f"{path} holds {name} but everybody can read it: run chmod 600 {path}.")
    if not blob.strip():
        raise ConfigError(f"{path} is empty: put {name} into it as one line.")
    if len(blob) > SECRET_BYTES_MAX:
        raise ConfigError(f"{path} is too long to hold {name}: put the secret alone into it.")
    try:
        return blob.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text: put {name} into it as one line.") from None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {row.variable for row in SETTINGS} | {CONFIG_VARIABLE}
    known |= {row.variable + "_FILE" for row in SETTINGS if row.is_secret}
    for name in sorted(environment):
        is_ours = name.startswith(ENVIRONMENT_PREFIX) and not name.startswith(TEST_VARIABLES)
        if is_ours and name not in known and not _tells_of_a_service(name, environment[name]):
            near = _nearest(name, known)
            raise ConfigError(f"There is no setting {name}{near}; unset it or correct its name.")


def _tells_of_a_service(name: str, value: str) -> bool:
    """Tell a variable that Kubernetes gives to all containers beside a service of our name.

    Source: Kubernetes, "Discovering services", environment variables; Docker's links are alike.
    """
    found = _OF_A_SERVICE.fullmatch(name)
    return found is not None and (found[1] is None or value.startswith(_SERVICE_SCHEMES))


_OF_A_SERVICE: Final = re.compile(
    r"HOLDFAST(?:_[A-Z0-9]+)*?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)|(PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?))"
)
_SERVICE_SCHEMES: Final = ("tcp://", "udp://", "sctp://")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _find_file(
    flags: Mapping[str, str], environment: Mapping[str, str], named: Path | None
) -> Path | None:
    if named is not None:
        return named
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    row = BY_NAME["data_dir"]
    folder = flags.get(row.name) or environment.get(row.variable) or row.default
    beside = parse_path(folder) / CONFIG_FILE_NAME
    try:
        return beside if beside.is_file() else None
    except PermissionError:
        raise ConfigError(
            f"Can't look into the data folder {beside.parent}: run this as the user that runs "
            "the server, or as root."
        ) from None


def _file_text(name: str, value: object, path: Path) -> str:
    base = name.removesuffix("_file")
    if name not in BY_NAME and not (base in BY_NAME and BY_NAME[base].is_secret):
        near = _nearest(name, set(BY_NAME))
        raise ConfigError(f"There is no setting {name!r} in {path}{near}; remove or correct it.")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    raise ConfigError(f"{name} in {path} must be text, a number, a switch or a list of texts.")


def _resolve(
    row: Setting,
    flags: Mapping[str, str],
    environment: Mapping[str, str],
    from_file: Mapping[str, str],
    file: Path | None,
) -> Origin:
    sources = (
        (flags, row.name, row.flag),
        (environment, row.variable, row.variable),
        (from_file, row.name, str(file)),
    )
    for mapping, name, source in sources:
        indirect = name + ("_FILE" if name.isupper() else "_file")
        if row.is_secret and mapping.get(indirect):
            if mapping.get(name):
                raise ConfigError(f"Set {name} or {indirect}, not both.")
            path = Path(mapping[indirect]).expanduser()
            return Origin(read_secret(path, row.name), f"{source}: {path}")
        if name in mapping:
            return Origin(mapping[name], source)
    return Origin(row.default, "default")


def _typed(row: Setting, found: Origin) -> object:
    try:
        return row.parse(found.text)
    except ValueError as error:
        shown = "" if row.is_secret else f" {found.text!r}"
        raise ConfigError(
            f"{row.name}{shown} (from {found.source}) can't be used: give {error}."
        ) from None


_Group = TypeVar("_Group")


def _compose(values: Mapping[str, object]) -> Options:
    def group(name: str, kind: Callable[..., _Group]) -> _Group:
        prefix = name + "."
        return kind(
            **{
                target.removeprefix(prefix): value
                for target, value in values.items()
                if target.startswith(prefix)
            }
        )

    return Options(
        folder=group("folder", FolderOptions),
        listen=group("listen", ListenOptions),
        root=group("root", RootOptions),
        s3=group("s3", S3Options),
        console=group("console", ConsoleOptions),
        storage=group("storage", StorageOptions),
        logs=group("logs", LogOptions),
        outbound=group("outbound", OutboundOptions),
        bootstrap=group("bootstrap", BootstrapOptions),
        traffic=group("traffic", TrafficOptions),
    )


def _check_together(settings: Settings) -> None:
    root, listen, folder = (
        settings.options.root,
        settings.options.listen,
        settings.options.folder,
    )
    if bool(root.access_key) != bool(root.secret_key):
        raise ConfigError("Set root_access_key and root_secret_key together, or neither of them.")
    if root.secret_key.lower() in {word.lower() for word in KNOWN_DEFAULTS}:
        raise ConfigError("root_secret_key is a well-known default: choose another, or set none.")
    if root.secret_key and root.secret_key == root.access_key:
        raise ConfigError("root_secret_key equals root_access_key: choose another secret.")
    _check_bootstrap(settings.options.bootstrap)
    if (listen.tls_certificate is None) != (listen.tls_key is None):
        raise ConfigError("Set tls_certificate and tls_key together, or neither of them.")
    if settings.options.s3.proxy_protocol and not settings.options.s3.trusted_proxies:
        raise ConfigError("proxy_protocol needs the proxies' addresses in trusted_proxies.")
    if folder.master_key and folder.passphrase:
        raise ConfigError("Set master_key or passphrase, not both.")
    if listen.s3 == listen.console and listen.s3.port:
        raise ConfigError("s3_listen and console_listen are the same: give them different ports.")


def _check_bootstrap(bootstrap: BootstrapOptions) -> None:
    if bool(bootstrap.access_key) != bool(bootstrap.secret_key):
        raise ConfigError(
            "Set bootstrap_access_key and bootstrap_secret_key together, or neither of them."
        )
    if bootstrap.secret_key.lower() in {word.lower() for word in KNOWN_DEFAULTS}:
        raise ConfigError("bootstrap_secret_key is a well-known default: choose another.")
    if (bootstrap.access_key or bootstrap.bucket) and not bootstrap.user:
        raise ConfigError("bootstrap_access_key and bootstrap_bucket need a bootstrap_user.")


# --- The document -----------------------------------------------------------------------------

_HEAD: Final = """\
# Configuration

*This file is made by `holdfast config render`; a test compares it with the program.*

Every setting can be given in three ways. A flag wins over the environment, the environment over
the file, and the file over the default. Unknown names and values that can't be used are refused.

- **Flag**: `--s3-listen 127.0.0.1:9000`
- **Environment**: `HOLDFAST_S3_LISTEN=127.0.0.1:9000`
- **File** (TOML): `s3_listen = "127.0.0.1:9000"` in the file that `--config` or `HOLDFAST_CONFIG`
  names, else in `<data_dir>/holdfast.toml` when it is there.

A **secret** has no flag for its value, because other users can read a process's arguments. Put it
into a file (mode 0600) and name that file: `--root-secret-key-file`,
`HOLDFAST_ROOT_SECRET_KEY_FILE` or `root_secret_key_file` in TOML. The variable itself
works too; in TOML the file must be 0600.

`holdfast config show` prints each value and where it came from.

| setting | type | default | meaning |
|---|---|---|---|
"""


def render() -> str:
    """Return CONFIGURATION.md."""
    rows = [
        f"| `{row.name}` | {row.type}{', secret' if row.is_secret else ''} "
        f"| {f'`{row.default}`' if row.default else 'none'} | {row.text} |"
        for row in SETTINGS
    ]
    return _HEAD + "\n".join(rows) + "\n"
