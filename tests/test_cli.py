"""The command line with real processes: what it prints, how it ends, and what it never shows."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_server.cli import main
from tests.servers import HOST, ReservedPort, Server, new_keys
from tests.signing import Keys

COMMAND = [sys.executable, "-m", "storage_server"]


def run(
    *arguments: str, environment: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing but the given settings."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (("serve",), {"HOLDFAST_WORKRS": "1"}, 78, "did you mean HOLDFAST_WORKERS?"),
        (("serve", "--s3-listen", "x"), {}, 78, "give host:port"),
        (("serve", "--config", "/nowhere"), {}, 78, "Can't read the settings"),
        (("key", "list", "--data-dir", "/nowhere/x"), {}, 1, "There is no data folder"),
        (("fsck", "--data-dir", "/nowhere/x"), {}, 1, "There is no data folder"),
        (("key", "create", "--owner", "a", "--access-key", "x"), {}, 64, "together"),
        (("key", "create"), {}, 64, "--owner"),
        (("servee",), {}, 64, "no command 'servee' (did you mean serve?); see holdfast --help"),
        (("tenant", "creat"), {}, 64, "(did you mean create?); see holdfast tenant --help"),
        (("serve", "--wrokers", "2"), {}, 64, "--wrokers 2 (did you mean --workers?)"),
        (("tenant", "create", "a", "b"), {}, 64, "see holdfast tenant create --help"),
        ((), {}, 64, "COMMAND"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, told: str
) -> None:
    """What people can cause never ends in a traceback."""
    done = run(*arguments, environment=environment)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help_lists_the_settings_where_they_are_what_matters() -> None:
    """Elsewhere a command's own flags are what is read; every setting is taken all the same."""
    assert "--tls-certificate" in run("serve", "--help").stdout
    told = run("key", "create", "--help").stdout
    assert "--tls-certificate" not in told
    assert "--data-dir" in told
    # Several commands have the same last word, and only one of these is about settings.
    assert "--tls-certificate" in run("config", "show", "--help").stdout
    assert "--tls-certificate" not in run("quota", "show", "--help").stdout


def test_a_mistyped_flag_is_never_answered_with_one_that_the_help_does_not_list() -> None:
    """A setting that has a similar name would do something else."""
    assert "did you mean" not in run("grant", "list", "films", "--tenant", "acme").stderr
    assert "did you mean --tenant?" in run("key", "list", "--tenan", "acme").stderr


def test_config_show_masks_secrets_and_names_origins() -> None:
    """The listing can be pasted into a report."""
    environment = {
        "HOLDFAST_ROOT_ACCESS_KEY": "rootkey",
        "HOLDFAST_ROOT_SECRET_KEY": "very-secret-1",
    }
    done = run("config", "show", "--json", "--region", "eu-west-9", environment=environment)
    shown = json.loads(done.stdout)
    assert shown["region"] == {"value": "eu-west-9", "from": "--region"}
    assert shown["root_access_key"]["from"] == "HOLDFAST_ROOT_ACCESS_KEY"
    assert "very-secret-1" not in done.stdout
    assert shown["root_secret_key"]["value"] == "********"


def test_help_and_version_are_found_where_people_look() -> None:
    """As a word and as a flag."""
    assert run("help").stdout == run("--help").stdout
    assert run("help", "key", "create").stdout == run("key", "create", "--help").stdout
    assert run("--version").stdout.startswith("holdfast ")


def test_signs_that_the_output_does_not_know_are_no_failure(tmp_path: Path) -> None:
    """A remedy has an arrow before it, and names can hold anything."""
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "master.key").touch(mode=0o644)
    done = run(
        "doctor", "--data-dir", str(tmp_path), environment={"PYTHONIOENCODING": "ascii:strict"}
    )
    assert "\\u2192 chmod 600" in done.stdout
    assert done.stderr == ""


def test_version_says_what_is_needed_for_a_report() -> None:
    """One object with the program's, Python's and OpenSSL's version."""
    assert set(json.loads(run("version", "--json").stdout)) == {"holdfast", "python", "openssl"}


