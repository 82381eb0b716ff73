"""Delivering webhooks: take what is due, sign, post, write down what became of it, back off."""

import asyncio
import contextlib
import random
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial

import httpcore
import httpx
import structlog

from milpa.ending import end
from milpa.errors import TransientError
from milpa.repeating import patiently
from milpa.settings import Settings
from milpa.web_addresses import port_of, wrong_with
from storage.signals import DELIVER
from storage.transaction import Database
from storage.webhook_rows import Attempted, DeliveryRef, Parcel
from workers.safe_address import Lookup, RefusedAddressError, SafeBackend, SystemLookup
from workers.waiting import is_set_within
from workers.webhook_message import body_of, headers_of

POLL_SECONDS = 1.0
"""How often it is asked what is due when nobody says so."""

_REST_SECONDS = 0.05
"""The pause between two questions of what is due: jobs that end in quick succession ask once."""

_WRITERS = 3
"""Database connections that deliveries use at once, beside the one that asks what is due: jobs need the others."""

LONGEST_PAUSE_SECONDS = 86_400.0
"""What a Retry-After may ask for at most."""

_KEPT_BYTES = 1000
"""How much of an answer's body is read and kept."""

_OUR_MISTAKE = "Milpa made a mistake."

_OK, _REDIRECT, _GONE = 200, 300, 410

log = structlog.get_logger(__name__)


@dataclass
class Answer:
    """What has come back so far; status None: nothing."""

    status: int | None = None
    retry_after: str = ""
    body: bytearray = field(default_factory=bytearray)


class Sender:
    """Posts one parcel: no redirect is followed, no proxy asked, no connection kept."""

    def __init__(self, settings: Settings, lookup: Lookup) -> None:
        self._settings = settings
        self._backend = SafeBackend(lookup, private_targets=settings.webhook_private_targets)
        self._tls = httpcore.default_ssl_context()
        self._tls.load_default_certs(ssl.Purpose.SERVER_AUTH)

    async def send(self, parcel: Parcel) -> Attempted:
        """Post the parcel and judge the answer. TransientError: we were too busy to look up where it goes."""
        answer, started = Answer(), time.monotonic()
        error = await self._post(parcel, answer)
        delivered = answer.status is not None and _OK <= answer.status < _REDIRECT
        gone = answer.status == _GONE
        return Attempted(
            delivered=delivered,
            seconds=time.monotonic() - started,
            status=answer.status,
            error=error if answer.status is None else None,
            response=answer.body.decode(errors="replace").replace("\0", "\ufffd") or None,
            retry_seconds=None
            if delivered or gone
            else self._pause(parcel.ref, wait_of(answer.retry_after, parcel.now)),
            gone=gone,
        )

    def broken(self, ref: DeliveryRef) -> Attempted:
        """Return what to write down of an attempt that a mistake of ours has ended: it is tried again as any other."""
        return Attempted(delivered=False, seconds=0.0, error=_OUR_MISTAKE, retry_seconds=self._pause(ref), ours=True)

    async def _post(self, parcel: Parcel, answer: Answer) -> str | None:
        """Fill in the answer; what breaks after its status came changes nothing. Returns what broke."""
        settings = self._settings
        wrong = wrong_with(parcel.url, settings.webhook_ports, private_targets=settings.webhook_private_targets)
        if wrong is not None:
            return wrong
        try:
            async with asyncio.timeout(settings.webhook_timeout_seconds):
                await self._exchange(parcel, answer)
        except TimeoutError:
            return f"No answer within {settings.webhook_timeout_seconds:g} seconds."
        except RefusedAddressError:
            return "The address leads to a private network."
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return f"{type(error).__name__}: {error}"[:_KEPT_BYTES]
        return None

    async def _exchange(self, parcel: Parcel, answer: Answer) -> None:
        url = httpx.URL(parcel.url)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)
        body = body_of(parcel, self._settings.public_url)
        pool = httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=self._backend)
        headers = [("host", url.netloc.decode("ascii")), *headers_of(parcel, body).items()]
        async with pool, pool.stream("POST", target, headers=headers, content=body) as response:
            given = {name.lower(): value for name, value in response.headers}
            answer.retry_after = given.get(b"retry-after", b"").decode("latin-1")
            answer.status = response.status
            async for chunk in response.aiter_stream():
                answer.body += chunk[: _KEPT_BYTES - len(answer.body)]
                if len(answer.body) >= _KEPT_BYTES:
                    return

    def _pause(self, ref: DeliveryRef, at_least: float = 0.0) -> float | None:
        pauses = self._settings.webhook_retry_seconds
        if ref.failures >= len(pauses):
            return None
        pause = pauses[ref.failures] * random.uniform(1, 1 + self._settings.webhook_jitter)  # noqa: S311  no secret
        return max(pause, at_least)


