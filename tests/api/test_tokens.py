"""JSON Web Tokens: who is let in, and every way not to be."""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from msgspec.structs import replace

from api.main import create_app
from api.tokens import Tokens
from deploy.local.servers import Servers
from milpa.errors import UsageError
from milpa.jobs import new_id
from milpa.settings import Secret, Settings
from storage.rows import Role
from storage.transaction import Database
from tests.api.conftest import client, running
from tests.api.issuer import Issuer
from tests.support.stack import settings_of

SECRET = "a secret shared with the issuer, 32 bytes or more"
ISSUER, AUDIENCE = "https://issuer.test", "milpa"


@pytest.fixture(scope="module")
def issuer() -> Any:
    with Issuer() as issuer:
        issuer.publish("first")
        yield issuer


@pytest.fixture(scope="module")
async def app(stack: Servers, issuer: Issuer) -> AsyncIterator[Litestar]:
    """An API that takes tokens of both sorts."""
    settings = replace(
        settings_of(stack),
        jwt_secret=Secret(SECRET),
        jwt_jwks_url=issuer.address,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
        jwt_leeway_seconds=30.0,
    )
    async with running(create_app(settings)) as app:
        yield app


def claims(tenant: UUID | str, **changes: Any) -> dict[str, Any]:
    """Claims of a good token; a change to None leaves the claim out."""
    now = int(time.time())
    said = {"sub": "ada", "tenant": str(tenant), "role": "planner", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 60}
    return {name: value for name, value in (said | changes).items() if value is not None}


def shared(said: dict[str, Any], key: str = SECRET, **more: Any) -> str:
    return jwt.encode(said, key, algorithm="HS256", **more)


async def me(app: Litestar, token: str) -> httpx.Response:
    async with client(app, token) as http:
        return await http.get("/v1/me")


async def test_a_token_of_the_shared_secret_says_who_is_asking(app: Litestar, tenant: UUID) -> None:
    said = (await me(app, shared(claims(tenant, sub="ada@example.org", role="manager")))).json()
    assert (said["kind"], said["subject"], said["name"]) == ("jwt", "ada@example.org", "ada@example.org")
    assert (said["tenant_id"], said["role"]) == (str(tenant), "manager")
    assert said["permissions"] == ["manage", "read", "submit"]


async def test_a_tenant_may_be_named(app: Litestar, database: Database) -> None:
    name = f"school {uuid4()}"
    async with database.fleet() as fleet:
        tenant = await fleet.tenants.create(name)
    assert (await me(app, shared(claims(name)))).json()["tenant_id"] == str(tenant.id)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_token_signed_by_a_published_key_is_good(
    app: Litestar, tenant: UUID, issuer: Issuer, algorithm: str
) -> None:
    assert (await me(app, issuer.sign(claims(tenant), algorithm, "first"))).status_code == 200


@pytest.mark.parametrize("audience", [AUDIENCE, ["other", AUDIENCE]])
async def test_a_token_for_us_among_others_is_good(app: Litestar, tenant: UUID, audience: Any) -> None:
    assert (await me(app, shared(claims(tenant, aud=audience)))).status_code == 200


async def test_clocks_may_be_a_little_off(app: Litestar, tenant: UUID) -> None:
    now = int(time.time())
    for times in ({"exp": now - 1}, {"nbf": now + 20}, {"iat": now + 20}):
        assert (await me(app, shared(claims(tenant, **times)))).status_code == 200, times


def forged_none(said: dict[str, Any], algorithm: str) -> str:
    return f"{encoded(json.dumps({'alg': algorithm}).encode())}.{shared(said).split('.')[1]}."


def confused(said: dict[str, Any], issuer: Issuer, encoding: Encoding) -> str:
    """Sign by HMAC with the published RSA key, which everybody knows."""
    public = issuer.rsa["first"].public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    head = {"alg": "HS256", "kid": "first-RS256"}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (head, said))
    return f"{signed}.{encoded(hmac.digest(public, signed.encode(), 'sha256'))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def own_key(said: dict[str, Any], algorithm: str, key: Any) -> str:
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": f"first-{algorithm}"})


RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
OWN_JWK = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "mine"}