def test_doctor_checks_and_gives_remedies(tmp_path: Path) -> None:
    """A sound machine passes; a folder open to others and a taken port are named."""
    port = ReservedPort(shared=False).number
    settings = ("--data-dir", str(tmp_path / "data"), "--s3-listen", f"{HOST}:{port}")
    findings = json.loads(
        run("doctor", "--json", *settings, "--console-listen", f"{HOST}:0").stdout
    )
    checks = {finding["check"]: finding["level"] for finding in findings}
    assert {"data folder", "file system", "disk space", "flush", "clock", "limits"} <= set(checks)
    assert "fail" not in checks.values()
    assert not list(tmp_path.iterdir())
    exposed = tmp_path / "data" / "keys"
    exposed.mkdir(parents=True)
    (exposed / "master.key").write_text("x")
    (exposed / "master.key").chmod(0o644)
    done = run("doctor", *settings, "--console-listen", f"{HOST}:0")
    assert done.returncode == 1
    assert "chmod 600" in done.stdout


def test_doctor_warns_of_a_backups_barrier_that_was_left_behind(tmp_path: Path) -> None:
    """Nothing is freed while it stands; one of today belongs to somebody."""
    folder = tmp_path / "data"
    barrier = folder / "run" / "backup-barrier"
    barrier.parent.mkdir(parents=True)
    barrier.touch()

    def warnings() -> list[str]:
        findings = json.loads(run("doctor", "--json", "--data-dir", str(folder)).stdout)
        return [one["text"] for one in findings if "backup-barrier" in one["text"]]

    assert warnings() == []
    two_days_ago = barrier.stat().st_mtime - 2 * 86_400
    os.utime(barrier, (two_days_ago, two_days_ago))
    (said,) = warnings()
    assert "stands for 2 days" in said


def test_doctor_says_where_a_lost_master_key_is_looked_for(private_server: Server) -> None:
    """Every command does, with what to do about it, and nothing is made in its place."""
    private_server.stop()
    key = private_server.data_dir / "keys" / "master.key"
    key.rename(key.with_name("elsewhere"))
    findings = json.loads(private_server.command("doctor", "--json", expect=1).stdout)
    (found,) = [one for one in findings if one["check"] == "keys"]
    assert found["level"] == "fail"
    assert "HOLDFAST_MASTER_KEY_FILE" in found["remedy"]
    assert "Put it back" in private_server.command("tenant", "list", expect=78).stderr
    assert not key.exists()


def test_doctor_says_what_a_folder_has_lost(tmp_path: Path) -> None:
    """Not that it will be made at the first start."""
    (tmp_path / "objects" / "0123456789abcdef").mkdir(parents=True)
    findings = json.loads(run("doctor", "--json", "--data-dir", str(tmp_path)).stdout)
    (found,) = [one for one in findings if one["check"] == "accounts"]
    assert found["level"] == "fail"
    assert "has lost its metadata" in found["text"]


def test_doctor_knows_where_the_running_server_listens(server: Server) -> None:
    """A port of other settings is not taken for the server's."""
    elsewhere = ReservedPort(shared=False).number
    settings = ("--console-listen", f"{HOST}:{elsewhere}")
    findings = json.loads(server.command("doctor", "--json", *settings).stdout)
    levels = {finding["check"]: finding["level"] for finding in findings}
    assert levels[f"port {server.port}"] == "ok"
    assert levels[f"port {elsewhere}"] == "warn"


def test_the_generated_root_credential_is_shown_at_the_first_start_only(tmp_path: Path) -> None:
    """It is printed once for a person, never logged, and stored sealed."""
    server = Server(tmp_path / "server", ROOT_ACCESS_KEY="", ROOT_SECRET_KEY="")
    try:
        server.start()
        text = server.log_path.read_text()
        found = re.search(r"access key id +(\S+)\n +secret access key +(\S+)", text)
        assert found is not None
        assert '"' + found[2] not in text  # not inside a log object
        server.stop()
        before = len(server.log_path.read_text())
        server.start()
        server.stop()
        assert found[2] not in server.log_path.read_text()[before:]
        blobs = [path for path in server.data_dir.rglob("*") if path.is_file()]
        assert not [path for path in blobs if found[2].encode() in path.read_bytes()[: 1 << 24]]
    finally:
        server.close()


def test_changed_root_settings_replace_the_old_root_key(tmp_path: Path) -> None:
    """The old key fails from then on; going back to it works too."""
    server = Server(tmp_path / "server")
    old, new = server.root_keys, new_keys()
    server.secrets.append(new.secret_key)
    try:
        for keys, other in ((old, new), (new, old), (old, new)):
            server.root_keys = keys
            server.start()
            assert server.wire(keys).call("GET", "/").status == 200
            assert server.wire(other).call("GET", "/").status == 403
            server.stop()
    finally:
        server.close()


