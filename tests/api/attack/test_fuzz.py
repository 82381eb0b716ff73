"""Every body that the API takes, made bad in all ways there are: answered 2xx or 4xx, and nothing is kept of a 4xx."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from litestar import Litestar
from sqlalchemy import text

from milpa.settings import Settings
from solvers.registry import all_kinds
from storage.transaction import Database
from tests.api.attack.holds import holds_for_all
from tests.api.attack.mutations import mutated, packed, spoiled
from tests.api.attack.solving import SolvingDriver, Things, make_attackable
from tests.api.attack.wire import Headers, Wire
from tests.api.conftest import NewKey, client
from tests.api.deals import CSV, SUBMIT
from tests.api.things import BODIES
from tests.storage.steps import add_tenant

pytestmark = pytest.mark.slow

EXAMPLES = 25
"""Of each body, in the short form."""
FORMS = 8
GOOD: dict[tuple[str, str], Any] = {
    ("POST", f"/v1/{kind.name}/jobs"): {**kind.example, "name": "x", "tags": ["y"], "files": ["csv"], "options": {"seed": 1}, "priority": "batch"}
    for kind in all_kinds().values()
} | {asked: body for asked, body in BODIES.items() if asked[1] != "/v1/{kind}/jobs"}  # fmt: skip
_KEPT = text("""
SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM batches), (SELECT count(*) FROM schedules),
    (SELECT count(*) FROM webhook_endpoints), (SELECT count(*) FROM api_keys), (SELECT count(*) FROM idempotency_keys),
    (SELECT count(*) FROM payloads), (SELECT count(*) FROM job_events), (SELECT count(*) FROM webhook_deliveries),
    (SELECT count(*) FROM exports), (SELECT count(*) FROM file_requests)
""")
Ask = Callable[..., Awaitable[httpx.Response]]


class Fuzzing:
    """One tenant's administrator, whose bodies are bad. Draws beside the event loop, which the app needs meanwhile."""

    def __init__(self, wire: Wire, key: str, things: Things, database: Database, tenant: UUID) -> None:
        self.answered: Counter[int] = Counter()
        self._wire = wire
        self._key = ("authorization", f"Bearer {key}")
        self.things = things
        self._database = database
        self._tenant = tenant
        self._loop = asyncio.get_running_loop()

    async def ask(self, method: str, path: str, headers: Headers, body: bytes) -> None:
        """Ask, and hold the answer against what is promised of all; a refusal keeps nothing."""
        before = await self._kept()
        answer = await self._wire.ask(method, path.format_map(self.things), [self._key, *headers], body)
        self.answered[answer.status_code] += 1
        holds_for_all(answer, sent=body)
        if answer.status_code >= 400:
            assert await self._kept() == before, answer.text

    async def _kept(self) -> tuple[int, ...]:
        async with self._database.transaction(self._tenant) as transaction:
            return tuple((await transaction.connection.execute(_KEPT)).one())

    async def fuzz(
        self, examples: int, number: int, drawn: st.SearchStrategy[Any], ask: Callable[..., Awaitable[None]]
    ) -> None:
        """Draw so many, the same in every run, and ask each."""

        @seed(number)
        @hypothesis_settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(drawn)
        def one(found: Any) -> None:
            asyncio.run_coroutine_threadsafe(ask(found), self._loop).result()  # type: ignore[arg-type]

        await asyncio.to_thread(one)


@pytest.fixture
async def fuzzing(
    app: Litestar, wire: Wire, database: Database, new_key: NewKey, settings: Settings
) -> AsyncIterator[Fuzzing]:
    tenant = await add_tenant(database)
    key = await new_key(tenant)
    async with client(app, key) as http:
        things = await make_attackable(http, SolvingDriver(database, tenant, settings))
    found = Fuzzing(wire, key, things, database, tenant)
    yield found
    print(f"\n{found.answered.total():,} requests:", dict(sorted(found.answered.items())))


