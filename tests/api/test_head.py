import asyncio

import httpx
import pytest

from tests.api.asking import succeeded
from tests.api.jobs import JobDriver
from tests.support.waiting import until

VARYING = {"x-request-id", "ratelimit"}


@pytest.mark.parametrize(
    "path", ["/health/live", "/docs", "/openapi.json", "/v1/me", "/v1/kinds/deal-picker", "/v1/no"]
)
async def test_head_has_the_status_and_the_headers_of_get_and_no_content(live: httpx.AsyncClient, path: str) -> None:
    shown, head = await live.get(path), await live.head(path)
    assert (head.status_code, head.content) == (shown.status_code, b"")
    told = {name: value for name, value in shown.headers.items() if name not in VARYING | {"date"}}
    assert told.items() <= dict(head.headers).items()
    assert int(head.headers["content-length"]) == len(shown.content)


async def test_head_of_a_job_tells_whether_it_has_changed(live: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await succeeded(live, driver)
    tag = (await live.head(f"/v1/jobs/{job}")).headers["etag"]
    assert tag == (await live.get(f"/v1/jobs/{job}")).headers["etag"]
    assert (await live.head(f"/v1/jobs/{job}", headers={"If-None-Match": tag})).status_code == 304


async def test_head_of_a_stream_ends_at_once_and_gives_its_place_back(live: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        head = await live.head("/v1/events")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")

    async def none_open() -> bool:
        return "milpa_streams 0.0" in (await live.get("/metrics")).text

    await until(none_open)
    assert (await live.get("/v1/me")).status_code == 200, "the connection is fit for the next request"


async def test_head_needs_what_get_needs_and_is_kept_like_it(live: httpx.AsyncClient, driver: JobDriver) -> None:
    job = await succeeded(live, driver)
    assert (await live.head(f"/v1/jobs/{job}/result", headers={"Authorization": ""})).status_code == 401
    assert (await live.head(f"/v1/jobs/{job}/result")).status_code == 200

    async def is_kept() -> bool:
        rows = (await live.get("/v1/audit", params={"target": job, "action": "show_result"})).json()["items"]
        return len(rows) == 1

    await until(is_kept)


async def test_where_there_is_nothing_to_get_there_is_no_head(live: httpx.AsyncClient) -> None:
    refused = await live.head("/v1/deal-picker/jobs")
    assert (refused.status_code, methods(refused)) == (405, {"OPTIONS", "POST"})
    assert methods(await live.put("/v1/jobs")) == {"GET", "HEAD", "OPTIONS"}


def methods(answer: httpx.Response) -> set[str]:
    return set(answer.headers["allow"].split(", "))