def test_key_commands_work_beside_the_server_and_on_a_stopped_folder(tmp_path: Path) -> None:
    """Made, listed, disabled, enabled and deleted; the server obeys with the next request."""
    server = Server(tmp_path / "server")
    try:
        server.start()
        for is_running in (True, False):
            if not is_running:
                server.stop()
            keys = server.create_owner("alice")
            listed = json.loads(server.command("key", "list", "--json").stdout)
            assert keys.access_key in {key["access_key_id"] for key in listed}
            assert keys.secret_key not in str(listed)
            for command, status in (("disable", 403), ("enable", 200), ("delete", 403)):
                server.command("key", command, keys.access_key)
                if is_running:
                    assert server.wire(keys).call("GET", "/").status == status
            again = server.command("key", "enable", keys.access_key, expect=66)
            assert "cannot be found" in again.stderr
    finally:
        server.close()


def test_a_literal_secret_is_taken_with_a_warning(private_server: Server) -> None:
    """Standard input is the way; an argument works and says why it should not."""
    keys = new_keys()
    private_server.secrets.append(keys.secret_key)
    arguments = ("--access-key", keys.access_key, "--secret-key", keys.secret_key)
    done = private_server.command("key", "create", "--owner", "bob", *arguments)
    assert "warning" in done.stderr
    assert private_server.wire(keys).call("GET", "/").status == 200


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "told"),
    [
        (("--owner", "root"), "", 65, "The name root is the tenant's"),
        (("--owner", "eve", "--access-key", "A/B", "--secret-key", "-"), "x" * 20, 65, "3 to 128"),
        (("--owner", "eve", "--access-key", "EVE", "--secret-key", "-"), "short", 65, "8 to 256"),
        (("--owner", "eve", "--access-key", "EVE", "--secret-key", "-"), "", 1, "No secret came"),
        (("--owner", "eve", "--access-key", "{taken}", "--secret-key", "-"), "x" * 20, 73, "taken"),
        (("--user", "eve"), "", 66, "cannot be found"),
        (("--user", "eve", "--tenant", "nowhere"), "", 66, "tenant with name nowhere"),
        (("--owner", "eve", "--expires", "2001-01-01"), "", 65, "in the past"),
        (("--owner", "eve", "--expires", "soon"), "", 64, "2030-12-31"),
        (("--owner", "eve", "--user", "eve"), "", 64, "not allowed with"),
    ],
)
def test_a_key_that_can_not_be_made_leaves_nothing(
    server: Server, arguments: tuple[str, ...], stdin: str, code: int, told: str
) -> None:
    """One sentence says why, and not even its owner is made."""
    taken = server.root_keys.access_key
    given = [text.replace("{taken}", taken) for text in arguments]
    done = server.command("key", "create", *given, stdin=stdin, expect=code)
    assert told in done.stderr
    assert (done.stderr.count("\n"), done.stdout) == (1, "")
    assert "eve" not in {user["name"] for user in told_by(server, "user", "list")}


def told_by(server: Server, *arguments: str, stdin: str = "", expect: int = 0) -> Any:
    """Return what a command answers as JSON."""
    return json.loads(server.command(*arguments, "--json", stdin=stdin, expect=expect).stdout)


class Typing:
    """Commands in this process, about a server: starting Python anew takes longer than each."""

    def __init__(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, text in server.environment.items():
            if name.startswith("HOLDFAST_"):
                monkeypatch.setenv(name, text)
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def do(self, *arguments: str, stdin: str = "", expect: int = 0) -> str:
        """Run a command and return what it printed."""
        typed = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        self._monkeypatch.setattr(sys, "stdin", typed)
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = self._capsys.readouterr()
        assert code == expect, f"holdfast {' '.join(arguments)}: {code}\n{out}{err}"
        return out + err

    def told(self, *arguments: str, stdin: str = "") -> Any:
        """Return what a command answers as JSON."""
        return json.loads(self.do(*arguments, "--json", stdin=stdin))


@pytest.fixture
def typing(
    private_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typing:
    """Commands about a server of the test's own."""
    return Typing(private_server, monkeypatch, capsys)


ALLOW = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"ana"},'
    '"Action":"sts:AssumeRole"}]}'
)