@pytest.mark.parametrize("asked", GOOD, ids=" ".join)
async def test_bodies(fuzzing: Fuzzing, longer: int, asked: tuple[str, str]) -> None:
    async def ask(found: tuple[bytes, str | None]) -> None:
        body, coding = found
        coded = [("content-encoding", coding)] if coding else []
        await fuzzing.ask(*asked, [("content-type", "application/json"), *coded], body)

    await fuzzing.fuzz(EXAMPLES * longer, sorted(GOOD).index(asked), packed(mutated(GOOD[asked])), ask)
    assert {status // 100 for status in fuzzing.answered} >= {4}


def form(job: bytes, name: bytes, rows: bytes) -> bytes:
    """Return a form of two parts, its boundary x."""
    parts = [(b"job", b"", job), (b"rows", b'; filename="%b"' % name, rows)]
    head = b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    return b"".join(head % part for part in parts) + b"--x--\r\n"


async def test_forms(fuzzing: Fuzzing, longer: int) -> None:
    async def ask(body: bytes) -> None:
        await fuzzing.ask("POST", SUBMIT, [("content-type", "multipart/form-data; boundary=x")], body)

    job = mutated({"problem": {"budget": 100_000}, "name": "x"})
    names = st.sampled_from(
        [b"deals.csv", b"deals.CSV", b"deals.pdf", b"../../deals.csv", b"d\x00.csv", b'"; name="job']
    )
    forms = st.builds(form, job, names, spoiled(CSV)) | spoiled(form(b'{"problem":{"budget":1}}', b"deals.csv", CSV))
    await fuzzing.fuzz(FORMS * longer, 100, forms, ask)
    assert 400 in fuzzing.answered


TEXT = st.text(st.characters(codec="latin-1"), max_size=40)
READABLE = [
    ("POST", SUBMIT, "Idempotency-Key", "abc"), ("POST", SUBMIT, "Prefer", "wait=0"), ("POST", SUBMIT, "Content-Type", "application/json; charset=utf-8"),
    ("POST", SUBMIT, "Content-Encoding", "gzip"), ("GET", "/v1/jobs/{job_id}/events", "Last-Event-ID", "1"), ("GET", "/v1/jobs/{job_id}", "If-None-Match", 'W/"a", "b"'),
    ("GET", "/v1/me", "Authorization", "Bearer mlp_0123456789ab_00"), ("GET", "/v1/me", "X-Request-ID", "abcdefgh-1"), ("GET", "/v1/audit", "Accept", "text/csv;q=1, */*"),
    ("GET", "/v1/events", "Last-Event-ID", "12." + "0" * 32 + ".3"), ("GET", "/v1/jobs", "Host", "milpa.test:80"), ("GET", "/v1/jobs/{job_id}/files", "Range", "bytes=0-1,5-"),
]  # fmt: skip


async def test_headers(fuzzing: Fuzzing, longer: int) -> None:
    async def ask(found: tuple[tuple[str, str, str, str], bytes | str]) -> None:
        (method, path, name, _), value = found
        sent = value if isinstance(value, str) else value.decode("latin-1")
        body, headers = (b"{}", [("content-type", "application/json")]) if method == "POST" else (b"", [])
        kept = [header for header in headers if header[0] != name.lower()]
        await fuzzing.ask(method, path, [(name, sent), *kept], body)

    drawn = st.sampled_from(READABLE).flatmap(
        lambda asked: st.tuples(st.just(asked), TEXT | spoiled(asked[3].encode()) | st.just(asked[3] * 500))
    )
    await fuzzing.fuzz(EXAMPLES * 4 * longer, 101, drawn, ask)
    assert {200, 422} <= set(fuzzing.answered)


async def test_signed_tokens(fuzzing: Fuzzing, app: Litestar, longer: int) -> None:
    """What is not as we made it opens nothing; what differs only in bits that base64 has to spare is as we made it."""
    services = app.state.services
    cursor = services.cursors.sign([1, 2, b"3"])
    good = {"/v1/downloads/": fuzzing.things["token"], "/v1/jobs?cursor=": cursor, "/v1/audit?cursor=": cursor}

    async def ask(found: tuple[str, str]) -> None:
        await fuzzing.ask("GET", found[0] + found[1].replace("{", "").replace("}", ""), [], b"")

    def bad(path: str) -> st.SearchStrategy[tuple[str, str]]:
        token = good[path]
        swapped = st.tuples(st.integers(0, len(token) - 3), st.sampled_from("AZaz09-_")).map(
            lambda at: token[: at[0]] + at[1] + token[at[0] + 1 :]
        )
        text = st.text("AZaz09-_=.%", max_size=200)
        return st.tuples(st.just(path), (swapped | text).filter(lambda made: made != token))

    await fuzzing.fuzz(EXAMPLES * 4 * longer, 102, st.sampled_from(sorted(good)).flatmap(bad), ask)
    assert set(fuzzing.answered) <= {404, 405, 422}
