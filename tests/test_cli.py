"""The command line with real processes: what it prints, how it ends, and what it never shows."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
        (("nonsense",), {}, 64, "invalid choice"),
        (("serve", "--wrokers", "2"), {}, 64, "unrecognized arguments"),
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
            again = server.command("key", "enable", keys.access_key, expect=1)
            assert "no such key" in again.stderr
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
    ("arguments", "stdin", "told"),
    [
        (("--owner", "root"), "", "The name root is the installation's own"),
        (("--owner", "eve", "--access-key", "A/B", "--secret-key", "-"), "x" * 20, "3 to 128"),
        (("--owner", "eve", "--access-key", "EVE", "--secret-key", "-"), "short", "8 to 256"),
        (("--owner", "eve", "--access-key", "EVE", "--secret-key", "-"), "", "No secret came"),
        (("--owner", "eve", "--access-key", "{taken}", "--secret-key", "-"), "x" * 20, "is taken"),
    ],
)
def test_a_key_that_can_not_be_made_leaves_nothing(
    server: Server, arguments: tuple[str, ...], stdin: str, told: str
) -> None:
    """One sentence says why, and not even its owner is made."""
    taken = server.root_keys.access_key
    given = [text.replace("{taken}", taken) for text in arguments]
    done = server.command("key", "create", *given, stdin=stdin, expect=1)
    assert told in done.stderr
    assert (done.stderr.count("\n"), done.stdout) == (1, "")
    owners = {key["owner"] for key in json.loads(server.command("key", "list", "--json").stdout)}
    assert "eve" not in owners


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
    assert "clean" in private_server.command("fsck").stdout
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
