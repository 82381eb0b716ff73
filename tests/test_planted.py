"""What callers give, planted on every way into Milpa, is in no log; and the check of all logs does find what is there."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text

from api.main import create_app
from milpa.jobs import JobError, JobState
from milpa.settings import Settings
from storage.rows import Ending, Role
from storage.transaction import Database
from tests.api.conftest import client, running
from tests.api.deals import KIND, SUBMIT, body, deal, problem
from tests.api.jobs import JobDriver
from tests.support.planted import EMAIL, JWT, KEY, MARK, NAME, SPELLINGS, URL, leaks, marked

ROOT = Path(__file__).parent.parent
NIGHT = {"cron": "0 2 * * *", "timezone": "UTC"}
BODIES: Sequence[tuple[str, Any]] = [
    (SUBMIT, body(name=NAME, tags=[EMAIL, MARK])),
    (SUBMIT, body(webhook_url=URL)),
    (SUBMIT, {"problem": problem(budget=MARK, deals=[deal(id=NAME), deal(id=NAME)]), MARK: EMAIL}),
    (SUBMIT, {"problem": problem(must_include=[NAME], sector_caps={MARK: -1})}),
    (SUBMIT, [NAME]),
    ("/v1/batches", {"name": NAME, "jobs": [{"kind": KIND, **body(name=NAME)}, {"kind": MARK}]}),
    ("/v1/schedules", {"name": NAME, **NIGHT, "jobs": [{"kind": KIND, **body(name=NAME)}]}),
    ("/v1/schedules", {"name": NAME, "cron": MARK, "timezone": MARK, "jobs": [MARK]}),
    ("/v1/webhooks", {"url": URL, "tags": [NAME]}),
    ("/v1/webhooks", {"url": f"https://example.org/{MARK}", "tags": [NAME]}),
    ("/v1/api-keys", {"name": NAME, "role": "viewer"}),
    (f"/v1/{MARK}/jobs", body(name=NAME)),
]


@pytest.fixture
async def app(settings: Settings, stack: object) -> Any:
    del stack
    async with running(create_app(settings)) as app:
        yield app


@pytest.fixture
async def http(app: Litestar, database: Database, tenant: UUID) -> Any:
    async with database.fleet() as fleet:
        key = (await fleet.tenants.create_key(tenant, NAME, Role.ADMIN)).secret
    async with client(app, key) as http:
        yield http


async def test_nothing_given_is_logged(http: httpx.AsyncClient, database: Database, tenant: UUID) -> None:
    for path, given in BODIES:
        headers = {"Idempotency-Key": MARK, "Referer": URL, "Cookie": f"session={JWT}"}
        assert (await http.post(path, json=given, headers=headers)).status_code < 500
    for content in (f"{{{MARK}", f'{{"problem": {{"deals": [{{"name": "{NAME}"}}'):
        json = {"Content-Type": "application/json"}
        assert (await http.post(SUBMIT, content=content, headers=json)).status_code == 400
    files = {"job": (None, "{}"), "rows": (f"{NAME}.csv", f"id,name\n{EMAIL},{NAME}\n".encode())}
    assert (await http.post(SUBMIT, files=files)).status_code == 422
    for path in (f"/v1/jobs?name={MARK}", f"/v1/jobs?cursor={MARK}", f"/v1/{MARK}", f"/v1/downloads/{MARK}"):
        assert (await http.get(path)).status_code < 500
    driver = JobDriver(database, tenant)
    job = (await http.post(SUBMIT, json=body(name=NAME))).json()["id"]
    await driver.finish(await driver.claim(job), Ending(state=JobState.FAILED, error=JobError("boom", NAME)))


@pytest.mark.parametrize("secret", [KEY, JWT, MARK])
async def test_no_key_and_no_token_is_logged(app: Litestar, secret: str) -> None:
    async with client(app, secret) as http:
        assert (await http.get("/v1/jobs")).status_code == 401


async def test_what_a_fault_quotes_is_not_logged(
    app: Litestar, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, database: Database, tenant: UUID
) -> None:
    async def break_in_the_database(*_: object, **__: object) -> None:
        async with database.transaction(tenant) as transaction:
            await transaction.connection.execute(text(f"SELECT CAST('{NAME}' AS int)"))

    async def break_here(*_: object, **__: object) -> None:
        raise LookupError(NAME)

    job = (await http.post(SUBMIT, json=body())).json()["id"]
    for broken in (break_in_the_database, break_here):
        monkeypatch.setattr("storage.jobs.JobStore.get", broken)
        assert (await http.get(f"/v1/jobs/{job}")).status_code == 500
    del app


def test_a_mark_is_found_in_every_spelling(tmp_path: Path) -> None:
    for number, spelling in enumerate(SPELLINGS):
        (tmp_path / f"{number}.log").write_bytes(b"all is well\n{" + spelling + b"}\n")
    assert len(leaks(tmp_path)) == len(SPELLINGS)
    assert marked(JWT.encode())
    assert leaks(ROOT / "README.md") == []


def test_a_run_with_marks_in_its_logs_fails_and_shows_them(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import no_log_holds_what_was_planted\n")
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
            import logging
            import structlog
            from tests.support import planted

            def test_that_leaks(tmp_path):
                structlog.get_logger().info(planted.MARK)
                logging.getLogger("library").warning(planted.MARK + " %s", 1)
                path = tmp_path / "worker.log"
                path.write_text(planted.JWT)
                planted.WATCH.look([path])
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-vv", "-c", os.devnull, "--rootdir", tmp_path, "-p", "xdist", "-n", "1",
         "--dist", "loadfile", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert "1 passed, 1 error" in done.stdout
    for leak in ("worker.log:1", "pytest.log:1", "pytest.log:2"):
        assert leak in done.stdout
