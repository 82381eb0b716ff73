"""What someone tries by hand: requests that no client sends. Each is refused or answered as all others are."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import httpx
import pytest

from tests.api.attack.holds import holds_for_all
from tests.api.attack.wire import Headers, Wire
from tests.api.deals import CSV, SUBMIT, body
from tests.api.jobs import JobDriver
from tests.api.things import make_things

JSON = ("content-type", "application/json")
GOOD = json.dumps(body()).encode()
FORM = ("content-type", "multipart/form-data; boundary=x")


class Asked(NamedTuple):
    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""


def content_types() -> Iterator[Asked]:
    types = [
        "application/json; charset*=utf-8''utf-8", "application/json; charset*0*=utf-8''a; charset*1=b", "application/json; charset=",
        "application/json;;;", "application/json; charset=utf-8; charset=latin1", 'application/json; charset="utf-8',
        "multipart/form-data; boundary*=utf-8''x", "multipart/form-data; boundary*0=x; boundary*1=y", "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""', "multipart/form-data; boundary=" + "x" * 80_000, "multipart/form-data; boundary=\xff",
        "multipart/form-data;boundary*=nope'x'%ff", "multipart/form-data; boundary=x; charset=nope", "\xff/\xfe", "a", "/", "", "application/json\x00",
    ]  # fmt: skip
    form = b"--x\r\nContent-Disposition: form-data; name=job\r\n\r\n{}\r\n--x--"
    return (Asked("POST", SUBMIT, [("content-type", one)], sent) for one in types for sent in (GOOD, form))


def parts() -> Iterator[Asked]:
    jobs = [
        b"Content-Disposition: form-data; name=job", b"Content-Disposition: form-data", b"Content-Disposition: form-data; name=\xff",
        b'Content-Disposition: form-data; name="job"; filename="../../../etc/passwd"', b"Content-Disposition: attachment; name=job",
        b"Content-Disposition: form-data; name=job\r\nContent-Type: text/plain; charset=nope", b"X" * 70_000,
        b"Content-Disposition: form-data; name=job\r\nContent-Transfer-Encoding: base64", b"Content-Disposition: form-data; name*=utf-8''job",
        b"Content-Disposition: form-data; name=job\r\nContent-Length: -1", b'Content-Disposition: form-data; name="job\\',
    ]  # fmt: skip
    tables = [
        b"Content-Disposition: form-data; name=rows; filename=/etc/passwd", b'Content-Disposition: form-data; name=rows; filename="a\x00.csv"',
        b'Content-Disposition: form-data; name=rows; filename="..\\..\\a.PDF"', b'Content-Disposition: form-data; name=rows; filename="\xff.csv/"',
        b"Content-Disposition: form-data; name=rows\r\nContent-Type: text/html; charset=x",
    ]  # fmt: skip
    for job in jobs:
        for table in tables:
            sent = [(job, b'{"problem":{"budget":1}}'), (table, CSV)]
            yield Asked(
                "POST", SUBMIT, [FORM], b"".join(b"--x\r\n%b\r\n\r\n%b\r\n" % one for one in sent) + b"--x--\r\n"
            )


def numbers() -> Iterator[Asked]:
    wide = [
        "99999999999999999999",
        "2147483648",
        "9223372036854775808",
        "-1",
        "1e5",
        "%00",
        "%D9%A1",
        "",
        "0x10",
        "1_0",
        "nan",
        "inf",
        "1e400",
    ]
    for number in wide:
        yield Asked("GET", f"/v1/jobs/{{job_id}}/events?after={number}")
        yield Asked("GET", f"/v1/jobs/{{job_id}}?wait={number}")
        for path in ("jobs", "audit", "schedules", "webhooks/deliveries", "api-keys", "webhooks"):
            yield Asked("GET", f"/v1/{path}?limit={number}")
    for seq in (
        "-1",
        "2147483648",
        "99999999999",
        "\xb2",
        "1.2",
        "1" * 9000,
        "",
        "1\x00",
        "9" * 18 + "." + "0" * 32 + ".999999999",
    ):
        for path in ("jobs/{job_id}/events", "events", "batches/{batch_id}/events"):
            yield Asked("GET", f"/v1/{path}", [("last-event-id", seq), ("accept", "text/event-stream")])


def times() -> Iterator[Asked]:
    odd = [
        "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999-00:01", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2016-12-31T23:59:60Z", "0001-01-01T00:00:00Z", "2026-01-01", "-1", "1e9", "2026-01-01T00:00:00",
    ]  # fmt: skip
    for time in odd:
        quoted = time.replace("+", "%2B")
        for query in ("jobs?created_after", "jobs?created_before", "audit?since", "audit?until"):
            yield Asked("GET", f"/v1/{query}={quoted}")
        yield Asked("GET", f"/v1/audit?until={quoted}", [("accept", "text/csv")])
        yield Asked(
            "POST", "/v1/api-keys", [JSON], json.dumps({"name": "x", "role": "viewer", "expires_at": time}).encode()
        )
        asked = json.dumps({"since": time, "until": time}).encode()
        yield Asked("POST", "/v1/webhooks/{webhook_id}/redeliver", [JSON], asked)


def persons() -> Iterator[Asked]:
    for person in ("\x00", "", "a" * 9000, "\u202e", "%", "../x", 1, None, [], "e\u0301"):
        for subject in ({"kind": "user", "id": person}, {"kind": person, "id": "x"}, person):
            yield Asked("POST", "/v1/exports", [JSON], json.dumps({"subject": subject}).encode())


def queries() -> Iterator[Asked]:
    odd = [
        "cursor=", "cursor=AAAA", "cursor=%FF", "cursor=" + "A" * 5000, "cursor=%C3%A9", "name=%25_%5C", "name=%5C", "name=%", "tag=%00", "name=a%00b",
        "kind='%20OR%201=1--", "kind=" + "x" * 9000, "state=queued,,", "state=", "batch_id=,", "name=%ED%A0%80", "&&&=", "=x", "a" * 5000, "%00=1",
        "batch_id={job_id}%00", "ids=", "ids=,", "ids=x", "ids={job_id},{job_id}", "ids={job_id}&baseline=x", "subject=%00", "action=%27", "target=%00",
        "job=" + ",".join(["{job_id}"] * 101), "kind=%00",
    ]  # fmt: skip
    for query in odd:
        for path in (
            "jobs",
            "audit",
            "schedules",
            "webhooks/deliveries",
            "api-keys",
            "webhooks",
            "events",
            "jobs/compare",
        ):
            yield Asked("GET", f"/v1/{path}?{query}")


PATHS = [
    "/v1/jobs/..%2f..%2fetc", "/v1/jobs/%2e%2e/x", "/v1//jobs", "//v1/jobs", "/v1/jobs/", "/v1/jobs/{{{job_id}}}", "/v1/jobs/urn:uuid:{job_id}",
    "/v1/jobs/{job_id}%00", "/v1/jobs/{job_id}/files/..%2f..%2fx", "/v1/jobs/{job_id}/files/..", "/v1/jobs/{job_id}/files/%2e%2e%2f{name}",
    "/v1/jobs/{job_id}/files/%00", "/v1/jobs/{job_id}/files/%ff", "/v1/jobs/{job_id}/files/" + "a" * 9000, "/v1/downloads/%00", "/v1/downloads/%ff",
    "/v1/downloads/" + "A" * 9000, "/v1/downloads/..%2f", "/v1/kinds/..%2f", "/v1/kinds/%00", "/v1/kinds/deal-picker/template.csv%00",
    "/docs/../v1/me", "/docs/%2e%2e/v1/me", "/docs/redoc.min.js%00", "/docs/..%2fpage.html", "*", "", "/%", "/%zz", "/%E0%80%AF",
    "/v1/subjects/user/%00", "/v1/subjects/%00/x", "/v1/subjects/user/" + "a" * 9000, "/v1/subjects/user/%25", "/v1/subjects/user/%E2%80%AE",
    "/v1/downloads/exports/%00", "/v1/exports/{job_id}%00", "/v1/webhooks/deliveries/%00/redeliver", "/v1/webhooks/deliveries/{job_id}",
]  # fmt: skip


def methods() -> Iterator[Asked]:
    for path in PATHS:
        for method in ("GET", "OPTIONS", "TRACE", "DELETE", "PUT", "CONNECT", "FOO", "get", "PATCH", "POST"):
            yield Asked(method, path)


def headers() -> Iterator[Asked]:
    for wait in (
        "wait",
        "wait=",
        "wait=-1",
        "wait=0",
        'wait="0"',
        ",,,wait=0",
        "respond-async, wait=0",
        "wait=\xb2",
        "wait=0x1",
        "wait " * 10_000,
    ):
        yield Asked("POST", "/v1/jobs/{job_id}/why-not", [JSON, ("prefer", wait)], b'{"force":{"deal_id":"nope"}}')
        yield Asked("POST", SUBMIT, [JSON, ("prefer", wait)], GOOD)
    for key in ("", "a" * 256, "\xff", "a b", "a\x00", "a\t", "a\x7f"):
        yield Asked("POST", SUBMIT, [JSON, ("idempotency-key", key)], GOOD)
    for tag in ("*", '""', "W/*", ",,,", "\xff", '"' * 9000):
        yield Asked("GET", "/v1/jobs/{job_id}", [("if-none-match", tag)])
    for coding in ("gzip", " GZIP ", "gzip, zstd", "deflate", "br", "zstd", "identity", "", "x-gzip", "\xff"):
        yield Asked("POST", SUBMIT, [JSON, ("content-encoding", coding)], GOOD)
    for length in ("-1", "1e9", "9" * 18, "\xb2", "5,5", ""):
        yield Asked("POST", SUBMIT, [JSON, ("content-length", length)], GOOD)
    for name in (
        "range",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-request-id",
        "accept",
        "origin",
        "cookie",
        "expect",
        "upgrade",
        "te",
        "via",
    ):
        for value in (
            "",
            "\xff" * 300,
            "a" * 9000,
            "bytes=0-0,5-",
            "<script>",
            "../../x",
            "text/event-stream, text/csv",
        ):
            yield Asked("GET", "/v1/jobs/{job_id}/files", [(name, value)])


def identities() -> Iterator[Asked]:
    odd = [
        "Bearer", "Bearer ", "Basic eDp5", "Bearer mlp_", "Bearer mlp_0_0", "Bearer mlp_ffffffffffff_" + "0" * 64, "Bearer " + "a." * 3000, "Bearer a.b.c",
        "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer eyJhbGciOlsxXX0.e30.AA", "bearer  x", "Bearer \xff", "Bearer mlp_" + "0" * 8000 + "_0", "Bearer x" * 9000,
        "Bearer eyJraWQiOiIuLi8uLi9ldGMvcGFzc3dkIiwiYWxnIjoiUlMyNTYifQ.e30.AA", "Bearer " + "." * 8000, "Bearer W10.W10.W10", "Bearer MQ.MQ.MQ",
    ]  # fmt: skip
    return (Asked("GET", "/v1/me", [("authorization", one)]) for one in odd)


@pytest.fixture
async def things(http: httpx.AsyncClient, driver: JobDriver) -> dict[str, str]:
    return await make_things(http, driver)


async def ask_all(wire: Wire, things: dict[str, str], asked: Iterable[Asked], key: str | None) -> set[int]:
    statuses = set()
    known = [("authorization", f"Bearer {key}")] if key else []
    for one in asked:
        url = one.url.format_map(things)
        answer = await wire.ask(one.method, url, [*known, *one.headers], one.body)
        holds_for_all(answer, sent=url.encode() + one.body + repr(one.headers).encode())
        statuses.add(answer.status_code)
    return statuses


@pytest.mark.parametrize("group", [content_types, parts, numbers, times, persons, queries, methods, headers])
async def test_odd_requests_are_answered_as_all_others(
    wire: Wire, key: str, things: dict[str, str], group: Callable[[], Iterable[Asked]]
) -> None:
    assert await ask_all(wire, things, group(), key) & {400, 404, 415, 422}


async def test_odd_keys_and_tokens_are_nobodys(wire: Wire, things: dict[str, str]) -> None:
    assert await ask_all(wire, things, identities(), key=None) == {401}


GOOD_HOSTS = ["evil.test", "evil.test:99", "[2001:db8::7]:8080"]
UNCLEAR_HOSTS = ["me@evil.test", "evil.test,b", "", "[::1", "evil.test:123456", "a" * 9000, "a;b", "a'b", "%0d%0a"]
BAD_HOSTS = [
    'evil.test>; rel="next", <x',
    "evil.test/..",
    "\xff",
    "evil.test\\b",
    "evil test",
    '"',
    "<script>",
    "a\x00",
]


@pytest.mark.parametrize("host", GOOD_HOSTS + UNCLEAR_HOSTS)
async def test_links_start_with_the_host_that_was_asked_or_with_none(
    wire: Wire, key: str, things: dict[str, str], host: str
) -> None:
    known = ("authorization", f"Bearer {key}")
    base = f"http://{host}" if host in GOOD_HOSTS else ""
    page = await wire.ask("GET", "/v1/jobs?limit=1", [known, ("host", host), ("x-forwarded-host", "forged.test")])
    assert page.headers["link"].startswith(f"<{base}/v1/jobs?limit=1&cursor=")
    assert page.headers["link"].endswith('>; rel="next"')
    assert page.json()["items"][0]["links"]["self"].startswith(f"{base}/v1/jobs/")
    file = await wire.ask("GET", "/v1/jobs/{job_id}/files/{name}".format_map(things), [known, ("host", host)])
    assert file.headers["location"].startswith(f"{base}/v1/downloads/")


@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_a_host_that_is_none_is_refused(wire: Wire, key: str, host: str) -> None:
    answer = await wire.ask("POST", SUBMIT, [("authorization", f"Bearer {key}"), JSON, ("host", host)], GOOD)
    assert answer.status_code == 400
    holds_for_all(answer)


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method", "_method"])
async def test_a_method_is_what_the_request_line_says(wire: Wire, key: str, things: dict[str, str], name: str) -> None:
    path = f"/v1/jobs/{things['job_id']}"
    asked = [("authorization", f"Bearer {key}"), (name, "DELETE")]
    assert (await wire.ask("GET", f"{path}?_method=DELETE", asked)).status_code == 422
    assert (await wire.ask("GET", path, asked)).status_code == 200
    assert (await wire.ask("POST", path, asked)).status_code == 405
    assert (await wire.ask("GET", path, asked)).status_code == 200


@pytest.mark.parametrize("given", ["a" * 129, "short", "with space", "line\nend", "<script>", "\xff" * 9, "a;b=c1234"])
async def test_a_request_id_that_is_not_safe_to_repeat_is_not_repeated(wire: Wire, given: str) -> None:
    answer = await wire.ask("GET", "/v1/me", [("x-request-id", given)])
    assert answer.headers["x-request-id"] != given
    assert given not in answer.text
    holds_for_all(answer)
