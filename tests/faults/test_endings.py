"""Workers that are told to go while they are stuck: they end by themselves, and say nothing that a program can't read."""

import signal

import msgspec

from tests.faults.crew import PROBES, Crew, until
from tests.faults.stuck import HANGING, PACKING
from tests.faults.test_webhook_faults import QUICK, listen


async def test_neither_a_lookup_that_hangs_nor_an_export_in_the_making_keeps_a_worker_from_ending(crew: Crew) -> None:
    await listen(crew, "http://one.hangs.example/")
    await crew.start_two(("tests.faults.stuck", *PROBES), **QUICK | {"webhook_timeout_seconds": 3600.0})
    await crew.ended(await crew.submit("answer"))
    async with crew.database.transaction(crew.tenant) as tenant:
        await tenant.exports.request("someone")
    await until(lambda: {HANGING, PACKING} <= set(crew.said().splitlines()), crew.said)
    for worker in crew.workers:
        worker.send(signal.SIGTERM)
    for worker in crew.workers:
        assert await worker.ended() == 0, worker.said()
        for line in set(worker.said().splitlines()) - {HANGING, PACKING}:
            assert "error" not in msgspec.json.decode(line), line