@pytest.mark.parametrize("is_running", [True, False])
def test_accounts_are_made_beside_the_server_and_on_a_stopped_folder(
    private_server: Server, typing: Typing, *, is_running: bool
) -> None:
    """Every noun: made, given, shown, taken away, gone; the same words either way."""
    if not is_running:
        private_server.stop()
    do, told = typing.do, typing.told
    acme = told("tenant", "create", "acme")
    assert re.fullmatch("[0-9]{12}", acme["account_id"])
    do("tenant", "create", "acme", expect=73)
    here = ("--tenant", "acme")
    for noun in ("user", "group", "role", "key", "provider"):
        assert do(noun, "list", *here) == f"No {noun}s in tenant acme.\n"
        assert told(noun, "list", *here) == []
    ana = told(
        *("user", "create", "ana", *here, "--role", "user", "--email", "ana@example.org"),
        *("--tag", "team=blue"),
    )
    assert ana["arn"] == f"arn:aws:iam::{acme['account_id']}:user/ana"
    robot = told("user", "create", "robot", *here, "--parent", "ana")
    assert (robot["parent"], robot["parent_id"]) == ("ana", ana["user_id"])
    assert "service account of ana" in do("user", "list", *here)
    assert ana["user_id"] not in do("user", "show", "robot", *here)
    assert [user["name"] for user in told("user", "list", *here)] == ["ana", "robot"]
    do("user", "set", "ana", *here, "--display-name", "Ana")
    do("user", "unlock", "ana", *here)
    do("user", "end-sessions", "ana", *here)
    do("user", "tag", "ana", *here, "team=red")
    shown = told("user", "show", "ana", *here)
    assert (shown["display_name"], shown["tags"]) == ("Ana", [["team", "red"]])

    do("group", "create", "devs", *here)
    do("group", "add", "devs", "ana", *here, "ana")
    said = do("group", "add", "devs", "ana", "nobody", *here, expect=66)
    assert "ana: now in devs, and nobody after that" in said
    assert [user["name"] for user in told("group", "members", "devs", *here)] == ["ana"]
    assert [group["name"] for group in told("group", "list", "--user", "ana", *here)] == ["devs"]

    do("policy", "create", "all", "-", *here, stdin=ALLOW)
    do("policy", "create", "bad", "-", *here, stdin="{}", expect=65)
    do("policy", "attach", "all", "--group", "devs", *here)
    do("policy", "attach", "read-only", "--user", "ana", *here)
    do("policy", "put-inline", "mine", "-", "--user", "ana", *here, stdin=ALLOW)
    seen = do("user", "show", "ana", *here)
    assert "policies: read-only, user, mine (embedded)" in seen
    assert "groups: devs" in seen
    do("policy", "attach", "all", "--everybody", *here)
    ceiling = told("policy", "of", "--everybody", *here)["attached"]
    assert [policy["name"] for policy in ceiling] == ["all"]
    do("policy", "detach", "all", "--everybody", *here)
    held = told("policy", "of", "--user", "ana", *here)
    assert [policy["name"] for policy in held["attached"]] == ["read-only", "user"]
    assert held["inline"] == ["mine"]
    assert told("policy", "show-inline", "mine", "--user", "ana", *here)["document"] == ALLOW
    do("policy", "delete-inline", "mine", "--user", "ana", *here)
    do("policy", "delete", "all", *here, expect=1)
    assert told("policy", "add-version", "all", "-", "--set-default", *here, stdin=ALLOW)[
        "is_default"
    ]
    do("policy", "set-default", "all", "v1", *here)
    do("policy", "delete-version", "all", "v2", *here)
    assert len(told("policy", "versions", "all", *here)) == 1
    assert told("policy", "holders", "all", *here)[0]["name"] == "devs"
    do("policy", "detach", "all", "--group", "devs", *here)

    trust = TRUST.replace('"ana"', f'"{ana["arn"]}"')
    role = told("role", "create", "backup", "--trust", "-", *here, stdin=trust)
    assert ana["arn"] in role["trust"]
    do("role", "set", "backup", "--session-seconds", "7200", *here)
    do("role", "set-boundary", "backup", "read-only", *here)
    assert told("role", "show", "backup", *here)["boundary"].endswith("/read-only")
    do("role", "delete", "backup", *here)

    quota = told("quota", "set", *here, "--bytes", "1TiB", "--objects", "9", "--keys", "1")
    assert quota["limits"]["bytes"] == {"hard": 1 << 40, "soft": None}
    key = told("key", "create", "--user", "ana", *here)
    private_server.secrets.append(key["secret_key"])
    refused = do("key", "create", "--user", "ana", *here, expect=1)
    assert "limit of 1 access keys per tenant" in refused
    listed = do("key", "list", *here) + do("key", "show", key["access_key_id"])
    assert key["access_key_id"] in listed
    assert key["secret_key"] not in listed
    do("quota", "set", *here, "--keys", "none", "--soft-bytes", "1GiB")
    assert "keys" not in told("quota", "show", *here)["limits"]
    refused = do("quota", "set", *here, "--soft-objects", "10", expect=64)
    assert "--soft-objects 10 is above --objects 9" in refused
    refused = do("quota", "set", *here, "--user", "ana", "--each-key-bytes-per-s", "1", expect=64)
    assert "A tenant has --each-key-bytes-per-s" in refused

    password = told("user", "reset-password", "ana", *here)["password"]
    private_server.secrets.append(password)
    chosen = "correct horse battery"
    said = do("user", "reset-password", "ana", "--password", "-", *here, stdin=chosen)
    assert chosen not in said
    everything = "".join(
        do(*command, *here)
        for command in (("user", "list"), ("user", "show", "ana"), ("key", "list"))
    )
    assert password not in everything
    assert chosen not in everything

    explained = told(
        *("explain", "--principal", "ana", "--action", "s3:CreateBucket", *here),
        *("--resource", "arn:aws:s3:::new-bucket"),
    )
    assert explained["allowed"], explained
    do("user", "disable", "ana", *here)
    explained = told(
        *("explain", "--principal", "ana", "--action", "s3:CreateBucket", *here),
        *("--resource", "arn:aws:s3:::new-bucket"),
    )
    assert not explained["allowed"]

    assert "Add --force to remove it with its keys" in do("user", "delete", "ana", *here, expect=1)
    do("user", "delete", "ana", "--force", *here)
    do("user", "create", "eve", "--role", "global-admin", *here, expect=65)
    do("user", "show", "robot", *here, expect=66)
    assert told("projection", "verify")["differences"] == []
    do("projection", "rebuild")
    do("tenant", "suspend", "acme")
    assert told("tenant", "show", "acme")["state"] == "suspended"
    do("tenant", "resume", "acme")
    do("tenant", "rename", "acme", "umbrella")
    do("tenant", "delete", "umbrella", expect=64)
    assert told("tenant", "delete", "umbrella", "--yes")["buckets_left"] == 0
    if not is_running:
        said = do("tenant", "deletion", "umbrella", "--watch", expect=1)
        assert "while the server is stopped" in said


