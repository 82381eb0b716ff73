import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import get

from api.main import create_app
from api.principal import Permission
from api.problem_details import ProblemError, to_problem
from deploy.local.servers import Servers
from milpa.errors import FatalError, UsageError
from storage.migrate import migrate
from storage.rows import Role
from tests.api.conftest import client, running
from tests.api.deals import SUBMIT, body
from tests.faults.servers import away
from tests.support.stack import running_servers, settings_of

_SECRET = "SELECT * FROM somewhere WHERE name = 'Zwetschge'"


@get("/broken", requires=Permission.PUBLIC)
async def broken() -> None:
    raise ValueError(_SECRET)


@get("/broken/knowingly", requires=Permission.PUBLIC)
async def broken_knowingly() -> None:
    raise FatalError("bad_seal", "The seal key is missing.")


def is_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"/problems/{slug}")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


async def test_an_address_that_is_none(http: httpx.AsyncClient) -> None:
    for path in ("/v1", "/v2/jobs", "/v1/jobs/x/y/z", "/v1/deal-picker", "/docs/other.js", "/v1/%ff%fe"):
        is_problem(await http.get(path), 404, "not-found")


async def test_what_is_not_built_is_not_there(http: httpx.AsyncClient) -> None:
    job = (await http.post(SUBMIT, json=body())).json()
    for method, path in (
        ("POST", f"/v1/jobs/{job['id']}/accept"),
        ("POST", f"/v1/jobs/{job['id']}/apply"),
        ("GET", "/v1/nothing"),
    ):
        is_problem(await http.request(method, path), 404, "not-found")


async def test_a_method_that_is_not_taken_says_which_are(http: httpx.AsyncClient) -> None:
    answer = await http.put("/v1/jobs")
    is_problem(answer, 405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]
    is_problem(await http.delete("/v1/deal-picker/jobs"), 405, "method-not-allowed")


async def test_a_host_that_is_none(http: httpx.AsyncClient) -> None:
    is_problem(await http.get("/v1/jobs", headers={"Host": "bad host\\"}), 400, "bad-request")


async def test_request_ids_are_kept_when_they_are_safe(http: httpx.AsyncClient) -> None:
    kept = await http.get("/v1/me", headers={"X-Request-ID": "trace-12345678"})
    assert kept.headers["x-request-id"] == "trace-12345678"
    for given in ("short", "x" * 200, "with space and more", "<script>alert(1)</script>"):
        answer = await http.get("/nowhere", headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] != given
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_every_answer_has_an_id_of_its_own(http: httpx.AsyncClient) -> None:
    paths = ["/health/live", "/docs", "/openapi.json", "/v1/me", "/nowhere"]
    ids = [(await http.get(path)).headers["x-request-id"] for path in paths]
    assert len(set(ids)) == len(paths)


def test_what_is_refused_as_wrong_always_says_what_and_where() -> None:
    floors = Path(__file__).parents[2]
    sources = [path.read_text() for floor in ("storage", "solvers") for path in (floors / floor).rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r"UsageError\(\s*\"(\w+)\"", text)}
    assert {"idempotency_conflict", "bad_position", "bad_text", "job_ended"} <= codes
    errors = [*(UsageError(code, "It is so.") for code in sorted(codes)), ProblemError(422, "odd", "It is so.")]
    wrong = [problem for problem in map(to_problem, errors) if problem.status == 422]
    assert len(wrong) > 3
    for problem in wrong:
        (issue,) = problem.issues
        assert (issue.code, issue.message) == (problem.slug.replace("-", "_"), problem.detail)
        assert issue.pointer in {"", "/headers/Idempotency-Key", "/headers/Last-Event-ID"}
        assert problem.issues_total == 1


async def test_headers_that_are_wrong_are_pointed_at(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "used"}
    assert (await http.post(SUBMIT, json=body(), headers=key)).status_code == 202
    conflict = is_problem(await http.post(SUBMIT, json=body(name="x"), headers=key), 422, "idempotency-conflict")
    position = is_problem(await http.get("/v1/events", headers={"Last-Event-ID": "1"}), 422, "bad-position")
    pointers = [[issue["pointer"] for issue in problem["issues"]] for problem in (conflict, position)]
    assert pointers == [["/headers/Idempotency-Key"], ["/headers/Last-Event-ID"]]


async def test_a_fault_is_logged_once_with_its_id_and_says_nothing(
    stack: Servers, capfd: pytest.CaptureFixture[str]
) -> None:
    broken_app = create_app(settings_of(stack))
    broken_app.register(broken)
    broken_app.register(broken_knowingly)
    async with client(broken_app, None) as http:
        capfd.readouterr()
        problem = is_problem(await http.get("/broken"), 500, "internal")
        captured = capfd.readouterr()
    logged = captured.out + captured.err
    assert logged.count(problem["request_id"]) == 1
    assert "ValueError" in logged
    assert "test_problem_details.py" in logged
    assert "Zwetschge" not in logged + str(problem)
    async with client(broken_app, None) as http:
        problem = is_problem(await http.get("/broken/knowingly"), 500, "internal")
        captured = capfd.readouterr()
    assert "bad_seal" in captured.out + captured.err
    assert "seal" not in str(problem)


@pytest.fixture(scope="module")
async def fragile() -> AsyncIterator[tuple[Servers, httpx.AsyncClient]]:
    """An API over servers of its own, which a test may stop."""
    with running_servers() as servers:
        await migrate(settings_of(servers))
        async with running(create_app(settings_of(servers))) as app:
            async with app.state.services.database.fleet() as fleet:
                tenant = await fleet.tenants.create("fragile")
                key = (await fleet.tenants.create_key(tenant.id, "test", Role.ADMIN)).secret
            async with client(app, key) as http:
                yield servers, http


async def test_without_postgresql_nothing_is_accepted_and_all_is_well_after(
    fragile: tuple[Servers, httpx.AsyncClient],
) -> None:
    servers, http = fragile
    assert (await http.post(SUBMIT, json=body())).status_code == 202
    async with away(servers, "PostgreSQL", signal.SIGINT):
        for answer in (
            await http.post(SUBMIT, json=body()),
            await http.get("/v1/jobs"),
            await http.get("/health/ready"),
        ):
            is_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert (await http.get("/health/live")).status_code == 200
    assert (await http.post(SUBMIT, json=body())).status_code == 202
    assert len((await http.get("/v1/jobs")).json()["items"]) == 2


async def test_without_redis_jobs_are_accepted_all_the_same(fragile: tuple[Servers, httpx.AsyncClient]) -> None:
    servers, http = fragile
    async with away(servers, "Redis", signal.SIGKILL):
        assert (await http.post(SUBMIT, json=body())).status_code == 202
        assert (await http.get("/health/ready")).json() == {"status": "ok", "redis": "away"}
    assert (await http.get("/health/ready")).json() == {"status": "ok", "redis": "ok"}
