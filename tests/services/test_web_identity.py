"""S35: a web identity is whoever a trusted provider says, and one refusal fits every lie."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from storage_server.core.errors import ApiError
from storage_server.s3 import errors
from storage_server.s3.iam_errors import (
    EntityAlreadyExists,
    InvalidIdentityToken,
    InvalidInput,
    LimitExceeded,
    NoSuchEntity,
    ValidationError,
)
from storage_server.s3.messages import sts as messages
from storage_server.s3.policy import keys
from storage_server.services.actor import Actor, Facts
from storage_server.services.web_identity import CLAIM_KEYS
from tests.fakes.oidc_issuer import AUDIENCE, OidcIssuer, make_key, sign, sign_shared
from tests.services.accounts_house import BY
from tests.services.sts_house import ALL, StsHouse, document, open_sts, trust

ACTION = "sts:AssumeRoleWithWebIdentity"
URL = "https://provider.example/realm"


@pytest.fixture
async def sts(tmp_path: Path) -> AsyncIterator[StsHouse]:
    """STS over accounts of its own."""
    async with open_sts(tmp_path) as opened:
        yield opened


@pytest.fixture
def issuer() -> OidcIssuer:
    """A provider that signs; its documents are put on the test's own web."""
    made = OidcIssuer()
    made._server.server_close()
    made.url, made.name = URL, URL.removeprefix("https://")
    return made


def publish(sts: StsHouse, issuer: OidcIssuer) -> None:
    """Put the provider's documents on the web."""
    sts.web.by_url[f"{URL}/.well-known/openid-configuration"] = (
        f'{{"issuer":"{URL}","jwks_uri":"{URL}/keys"}}'.encode()
    )
    sts.web.by_url[f"{URL}/keys"] = issuer.key_set()


async def trusted(sts: StsHouse, issuer: OidcIssuer, **more: Any) -> str:
    """Trust the provider and return its ARN."""
    publish(sts, issuer)
    made = await sts.providers.create(BY, sts.house.here, URL, audiences=[AUDIENCE], **more)
    return made.arn


async def ask(sts: StsHouse, token: str, role: str, **more: Any) -> messages.WebIdentityOut:
    """Assume a role with a token, signed by nobody."""
    wanted = messages.AssumeRoleWithWebIdentity(
        web_identity_token=token, role_arn=role, role_session_name="web", **more
    )
    nobody = Actor(facts=Facts(now_us=sts.house.clock.now_us()))
    return await sts.sts.assume_role_with_web_identity(nobody, wanted)


def now_s(sts: StsHouse) -> int:
    """Return the time of the test in seconds."""
    return sts.house.clock.now_us() // 1_000_000


async def test_a_proven_identity_acts_as_the_role(sts: StsHouse, issuer: OidcIssuer) -> None:
    """Within its trust policy's conditions on what the provider says."""
    provider = await trusted(sts, issuer)
    condition = {
        "StringEquals": {f"{issuer.name}:aud": AUDIENCE, f"{issuer.name}:sub": "ana"},
        "ForAnyValue:StringLike": {f"{issuer.name}:groups": "dev-*"},
    }
    role = await sts.role("r", trust({"Federated": provider}, ACTION, Condition=condition), ALL)
    out = await ask(sts, issuer.token(now_s(sts), groups=["ops", "dev-1"]), role)
    assert (out.subject_from_web_identity_token, out.audience, out.provider) == (
        "ana", AUDIENCE, provider,
    )  # fmt: skip
    acting = sts.session(out.credentials)
    assert acting.session is not None
    assert acting.session.provider == provider
    assert sts.allows(acting, "s3:GetObject")
    for others in ({"sub": "bob"}, {"groups": ["ops"]}, {}):
        with pytest.raises(errors.AccessDenied):
            await ask(sts, issuer.token(now_s(sts), **({"groups": ["x"]} | others)), role)


async def test_a_role_that_does_not_name_the_provider_is_closed(
    sts: StsHouse, issuer: OidcIssuer
) -> None:
    """Neither a user's nor another provider's trust is the provider's."""
    provider = await trusted(sts, issuer)
    other = provider.replace("provider.example", "other.example")
    for number, policy in enumerate(
        (
            trust({"Federated": other}, ACTION),
            trust({"AWS": f"arn:aws:iam::{sts.account}:root"}, ACTION),
            trust({"Federated": provider}, "sts:AssumeRole"),
            trust({"AWS": "*"}, "sts:*"),
            trust("*", ACTION),
        )
    ):
        role = await sts.role(f"r-{number}", policy)
        with pytest.raises(errors.AccessDenied):
            await ask(sts, issuer.token(now_s(sts)), role)