KEY_SET = (
    '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","use":"sig","alg":"EdDSA",'
    '"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
)
TEMPLATES = '[{"claim":"groups","values":["staff"],"role":"dev"}]'


@pytest.mark.parametrize("is_running", [True, False])
def test_providers_are_trusted_beside_the_server_and_on_a_stopped_folder(
    private_server: Server, typing: Typing, *, is_running: bool
) -> None:
    """Made, changed in what is given only, found by URL, by name and by ARN, gone; and audited."""
    if not is_running:
        private_server.stop()
    do, told = typing.do, typing.told
    do("tenant", "create", "acme")
    here, url = ("--tenant", "acme"), "https://login.example.org/realm"
    made = told(
        *("provider", "create", url, "--client-id", "a", "--client-id", "b", "--tag", "team=blue"),
        *("--thumbprint", "a" * 40, *here),
    )
    assert (made["audiences"], made["tags"]) == (["a", "b"], [["team", "blue"]])
    assert made["arn"].endswith(":oidc-provider/login.example.org/realm")
    do("provider", "create", url, *here, expect=73)
    do("provider", "create", "ftp://x", *here, expect=1)
    for name in (url, "login.example.org/realm", made["arn"]):
        assert told("provider", "show", name, *here) == made
    assert told("provider", "list", *here) == [made]
    after = told("provider", "update", url, "--templates", "-", *here, stdin=TEMPLATES)
    assert after == made | {"templates": TEMPLATES}
    do("provider", "update", url, "--algorithm", "HS256", *here, expect=65)
    assert told("provider", "set-keys", url, "--jwks", "-", *here, stdin=KEY_SET)["has_keys"]
    after = told("provider", "set-keys", url, "--jwks-url", f"{url}/keys", *here)
    assert (after["has_keys"], after["jwks_url"]) == (False, f"{url}/keys")
    assert told("provider", "set-keys", url, "--discover", *here)["jwks_url"] == ""
    do("provider", "set-keys", url, *here, expect=64)
    do("provider", "disable", url, *here)
    shown = do("provider", "show", url, *here) + do("provider", "list", *here)
    assert "disabled" in shown
    assert "by its discovery document" in shown
    do("provider", "delete", url, *here)
    do("provider", "show", url, *here, expect=66)

    do("session", "end", "ASIA" + "A" * 16)
    do("session", "end", "AKIA" + "A" * 16, expect=65)
    rows = told("audit", "list", *here)
    assert rows[0]["action"] == "iam:DeleteOpenIDConnectProvider"
    assert rows[0]["entity"] == made["arn"]
    assert rows[0]["source"] == "cli"
    assert {row["tenant_id"] for row in rows} == {rows[0]["tenant_id"]}
    assert told("audit", "list", "--limit", "1", "--before", str(rows[0]["sequence"]), *here) == [
        rows[1]
    ]
    assert told("audit", "list", "--action", "iam:CreateOpenIDConnectProvider", *here) == [
        row for row in rows if row["action"] == "iam:CreateOpenIDConnectProvider"
    ]
    assert told("audit", "list", "--since", "2999-12-31") == []
    assert "holdfast:EndSession" in do("audit", "list")
    assert do("audit", "verify").startswith("whole: ")


