"""The two clients: each drives the same calls over its own httpx client."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

from milpa.client import api_keys as keys
from milpa.client import calls, privacy, questions
from milpa.client import schedules as scheduling
from milpa.client import webhooks as hooks
from milpa.client.answers import BatchProgress
from milpa.client.calls import JobRef
from milpa.client.events import SILENCE_SECONDS, BatchFollower, Follower, JobFollower, TenantFollower
from milpa.client.exchange import Answer, Call, LostError, Pause, Request, persistent
from milpa.client.local import find_key, find_url
from milpa.jobs import JobEvent

if TYPE_CHECKING:
    import httpx

P = ParamSpec("P")
T = TypeVar("T")

_HOLD_SECONDS = 45.0
"""Answers may be held this long: waits of 30 s, and room."""
_ERROR_NUMBER = re.compile(r"^\[Errno -?\d+\] ")


def _blocking(call: Callable[P, Call[T]]) -> "Callable[Concatenate[Client, P], T]":
    @wraps(call)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(call(*args, **kwargs))

    return method


def _awaiting(call: Callable[P, Call[T]]) -> "Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]":
    @wraps(call)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(call(*args, **kwargs))

    return method


class Client:
    """Blocking client. Close it, or use it as a context manager.

    url, api_key: else `MILPA_URL` and `MILPA_API_KEY`, else those of the `milpa up` in this folder. timeout: seconds to
    connect. retries: how often a request is sent again after a lost connection, 429 or 503.
    """

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, timeout: float = 10.0, retries: int = 5
    ) -> None:
        import httpx

        self._retries = retries
        self._http = httpx.Client(**_http_settings(url, api_key, timeout))

    submit = _blocking(calls.submit)
    validate = _blocking(calls.validate)
    job = _blocking(calls.job)
    wait = _blocking(calls.wait)
    jobs = _blocking(calls.jobs)
    result = _blocking(calls.result)
    report = _blocking(calls.report)
    problem = _blocking(calls.problem)
    log = _blocking(calls.log)
    stop = _blocking(calls.stop)
    cancel = _blocking(calls.cancel)
    retry = _blocking(calls.retry)
    delete = _blocking(calls.delete)
    files = _blocking(calls.files)
    make_files = _blocking(calls.make_files)
    read_file = _blocking(calls.read_file)
    download = _blocking(calls.download)
    kinds = _blocking(calls.kinds)
    kind = _blocking(calls.kind)
    example = _blocking(calls.example)
    template = _blocking(calls.template)
    submit_batch = _blocking(calls.submit_batch)
    batch = _blocking(calls.batch)
    cancel_batch = _blocking(calls.cancel_batch)
    retry_batch = _blocking(calls.retry_batch)
    what_if = _blocking(questions.what_if)
    why_not = _blocking(questions.why_not)
    compare = _blocking(questions.compare)
    frontier = _blocking(questions.frontier)
    frontier_of = _blocking(questions.frontier_of)
    create_schedule = _blocking(scheduling.create_schedule)
    schedules = _blocking(scheduling.schedules)
    schedule = _blocking(scheduling.schedule)
    change_schedule = _blocking(scheduling.change_schedule)
    delete_schedule = _blocking(scheduling.delete_schedule)
    run_schedule = _blocking(scheduling.run_schedule)
    schedule_runs = _blocking(scheduling.schedule_runs)
    create_api_key = _blocking(keys.create_api_key)
    api_keys = _blocking(keys.api_keys)
    revoke_api_key = _blocking(keys.revoke_api_key)
    create_webhook = _blocking(hooks.create_webhook)
    webhooks = _blocking(hooks.webhooks)
    change_webhook = _blocking(hooks.change_webhook)
    delete_webhook = _blocking(hooks.delete_webhook)
    rotate_secret = _blocking(hooks.rotate_secret)
    ping_webhook = _blocking(hooks.ping_webhook)
    deliveries = _blocking(hooks.deliveries)
    redeliver = _blocking(hooks.redeliver)
    redeliver_range = _blocking(hooks.redeliver_range)
    audit = _blocking(privacy.audit)
    create_export = _blocking(privacy.create_export)
    exports = _blocking(privacy.exports)
    export = _blocking(privacy.export)
    download_export = _blocking(privacy.download_export)
    erase_person = _blocking(privacy.erase_person)

    def events(self, job: JobRef | None = None, *, after: int = 0, kind: str | None = None) -> Iterator[JobEvent]:
        """Yield the job's events after that `seq` as they happen, until it has ended; lost streams are resumed.

        Without a job: the state changes of all jobs (of a kind) from now on, for ever; `data["kind"]` is the job's.
        """
        return self._follow(
            TenantFollower(kind, self._retries) if job is None else JobFollower(job, after, self._retries)
        )

    def batch_events(self, batch_id: UUID | str) -> Iterator[BatchProgress]:
        """Yield a batch's counts by state when they change, until all its jobs have ended; lost streams are resumed."""
        return self._follow(BatchFollower(batch_id, self._retries))

    def _follow(self, follower: Follower[T]) -> Iterator[T]:
        import httpx

        while not follower.ended:
            try:
                with self._http.stream(**_http_stream(follower.request())) as response:
                    if response.is_success:
                        for chunk in response.iter_bytes():
                            yield from follower.feed(chunk)
                    else:
                        follower.refused(_answer(response, response.read()))
            except httpx.TransportError:
                pass  # the pause below counts it
            if not follower.ended:
                time.sleep(follower.pause())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        import httpx

        steps = persistent(call, self._retries)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    response = self._http.request(**_http_request(step))
                except httpx.TransportError as error:
                    step = steps.throw(_lost(error, self._http.base_url))
                else:
                    step = steps.send(_answer(response, response.content))
        except StopIteration as stop:
            value: T = stop.value
            return value