async def test_every_lie_has_the_same_answer(sts: StsHouse, issuer: OidcIssuer) -> None:
    """Code, status and sentence say nothing of what was wrong."""
    provider = await trusted(sts, issuer)
    role = await sts.role("r", trust({"Federated": provider}, ACTION))
    now = now_s(sts)
    key = issuer.keys["rsa-1"]
    header = {"alg": "RS256", "kid": "rsa-1"}
    shared = {"alg": "HS256", "kid": "rsa-1"}
    good = issuer.token(now)
    tokens = [
        "x.y.z",
        good[:-4] + "AAAA",
        good.rpartition(".")[0] + ".",
        sign_shared(key.as_pem(private=False), shared, issuer.claims(now)),
        sign_shared(b"client secret", shared, issuer.claims(now)),
        sign(make_key("RS256", "rsa-1"), header, issuer.claims(now)),
        sign(key, {"alg": "RS256", "kid": "other"}, issuer.claims(now)),
        *(
            sign(key, header, issuer.claims(now, **changed))
            for changed in (
                {"iss": "https://other.example"},
                {"iss": f"{URL}/"},
                {"iss": URL.upper()},
                {"aud": "other"},
                {"azp": "other"},
                {"exp": None},
                {"exp": now - 61},
                {"nbf": now + 3600},
                {"iat": now + 3600},
                {"sub": None},
                {"deep": [[[[[[[[1]]]]]]]]},
            )
        ),
    ]
    said = set()
    for token in tokens:
        with pytest.raises(ApiError) as caught:
            await ask(sts, token, role)
        said.add((caught.value.code, caught.value.status, caught.value.sentence))
    elsewhere = role.replace(sts.account, "999999999999")
    with pytest.raises(ApiError) as caught:
        await ask(sts, good, elsewhere)
    said.add((caught.value.code, caught.value.status, caught.value.sentence))
    assert said == {
        ("InvalidIdentityToken", 403, InvalidIdentityToken.message),
    }
    await ask(sts, good, role)


async def test_a_rotation_of_keys_is_followed(sts: StsHouse, issuer: OidcIssuer) -> None:
    """A new key of another kind works at once; the old one is forgotten."""
    provider = await trusted(sts, issuer)
    role = await sts.role("r", trust({"Federated": provider}, ACTION))
    old = issuer.token(now_s(sts))
    await ask(sts, old, role)
    issuer.rotate("ES256", "ec-2")
    publish(sts, issuer)
    sts.house.clock.time_us += 31_000_000
    await ask(sts, issuer.token(now_s(sts)), role)
    with pytest.raises(InvalidIdentityToken):
        await ask(sts, old, role)


async def test_keys_in_the_providers_row_need_no_web(sts: StsHouse, issuer: OidcIssuer) -> None:
    """And the algorithms there narrow what is taken."""
    made = await sts.providers.create(
        BY, sts.house.here, URL, audiences=[AUDIENCE], jwks=issuer.key_set()
    )
    role = await sts.role("r", trust({"Federated": made.arn}, ACTION))
    await ask(sts, issuer.token(now_s(sts)), role)
    await sts.providers.update(
        BY, sts.house.here, made.arn, jwks=issuer.key_set(), algorithms=["ES256"]
    )
    with pytest.raises(InvalidIdentityToken):
        await ask(sts, issuer.token(now_s(sts)), role)


async def test_claims_choose_among_role_templates_and_no_others(
    sts: StsHouse, issuer: OidcIssuer
) -> None:
    """Without a role in the request the first template that fits; else only those that fit."""
    templates = (
        '[{"claim":"groups","values":["admins"],"role":"boss"},'
        '{"claim":"groups","values":["staff","admins"],"role":"clerk"}]'
    )
    provider = await trusted(sts, issuer, templates=templates)
    roles = {
        name: await sts.role(name, trust({"Federated": provider}, ACTION))
        for name in ("boss", "clerk", "other")
    }
    staff = issuer.token(now_s(sts), groups=["staff"])
    out = await ask(sts, staff, "", provider_id=provider)
    assert out.assumed_role_user.arn.split("/")[1] == "clerk"
    await ask(sts, staff, roles["clerk"])
    admin = issuer.token(now_s(sts), groups=["admins"])
    assert (await ask(sts, admin, "", provider_id=provider)).assumed_role_user.arn.split("/")[
        1
    ] == "boss"
    for token, role in (
        (staff, roles["boss"]),
        (staff, roles["other"]),
        (issuer.token(now_s(sts)), roles["clerk"]),
        (issuer.token(now_s(sts)), ""),
    ):
        with pytest.raises(errors.AccessDenied):
            await ask(sts, token, role, provider_id=provider)


