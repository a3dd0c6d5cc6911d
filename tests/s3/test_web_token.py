"""S35: an identity token is believed when everything about it is right, and else never."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from storage_server.s3 import web_token
from storage_server.s3.web_token import Claims, Expected, Refused
from tests.fakes.oidc_issuer import AUDIENCE, OidcIssuer, b64, make_key, sign, sign_shared

NOW_S = 1_800_000_000


@pytest.fixture(scope="module")
def issuer() -> Iterator[OidcIssuer]:
    """A provider whose keys are made once; it serves nothing here."""
    made = OidcIssuer()
    made.keys["ec-1"] = make_key("ES256", "ec-1")
    made.keys["ed-1"] = make_key("EdDSA", "ed-1")
    yield made
    made._server.server_close()


def prove(issuer: OidcIssuer, token: str, **changed: Any) -> Claims:
    """Prove a token to somebody who trusts the provider."""
    expected = {"issuer": issuer.url, "audiences": frozenset({AUDIENCE})} | changed
    keys = json.loads(issuer.key_set())["keys"]
    return web_token.prove(token, keys, Expected(**expected), NOW_S)


def header_of(key_id: str) -> dict[str, str]:
    """Return the header for one of the provider's keys."""
    algorithm = {"rsa-1": "RS256", "ec-1": "ES256", "ed-1": "EdDSA"}[key_id]
    return {"alg": algorithm, "kid": key_id}


@pytest.mark.parametrize("key_id", ["rsa-1", "ec-1", "ed-1"])
def test_a_good_token_says_who_it_is_about(issuer: OidcIssuer, key_id: str) -> None:
    """Each kind of key."""
    claims = issuer.claims(NOW_S, groups=["a", "b"])
    found = prove(issuer, sign(issuer.keys[key_id], header_of(key_id), claims))
    assert (found.subject, found.audience, found.issuer) == ("ana", AUDIENCE, issuer.url)
    assert web_token.values_of(found.all["groups"]) == ("a", "b")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"iss": ["a"]},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"aud": [AUDIENCE, "other"]},
        {"aud": [AUDIENCE, "other"], "azp": "other"},
        {"azp": "other"},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 5},
        {"exp": None},
        {"exp": NOW_S - web_token.SKEW_S},
        {"exp": "never"},
        {"exp": 1 << 60},
        {"nbf": NOW_S + web_token.SKEW_S + 1},
        {"nbf": "x"},
        {"iat": NOW_S + web_token.SKEW_S + 1},
        {"iat": NOW_S - web_token.AGE_S_MAX - 1},
        {"deep": [[[[[[["x"]]]]]]]},
        {f"c{number}": 1 for number in range(web_token.CLAIMS_MAX)},
    ],
    ids=lambda claims: ",".join(list(claims)[:2]) + str(next(iter(claims.values())))[:20],
)
def test_a_token_with_a_wrong_claim_is_refused(issuer: OidcIssuer, claims: dict[str, Any]) -> None:
    """Signed by the right key, and still not for us."""
    token = sign(issuer.keys["rsa-1"], header_of("rsa-1"), issuer.claims(NOW_S, **claims))
    with pytest.raises(Refused):
        prove(issuer, token)


def test_the_authorised_party_is_the_audience_when_there_are_several(issuer: OidcIssuer) -> None:
    """OpenID Connect Core 1.0, 3.1.3.7."""
    claims = issuer.claims(NOW_S, aud=[AUDIENCE, "other"], azp=AUDIENCE)
    found = prove(issuer, sign(issuer.keys["rsa-1"], header_of("rsa-1"), claims))
    assert found.audience == AUDIENCE


def test_an_unsigned_token_is_refused(issuer: OidcIssuer) -> None:
    """In whatever case "none" is written, with a signature or without."""
    claims = b64(json.dumps(issuer.claims(NOW_S)).encode())
    for name in ("none", "None", "NONE", "nOnE", ""):
        header = b64(json.dumps({"alg": name, "kid": "rsa-1"}).encode())
        for signature in ("", "AAAA"):
            with pytest.raises(Refused):
                prove(issuer, f"{header}.{claims}.{signature}")