def wait_of(retry_after: str, now: datetime) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or as a date, and a day at most.

    0: it says nothing that can be understood.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_PAUSE_SECONDS)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for a year or a zone that no clock has
        return 0.0
    seconds = (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()
    return min(max(0.0, seconds), LONGEST_PAUSE_SECONDS)


class Deliverer:
    """Delivers what is due, many at once, from whatever process it runs in; a delivery left behind is due again."""

    def __init__(self, settings: Settings, database: Database, lookup: Lookup | None = None) -> None:
        self._settings = settings
        self._database = database
        self._sender = Sender(settings, lookup or SystemLookup(max(1, settings.webhook_slots)))
        self._due = asyncio.Event()
        self._under_way: dict[DeliveryRef, asyncio.Task[None]] = {}
        self._writers = asyncio.Semaphore(_WRITERS)

    async def run(self) -> None:
        """Deliver for ever. Cancelled, it gives back what is under way: that may arrive a second time."""
        self._database.on_deliveries(self.wake)
        if self._database.signals is not None:
            await self._database.signals.listen(DELIVER, lambda _: self.wake())
        try:
            while True:
                await self._take()
                await asyncio.sleep(_REST_SECONDS)
                await is_set_within(self._due, POLL_SECONDS)
                self._due.clear()
        finally:
            await self._give_back()

    def wake(self) -> None:
        """Look soon for what is due."""
        self._due.set()

    async def _take(self) -> None:
        settings = self._settings
        free = settings.webhook_slots - len(self._under_way)
        if free <= 0:
            return
        lease = settings.webhook_timeout_seconds + settings.lease_seconds
        each, share = settings.webhook_slots_each, max(1, settings.webhook_slots // 2)
        try:
            async with self._database.fleet() as fleet:
                taken = await fleet.deliveries.take(free, each=each, share=share, lease_seconds=lease)
        except TransientError as error:
            log.warning("deliveries_unanswered", code=error.code)
            return
        except Exception:
            log.exception("deliveries_broke")
            return
        for ref in taken:
            task = self._under_way[ref] = asyncio.create_task(self._deliver(ref))
            task.add_done_callback(partial(self._done, ref))

    def _done(self, ref: DeliveryRef, _task: asyncio.Task[None]) -> None:
        self._under_way.pop(ref, None)
        self.wake()

    async def _deliver(self, ref: DeliveryRef) -> None:
        try:
            await self._attempt(ref)
        except TransientError as error:  # its lease runs out, and it is due again
            log.warning("delivery_unanswered", delivery=str(ref.delivery_id), code=error.code)
        except Exception:  # whatever it was, the attempt counts: none is made for ever
            log.exception("delivery_broke", delivery=str(ref.delivery_id))
            await patiently(self._record, ref, self._sender.broken(ref))

    async def _attempt(self, ref: DeliveryRef) -> None:
        async with self._writers, self._database.transaction(ref.tenant_id) as tenant:
            parcel = await tenant.deliveries.open(ref)
        if parcel is not None:
            await self._record(ref, await self._sender.send(parcel))

    async def _record(self, ref: DeliveryRef, attempted: Attempted) -> None:
        async with self._writers, self._database.transaction(ref.tenant_id) as tenant:
            await tenant.deliveries.record(ref, attempted)

    async def _give_back(self) -> None:
        held = dict(self._under_way)
        await end(*held.values())
        if held:
            with contextlib.suppress(TransientError):
                async with self._database.fleet() as fleet:
                    await fleet.deliveries.release(list(held))
