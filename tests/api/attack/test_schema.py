"""Every operation of the OpenAPI document, asked well and badly, by every role and by nobody, about things that exist,
another tenant's, and none. Answers are what the document says, whatever was asked."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from litestar import Litestar
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.core.failures import FailureGroup

from api import openapi
from milpa.settings import Settings
from solvers.registry import all_kinds
from storage.rows import Role
from storage.transaction import Database
from tests.api.attack.holds import holds_for_all
from tests.api.attack.solving import SolvingDriver, Things, make_attackable
from tests.api.attack.wire import Wire
from tests.api.conftest import BASE, NewKey, client
from tests.api.test_permissions import NO, OPEN, TABLE, Route
from tests.storage.steps import add_tenant

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NOBODY = "nobody"
EXAMPLES = 2
"""Of each operation, each way, by each role, in the short form."""
ABOUT = ("own", "foreign", "drawn")
SCHEMA = schemathesis.openapi.from_dict(json.loads(openapi.committed()))
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
OPERATIONS.sort(key=lambda operation: operation.method.upper() == "DELETE")


class Asker:
    """One who asks, and how that was answered."""

    def __init__(self, role: str, key: str | None, things: dict[str, Things]) -> None:
        self.role = role
        self.answered: Counter[int] = Counter()
        self.failures: list[str] = []
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._things = things

    async def ask(self, wire: Wire, case: Case, drawn: dict[str, Any], about: str) -> None:
        """Ask what the case asks; drawn: its own path; about: whose things the path shall lead to instead."""
        known = self._things.get(about, {})
        case.path_parameters = {name: known.get(name, value) for name, value in drawn.items()}
        sent = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        sent.headers.update(self._headers)
        body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
        headers = [(name, str(value)) for name, value in sent.headers.items()]
        try:
            answer = await wire.ask(str(sent.method), str(sent.url).removeprefix(BASE), headers, body)
            self.answered[answer.status_code] += 1
            holds_for_all(answer, sent=str(sent.url).encode() + body)
            assert answer.status_code in self._allowed(case, found=about != "drawn"), "not as in docs/permissions.md"
            case.validate_response(answer, checks=CHECKS)
        except (Exception, FailureGroup) as failure:  # noqa: BLE001  all of them are told at the end
            self.failures.append(f"{self.role}: {sent.method} {sent.url} {headers} {body[:300]!r}: {failure!r:.1500}")

    def _allowed(self, case: Case, *, found: bool) -> Container[int]:
        """Return the statuses that this one may see; found: the address leads to the route for sure."""
        cells = TABLE[route_of(case)]
        if OPEN in cells.values():
            return range(600)
        if self.role == NOBODY or cells[Role(self.role)] == NO:
            refused = 401 if self.role == NOBODY else 403
            return {refused} if found else {refused, 404, 405}
        return set(range(600)) - {401, 403}


def route_of(case: Case) -> Route:
    """Return the row of the table that an operation has: submits of all kinds share one."""
    path = str(case.operation.path)
    submits = path.removeprefix("/v1/").removesuffix("/jobs") in all_kinds()
    return Route(case.method.upper(), "/v1/{kind}/jobs" if submits else path)


@pytest.fixture
async def askers(app: Litestar, database: Database, new_key: NewKey, settings: Settings) -> list[Asker]:
    """One of each role, each in a tenant of its own, and nobody; all know the things of yet another tenant."""

    async def things_of_a_new_tenant(role: Role) -> tuple[str, Things]:
        tenant = await add_tenant(database)
        async with client(app, await new_key(tenant)) as http:
            return await new_key(tenant, role), await make_attackable(http, SolvingDriver(database, tenant, settings))

    _, foreign = await things_of_a_new_tenant(Role.ADMIN)
    found = []
    for role in Role:
        key, own = await things_of_a_new_tenant(role)
        found.append(Asker(role, key, {"own": own, "foreign": foreign}))
    return [*found, Asker(NOBODY, None, {"own": foreign, "foreign": foreign})]


async def test_answers_are_what_the_document_says(wire: Wire, askers: Sequence[Asker], longer: int) -> None:
    loop = asyncio.get_running_loop()

    async def ask(case: Case, about: str) -> None:
        drawn = dict(case.path_parameters)
        for asker in askers:
            await asker.ask(wire, case, drawn, about)

    def wait_for(asking: Awaitable[None]) -> None:
        asyncio.run_coroutine_threadsafe(asking, loop).result()  # type: ignore[arg-type]

    await asyncio.to_thread(draw, EXAMPLES * longer, lambda case, about: wait_for(ask(case, about)))
    show(askers)
    failures = [failure for asker in askers for failure in asker.failures]
    assert not failures, "\n\n".join(failures)


def draw(examples: int, ask: Callable[[Case, str], None]) -> None:
    """Draw so many good cases and as many bad ones of each operation: beside the event loop, which the app needs."""
    for operation in OPERATIONS:
        for mode in GenerationMode:
            try:
                draw_one(operation.as_strategy(generation_mode=mode), examples, ask)
            except Unsatisfiable:  # where nothing can be said, nothing can be said badly
                assert mode is GenerationMode.NEGATIVE


def draw_one(cases: st.SearchStrategy[Case], examples: int, ask: Callable[[Case, str], None]) -> None:
    """Draw so many cases, the same in every run."""

    @hypothesis_settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.sampled_from(ABOUT))
    def drawn(case: Case, about: str) -> None:
        ask(case, about)

    drawn()


def show(askers: Sequence[Asker]) -> None:
    """Print who asked how often and was answered how."""
    statuses = sorted({status for asker in askers for status in asker.answered})
    print("\n| asked by | requests | failures |", " | ".join(map(str, statuses)), "|")
    print("|---|---:|---:|" + "---:|" * len(statuses))
    for asker in askers:
        counts = " | ".join(f"{asker.answered[status]:,}" for status in statuses)
        print(f"| {asker.role} | {asker.answered.total():,} | {len(asker.failures)} | {counts} |")
