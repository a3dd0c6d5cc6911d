"""The documents are true: what they name exists, what they say to type works."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import minio
import pytest
import s3fs

from storage_server import config
from storage_server.processes.errors import EXIT_USAGE
from storage_server.s3 import operations
from storage_server.s3_api.handlers.table import TABLE
from tests.clients.commands import find_program
from tests.fakes.oidc_issuer import OidcIssuer
from tests.servers import REGION, Server, fresh_name
from tests.signing import Keys
from tests.tenants import make_tenancy

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    """Return a document's blocks of code in one language."""
    return [code for kind, code in BLOCK.findall(path.read_text()) if kind == language]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link is a file of the repository."""
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    here = [link for link in links if "://" not in link]
    assert [link for link in here if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path) -> None:
    """Variables, and flags of the program, are rows of the table."""
    known = {row.variable for row in config.SETTINGS} | {config.CONFIG_VARIABLE}
    known |= {f"{row.variable}_FILE" for row in config.SETTINGS if row.is_secret}
    named = set(re.findall(r"HOLDFAST_[A-Z0-9_]+[A-Z0-9]", path.read_text()))
    assert {name for name in named if not name.startswith(config.TEST_VARIABLES)} <= known


def test_what_is_not_there_is_listed_whole() -> None:
    """An operation without a handler is named where users look for it, and no other one."""
    text = (ROOT / "docs" / "compatibility.md").read_text()
    missing = text[text.index("## Not there") : text.index("## Different")]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", missing)) & operations.BY_NAME.keys()
    assert named == operations.BY_NAME.keys() - TABLE.keys()


def commands() -> list[tuple[str, ...]]:
    """Return every ``holdfast`` command of the documents, with its arguments."""
    found = set()
    for path in DOCUMENTS:
        for code in blocks(path, "sh"):
            for line in code.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                at = next(
                    (i for i, word in enumerate(words) if word.endswith("bin/holdfast")), None
                )
                if at is not None:
                    given = words[at + 1 :]
                    ends = [i for i, word in enumerate(given) if word in {"<", "&&", "|"}]
                    found.add(tuple(given[: min(ends, default=len(given))]))
    return sorted(found)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_that_are_named_are_understood(command: tuple[str, ...]) -> None:
    """The parser takes them: an unknown flag behind them is all that it objects to."""
    done = subprocess.run(
        [sys.executable, "-m", "storage_server", *command, "--no-such-flag"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == EXIT_USAGE
    assert "unrecognized arguments: --no-such-flag" in done.stderr


@pytest.fixture
def environment(server: Server, alice: Keys) -> dict[str, str]:
    """The environment that the examples assume."""
    aws = find_program("aws", "the client tests' environment (scripts/test-packages)")
    return {
        "PATH": f"{Path(aws).parent}:/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "AWS_ACCESS_KEY_ID": alice.access_key,
        "AWS_SECRET_ACCESS_KEY": alice.secret_key,
        "RESTIC_PASSWORD": "password",
    }


def type_in(code: str, environment: dict[str, str], folder: Path) -> str:
    """Run a block of shell in a folder and return what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env={**environment, "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    return done.stdout


def here(code: str, server: Server, **names: str) -> str:
    """Return an example with this server's address and buckets of its own."""
    for old, new in {"127.0.0.1:8080": f"127.0.0.1:{server.port}", **names}.items():
        assert old in code or old == "127.0.0.1:8080", f"{old} is not in the example"
        code = code.replace(old, new)
    return code


def test_the_first_steps_of_the_readme(
    server: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    """Paste, and the file is there."""
    (code,) = (code for code in blocks(ROOT / "README.md", "sh") if "aws s3 mb" in code)
    credentials, _, rest = code.partition("\n")
    assert credentials.startswith("export AWS_ACCESS_KEY_ID=")
    bucket = fresh_name()
    (tmp_path / "README.md").write_text("hello")
    rest = here(rest, server, **{"first-bucket": bucket})
    listed = type_in(rest + f"aws s3 ls s3://{bucket}\n", environment, tmp_path)
    assert "README.md" in listed


@pytest.mark.parametrize("tool", ["aws", "s3cmd", "restic"])
def test_the_shell_examples_of_the_clients(
    server: Server, environment: dict[str, str], tmp_path: Path, tool: str
) -> None:
    """Each line works as it stands."""
    find_program(tool, tool)
    (code,) = (
        code
        for code in blocks(ROOT / "docs" / "clients.md", "sh")
        if re.search(f"^{tool} ", code, re.MULTILINE)
    )
    bucket = fresh_name()
    names = {"aws": {"s3://photos": f"s3://{bucket}"}, "restic": {"backups": bucket}}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    if tool == "aws":
        server.boto(Keys(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]))
        type_in(
            f"aws --endpoint-url {server.url} --region {REGION} s3 mb s3://{bucket}",
            environment,
            tmp_path,
        )
    type_in(here(code, server, **names.get(tool, {})), environment, tmp_path)


def test_the_rclone_example(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    """The section of its configuration is enough."""
    find_program("rclone", "the package rclone")
    (code,) = blocks(ROOT / "docs" / "clients.md", "ini")
    (tmp_path / "rclone.conf").write_text(here(code, server))
    bucket = fresh_name()
    (tmp_path / "one").write_bytes(b"1")
    script = f"rclone --config rclone.conf copy one holdfast:{bucket}\n"
    script += f"rclone --config rclone.conf cat holdfast:{bucket}/one\n"
    assert type_in(script, environment, tmp_path) == "1"


def test_the_python_examples(
    server: Server, alice: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3, minio-py and s3fs as they are constructed there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", alice.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", alice.secret_key)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mkv").write_bytes(b"film")
    bucket = fresh_name()
    server.boto(alice).create_bucket(Bucket=bucket)
    names: dict[str, object] = {"boto3": boto3, "Minio": minio.Minio, "s3fs": s3fs}
    for code in blocks(ROOT / "docs" / "clients.md", "python"):
        text = here(code, server).replace('"films"', repr(bucket))
        text = text.replace(
            "access_key=…, secret_key=…",
            f"access_key={alice.access_key!r}, secret_key={alice.secret_key!r}",
        )
        exec(compile(text, "docs/clients.md", "exec"), names)  # noqa: S102 - our own document
    assert bucket in [one["Name"] for one in names["s3"].list_buckets()["Buckets"]]  # type: ignore[attr-defined]
    assert bucket in [one.name for one in names["client"].list_buckets()]  # type: ignore[attr-defined]
    assert names["fs"].cat(f"{bucket}/film.mkv") == b"film"  # type: ignore[attr-defined]


def test_the_commands_about_access_work_when_they_are_pasted(
    server: Server, environment: dict[str, str], tmp_path: Path
) -> None:
    """In their order, by the bucket's owner; the policy and the rules come back."""
    code = "".join(
        code for code in blocks(ROOT / "docs" / "access-control.md", "sh") if "aws " in code
    )
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    printed = type_in(here(code, server, films=fresh_name()), environment, tmp_path)
    assert "OnlyOverTls" in printed
    assert "https://*.example.org" in printed


def test_the_commands_about_accounts_work_when_they_are_pasted(
    private_server: Server, tmp_path: Path
) -> None:
    """In their order, against a running server; what is explained is what was given."""
    program = f"{sys.executable} -m storage_server"
    code = "".join(blocks(ROOT / "docs" / "accounts.md", "sh")).replace(
        ".venv/bin/holdfast", program
    )
    before, marker, after = code.partition(f"{program} grant list films")
    assert marker
    printed = type_in(before, private_server.environment, tmp_path)
    assert "Secret access key" in printed
    assert "the-secret-they-use-already" not in printed
    made = private_server.command("key", "create", "--user", "ana", "--tenant", "acme", "--json")
    key = json.loads(made.stdout)
    private_server.secrets.append(key["secret_key"])
    keys = Keys(key["access_key_id"], key["secret_key"])
    assert private_server.wire(keys).call("PUT", "/films").status == 200
    printed = type_in(marker + after, private_server.environment, tmp_path)
    assert "s3:GetObject on arn:aws:s3:::films/casablanca.mkv" in printed
    assert "clean: " in printed


@pytest.fixture
def issuer() -> Iterator[OidcIssuer]:
    """A provider of web identities."""
    served = OidcIssuer().start()
    yield served
    served.stop()


def test_the_commands_about_iam_and_sts_work_when_they_are_pasted(
    environment: dict[str, str], issuer: OidcIssuer, tmp_path: Path
) -> None:
    """In their order, by a tenant's administrator: users, sessions and web identities."""
    server = Server(tmp_path / "server", OUTBOUND_ALLOWED="127.0.0.1/32")
    try:
        server.start()
        tenancy = make_tenancy(server)
        program = f"{sys.executable} -m storage_server"
        code = here(
            "".join(blocks(ROOT / "docs" / "iam-and-sts.md", "sh")),
            server,
            **{
                ".venv/bin/holdfast": program,
                "--tenant acme": f"--tenant {tenancy.name}",
                "https://login.example.org/realm": issuer.url,
                "login.example.org/realm": issuer.name,
            },
        )
        (tmp_path / "token").write_text(issuer.token(int(time.time())))
        before, marker, after = code.partition("export HOLDFAST_OUTBOUND_ALLOWED=")
        assert marker
        assert after.count("\n") == 1
        who = server.environment | environment | tenancy.admin.environment()
        printed = type_in(before, who, tmp_path)
        assert f"arn:aws:sts::{tenancy.account}:assumed-role/deploy/release-7" in printed
        assert f"arn:aws:sts::{tenancy.account}:assumed-role/dev/ana" in printed
        assert "ASIAEXAMPLEEXAMPLEEX: ended" in printed
        assert issuer.url in printed.splitlines()[-1]
    finally:
        server.close()
