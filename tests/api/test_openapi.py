import json
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
from litestar.routes import HTTPRoute
from openapi_spec_validator import validate

from api import openapi
from api.main import create_app
from milpa.settings import Settings
from solvers.registry import all_kinds
from tests.api.deals import SUBMIT, body, problem
from tests.api.jobs import JobDriver

APP = create_app(Settings())
DOCUMENT: dict[str, Any] = json.loads(openapi.committed())
_UNDESCRIBED = {"/", "/docs", "/docs/redoc.min.js", "/metrics", "/v1/{kind}/jobs"}


def test_the_committed_document_is_what_the_routes_say() -> None:
    assert openapi.committed() == openapi.encoded(APP), "run `make openapi`"


def test_the_document_is_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    validate(DOCUMENT)


def test_who_reads_it_is_told_where_the_key_comes_from() -> None:
    said = DOCUMENT["info"]["description"]
    assert "milpa keys create" in said
    assert ".milpa/admin.key" in said


def test_every_route_is_described() -> None:
    paths = {route.path_format for route in APP.routes if isinstance(route, HTTPRoute)}
    assert paths - set(DOCUMENT["paths"]) == _UNDESCRIBED
    described = [entry for methods in DOCUMENT["paths"].values() for entry in methods.values()]
    names = [entry["operationId"] for entry in described]
    assert len(set(names)) == len(names)
    assert all(entry["summary"].endswith(".") for entry in described)


def test_each_kind_has_its_own_typed_body() -> None:
    for kind in all_kinds().values():
        content = DOCUMENT["paths"][f"/v1/{kind.name}/jobs"]["post"]["requestBody"]["content"]
        request = resolved(content["application/json"]["schema"])
        typed = resolved(request["properties"]["problem"])
        assert set(typed["properties"]) == {field.encode_name for field in msgspec.structs.fields(kind.problem)}
        assert typed["additionalProperties"] is False
        assert content["application/json"]["example"] == kind.example


def test_deals_appear_with_their_fields() -> None:
    typed = DOCUMENT["components"]["schemas"]["DealPickerProblem"]["properties"]
    assert {"budget", "risk_penalty", "sector_caps", "deals", "mode", "must_include"} <= set(typed)
    deal = resolved(typed["deals"]["items"])
    assert {"id", "price", "yield", "risk", "sector", "city", "min_allocation"} <= set(deal["properties"])


