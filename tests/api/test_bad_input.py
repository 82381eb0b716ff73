"""Whatever is sent: a clear 4xx with every issue and where it is, nothing written, nothing of the caller's logged."""

import gzip
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
import zstandard
from sqlalchemy import text

from storage.transaction import Database
from tests.api.deals import CSV, EXAMPLE, SUBMIT, body, deal, problem

MARKER = "Zwetschgenkuchen-77"
"""Stands for the caller's data: it may be in answers to the caller, never in a log."""
_TABLES = ("jobs", "payloads", "job_events", "idempotency_keys", "batches", "file_requests")
_JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
async def nothing_happens(
    database: Database, tenant: UUID, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[None]:
    """Holds for every test here: no row is written, and no log line holds the marker."""

    async def rows() -> dict[str, int]:
        async with database.transaction(tenant) as transaction:
            counts = {}
            for table in _TABLES:
                count = await transaction.connection.execute(text(f"SELECT count(*) FROM {table}"))  # noqa: S608
                counts[table] = count.scalar_one()
            return counts

    before = await rows()
    yield
    assert await rows() == before
    captured = capfd.readouterr()
    assert MARKER not in captured.out + captured.err + caplog.text


async def refused(http: httpx.AsyncClient, status: int = 422, **request: Any) -> dict[str, Any]:
    answer = await http.post(request.pop("url", SUBMIT), **request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    details: dict[str, Any] = answer.json()
    assert details["status"] == status
    assert details["type"].startswith("/problems/")
    assert details["request_id"] == answer.headers["x-request-id"]
    return details


def issues(details: dict[str, Any]) -> set[tuple[str, str]]:
    assert details["issues_total"] >= len(details["issues"])
    assert all(issue["severity"] == "error" and issue["message"] for issue in details["issues"])
    return {(issue["code"], issue["pointer"]) for issue in details["issues"]}


async def test_every_wrong_type_at_once(http: httpx.AsyncClient) -> None:
    given = problem(budget="much", deals=[deal(price=MARKER), deal(id=3), 5], mode="halves", sectors={})
    details = await refused(http, json={"problem": given, "options": {"threads": 0}, "tags": [MARKER * 9]})
    assert issues(details) >= {
        ("wrong_type", "/problem/budget"),
        ("wrong_type", "/problem/deals/0/price"),
        ("wrong_type", "/problem/deals/1/id"),
        ("wrong_type", "/problem/deals/2"),
        ("unknown_field", "/problem/sectors"),
        ("out_of_range", "/options/threads"),
    }
    pointers = {issue["pointer"] for issue in details["issues"]}
    assert {"/problem/mode", "/tags/0"} <= pointers


async def test_type_errors_do_not_hide_what_else_is_wrong(http: httpx.AsyncClient) -> None:
    deals = [deal(price=MARKER), deal(id="B", price=-1), deal(id="C"), deal(id="C")]
    given = problem(deals=deals, must_include=["A", "C"], sector_caps={"office": -1})
    details = await refused(http, json={"problem": given, "tags": 7})
    assert issues(details) == {
        ("wrong_type", "/problem/deals/0/price"),
        ("wrong_type", "/tags"),
        ("out_of_range", "/problem/deals/1/price"),
        ("duplicate_id", "/problem/deals/3/id"),
        ("out_of_range", "/problem/sector_caps/office"),
    }


async def test_missing_and_unknown_fields(http: httpx.AsyncClient) -> None:
    details = await refused(http, json={"problem": {"deals": [{"id": "A"}]}, "webhook": MARKER})
    assert issues(details) >= {
        ("missing_field", "/problem/budget"),
        ("missing_field", "/problem/deals/0/price"),
        ("missing_field", "/problem/deals/0/yield"),
        ("unknown_field", "/webhook"),
    }


async def test_a_body_that_is_an_array(http: httpx.AsyncClient) -> None:
    assert issues(await refused(http, json=[MARKER])) == {("wrong_type", "")}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_does_not_have(http: httpx.AsyncClient, number: str) -> None:
    content = msgspec.json.encode(body()).replace(b"100000", number.encode(), 1)
    details = await refused(http, 400, content=content, headers=_JSON)
    assert details["type"] == "/problems/malformed-json"


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
async def test_numbers_too_large_to_hold(http: httpx.AsyncClient, number: str) -> None:
    content = msgspec.json.encode(body()).replace(b"100000", number.encode(), 1)
    details = await refused(http, content=content, headers=_JSON)
    assert issues(details) == {("not_finite", "/problem/budget")}


async def test_prices_and_budgets_below_zero(http: httpx.AsyncClient) -> None:
    details = await refused(http, json={"problem": problem(budget=-1, deals=[deal(price=-5), deal(id="B", price=0)])})
    found = issues(details)
    assert found == {
        ("out_of_range", "/problem/budget"),
        ("out_of_range", "/problem/deals/0/price"),
        ("out_of_range", "/problem/deals/1/price"),
    }


async def test_duplicate_ids(http: httpx.AsyncClient) -> None:
    details = await refused(http, json={"problem": problem(deals=[deal(id=MARKER), deal(id="B"), deal(id=MARKER)])})
    assert issues(details) == {("duplicate_id", "/problem/deals/2/id")}


async def test_unknown_ids_in_must_include(http: httpx.AsyncClient) -> None:
    details = await refused(http, json={"problem": problem(must_include=["A", MARKER], exclude=[MARKER])})
    assert issues(details) >= {("unknown_id", "/problem/must_include/1"), ("unknown_id", "/problem/exclude/0")}


async def test_no_deals(http: httpx.AsyncClient) -> None:
    details = await refused(http, json={"problem": problem(deals=[])})
    assert {pointer for _, pointer in issues(details)} == {"/problem/deals"}


async def test_all_issues_are_counted_and_a_thousand_listed(http: httpx.AsyncClient) -> None:
    details = await refused(http, json={"problem": problem(deals=[deal(id=str(n), price=-1) for n in range(1500)])})
    assert (len(details["issues"]), details["issues_total"]) == (1000, 1500)
    details = await refused(http, json={"problem": problem(deals=[deal() for _ in range(1500)])})
    assert (len(details["issues"]), details["issues_total"]) == (1000, 1499)


@pytest.mark.parametrize("content", [b"", b"{", b'{"problem": ', MARKER.encode(), b"\xff\xfe{}", b'{"a": "\xc3"}'])
async def test_a_body_that_is_not_json(http: httpx.AsyncClient, content: bytes) -> None:
    details = await refused(http, 400, content=content, headers=_JSON)
    assert details["type"] == "/problems/malformed-json"


@pytest.mark.parametrize("depth", [65, 100_000])
async def test_deep_nesting(http: httpx.AsyncClient, depth: int) -> None:
    content = b'{"problem":' + b"[" * depth + b"]" * depth + b"}"
    assert (await refused(http, 400, content=content, headers=_JSON))["type"] == "/problems/malformed-json"


async def test_a_body_over_the_limit(small_http: httpx.AsyncClient) -> None:
    details = await refused(small_http, 413, json=body(name="x" * 30_000))
    assert details["type"] == "/problems/body-too-large"
    assert "20,000" in details["detail"]


async def test_a_body_over_the_limit_that_does_not_say_its_length(small_http: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 1000
            yield b" " * 1000

    await refused(small_http, 413, content=endless(), headers=_JSON)
    assert sent < 40_000


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_a_packed_body_over_the_limit(small_http: httpx.AsyncClient, coding: str, pack: Any) -> None:
    bomb = pack(b" " * 30_000_000)
    packed = pack(bomb) if len(bomb) > 20_000 else bomb
    headers = {**_JSON, "Content-Encoding": coding}
    await refused(small_http, 413, content=bomb if len(bomb) <= 20_000 else packed, headers=headers)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_packed_body_that_is_not_one(http: httpx.AsyncClient, coding: str) -> None:
    headers = {**_JSON, "Content-Encoding": coding}
    await refused(http, 400, content=MARKER.encode(), headers=headers)
    cut = gzip.compress(msgspec.json.encode(body()))[:-20] if coding == "gzip" else b"\x28\xb5\x2f\xfd\x04"
    await refused(http, 400, content=cut, headers=headers)


async def test_gzip_comes_in_no_more_than_a_thousand_members_with_nothing_behind(http: httpx.AsyncClient) -> None:
    packed = gzip.compress(msgspec.json.encode(body()))
    for more in (gzip.compress(b"") * 1000, gzip.compress(b" ") * 1000, b"\x00", MARKER.encode()):
        await refused(http, 400, content=packed + more, headers={**_JSON, "Content-Encoding": "gzip"})


async def test_another_content_type_or_packing(http: httpx.AsyncClient) -> None:
    raw = msgspec.json.encode(body())
    await refused(http, 415, content=raw)
    await refused(http, 415, content=raw, headers={"Content-Type": "text/plain"})
    await refused(http, 415, content=raw, headers={"Content-Type": "application/json; charset=latin-1"})
    await refused(http, 415, content=raw, headers={**_JSON, "Content-Encoding": "br"})
    await refused(http, 415, content=raw, headers={**_JSON, "Content-Encoding": "gzip, gzip"})


async def test_an_unknown_kind(http: httpx.AsyncClient) -> None:
    await refused(http, 404, url=f"/v1/{MARKER}/jobs", json=body())
    assert (await http.get(f"/v1/kinds/{MARKER}")).status_code == 404


@pytest.mark.parametrize("time_limit", [0, -1, 1e9])
async def test_time_limits_out_of_range(http: httpx.AsyncClient, time_limit: float) -> None:
    details = await refused(http, json=body(options={"time_limit_seconds": time_limit}))
    assert issues(details) == {("out_of_range", "/options/time_limit_seconds")}


@pytest.mark.parametrize("field", ["name", "tags"])
async def test_text_that_no_database_holds(http: httpx.AsyncClient, field: str) -> None:
    value: Any = "a\x00b" if field == "name" else ["a\x00b"]
    details = await refused(http, json=body(**{field: value}))
    assert details["issues"][0]["pointer"].startswith(f"/{field}")


async def test_unknown_query_parameters_and_bad_values(http: httpx.AsyncClient) -> None:
    query = {"state": "asleep", "limit": "201", "created_after": "yesterday", "sort": MARKER, "cursor": "\x00"}
    answer = await http.get("/v1/jobs", params=query)
    assert answer.status_code == 422
    messages = {issue["pointer"]: issue["message"] for issue in answer.json()["issues"]}
    assert set(messages) == {f"/query/{name}" for name in query}
    assert messages["/query/limit"] == "`limit` must be ≥ 1 and ≤ 200, is 201."
    assert messages["/query/state"].startswith('`state[0]` must be one of "scheduled", "queued"')
    assert messages["/query/created_after"].startswith("`created_after` must be a time such as")


@pytest.mark.parametrize(
    "job_id", ["0198f2c6-0000-7000-8000-000000000000", "7", MARKER, "00000000-0000-0000-0000-00000000000g", "%00"]
)
async def test_ids_that_are_nobodys(http: httpx.AsyncClient, job_id: str) -> None:
    for part in ("", "/problem", "/result", "/report", "/log", "/events", "/files", "/files/x.pdf"):
        answer = await http.get(f"/v1/jobs/{job_id}{part}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found"), part
    for part in ("/stop", "/cancel", "/retry"):
        assert (await http.post(f"/v1/jobs/{job_id}{part}")).status_code == 404
    assert (await http.delete(f"/v1/jobs/{job_id}")).status_code == 404
    assert (await http.get(f"/v1/batches/{job_id}")).status_code == 404


# Tables


def form(rows: bytes, name: str = "deals.csv", job: Any = None) -> dict[str, Any]:
    given = {"problem": {"budget": 100_000}} if job is None else job
    encoded = given if isinstance(given, bytes) else msgspec.json.encode(given)
    return {"job": (None, encoded, "application/json"), "rows": (name, rows, "application/octet-stream")}


async def test_a_bad_cell_is_told_by_row_column_and_pointer(http: httpx.AsyncClient) -> None:
    rows = CSV + f"C,C,{MARKER},1,office\nA,twice,1,1,office\nE,E,-1,1,office\n".encode()
    details = await refused(http, files=form(rows))
    found = {(issue["row"], issue["column"], issue["pointer"]) for issue in details["issues"]}
    assert found == {
        (4, "price", "/problem/deals/2/price"),
        (5, "id", "/problem/deals/3/id"),
        (6, "price", "/problem/deals/4/price"),
    }


async def test_issues_of_the_job_beside_its_table(http: httpx.AsyncClient) -> None:
    details = await refused(http, files=form(CSV, job={"problem": {"budget": -1}, "color": "blue"}))
    assert {issue["pointer"] for issue in details["issues"]} == {"/problem/budget", "/color"}


async def test_an_xlsx_that_is_not_one(http: httpx.AsyncClient) -> None:
    for rows in (MARKER.encode(), b"PK\x03\x04" + MARKER.encode(), b""):
        details = await refused(http, files=form(rows, "deals.xlsx"))
        assert details["issues"][0]["pointer"] == "/problem/deals"


async def test_a_zip_bomb(http: httpx.AsyncClient) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"):
            with archive.open(name, "w") as part:
                for _ in range(300):
                    part.write(b" " * 1_000_000)
    details = await refused(http, files=form(packed.getvalue(), "deals.xlsx"))
    assert details["issues"][0]["pointer"] == "/problem/deals"


async def test_a_table_over_the_limit(small_http: httpx.AsyncClient) -> None:
    await refused(small_http, 413, files=form(CSV + b"x" * 6_000))
    await refused(small_http, 413, files=form(CSV + b"x" * 60_000))


async def test_a_table_of_a_format_that_is_none(http: httpx.AsyncClient) -> None:
    await refused(http, 415, files=form(CSV, "deals.docx"))


async def test_a_table_given_twice(http: httpx.AsyncClient) -> None:
    details = await refused(http, files=form(CSV, job={"problem": EXAMPLE}))
    assert issues(details) == {("given_twice", "/problem/deals")}


async def test_forms_that_are_none(http: httpx.AsyncClient) -> None:
    details = await refused(http, files={"job": (None, b"{}"), "more": ("x", b"y")})
    assert issues(details) == {("missing_field", "/rows"), ("unknown_field", "/more")}
    for job in (b"{", b""):
        await refused(http, 400, files=form(CSV, job=job))
    await refused(http, files=form(CSV, job=b"[]"))
    await refused(http, files=form(CSV, job=b'{"problem": []}'))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    await refused(http, 400, content=b"--y\r\n\r\n", headers=headers)
    await refused(http, 400, content=b"--x\r\nContent-Disposition: form-data; name=job\r\n\r\n{", headers=headers)
    await refused(http, 400, content=b"--x", headers={"Content-Type": "multipart/form-data"})


# Batches


async def test_one_bad_job_refuses_the_batch_with_the_issues_of_all(http: httpx.AsyncClient) -> None:
    jobs = [
        {"kind": "deal-picker", **body()},
        {"kind": "deal-picker", "problem": problem(budget=-1)},
        {"kind": MARKER, **body()},
        {"problem": EXAMPLE},
        7,
    ]
    details = await refused(http, url="/v1/batches", json={"jobs": jobs})
    assert issues(details) == {
        ("out_of_range", "/jobs/1/problem/budget"),
        ("unknown_kind", "/jobs/2/kind"),
        ("missing_field", "/jobs/3/kind"),
        ("wrong_type", "/jobs/4"),
    }


async def test_what_is_wrong_with_a_batch_does_not_hide_what_is_wrong_with_its_jobs(http: httpx.AsyncClient) -> None:
    jobs = [{"kind": "deal-picker", "problem": problem(budget=-1)}, {"kind": "deal-picker", "problem": 7}]
    wrong = {("out_of_range", "/jobs/0/problem/budget"), ("wrong_type", "/jobs/1/problem")}
    for more, code, where in (
        ({"name": 5}, "wrong_type", "/name"),
        ({"webhook_url": 5}, "wrong_type", "/webhook_url"),
        ({"color": MARKER}, "unknown_field", "/color"),
        ({"name": 5, "webhook_url": "http://127.0.0.1/"}, "bad_address", "/webhook_url"),
    ):
        details = await refused(http, url="/v1/batches", json={"jobs": jobs, **more})
        assert issues(details) - {("wrong_type", "/name")} | {(code, where)} == wrong | {(code, where)}
        assert (code, where) in issues(details)
    await refused(http, url="/v1/batches", json={"jobs": 7, "name": 5})
    await refused(http, url="/v1/batches", json=[MARKER])


async def test_batches_of_none_and_of_too_many(http: httpx.AsyncClient) -> None:
    assert issues(await refused(http, url="/v1/batches", json={"jobs": []})) == {("too_short", "/jobs")}
    many = [{"kind": "deal-picker", "problem": {}}] * 1001
    assert ("too_long", "/jobs") in issues(await refused(http, url="/v1/batches", json={"jobs": many}))