def test_a_tenants_buckets_are_shared_limited_and_deleted(
    private_server: Server, typing: Typing
) -> None:
    """Through the running server: grants, a quota, why a request was refused, and the end."""
    server, told = private_server, typing.told
    told("tenant", "create", "acme")
    here = ("--tenant", "acme")
    keys = []
    for name in ("ana", "bob"):
        told("user", "create", name, "--role", "user", *here)
        made = told("key", "create", "--user", name, *here)
        server.secrets.append(made["secret_key"])
        keys.append(Keys(made["access_key_id"], made["secret_key"]))
    ana, bob = (server.wire(one) for one in keys)
    assert ana.call("PUT", "/anas").status == 200
    assert ana.call("PUT", "/anas/k", body=b"body").status == 200
    refused = bob.call("GET", "/anas/k")
    assert refused.status == 403
    request_id = refused.header("x-amz-request-id")
    why = typing.do("explain", "--request-id", request_id)
    assert "s3:GetObject on arn:aws:s3:::anas/k" in why
    assert "denied" in why
    sharing = ("grant", "add", "anas", "--user", "bob", "--access", "read", *here)
    assert "in the past" in typing.do(*sharing, "--expires", "2001-01-01", expect=65)
    assert "No grants of the bucket anas." in typing.do("grant", "list", "anas")
    told(*sharing)
    assert bob.call("GET", "/anas/k").body == b"body"
    assert bob.call("PUT", "/anas/k", body=b"x").status == 403
    (grant,) = told("grant", "list", "anas")
    assert (grant["access"], grant["name"], grant["tenant"]) == ("read", "bob", "acme")
    assert grant["grantee"].startswith("AIDA")
    listed = typing.do("grant", "list", "anas")
    assert "bob" in listed
    assert grant["grantee"] not in listed
    told("grant", "remove", "anas", "--user", "bob", *here)
    assert bob.call("GET", "/anas/k").status == 403
    told("user", "create", "far")
    assert "the tenant acme does not share" in typing.do(
        "grant", "add", "anas", "--user", "far", "--access", "read"
    )
    told("tenant", "set", "acme", "--sharing", "on")
    assert "does not share" not in typing.do(
        "grant", "add", "anas", "--user", "far", "--access", "read"
    )
    assert "bucket nix cannot be found" in typing.do("grant", "list", "nix", expect=66)
    asked = ("explain", "--principal", "ana", *here)
    slip = (*asked, "--action", "s3:GetObjct", "--resource", "arn:aws:s3:::anas/k")
    assert "did you mean s3:getobject?" in typing.do(*slip, expect=65)
    slip = (*asked, "--action", "s3:GetObject", "--resource", "anas/k")
    assert "arn:aws:s3:::bucket/key" in typing.do(*slip, expect=65)
    of_none = (*asked, "--action", "s3:GetObject", "--resource", "arn:aws:s3:::nix/k")
    assert "There is no bucket nix" in typing.do(*of_none)
    (seen,) = told("bucket", "list", *here)
    assert (seen["name"], seen["owner"], seen["objects"], seen["bytes"]) == ("anas", "ana", 1, 4)
    assert "anas" in {one["name"] for one in told("bucket", "list")}
    told("bucket", "give", "anas", "--user", "bob")
    assert bob.call("GET", "/anas/k").body == b"body"
    assert ana.call("GET", "/anas").status == 403
    assert "anas" in typing.do("bucket", "list", *here)
    told("bucket", "give", "anas", "--root")
    assert bob.call("GET", "/anas").status == 403
    typing.do("bucket", "give", "anas", "--user", "nobody", expect=66)
    typing.do("bucket", "give", "nix", "--user", "ana", expect=66)
    told("user", "create", "clerk", *here)
    told("user", "set", "clerk", "--owns-as", "tenant", *here)
    assert "belongs to its tenant" in typing.do(
        "bucket", "give", "anas", "--user", "clerk", expect=65
    )
    told("bucket", "give", "anas", "--user", "ana")
    told("quota", "set", *here, "--bytes", "5")
    assert ana.call("PUT", "/anas/more", body=b"body").status == 403
    told("quota", "set", *here, "--bytes", "none")
    assert ana.call("PUT", "/anas/more", body=b"body").status == 200
    told("tenant", "suspend", "acme")
    assert ana.call("GET", "/anas/k").status == 403
    told("tenant", "resume", "acme")
    assert ana.call("GET", "/anas/k").status == 200
    assert told("tenant", "delete", "acme", "--yes")["versions_left"] == 2
    assert ana.call("GET", "/anas/k").status == 403
    watched = typing.do("tenant", "deletion", "acme", "--watch").splitlines()
    assert watched[0].startswith("acme: 1 buckets, 2 versions")
    assert watched[-1] == "acme: deleted"
    assert "acme" not in {tenant["name"] for tenant in told("tenant", "list")}
    typing.do("tenant", "deletion", "acme", expect=66)


