"""POST policy forms as browsers send them, signed with V4."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.signing import sign_policy_v4, stamp
from tests.wire import Answer, S3Wire

BOUNDARY = "----form-boundary"


def render_form(fields: dict[str, str], body: bytes, filename: str = "file name.txt") -> bytes:
    """Return a multipart/form-data body with the file last."""
    out = []
    for name, text in fields.items():
        out.append(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        )
    out.append(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        f'name="file"; filename="{filename}"\r\nContent-Type: text/x\r\n\r\n'
    )
    return "".join(out).encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


def signed_fields(
    wire: S3Wire,
    conditions: list[Any],
    fields: dict[str, str],
    *,
    expires: timedelta = timedelta(minutes=5),
    policy: str | None = None,
) -> dict[str, str]:
    """Return form fields with a V4-signed policy of the conditions, or with a given policy."""
    at = datetime.now(UTC)
    signer = wire.signer
    identity = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{signer.keys.access_key}/{signer.scope(at)}",
        "x-amz-date": stamp(at),
    }
    document = {
        "expiration": (at + expires).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "conditions": [*conditions, *({name: text} for name, text in identity.items())],
    }
    encoded = base64.b64encode(json.dumps(document).encode()).decode()
    if policy is not None:
        encoded = policy
    mark = sign_policy_v4(signer, encoded, at)
    return {**fields, **identity, "policy": encoded, "x-amz-signature": mark}


def post(
    wire: S3Wire,
    bucket: str,
    fields: dict[str, str],
    body: bytes = b"file body",
    filename: str = "file name.txt",
) -> Answer:
    """Send a form."""
    headers = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
    return wire.plain("POST", f"/{bucket}", headers, render_form(fields, body, filename))