class AsyncClient:
    """Asynchronous client: takes and does what `Client` does. Close it, or use it as a context manager."""

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, timeout: float = 10.0, retries: int = 5
    ) -> None:
        import httpx

        self._retries = retries
        self._http = httpx.AsyncClient(**_http_settings(url, api_key, timeout))

    submit = _awaiting(calls.submit)
    validate = _awaiting(calls.validate)
    job = _awaiting(calls.job)
    wait = _awaiting(calls.wait)
    jobs = _awaiting(calls.jobs)
    result = _awaiting(calls.result)
    report = _awaiting(calls.report)
    problem = _awaiting(calls.problem)
    log = _awaiting(calls.log)
    stop = _awaiting(calls.stop)
    cancel = _awaiting(calls.cancel)
    retry = _awaiting(calls.retry)
    delete = _awaiting(calls.delete)
    files = _awaiting(calls.files)
    make_files = _awaiting(calls.make_files)
    read_file = _awaiting(calls.read_file)
    download = _awaiting(calls.download)
    kinds = _awaiting(calls.kinds)
    kind = _awaiting(calls.kind)
    example = _awaiting(calls.example)
    template = _awaiting(calls.template)
    submit_batch = _awaiting(calls.submit_batch)
    batch = _awaiting(calls.batch)
    cancel_batch = _awaiting(calls.cancel_batch)
    retry_batch = _awaiting(calls.retry_batch)
    what_if = _awaiting(questions.what_if)
    why_not = _awaiting(questions.why_not)
    compare = _awaiting(questions.compare)
    frontier = _awaiting(questions.frontier)
    frontier_of = _awaiting(questions.frontier_of)
    create_schedule = _awaiting(scheduling.create_schedule)
    schedules = _awaiting(scheduling.schedules)
    schedule = _awaiting(scheduling.schedule)
    change_schedule = _awaiting(scheduling.change_schedule)
    delete_schedule = _awaiting(scheduling.delete_schedule)
    run_schedule = _awaiting(scheduling.run_schedule)
    schedule_runs = _awaiting(scheduling.schedule_runs)
    create_api_key = _awaiting(keys.create_api_key)
    api_keys = _awaiting(keys.api_keys)
    revoke_api_key = _awaiting(keys.revoke_api_key)
    create_webhook = _awaiting(hooks.create_webhook)
    webhooks = _awaiting(hooks.webhooks)
    change_webhook = _awaiting(hooks.change_webhook)
    delete_webhook = _awaiting(hooks.delete_webhook)
    rotate_secret = _awaiting(hooks.rotate_secret)
    ping_webhook = _awaiting(hooks.ping_webhook)
    deliveries = _awaiting(hooks.deliveries)
    redeliver = _awaiting(hooks.redeliver)
    redeliver_range = _awaiting(hooks.redeliver_range)
    audit = _awaiting(privacy.audit)
    create_export = _awaiting(privacy.create_export)
    exports = _awaiting(privacy.exports)
    export = _awaiting(privacy.export)
    download_export = _awaiting(privacy.download_export)
    erase_person = _awaiting(privacy.erase_person)

    def events(self, job: JobRef | None = None, *, after: int = 0, kind: str | None = None) -> AsyncIterator[JobEvent]:
        """Yield the job's events after that `seq` as they happen, until it has ended; lost streams are resumed.

        Without a job: the state changes of all jobs (of a kind) from now on, for ever; `data["kind"]` is the job's.
        """
        return self._follow(
            TenantFollower(kind, self._retries) if job is None else JobFollower(job, after, self._retries)
        )

    def batch_events(self, batch_id: UUID | str) -> AsyncIterator[BatchProgress]:
        """Yield a batch's counts by state when they change, until all its jobs have ended; lost streams are resumed."""
        return self._follow(BatchFollower(batch_id, self._retries))

    async def _follow(self, follower: Follower[T]) -> AsyncIterator[T]:
        import httpx

        while not follower.ended:
            try:
                async with self._http.stream(**_http_stream(follower.request())) as response:
                    if response.is_success:
                        async for chunk in response.aiter_bytes():
                            for told in follower.feed(chunk):
                                yield told
                    else:
                        follower.refused(_answer(response, await response.aread()))
            except httpx.TransportError:
                pass  # the pause below counts it
            if not follower.ended:
                await asyncio.sleep(follower.pause())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, call: Call[T]) -> T:
        import httpx

        steps = persistent(call, self._retries)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                    continue
                try:
                    response = await self._http.request(**_http_request(step))
                except httpx.TransportError as error:
                    step = steps.throw(_lost(error, self._http.base_url))
                else:
                    step = steps.send(_answer(response, response.content))
        except StopIteration as stop:
            value: T = stop.value
            return value


def _http_settings(url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    import httpx

    return {
        "base_url": find_url(url),
        "headers": {"Authorization": f"Bearer {find_key(api_key)}", "User-Agent": "milpa-client"},
        "timeout": httpx.Timeout(_HOLD_SECONDS, connect=timeout),
        "follow_redirects": True,
    }


def _http_request(request: Request) -> dict[str, Any]:
    said: dict[str, Any] = {"method": request.method, "url": request.path, "headers": dict(request.headers)}
    if request.query:
        said["params"] = dict(request.query)
    if request.parts is not None:
        said["files"] = dict(request.parts)
    elif request.body is not None:
        said["content"] = request.body
    return said


def _http_stream(request: Request) -> dict[str, Any]:
    return {**_http_request(request), "timeout": SILENCE_SECONDS}


def _answer(response: "httpx.Response", body: bytes) -> Answer:
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def _lost(error: "httpx.TransportError", base_url: "httpx.URL") -> LostError:
    import httpx

    early = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    words = _ERROR_NUMBER.sub("", str(error)) or type(error).__name__
    return LostError(f"{base_url}: {words}", maybe_done=not early)