def test_a_container_begins_with_what_its_environment_asks_for(tmp_path: Path) -> None:
    """Made when missing at each start; what an administrator changed since stays changed."""
    keys = new_keys()
    server = Server(
        tmp_path / "server",
        BOOTSTRAP_TENANT="acme",
        BOOTSTRAP_USER="app",
        BOOTSTRAP_ACCESS_KEY=keys.access_key,
        BOOTSTRAP_SECRET_KEY=keys.secret_key,
        BOOTSTRAP_BUCKET="app-data",
    )
    server.secrets.append(keys.secret_key)
    try:
        server.start()
        wire = server.wire(keys)
        assert wire.call("PUT", "/app-data/k", body=b"x").status == 200
        server.command("key", "disable", keys.access_key)
        server.command("user", "set", "app", "--tenant", "acme", "--display-name", "The app")
        wire.close()
        server.stop()
        server.start()
        assert wire.call("GET", "/app-data/k").status == 403
        server.command("key", "enable", keys.access_key)
        assert wire.call("GET", "/app-data/k").body == b"x"
        shown = told_by(server, "user", "show", "app", "--tenant", "acme")
        assert shown["display_name"] == "The app"
        wire.close()
        server.stop()
        server.settings["BOOTSTRAP_TENANT"] = "other"
        refused = server.command("serve", expect=78)
        assert "is taken" in refused.stderr
    finally:
        server.close()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"USER": "a", "ACCESS_KEY": "abc"}, "together"),
        ({"BUCKET": "abc"}, "need a bootstrap_user"),
        ({"USER": "a", "ACCESS_KEY": "abc", "SECRET_KEY": "changeme"}, "well-known"),
        ({"USER": "a b"}, "The name of a user"),
        ({"USER": "a", "BUCKET": "A_B"}, "bucket is not valid"),
    ],
)
def test_a_beginning_that_can_not_be_made_is_refused(
    tmp_path: Path, environment: dict[str, str], told: str
) -> None:
    """In one sentence, before anything listens."""
    given = {f"HOLDFAST_BOOTSTRAP_{name}": text for name, text in environment.items()}
    given |= {"HOLDFAST_ROOT_ACCESS_KEY": "rootkey", "HOLDFAST_ROOT_SECRET_KEY": "x" * 20}
    ports = ("--s3-listen", f"{HOST}:0", "--console-listen", f"{HOST}:0")
    done = run("serve", "--data-dir", str(tmp_path / "data"), *ports, environment=given)
    assert done.returncode == 78, done.stderr
    assert told in done.stderr


