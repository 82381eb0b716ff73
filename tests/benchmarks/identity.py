"""What it costs to know who is asking: a key looked up at each request, a token checked."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import jwt
import msgspec
import uvloop

from api.tokens import Tokens
from milpa.settings import Secret, Settings
from storage.migrate import migrate
from storage.rows import Role
from storage.transaction import Database
from tests.api.issuer import Issuer
from tests.support.stack import running_servers, settings_of

ROUNDS = 2000
WARM_UP = 200
SECRET = "a secret shared with the issuer, 32 bytes or more"
ISSUER, AUDIENCE = "https://issuer.test", "milpa"


def main() -> None:
    """Measure and print."""
    with running_servers() as servers, Issuer() as issuer:
        settings = settings_of(servers)
        asyncio.run(migrate(settings))
        uvloop.run(_keys(settings))
        uvloop.run(_tokens(settings, issuer))


async def _keys(settings: Settings) -> None:
    database = await Database.connect(settings)
    async with database.fleet() as fleet:
        tenant = await fleet.tenants.create("identity")
        secret = (await fleet.tenants.create_key(tenant.id, "identity", Role.VIEWER)).secret

    async def alone() -> None:
        async with database.lookups() as tenants:
            assert await tenants.authenticate(secret) is not None

    async def in_a_transaction() -> None:
        async with database.fleet() as fleet:
            assert await fleet.tenants.authenticate(secret) is not None

    await _show("a key, by a statement of its own", alone)
    await _show("a key, in a transaction", in_a_transaction)
    await database.close()


async def _tokens(settings: Settings, issuer: Issuer) -> None:
    issuer.publish("key")
    rules: dict[str, Any] = {"jwt_secret": Secret(SECRET), "jwt_jwks_url": issuer.address}
    rules |= {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    tokens = Tokens(msgspec.structs.replace(settings, **rules))
    said = {"sub": "ada", "tenant": "identity", "role": "viewer", "iss": ISSUER, "aud": AUDIENCE}
    said["exp"] = int(time.time()) + 600  # type: ignore[assignment]
    signed = {"HS256": jwt.encode(said, SECRET, "HS256")}
    signed |= {algorithm: issuer.sign(said, algorithm, "key") for algorithm in ("RS256", "ES256")}
    for algorithm, token in signed.items():

        async def check(token: str = token) -> None:
            assert await tokens.read(token) is not None

        await _show(f"a token by {algorithm}", check)


async def _show(what: str, once: Callable[[], Awaitable[None]]) -> None:
    spent = []
    for _ in range(ROUNDS + WARM_UP):
        began = time.perf_counter()
        await once()
        spent.append(1e3 * (time.perf_counter() - began))
    warm = sorted(spent[WARM_UP:])
    print(f"{what:34} median {median(warm):.3f} ms   p95 {warm[int(len(warm) * 0.95)]:.3f} ms")


if __name__ == "__main__":
    main()