def test_what_a_job_says_of_its_end_is_typed() -> None:
    job = DOCUMENT["components"]["schemas"]["Job"]["properties"]
    (limit,) = [option for option in job["limit_reached"]["anyOf"] if option.get("type") != "null"]
    assert set(resolved(limit)["enum"]) == {"time", "memory", "stopped"}
    assert {"code", "pointer", "message", "severity"} <= set(resolved(job["warnings"]["items"])["properties"])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def fits(answer: httpx.Response, path: str, method: str = "get") -> None:
    """Hold an answer against the schema that the document has for it."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    response = responses[str(answer.status_code)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = {**response["content"][media_type]["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(answer.json(), schema, jsonschema.Draft202012Validator)
    assert set(map(str.lower, response["headers"])) - {
        "retry-after",
        "idempotency-replayed",
        "preference-applied",
        "ratelimit-policy",  # where there is a limit: tests/api/test_limits.py
        "ratelimit",
    } <= set(answer.headers) | {"link"}


async def test_answers_are_what_the_document_says(http: httpx.AsyncClient, driver: JobDriver) -> None:
    submitted = await http.post(SUBMIT, json=body(name="x", tags=["y"], files=["pdf"]))
    fits(submitted, SUBMIT, "post")
    fits(await http.post(SUBMIT, json={"problem": problem(budget=-1)}), SUBMIT, "post")
    path = f"/v1/jobs/{submitted.json()['id']}"
    fits(await http.get(f"{path}/result"), "/v1/jobs/{job_id}/result")
    await driver.succeed(submitted.json()["id"])
    fits(await http.get(path), "/v1/jobs/{job_id}")
    fits(await http.get("/v1/jobs?limit=1"), "/v1/jobs")
    fits(await http.get(f"{path}/events"), "/v1/jobs/{job_id}/events")
    fits(await http.get(f"{path}/problem"), "/v1/jobs/{job_id}/problem")
    fits(await http.get(f"{path}/files"), "/v1/jobs/{job_id}/files")
    fits(await http.get("/v1/kinds"), "/v1/kinds")
    fits(await http.get("/v1/kinds/deal-picker"), "/v1/kinds/{kind}")
    fits(await http.get("/v1/kinds/none"), "/v1/kinds/{kind}")
    fits(await http.get("/v1/me"), "/v1/me")
    fits(await http.get("/health/ready"), "/health/ready")
    batch = await http.post("/v1/batches", json={"jobs": [{"kind": "deal-picker", **body()}]})
    fits(batch, "/v1/batches", "post")
    fits(await http.get(f"/v1/batches/{batch.json()['id']}"), "/v1/batches/{batch_id}")


async def test_an_ended_wait_is_what_the_document_says(http: httpx.AsyncClient, driver: JobDriver) -> None:
    typed = resolved(DOCUMENT["components"]["schemas"]["JobWithResult"])["properties"]["result"]
    assert set(resolved(typed)["properties"]) >= {"outcome", "solution", "explanation"}
    for name in ("succeeded", "failed", "cancelled"):
        headers = {"Idempotency-Key": name}
        job = (await http.post(SUBMIT, json=body(), headers=headers)).json()["id"]
        if name == "succeeded":
            await driver.succeed(job, result={"solution": None})  # the usual one is short of fields
        else:
            await (driver.fail(job) if name == "failed" else http.post(f"/v1/jobs/{job}/cancel"))
        answer = await http.post(SUBMIT, json=body(), headers={**headers, "Prefer": "wait=30"})
        assert (answer.status_code, answer.json()["state"]) == (200, name)
        assert ("result" in answer.json()) == (name == "succeeded")
        fits(answer, SUBMIT, "post")


async def test_answers_about_schedules_are_what_the_document_says(http: httpx.AsyncClient) -> None:
    jobs = [{"kind": "deal-picker", **body()}]
    given = {"name": "night", "cron": "0 2 * * *", "timezone": "Asia/Riyadh", "jobs": jobs}
    schedule = await http.post("/v1/schedules", json=given)
    fits(schedule, "/v1/schedules", "post")
    fits(await http.post("/v1/schedules", json=given | {"cron": "never"}), "/v1/schedules", "post")
    path = f"/v1/schedules/{schedule.json()['id']}"
    fits(await http.patch(path, json={"name": "other"}), "/v1/schedules/{schedule_id}", "patch")
    fits(await http.post(f"{path}/run"), "/v1/schedules/{schedule_id}/run", "post")
    for part in ("", "/runs", "/jobs"):
        fits(await http.get(path + part), "/v1/schedules/{schedule_id}" + part)
    fits(await http.get("/v1/schedules"), "/v1/schedules")


async def test_questions_and_answers_are_what_the_document_says(http: httpx.AsyncClient, driver: JobDriver) -> None:
    job = (await http.post(SUBMIT, json=body())).json()["id"]
    await driver.succeed(job)
    path = f"/v1/jobs/{job}"
    asked = {"cases": [{"name": "More", "patch": {"budget": 110_000}}], "options": {"seed": 1}}
    fits(await http.post(f"{path}/what-if", json=asked), "/v1/jobs/{job_id}/what-if", "post")
    fits(await http.post(f"{path}/what-if", json={}), "/v1/jobs/{job_id}/what-if", "post")
    forced = await http.post(f"{path}/why-not", json={"force": {"deal_id": "D"}})
    fits(forced, "/v1/jobs/{job_id}/why-not", "post")
    child = forced.json()["id"]
    fits(await http.get(f"/v1/jobs/{child}/why-not"), "/v1/jobs/{job_id}/why-not")
    await driver.succeed(child)
    fits(await http.get(f"/v1/jobs/{child}/why-not"), "/v1/jobs/{job_id}/why-not")
    fits(await http.get(f"/v1/jobs/compare?ids={job},{child}"), "/v1/jobs/compare")
    fits(await http.get("/v1/jobs/compare"), "/v1/jobs/compare")
    curve = await http.post(f"{path}/frontier", json={"against": "budget", "points": 2})
    fits(curve, "/v1/jobs/{job_id}/frontier", "post")
    for point in curve.json()["jobs"]:
        await driver.succeed(point["id"])
    fits(await http.get(curve.json()["links"]["frontier"]), "/v1/batches/{batch_id}/frontier")


@pytest.mark.parametrize("path", ["/openapi.json"])
async def test_the_service_shows_its_document(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).json() == DOCUMENT
