"""Settings of the installation on a real server: obeyed by every worker from the next request."""

import json
from typing import Any

from tests.servers import S3, Server


def told(server: Server, *arguments: str) -> Any:
    """Return what a command answers as JSON."""
    return json.loads(server.command("setting", *arguments, "--json").stdout)


def start_of(s3: S3, bucket: str) -> tuple[str, list[str]]:
    """Return who owns what others write into a new bucket, and which flags it has."""
    s3.create_bucket(Bucket=bucket)
    try:
        found = s3.get_bucket_ownership_controls(Bucket=bucket)
        ownership = found["OwnershipControls"]["Rules"][0]["ObjectOwnership"]
    except s3.exceptions.ClientError:
        ownership = ""  # it has no controls of its own, as with ObjectWriter on AWS
    flags = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    return ownership, sorted(name for name, is_on in flags.items() if is_on)


def test_settings_hold_from_the_next_request_and_on_a_stopped_folder(
    private_server: Server,
) -> None:
    """Set beside the server and without it; the tenant's own word wins; all of it is audited."""
    server = private_server
    s3 = server.boto(server.create_owner("ana"))
    enforced = "BucketOwnerEnforced"
    assert start_of(s3, "shipped")[0] == enforced
    told(server, "set", "default_object_ownership", "ObjectWriter")
    told(server, "set", "default_public_access_block", "BlockPublicAcls")
    for number in range(4):  # of either worker
        assert start_of(s3, f"changed-{number}") == ("", ["BlockPublicAcls"])
    server.command("tenant", "set", "default", "--object-ownership", "BucketOwnerPreferred")
    assert start_of(s3, "tenant")[0] == "BucketOwnerPreferred"
    shown = server.command("tenant", "set", "default", "--object-ownership", "installation")
    assert "as the installation's setting" in shown.stdout
    server.stop()
    told(server, "reset", "default_object_ownership")
    assert [one["value"] for one in told(server, "history", "default_object_ownership")] == [
        None,
        "ObjectWriter",
    ]
    server.start()
    assert start_of(s3, "again") == (enforced, ["BlockPublicAcls"])
    listed = {one["name"]: one["value"] for one in told(server, "list")}
    assert listed["default_object_ownership"] == enforced
    assert listed["default_public_access_block"] == "BlockPublicAcls"
    refused = server.command("setting", "set", "password_chars_min", "3", expect=65)
    assert "from 8 to 128" in refused.stderr
    assert server.command("setting", "set", "theme", "dark", expect=66).stderr
    assert "what ships" in server.command("setting", "history", "default_object_ownership").stdout
    rows = json.loads(server.command("audit", "list", "--json").stdout)
    noted = [one["action"] for one in rows if one["action"].endswith("Setting")]
    assert noted == ["holdfast:ResetSetting", *["holdfast:PutSetting"] * 2]


def test_what_a_process_is_started_with_is_no_setting_of_the_installation(
    private_server: Server,
) -> None:
    """Neither set at run time, nor by the environment under the same name."""
    server = private_server
    assert server.command("setting", "set", "region", "eu-central-1", expect=66).stderr
    server.stop()
    server.settings["DEFAULT_OBJECT_OWNERSHIP"] = "ObjectWriter"
    assert "HOLDFAST_DEFAULT_OBJECT_OWNERSHIP" in server.command("serve", expect=None).stderr
