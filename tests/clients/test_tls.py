"""Clients over TLS: there the SDKs send their checksums behind the body, in a trailer."""

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig

from tests.clients.commands import find_program, make_large, run
from tests.servers import HOST, REGION, Server, fresh_name
from tests.signing import Keys

MIB = 1 << 20
BODY = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback address, which is its own authority; its key beside it."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "own.pem")),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{HOST}"),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "own.pem"


@pytest.fixture(scope="module")
def secure(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with that certificate."""
    key = authority.with_name("key.pem")
    server = Server(
        tmp_path_factory.mktemp("secure"), TLS_CERTIFICATE=str(authority), TLS_KEY=str(key)
    )
    try:
        server.launch()
        server.wait_for_log_count("is ready", 4)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def keys(secure: Server) -> Keys:
    """A user's key."""
    return secure.create_owner("alice")


def test_boto3_sends_its_checksums_behind_the_body(
    secure: Server, keys: Keys, authority: Path, tmp_path: Path
) -> None:
    """With nothing set but the address: in one piece, as a stream, in parts, and back."""
    s3: Any = boto3.session.Session().client(
        "s3",
        endpoint_url=f"https://{HOST}:{secure.port}",
        region_name=REGION,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        verify=str(authority),
    )
    sent: list[str] = []
    s3.meta.events.register(
        "before-send.s3.PutObject",
        lambda request, **_: sent.append(str(request.headers.get("x-amz-trailer", b""))),
    )
    bucket = fresh_name()
    s3.create_bucket(Bucket=bucket)
    for name, body in (("empty", b""), ("small", b"hello"), ("large", BODY * 20)):
        told = s3.put_object(Bucket=bucket, Key=name, Body=body)
        got = s3.get_object(Bucket=bucket, Key=name)
        assert got["Body"].read() == body
        assert got["ChecksumCRC32"] == told["ChecksumCRC32"]
    s3.upload_fileobj(io.BytesIO(BODY), bucket, "stream")
    assert len(sent) == 4
    assert all("x-amz-checksum-crc32" in trailer for trailer in sent)
    for algorithm in ("SHA256", "CRC32C", "CRC64NVME"):
        told = s3.put_object(Bucket=bucket, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
        assert told[f"Checksum{algorithm}"]
    large, back = make_large(tmp_path / "large", 20), tmp_path / "back"
    s3.upload_file(str(large), bucket, "parts", Config=TransferConfig(multipart_chunksize=8 * MIB))
    s3.download_file(bucket, "parts", str(back))
    assert back.read_bytes() == large.read_bytes()
    s3.close()


def test_aws_works_over_tls(secure: Server, keys: Keys, authority: Path, tmp_path: Path) -> None:
    """Up in parts, down again, and an object's checksum told."""
    program = find_program("aws", "awscli (requirements-clients.lock)")
    env = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": f"https://{HOST}:{secure.port}",
        "AWS_CA_BUNDLE": str(authority),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }

    def aws(*arguments: str) -> str:
        return run(program, *arguments, env=env, home=tmp_path)

    large = make_large(tmp_path / "large", 20)
    bucket = fresh_name()
    aws("s3", "mb", f"s3://{bucket}")
    aws("s3", "cp", str(large), f"s3://{bucket}/large")
    aws("s3", "cp", f"s3://{bucket}/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    (tmp_path / "small").write_bytes(BODY)
    put = ("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", "small")
    assert json.loads(aws(*put, "--output", "json"))["ChecksumType"] == "FULL_OBJECT"