FORGERIES: dict[str, Callable[[dict[str, Any], Issuer], str]] = {
    "another secret": lambda said, _: shared(said, "another secret, long enough to be one too"),
    "no secret": lambda said, _: shared(said) + "x",
    "cut": lambda said, _: shared(said).rpartition(".")[0] + ".",
    "none": lambda said, _: forged_none(said, "none"),
    "None": lambda said, _: forged_none(said, "None"),
    "nOnE": lambda said, _: forged_none(said, "nOnE"),
    "HS256 without a signature": lambda said, _: forged_none(said, "HS256"),
    "the public key as a secret": lambda said, issuer: confused(said, issuer, Encoding.PEM),
    "the bytes of the public key as a secret": lambda said, issuer: confused(said, issuer, Encoding.DER),
    "HS512": lambda said, _: jwt.encode(said, SECRET * 2, algorithm="HS512"),
    "RS256 by a stranger": lambda said, _: own_key(said, "RS256", RSA),
    "ES256 by a stranger": lambda said, _: own_key(said, "ES256", EC),
    "RS512 by the issuer": lambda said, issuer: issuer.sign(said, "RS512", "first", kid="first-RS256"),
    "the kid of another algorithm": lambda said, issuer: issuer.sign(said, "RS256", "first", kid="first-ES256"),
    "an unknown kid": lambda said, issuer: issuer.sign(said, "RS256", "first", kid="nobody's"),
    "a kid like a path": lambda said, _: shared(said, "\0" * 32, headers={"kid": "../../dev/null"}),
    "a key inside the token": lambda said, _: jwt.encode(said, RSA, "RS256", headers={"jwk": OWN_JWK, "kid": "mine"}),
    "an address of a key set inside the token": lambda said, issuer: jwt.encode(
        said, RSA, "RS256", headers={"jku": issuer.address, "kid": "mine"}
    ),
    "something critical": lambda said, _: shared(said, headers={"crit": ["exp"], "exp": 1}),
    "a detached payload": lambda said, _: shared(said, headers={"b64": False, "crit": ["b64"]}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_refused_like_any_other(
    app: Litestar, tenant: UUID, issuer: Issuer, forgery: str
) -> None:
    said = claims(tenant)
    assert (await me(app, shared(said))).status_code == 200, "only the forgery is wrong with it"
    await assert_refused(app, FORGERIES[forgery](said, issuer))


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_where_only_published_keys_count_a_forged_token_is_refused_too(
    app: Litestar, tenant: UUID, issuer: Issuer, forgery: str
) -> None:
    tokens = Tokens(replace(app.state.settings, jwt_secret=Secret("")))
    async with tokens.running():
        assert await tokens.read(FORGERIES[forgery](claims(tenant), issuer)) is None
        assert await tokens.read(shared(claims(tenant))) is None
        assert await tokens.read(issuer.sign(claims(tenant), "RS256", "first")) is not None


async def test_without_a_kid_a_key_is_taken_only_where_it_is_the_only_one(
    app: Litestar, tenant: UUID, issuer: Issuer
) -> None:
    token = issuer.sign(claims(tenant), "RS256", "first", kid=None)
    assert (await me(app, token)).status_code == 200
    issuer.publish("first", "second")
    async with running(create_app(app.state.settings)) as fresh:
        await assert_refused(fresh, token)
        assert (await me(fresh, issuer.sign(claims(tenant), "RS256", "second"))).status_code == 200
    issuer.publish("first")


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": 1},
    "expired longer ago than clocks are off": {"exp": int(time.time()) - 31},
    "not yet": {"nbf": 4_000_000_000},
    "made in the future": {"iat": 4_000_000_000},
    "never ends": {"exp": None},
    "an end that is no number": {"exp": "soon"},
    "an end that is infinite": {"exp": float("inf")},
    "of nobody": {"sub": None},
    "of an empty name": {"sub": ""},
    "of a number": {"sub": 7},
    "of a name that is too long": {"sub": "a" * 256},
    "of a name with a line end": {"sub": "ada\nlevel=error"},
    "of no issuer": {"iss": None},
    "of another issuer": {"iss": "https://other.test"},
    "for nobody": {"aud": None},
    "for another": {"aud": "other"},
    "for a list of others": {"aud": ["other", "others"]},
    "of no tenant": {"tenant": None},
    "of an unknown tenant": {"tenant": str(new_id())},
    "of a tenant by an unknown name": {"tenant": "nobody"},
    "of a tenant that is no text": {"tenant": ["a"]},
    "of a tenant with NUL": {"tenant": "a\x00"},
    "of a tenant that is half a character": {"tenant": "\ud800"},
    "of no role": {"role": None},
    "of an unknown role": {"role": "emperor"},
    "of several roles": {"role": ["admin"]},
    "of a role in capitals": {"role": "ADMIN"},
}


@pytest.mark.parametrize("bad", BAD_CLAIMS)
async def test_a_token_with_bad_claims_is_refused_like_any_other(app: Litestar, tenant: UUID, bad: str) -> None:
    await assert_refused(app, unchecked(claims(tenant) | BAD_CLAIMS[bad]))


def unchecked(said: dict[str, Any]) -> str:
    """Sign claims that the library would not let pass."""
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(kept).encode(), SECRET, algorithm="HS256")


async def assert_refused(app: Litestar, token: str) -> None:
    """It is refused, by the very answer that a bad API key has."""
    refused, plain = await me(app, token), await me(app, "mlp_000000000000_" + "0" * 64)
    assert refused.status_code == 401
    assert refused.json() | {"request_id": ""} == plain.json() | {"request_id": ""}
    assert refused.headers["www-authenticate"] == plain.headers["www-authenticate"]


def _nested(depth: int) -> str:
    return encoded(b'{"alg":' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize(
    "token", ["e30.e30.", "e30.e30.e30", "....", "a.b.c", f"{_nested(2500)}.e30.AA", "bnVsbA.e30.AA", "W10.e30.AA"]
)
async def test_what_is_hardly_a_token_is_refused(app: Litestar, token: str) -> None:
    await assert_refused(app, token)


HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]),
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()), st.just("HS256")),
)


