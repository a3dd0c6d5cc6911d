"""What is shipped beside the program: the image's recipe names what exists and tells health."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Server

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def test_what_the_image_copies_exists() -> None:
    """Every source is in the repository, and what is left out of the build is none of them."""
    left_out = (ROOT / ".dockerignore").read_text().split()
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [name for line in lines for name in line.split()]
    assert sources
    for name in sources:
        assert (ROOT / name).exists(), name
        assert name.removeprefix("./") not in left_out, name


def test_the_image_installs_from_the_locks_only() -> None:
    """Nothing is resolved while the image is built: each package comes with its hash."""
    installs = re.findall(r"pip install (.+?)(?: \\)?$", DOCKERFILE, re.MULTILINE)
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def is_healthy(port: int) -> bool:
    """Run the image's health check against a console's port."""
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found
    _, *arguments = json.loads(found[1])
    program = [text.replace(":8081/", f":{port}/") for text in arguments]
    done = subprocess.run([sys.executable, *program], capture_output=True, check=False)
    return done.returncode == 0


def test_the_health_check_knows_a_server_that_is_ready(server: Server) -> None:
    """And one that is not there."""
    assert is_healthy(server.console_port)
    assert not is_healthy(1)


def test_the_health_check_works_with_tls(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A server does not count as ill because it was given a certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"),
            *("-subj", "/CN=s3.example.com"),
        ],
        check=True,
        capture_output=True,
    )
    server = Server(
        tmp_path / "server", TLS_CERTIFICATE=str(certificate), TLS_KEY=str(key), WORKERS="1"
    )
    request.addfinalizer(server.close)
    server.launch()
    server.wait_for_log_count("is ready", 3)
    assert is_healthy(server.console_port)