def test_a_secret_is_printed_only_when_it_was_made_here(server: Server) -> None:
    """An imported one is known to its owner, and a pipeline's log is not private."""
    keys = new_keys()
    arguments = ("--access-key", keys.access_key, "--secret-key", "-")
    server.secrets.append(keys.secret_key)
    done = server.command("key", "create", "--owner", "carol", *arguments, stdin=keys.secret_key)
    assert keys.access_key in done.stdout
    assert keys.secret_key not in done.stdout + done.stderr
    made = json.loads(server.command("key", "create", "--owner", "carol", "--json").stdout)
    server.secrets.append(made["secret_key"])
    assert (
        server.wire(Keys(made["access_key_id"], made["secret_key"])).call("GET", "/").status == 200
    )


def test_fsck_finds_a_damaged_object_beside_the_server(private_server: Server) -> None:
    """Only a deep check reads the bytes; it names bucket and key and says what can be done."""
    wire = private_server.wire(private_server.root_keys)
    wire.call("PUT", "/kept")
    assert wire.call("PUT", "/kept/films/%C3%A4%20b", body=bytes(3 << 20)).status == 200
    objects = private_server.data_dir / "objects"
    (large,) = [path for path in objects.rglob("*") if path.is_file() and "segm" not in str(path)]
    with large.open("r+b") as blob:
        blob.seek(1 << 20)
        blob.write(b"not what was written")
    assert "--deep verifies every byte" in private_server.command("fsck").stdout
    done = private_server.command("fsck", "--deep", expect=1)
    assert "kept: key 'films/\\xe4 b'" in done.stdout
    assert "can't be repaired" in done.stdout
    lines = private_server.command("fsck", "--deep", "--json", expect=1).stdout.splitlines()
    finding, summary = map(json.loads, lines)
    assert (finding["kind"], finding["repaired"]) == ("blob-damaged", False)
    assert (summary["findings"], summary["repaired"]) == (1, 0)


def test_fsck_says_what_a_repair_would_do_and_the_repair_does_it(private_server: Server) -> None:
    """A file that no row refers to is named, left alone, and removed when that is asked for."""
    wire = private_server.wire(private_server.root_keys)
    wire.call("PUT", "/kept")
    assert wire.call("PUT", "/kept/k", body=bytes(3 << 20)).status == 200
    private_server.stop()
    objects = private_server.data_dir / "objects"
    (large,) = [path for path in objects.rglob("*") if path.is_file() and "segm" not in str(path)]
    stray = large.with_name(large.name[:2] + "0" * (len(large.name) - 2))
    stray.write_bytes(large.read_bytes())
    assert "--repair would" in private_server.command("fsck", expect=1).stdout
    assert stray.exists()
    assert "(repaired:" in private_server.command("fsck", "--repair").stdout
    assert not stray.exists()
    assert "clean" in private_server.command("fsck", "--deep").stdout


def test_a_second_server_and_a_repair_are_refused_while_one_runs(private_server: Server) -> None:
    """Both name the folder and what to do; checking beside the server works."""
    second = private_server.command("serve", expect=78)
    assert "Another holdfast serve runs on" in second.stderr
    assert "Traceback" not in second.stderr
    assert "stop the server" in private_server.command("fsck", "--repair", expect=1).stderr
    assert "clean" in private_server.command("fsck").stdout


def test_a_taken_port_is_named(private_server: Server, tmp_path: Path) -> None:
    """Another server on the same port ends at once, with the setting to change."""
    environment = private_server.environment | {"HOLDFAST_DATA_DIR": str(tmp_path / "other")}
    done = run("serve", environment=environment)
    assert done.returncode == 78
    assert f"Port {private_server.port} on {HOST} is taken" in done.stderr
    assert "set s3_listen" in done.stderr


def test_roles_run_alone(tmp_path: Path) -> None:
    """One S3 worker without a supervisor serves, and ends in order."""
    server = Server(tmp_path / "server")
    process = subprocess.Popen(
        [*COMMAND, "s3"], env=server.environment, stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    server.process = None
    try:
        while server.status_of("/-/readyz") != 200:
            assert process.poll() is None
        assert server.wire(server.root_keys).call("GET", "/").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        server.close()


class Interrupted(list[str]):
    """Arguments during which somebody types Ctrl-C."""

    def __iter__(self) -> Iterator[str]:
        """Be interrupted."""
        raise KeyboardInterrupt


def test_an_interrupted_command_ends_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """Also while it is still being loaded, which is most of the time of a short one."""
    assert main(Interrupted(["version"])) == 130
    assert capsys.readouterr() == ("", "")
