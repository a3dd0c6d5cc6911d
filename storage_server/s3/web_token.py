"""Identity tokens of OpenID Connect: read without trust, then proven or refused.

Nothing here says why a token is refused: whoever sends forged ones learns nothing from the answer.

Source: OpenID Connect Core 1.0, 2 and 3.1.3.7; RFC 8725 (JWT best current practices).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

TOKEN_CHARS_MAX: Final = 20_000  # AWS's bound
CLAIMS_MAX: Final = 200
DEPTH_MAX: Final = 6
VALUES_MAX: Final = 200
SKEW_S: Final = 60  # how far clocks may differ; RFC 7519 says "a few minutes" at most
RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 8192  # proving with a longer one is work that somebody else gives us
AGE_S_MAX: Final = 86_400  # of a token without an expiry that is sooner

# Algorithms by kind of key: no secret is ever shared with a provider, so none that needs one.
ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"EdDSA", "Ed25519"}),
}
ALL_ALGORITHMS: Final = frozenset().union(*ALGORITHMS.values())
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

Jwk = Mapping[str, object]


class Refused(Exception):
    """The token is not believed. It has no sentence on purpose."""


class Unproven(msgspec.Struct, frozen=True):
    """What a token says of itself, for finding out whom to ask; nothing of it is true yet."""

    issuer: str
    algorithm: str
    key_id: str | None


class Expected(msgspec.Struct, frozen=True):
    """What a provider's tokens must say."""

    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str] = ALL_ALGORITHMS


class Claims(msgspec.Struct, frozen=True):
    """A proven token: who it is about, for whom, and everything else that it says."""

    issuer: str
    subject: str
    audience: str
    expires_s: int
    all: Mapping[str, object]


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: msgspec.Raw | None = None
    b64: bool | None = None
    zip: str | None = None