def test_a_public_key_is_no_shared_secret(issuer: OidcIssuer) -> None:
    """HS256 with anything that an attacker knows: PEM, DER, the key set, the modulus."""
    key = issuer.keys["rsa-1"]
    public = key.as_dict(private=False)
    secrets = [
        key.as_pem(private=False),
        key.as_der(private=False),
        issuer.key_set(),
        str(public["n"]).encode(),
        b"client secret",
        b"",
    ]
    for algorithm in ("HS256", "HS384", "HS512"):
        for secret in secrets:
            header = {"alg": algorithm, "kid": "rsa-1"}
            with pytest.raises(Refused):
                prove(issuer, sign_shared(secret, header, issuer.claims(NOW_S)))


def test_a_key_is_found_by_its_id_alone(issuer: OidcIssuer) -> None:
    """Another key's id, an unknown one, or none where several keys would do."""
    claims = issuer.claims(NOW_S)
    for header in (
        {"alg": "RS256", "kid": "ec-1"},
        {"alg": "RS256", "kid": "other"},
        {"alg": "RS256", "kid": ""},
        {"alg": "RS384", "kid": "rsa-1"},
    ):
        with pytest.raises(Refused):
            prove(issuer, sign_with(issuer, header, claims))
    assert prove(issuer, sign_with(issuer, {"alg": "RS256"}, claims)).subject == "ana"


def sign_with(issuer: OidcIssuer, header: dict[str, str], claims: dict[str, Any]) -> str:
    """Sign with the RSA key under another header."""
    rsa = issuer.keys["rsa-1"].as_dict(private=True)
    bare = {name: value for name, value in rsa.items() if name not in {"alg", "kid", "use"}}
    return sign(type(issuer.keys["rsa-1"]).import_key(bare), header, claims)


def test_another_providers_key_signs_nothing_here(issuer: OidcIssuer) -> None:
    """The same key id is no proof."""
    stranger = make_key("RS256", "rsa-1")
    with pytest.raises(Refused):
        prove(issuer, sign(stranger, header_of("rsa-1"), issuer.claims(NOW_S)))


def test_a_key_in_the_header_is_not_used(issuer: OidcIssuer) -> None:
    """Neither a key, nor where to fetch one, is taken from the token."""
    stranger = make_key("RS256", "rsa-1")
    header = header_of("rsa-1") | {"jwk": stranger.as_dict(private=False)}
    with pytest.raises(Refused):
        prove(issuer, sign(stranger, header, issuer.claims(NOW_S)))


def test_a_short_rsa_key_is_not_believed(issuer: OidcIssuer) -> None:
    """A provider that publishes one is as good as none."""
    key = issuer.keys["rsa-1"].as_dict(private=False)
    short = key | {"n": b64((1 << 1023).to_bytes(128, "big"))}
    token = sign(issuer.keys["rsa-1"], header_of("rsa-1"), issuer.claims(NOW_S))
    with pytest.raises(Refused):
        web_token.prove(token, [short], Expected(issuer.url, frozenset({AUDIENCE})), NOW_S)


def test_an_algorithm_that_the_provider_is_not_for_is_refused(issuer: OidcIssuer) -> None:
    """The list of a provider narrows, and never widens."""
    token = sign(issuer.keys["rsa-1"], header_of("rsa-1"), issuer.claims(NOW_S))
    with pytest.raises(Refused):
        prove(issuer, token, algorithms=frozenset({"ES256"}))


def test_a_changed_token_is_refused(issuer: OidcIssuer) -> None:
    """One character of any of its parts."""
    token = sign(issuer.keys["ec-1"], header_of("ec-1"), issuer.claims(NOW_S))
    for place in range(0, len(token), 3):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Refused):
            prove(issuer, changed)


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "x" * 20_001, "\u00e9.a.b", "[" * 9000 + "..a"],
)
def test_what_is_no_token_is_refused(issuer: OidcIssuer, token: str) -> None:
    """Before anything of it is looked at."""
    with pytest.raises(Refused):
        prove(issuer, token)


def test_a_token_nested_without_end_is_refused(issuer: OidcIssuer) -> None:
    """Nothing of it overflows."""
    payload = b'{"iss":' + b"[" * 14_000
    header = b64(json.dumps(header_of("rsa-1")).encode())
    with pytest.raises(Refused):
        prove(issuer, f"{header}.{b64(payload)}.AAAA")


def test_critical_extensions_are_refused(issuer: OidcIssuer) -> None:
    """What is marked as critical and not understood must not be passed over (RFC 7515, 4.1.11)."""
    header = b64(json.dumps(header_of("rsa-1") | {"crit": ["exp"]}).encode())
    claims = b64(json.dumps(issuer.claims(NOW_S)).encode())
    with pytest.raises(Refused):
        web_token.look(f"{header}.{claims}.AAAA")