@given(head=HEADERS, body=st.binary(max_size=60), signature=st.binary(max_size=40))
async def test_no_header_that_anyone_can_write_breaks_the_reader(
    head: dict[str, Any], body: bytes, signature: bytes
) -> None:
    tokens = Tokens(Settings(jwt_secret=Secret(SECRET)))
    assert await tokens.read(".".join(map(encoded, (json.dumps(head).encode(), body, signature)))) is None


async def test_while_the_issuers_keys_are_unknown_its_tokens_can_not_be_judged_and_all_else_goes_on(
    app: Litestar, tenant: UUID, key: str
) -> None:
    with Issuer() as silent:
        silent.status = 500
        settings = replace(app.state.settings, jwt_jwks_url=silent.address)
        async with running(create_app(settings)) as waiting:
            answer = await me(waiting, silent.sign(claims(tenant), "RS256", "first"))
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
            assert "retry-after" in answer.headers
            for good in (key, shared(claims(tenant))):
                assert (await me(waiting, good)).status_code == 200


async def test_the_audit_tells_who_came_with_a_token(app: Litestar, tenant: UUID) -> None:
    async with client(app, shared(claims(tenant, sub="ada", role="admin"))) as http:
        made = (await http.post("/v1/api-keys", json={"name": "a key", "role": "viewer"})).json()
        (deed,) = (await http.get("/v1/audit", params={"target": made["id"]})).json()["items"]
    assert (deed["kind"], deed["subject"], deed["role"], deed["action"]) == ("jwt", "ada", "admin", "create_api_key")


async def test_an_api_without_rules_for_tokens_takes_none(stack: Servers, tenant: UUID, issuer: Issuer) -> None:
    async with running(create_app(settings_of(stack))) as plain:
        for token in (shared(claims(tenant)), issuer.sign(claims(tenant), "RS256", "first")):
            await assert_refused(plain, token)


async def test_a_secret_alone_checks_no_published_key_and_takes_no_token_for_another(
    stack: Servers, tenant: UUID, issuer: Issuer
) -> None:
    async with running(create_app(replace(settings_of(stack), jwt_secret=Secret(SECRET)))) as plain:
        await assert_refused(plain, issuer.sign(claims(tenant, aud=None), "RS256", "first"))
        await assert_refused(plain, shared(claims(tenant)))
        assert (await me(plain, shared(claims(tenant, aud=None)))).status_code == 200


@pytest.mark.parametrize("role", list(Role))
async def test_a_token_grants_what_its_role_does(app: Litestar, tenant: UUID, role: Role) -> None:
    async with client(app, shared(claims(tenant, role=role.value))) as http:
        assert (await http.get("/v1/me")).status_code == 200
        reads = role not in (Role.TEACHER, Role.STUDENT)
        assert (await http.get("/v1/jobs")).status_code == (200 if reads else 403)
        assert (await http.get("/v1/api-keys")).status_code == (200 if role is Role.ADMIN else 403)


async def test_an_admin_by_token_ends_the_last_key(app: Litestar, tenant: UUID) -> None:
    async with client(app, shared(claims(tenant, role="admin"))) as http:
        key = (await http.post("/v1/api-keys", json={"name": "leaked", "role": "admin"})).json()
        assert (await http.delete(f"/v1/api-keys/{key['id']}")).status_code == 204


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"jwt_secret": Secret("x" * 31)}, "openssl rand"),
        ({"jwt_jwks_url": "http://issuer.test/keys"}, "https://"),
        ({"jwt_jwks_url": "ftp://127.0.0.1/keys"}, "https://"),
        ({"jwt_jwks_url": "http://127.0.0.1.issuer.test/keys"}, "https://"),
        ({"jwt_jwks_url": "https://me:secret@issuer.test/keys"}, "user name"),
        ({"jwt_jwks_url": "https://issuer.test/keys", "jwt_issuer": ""}, "MILPA_JWT_ISSUER"),
        ({"jwt_jwks_url": "https://issuer.test/keys", "jwt_audience": ""}, "MILPA_JWT_AUDIENCE"),
    ],
)
def test_settings_that_are_not_safe_do_not_start(settings: dict[str, Any], hint: str) -> None:
    with pytest.raises(UsageError, match=hint) as refused:
        create_app(Settings(**{"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, **settings}))
    assert refused.value.code == "bad_setting"
    assert "x" * 31 not in str(refused.value)
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://issuer.test/keys", "http://localhost:1/keys", "http://[::1]:1/keys"])
def test_keys_come_over_tls_or_from_this_machine(url: str) -> None:
    create_app(Settings(jwt_jwks_url=url, jwt_issuer=ISSUER, jwt_audience=AUDIENCE))


async def test_a_token_is_never_logged(app: Litestar, tenant: UUID, capfd: pytest.CaptureFixture[str]) -> None:
    good = shared(claims(tenant))
    for token in (good, good + "x"):
        await me(app, token)
    captured = capfd.readouterr()
    assert good.rpartition(".")[0] not in captured.out + captured.err
    assert SECRET not in repr(app.state.settings)
