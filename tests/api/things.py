"""One of each thing that has an id, in one tenant, and bodies that its routes take."""

from typing import Any

import httpx

from milpa.jobs import FileFormat
from storage.rows import NewFile
from tests.api.asking import succeeded
from tests.api.deals import body
from tests.api.jobs import JobDriver

ENTRY = {"kind": "deal-picker", **body()}
SCHEDULE = {"name": "night", "cron": "0 2 * * *", "timezone": "UTC", "jobs": [ENTRY]}
WEBHOOK = {"url": "https://example.org/hook"}
KEY = {"name": "another", "role": "viewer"}
CASES = [{"name": "More", "patch": {"budget": 110_000}}]

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/{kind}/jobs"): body(),
    ("POST", "/v1/batches"): {"jobs": [ENTRY]},
    ("POST", "/v1/schedules"): SCHEDULE,
    ("PATCH", "/v1/schedules/{schedule_id}"): {"name": "evening"},
    ("POST", "/v1/webhooks"): WEBHOOK,
    ("PATCH", "/v1/webhooks/{webhook_id}"): {"tags": ["board"]},
    ("POST", "/v1/webhooks/{webhook_id}/redeliver"): {"since": "2026-01-01T00:00:00Z"},
    ("POST", "/v1/api-keys"): KEY,
    ("POST", "/v1/exports"): {},
    ("POST", "/v1/jobs/{job_id}/files"): {"formats": ["csv"]},
    ("POST", "/v1/jobs/{job_id}/what-if"): {"cases": CASES},
    ("POST", "/v1/jobs/{job_id}/why-not"): {"force": {"deal_id": "C"}},
    ("POST", "/v1/jobs/{job_id}/frontier"): {"against": "budget", "points": 2},
}
"""By method and path. A route with an id that takes a body has its own here: it must be a good one to get to the id."""


async def make_things(http: httpx.AsyncClient, driver: JobDriver) -> dict[str, str]:
    """Make one of each, as an administrator; returns their ids by the name that paths have for them.

    The job answers a question and has a file; the batch is a frontier's.
    """
    parent = await succeeded(http, driver)
    asked = await _post(http, f"/v1/jobs/{parent}/why-not", {"force": {"deal_id": "D"}})
    file = NewFile(
        name="deals.csv", format=FileFormat.CSV, media_type="text/csv", size=1, sha256="00", object_key=f"{parent}/1"
    )
    await driver.succeed(asked["id"], files=[file])
    batch = await _post(http, f"/v1/jobs/{parent}/frontier", BODIES["POST", "/v1/jobs/{job_id}/frontier"])
    webhook = await _post(http, "/v1/webhooks", WEBHOOK)
    delivery = await _post(http, f"/v1/webhooks/{webhook['id']}/test")
    schedule = await _post(http, "/v1/schedules", SCHEDULE)
    key = await _post(http, "/v1/api-keys", KEY)
    export = await _post(http, "/v1/exports", {})
    return {
        "job_id": asked["id"],
        "name": "deals.csv",
        "batch_id": batch["batch_id"],
        "webhook_id": webhook["id"],
        "delivery_id": delivery["id"],
        "schedule_id": schedule["id"],
        "key_id": key["id"],
        "export_id": export["id"],
        "person_kind": "user",
        "person_id": key["id"],
        "kind": "deal-picker",
        "token": "none",
    }


async def _post(http: httpx.AsyncClient, path: str, asked: Any = None) -> dict[str, Any]:
    answer = await http.post(path, json=asked)
    assert answer.is_success, f"{path}: {answer.text}"
    return dict(answer.json())
