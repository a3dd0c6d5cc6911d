"""A provider of web identities: a real HTTP server on loopback that signs tokens."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import ECKey, KeyParameters, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey
AUDIENCE = "holdfast"
_TOKEN_S = 300


def make_key(algorithm: str, key_id: str) -> Key:
    """Return a new key for an algorithm."""
    parameters: KeyParameters = {"kid": key_id, "alg": algorithm, "use": "sig"}
    if algorithm.startswith("ES"):
        return ECKey.generate_key("P-256", parameters)
    if algorithm == "EdDSA":
        return OKPKey.generate_key("Ed25519", parameters)
    return RSAKey.generate_key(2048, parameters)


def b64(data: bytes) -> str:
    """Return bytes as tokens hold them."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(key: Key, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a token that says anything at all, properly signed."""
    payload = json.dumps(claims).encode()
    if isinstance(key, OKPKey):  # the library warns of the name that providers use
        text = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
        private = key.private_key
        assert isinstance(private, Ed25519PrivateKey)
        return f"{text}.{b64(private.sign(text.encode()))}"
    return jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])


def sign_shared(secret: bytes, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a token that is signed with HMAC-SHA256 under any secret."""
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), hashlib.sha256))}"


class OidcIssuer:
    """Publishes its keys and signs; ``asked`` are the paths that were asked for."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """Listen on a free port; nothing is served before ``start``."""
        self.asked: list[str] = []
        self.replies: dict[str, tuple[int, dict[str, str], bytes]] = {}
        """Replies that are given instead of the proper ones."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer."""
                issuer.asked.append(self.path)
                status, headers, body = issuer._reply(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self.name = self.url.partition("://")[2]
        self.keys: dict[str, Key] = {"rsa-1": make_key("RS256", "rsa-1")}

    def start(self) -> "OidcIssuer":
        """Serve."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, algorithm: str, key_id: str) -> None:
        """Publish and use a new key alone."""
        self.keys = {key_id: make_key(algorithm, key_id)}

    def key_set(self) -> bytes:
        """Return what is published of the keys."""
        return json.dumps(
            {"keys": [key.as_dict(private=False) for key in self.keys.values()]}
        ).encode()

    def claims(self, now_s: int, **others: Any) -> dict[str, Any]:
        """Return good claims; a value of None takes one away."""
        good = {
            "iss": self.url, "sub": "ana", "aud": AUDIENCE, "iat": now_s, "exp": now_s + _TOKEN_S,
        }  # fmt: skip
        return {name: value for name, value in (good | others).items() if value is not None}

    def token(self, now_s: int, **others: Any) -> str:
        """Return a token, signed with the newest key."""
        key_id, key = list(self.keys.items())[-1]
        algorithm = str(key.as_dict(private=False)["alg"])
        return sign(key, {"alg": algorithm, "kid": key_id}, self.claims(now_s, **others))

    def _reply(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path in self.replies:
            return self.replies[path]
        if path == "/.well-known/openid-configuration":
            document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()
        if path == "/keys":
            return 200, {"Content-Type": "application/json"}, self.key_set()
        return 404, {}, b""
