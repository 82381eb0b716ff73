"""PostgreSQL away while the API waits for it: what was accepted stays accepted."""

import asyncio
import signal
from uuid import UUID

from api.main import create_app
from deploy.local.folders import DataDir
from deploy.local.servers import Servers
from storage.migrate import migrate
from storage.rows import Role
from storage.transaction import Database
from tests.api.conftest import client, running
from tests.api.deals import SUBMIT, body
from tests.faults.servers import away
from tests.storage.steps import add_tenant
from tests.support.stack import settings_of, temporary_folder


async def test_a_job_is_accepted_though_postgresql_goes_away_while_its_end_is_waited_for() -> None:
    with temporary_folder() as folder:
        servers = Servers(DataDir(folder), durable=False)
        servers.start()
        settings = settings_of(servers)
        await migrate(settings)
        async with running(create_app(settings)) as app:
            database: Database = app.state.services.database
            tenant = await add_tenant(database)
            async with database.fleet() as fleet:
                key = (await fleet.tenants.create_key(tenant, "test", Role.ADMIN)).secret
            async with client(app, key) as http:
                waiting = asyncio.create_task(http.post(SUBMIT, json=body(), headers={"Prefer": "wait=30"}))
                kept = await first_job(database, tenant)
                async with away(servers, "PostgreSQL", signal.SIGINT):
                    answer = await waiting
        servers.stop()
    assert answer.status_code == 202
    assert answer.json()["id"] == str(kept)


async def first_job(database: Database, tenant: UUID) -> UUID:
    """The tenant's first job, once it is committed."""
    async with asyncio.timeout(60):
        while True:
            async with database.transaction(tenant) as transaction:
                for job in await transaction.jobs.list():
                    return job.id
            await asyncio.sleep(0.01)