async def test_a_provider_of_one_tenant_says_nothing_to_another(
    sts: StsHouse, issuer: OidcIssuer
) -> None:
    """Its roles are closed to the very same token."""
    provider = await trusted(sts, issuer)
    acme = await sts.house.accounts.tenants.create(BY, "acme")
    acme_id = type(sts.house.here)(bytes.fromhex(acme.tenant_id))
    foreign = await sts.role("r", trust({"Federated": provider}, ACTION), tenant_id=acme_id)
    with pytest.raises(InvalidIdentityToken):
        await ask(sts, issuer.token(now_s(sts)), foreign)


async def test_sessions_end_with_the_provider_that_vouched_for_them(
    sts: StsHouse, issuer: OidcIssuer
) -> None:
    """And nobody new comes in."""
    provider = await trusted(sts, issuer)
    role = await sts.role("r", trust({"Federated": provider}, ACTION), ALL)
    out = await ask(sts, issuer.token(now_s(sts)), role)
    sts.session(out.credentials)
    await sts.providers.delete(BY, sts.house.here, provider)
    with pytest.raises(errors.InvalidToken):
        sts.session(out.credentials)
    with pytest.raises(InvalidIdentityToken):
        await ask(sts, issuer.token(now_s(sts)), role)


async def test_a_session_policy_narrows_here_too(sts: StsHouse, issuer: OidcIssuer) -> None:
    """As with AssumeRole."""
    provider = await trusted(sts, issuer)
    role = await sts.role("r", trust({"Federated": provider}, ACTION), ALL)
    policy = document({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"})
    out = await ask(sts, issuer.token(now_s(sts)), role, policy=policy, duration_seconds=900)
    acting = sts.session(out.credentials)
    assert sts.allows(acting, "s3:GetObject")
    assert not sts.allows(acting, "s3:PutObject")


# --- Providers ---------------------------------------------------------------------------------


async def test_providers_are_made_changed_and_removed(sts: StsHouse, issuer: OidcIssuer) -> None:
    """Audiences come and go; a URL is trusted once."""
    arn, here = await trusted(sts, issuer), sts.house.here
    with pytest.raises(EntityAlreadyExists):
        await sts.providers.create(BY, here, URL)
    await sts.providers.add_audience(BY, here, arn, "more")
    await sts.providers.add_audience(BY, here, arn, "more")
    await sts.providers.remove_audience(BY, here, arn, AUDIENCE)
    assert (await sts.providers.get(here, arn)).audiences == ("more",)
    role = await sts.role("r", trust({"Federated": arn}, ACTION))
    with pytest.raises(InvalidIdentityToken):
        await ask(sts, issuer.token(now_s(sts)), role)
    await ask(sts, issuer.token(now_s(sts), aud="more"), role)
    await sts.providers.delete(BY, here, arn)
    assert await sts.providers.list_all(here) == ()
    with pytest.raises(NoSuchEntity):
        await sts.providers.get(here, arn)
    with pytest.raises(NoSuchEntity):
        await sts.providers.delete(BY, here, arn)


async def test_issuers_that_begin_alike_are_several(sts: StsHouse) -> None:
    """A name is all of the URL behind its scheme, up to the 255 characters that a URL may have."""
    here, begin = sts.house.here, "https://" + "login." * 20 + "example/"
    urls = sorted(begin + end * (255 - len(begin)) for end in "ab")
    made = [await sts.providers.create(BY, here, url) for url in urls]
    assert [one.arn.endswith(":oidc-provider/" + one.url[8:]) for one in made] == [True, True]
    assert [one.url for one in await sts.providers.list_all(here)] == urls
    for one in made:
        assert (await sts.providers.get(here, one.arn)).url == one.url


async def test_providers_of_another_tenant_are_not_there(sts: StsHouse, issuer: OidcIssuer) -> None:
    """Not in its list, nor by the ARN of this one."""
    arn = await trusted(sts, issuer)
    await sts.house.accounts.tenants.create(BY, "other")
    other = sts.house.store.identity.find_tenant_by_name_now("other")
    assert other is not None
    assert await sts.providers.list_all(other.tenant_id) == ()
    with pytest.raises(NoSuchEntity):
        await sts.providers.get(other.tenant_id, arn)


async def test_a_provider_is_changed_in_what_is_given_only(
    sts: StsHouse, issuer: OidcIssuer
) -> None:
    """The rest stays; a disabled one vouches for nobody, nor for the sessions that there are."""
    arn, here, providers = await trusted(sts, issuer), sts.house.here, sts.providers
    role = await sts.role("r", trust({"Federated": arn}, ACTION))
    given = await ask(sts, issuer.token(now_s(sts)), role)
    after = await providers.update(BY, here, arn, algorithms=["ES256", "RS256"])
    assert (after.audiences, after.algorithms) == ((AUDIENCE,), ("ES256", "RS256"))
    after = await providers.update(BY, here, arn, audiences=["a", "b", "a"], jwks_url=f"{URL}/k")
    assert (after.audiences, after.jwks_url) == (("a", "b"), f"{URL}/k")
    assert after.algorithms == ("ES256", "RS256")
    for name in (URL, issuer.name, arn):
        assert providers.arn_of(here, name) == arn
    sts.session(given.credentials)
    assert not (await providers.update(BY, here, arn, enabled=False)).enabled
    with pytest.raises(errors.InvalidToken):
        sts.session(given.credentials)


async def test_what_describes_a_provider_is_kept(sts: StsHouse, issuer: OidcIssuer) -> None:
    """Tags and thumbprints, also those that come at the same time; tokens count as before."""
    here, providers = sts.house.here, sts.providers
    made = await providers.create(
        BY, here, "https://other.example", thumbprints=["a" * 40], tags=(("Team", "blue"),)
    )
    assert (made.thumbprints, made.tags) == (("a" * 40,), (("Team", "blue"),))
    arn = await trusted(sts, issuer)
    wanted = {f"key{number}": str(number) for number in range(8)}
    await asyncio.gather(*(providers.tag(BY, here, arn, (tag,)) for tag in wanted.items()))
    await providers.set_thumbprints(BY, here, arn, ["b" * 40])
    shown = await providers.get(here, arn)
    assert (shown.thumbprints, dict(shown.tags)) == (("b" * 40,), wanted)
    await asyncio.gather(*(providers.untag(BY, here, arn, [key.upper()]) for key in wanted))
    assert (await providers.get(here, arn)).tags == ()
    with pytest.raises(LimitExceeded):
        await providers.tag(BY, here, arn, tuple((f"k{number}", "") for number in range(51)))
    role = await sts.role("r", trust({"Federated": arn}, ACTION))
    await ask(sts, issuer.token(now_s(sts)), role)


@pytest.mark.parametrize(
    "url",
    ["", "provider.example", "ftp://a.b", "https://", "https://a.b?x=1", "https://u:p@a.b",
     "https://a.b/#x", "https://a b", "https://" + "a" * 255, "https://[::1", "https://a.b:0"],
)  # fmt: skip
async def test_only_urls_of_issuers_are_taken(sts: StsHouse, url: str) -> None:
    """Nothing that could be read in two ways."""
    with pytest.raises(InvalidInput):
        await sts.providers.create(BY, sts.house.here, url)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwks": b"{}"},
        {"templates": "{"},
        {"templates": '[{"claim":"a"}]'},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"audiences": ["a b"]},
    ],
)
async def test_a_provider_that_could_never_work_is_refused(
    sts: StsHouse, wrong: dict[str, Any]
) -> None:
    """When it is made, not when somebody comes."""
    with pytest.raises(ValidationError):
        await sts.providers.create(BY, sts.house.here, URL, **wrong)


@pytest.mark.parametrize("claim", [*CLAIM_KEYS, "aud", "sub"])
def test_every_claim_that_has_a_value_can_be_named_in_a_policy(claim: str) -> None:
    """And users find it in the documentation."""
    assert keys.is_known(f"id.example.com/realm:{claim}")
    text = (Path(__file__).parents[2] / "docs" / "iam-and-sts.md").read_text()
    named = text[text.index("Conditions may name the claims") :].partition("\n\n")[0]
    assert f"`{claim}`" in named
