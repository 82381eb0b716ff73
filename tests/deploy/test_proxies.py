"""Whose word is taken for where a request came from: over a real socket, served as `milpa api` serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, get

from api.main import create_app
from api.origin import address_of
from api.principal import Permission
from deploy.serve import server_config
from milpa.errors import UsageError
from milpa.settings import Settings
from tests.api.conftest import serving


@get("/origin", requires=Permission.PUBLIC)
async def tell(request: Request) -> dict[str, str]:  # type: ignore[type-arg]
    return {"address": address_of(request), "scheme": request.scope["scheme"]}


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app: Litestar = create_app(settings)
    app.register(tell)
    async with serving(server_config(app, settings)) as address, httpx.AsyncClient(base_url=address) as http:
        yield http


FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}


async def test_nobody_is_believed_unless_set() -> None:
    async with served(Settings()) as http:
        assert (await http.get("/origin", headers=FORGED)).json() == {"address": "127.0.0.1", "scheme": "http"}


async def test_a_stranger_is_not_believed() -> None:
    async with served(Settings(trusted_proxies=("10.0.0.0/8",))) as http:
        assert (await http.get("/origin", headers=FORGED)).json() == {"address": "127.0.0.1", "scheme": "http"}


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.1.2.3", "203.0.113.9"),  # through two of our own
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),  # the client's own word comes first and counts for nothing
        ("6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("<script>", ""),
    ],
)
async def test_of_a_chain_the_last_stranger_counts(forwarded: str, address: str) -> None:
    async with served(Settings(trusted_proxies=("127.0.0.1", "10.0.0.0/8"))) as http:
        answer = await http.get("/origin", headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"})
        assert answer.json() == {"address": address, "scheme": "https"}


@pytest.mark.parametrize("proxy", ["*", "proxy.example", "10.0.0.1/8", ""])
def test_a_proxy_that_is_no_address_is_refused_at_the_start(proxy: str) -> None:
    settings = msgspec.structs.replace(Settings(), trusted_proxies=(proxy,))
    with pytest.raises(UsageError, match="MILPA_TRUSTED_PROXIES"):
        server_config(create_app(settings), settings)