class _Registered(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float | None = None
    nbf: int | float | None = None
    azp: str | None = None


def look(token: str) -> Unproven:
    """Return what a token says of itself.

    Raises:
        Refused: It is no signed token of a form and size that is read here.
    """
    header, payload = _parts(token)
    if header.alg not in ALL_ALGORITHMS:
        raise Refused
    if header.crit is not None or header.b64 is not None or header.zip is not None:
        raise Refused
    return Unproven(_registered(payload).iss, header.alg, header.kid)


def prove(token: str, keys: Sequence[Jwk], expected: Expected, now_s: int) -> Claims:
    """Return the claims of a token that is signed with one of the keys and says what is expected.

    Raises:
        Refused: It is not, or does not.
    """
    unproven = look(token)
    if unproven.issuer != expected.issuer or unproven.algorithm not in expected.algorithms:
        raise Refused
    key = _choose(keys, unproven)
    payload = _verify(token, key, unproven.algorithm)
    said = _registered(payload)
    audience = _check_audience(said, expected)
    _check_times(said, now_s)
    if said.iss != expected.issuer or not 1 <= len(said.sub) <= 255:
        raise Refused
    everything = msgspec.json.decode(payload, type=dict[str, object])
    if len(everything) > CLAIMS_MAX or not _is_flat(everything, DEPTH_MAX):
        raise Refused
    return Claims(said.iss, said.sub, audience, int(said.exp), everything)


def values_of(claim: object) -> tuple[str, ...]:
    """Return a claim's values as texts; one that is no text, number, truth or list has none."""
    match claim:
        case bool():
            return ("true" if claim else "false",)
        case str():
            return (claim,)
        case int() | float():
            return (str(claim),)
        case list():
            values = [
                value for one in claim if not isinstance(one, list) for value in values_of(one)
            ]
            return tuple(values[:VALUES_MAX])
        case _:
            return ()


def _parts(token: str) -> tuple[_Header, bytes]:
    if len(token) > TOKEN_CHARS_MAX or not token.isascii() or token.count(".") != 2:
        raise Refused
    header, payload, signature = token.split(".")
    if not signature:
        raise Refused
    try:
        return msgspec.json.decode(_unpadded(header), type=_Header), _unpadded(payload)
    except (msgspec.MsgspecError, RecursionError):
        raise Refused from None


def _unpadded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise Refused from None


def _verify(token: str, key: RSAKey | ECKey | OKPKey, algorithm: str) -> bytes:
    """Return the payload that the key signed."""
    if isinstance(key, OKPKey):
        # RFC 9864 renamed this algorithm to Ed25519, which is what tokens without number mean;
        # the library warns of the old name, and providers go on using it.
        signed, _, signature = token.rpartition(".")
        public = key.public_key
        try:
            if not isinstance(public, Ed25519PublicKey):
                raise Refused
            public.verify(_unpadded(signature), signed.encode())
        except InvalidSignature:
            raise Refused from None
        return _unpadded(signed.partition(".")[2])
    try:
        return jws.deserialize_compact(token.encode(), key, algorithms=[algorithm]).payload
    except (JoseError, ValueError, TypeError):
        raise Refused from None


def _registered(payload: bytes) -> _Registered:
    try:
        return msgspec.json.decode(payload, type=_Registered)
    except (msgspec.MsgspecError, RecursionError):
        raise Refused from None


def _choose(keys: Sequence[Jwk], unproven: Unproven) -> RSAKey | ECKey | OKPKey:
    """Return the one key that may have signed: by its id, or because there is no other."""
    fitting = [key for key in keys if _fits(key, unproven)]
    if len(fitting) != 1:
        raise Refused
    jwk: dict[str, str | list[str]] = {
        name: value
        for name, value in fitting[0].items()
        if name in {"kty", "n", "e", "crv", "x", "y"} and isinstance(value, str)
    }
    try:
        if jwk["kty"] == "RSA":
            return RSAKey.import_key(jwk) if _is_long_enough(str(jwk["n"])) else _refuse()
        return ECKey.import_key(jwk) if jwk["kty"] == "EC" else OKPKey.import_key(jwk)
    except (JoseError, ValueError, TypeError, KeyError):
        raise Refused from None


def _is_long_enough(modulus: str) -> bool:
    bits = int.from_bytes(_unpadded(modulus), "big").bit_length()
    return RSA_BITS_MIN <= bits <= RSA_BITS_MAX


def _refuse() -> NoReturn:
    raise Refused


def _fits(key: Jwk, unproven: Unproven) -> bool:
    if unproven.algorithm not in ALGORITHMS.get(str(key.get("kty")), frozenset()):
        return False
    if key.get("use", "sig") != "sig" or key.get("alg", unproven.algorithm) != unproven.algorithm:
        return False
    if _CURVES.get(unproven.algorithm, key.get("crv")) != key.get("crv"):
        return False
    return unproven.key_id is None or key.get("kid") == unproven.key_id


def _check_audience(said: _Registered, expected: Expected) -> str:
    """Return the audience that is one of ours; the authorised party, when there are several."""
    audiences = [said.aud] if isinstance(said.aud, str) else said.aud
    ours = [audience for audience in audiences if audience in expected.audiences]
    if not ours:
        raise Refused
    if said.azp is not None:
        # A token for several audiences may be used by the party that it was issued to alone.
        if said.azp not in expected.audiences:
            raise Refused
        return said.azp
    if len(audiences) > 1:
        raise Refused
    return ours[0]


def _check_times(said: _Registered, now_s: int) -> None:
    if not now_s - SKEW_S < said.exp < 1 << 40:
        raise Refused
    if said.nbf is not None and said.nbf > now_s + SKEW_S:
        raise Refused
    if said.iat is not None and not now_s - AGE_S_MAX <= said.iat <= now_s + SKEW_S:
        raise Refused


def _is_flat(value: object, depth: int) -> bool:
    if depth == 0:
        return False
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(_is_flat(one, depth - 1) for one in inner)
