"""The only door to the database: a transaction is bound to one tenant, or is the fleet's. Commit, then tell."""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from uuid import UUID

import asyncpg
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.asyncio import Redis
from sqlalchemy import TextClause, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from milpa.errors import FatalError, UsageError
from milpa.settings import Settings
from storage.api_keys import ApiKeyStore
from storage.audit import AuditLog, FleetAudit
from storage.audit_rows import Trail
from storage.batches import BatchStore
from storage.deliveries import DeliveryStore, DueDeliveries
from storage.events import EventLog
from storage.everything import Everything
from storage.exports import DueExports, ExportStore
from storage.files import FileStore
from storage.fleet import FleetStore
from storage.jobs import JobStore
from storage.outage import login_told_apart, told_apart
from storage.resealing import Resealing
from storage.rows import Ring, Subject
from storage.schedules import DueSchedules, ScheduleStore
from storage.seal import Seal
from storage.session import Outbox, Row, Session, digest
from storage.signals import ADMIT, CONTROL, DELIVER, EVENTS, Signals
from storage.subjects import SubjectStore
from storage.tenants import TenantStore
from storage.webhooks import WebhookStore
from storage.workers import WorkerStore

_BEGIN_FLEET = "BEGIN; SET LOCAL ROLE milpa_fleet"
_LOGIN = text(
    "SELECT current_user AS name, rolsuper OR rolbypassrls AS bypasses, to_regclass('jobs') IS NOT NULL AS migrated,"
    " EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('jobs') AND relowner = pg_roles.oid) AS owns"
    " FROM pg_roles WHERE rolname = current_user"
)
_PATIENTLY = text("SELECT set_config('transaction_timeout', '0', true)")
_PING = text("SELECT 1")

_COMMAND_SECONDS = 60.0
_CONNECT_SECONDS = 5.0
_POOL_WAIT_SECONDS = 10.0
_RENEWED_SECONDS = 1800.0
"""A connection older than this is replaced: what its server process has put by, plans above all, goes with it."""
_LOOKUP_POOL = 2
_SIGNING_KEY_LENGTH = 32
_SERVER_SETTINGS = {
    "application_name": "milpa",
    "jit": "off",  # compiling costs more than these statements
}


class Transaction:
    """What one tenant's transaction offers."""

    def __init__(self, session: Session, tenant: UUID) -> None:
        self.tenant = tenant
        self.connection = session.connection
        self.jobs = JobStore(session, tenant)
        self.events = EventLog(session)
        self.files = FileStore(session, tenant)
        self.batches = BatchStore(session)
        self.webhooks = WebhookStore(session, tenant)
        self.deliveries = DeliveryStore(session, tenant)
        self.schedules = ScheduleStore(session, tenant)
        self.audit = AuditLog(session, tenant)
        self.api_keys = ApiKeyStore(session, tenant)
        self.resealing = Resealing(session, tenant)
        self.subjects = SubjectStore(session, tenant)
        self.exports = ExportStore(session, tenant)
        self.everything = Everything(session)


class FleetTransaction:
    """What the house itself may do across tenants; it reads no payload."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.connection = session.connection
        self.jobs = FleetStore(session)
        self.tenants = TenantStore(session)
        self.workers = WorkerStore(session)
        self.deliveries = DueDeliveries(session)
        self.schedules = DueSchedules(session)
        self.audit = FleetAudit(session)
        self.exports = DueExports(session)

    async def read_at_length(self, statement: TextClause, seconds: float, /, **values: Any) -> Row:
        """Return the one row of a statement that only reads, and may take so long: longer than a lease or any other."""
        await self._session.run(_PATIENTLY)
        self._session.patience = seconds
        return await self._session.one(statement, **values)


class Database:
    """A pool of connections under an application login that row-level security binds."""

    def __init__(self, settings: Settings, signals: Signals | None) -> None:
        self.settings = settings
        self.signals = signals
        self._doubted_at = 0.0
        self._engine = _engine(settings, settings.database_pool)
        event.listen(self._engine.sync_engine, "checkout", self._replace_unfit)
        lookups = _engine(settings, _LOOKUP_POOL, {"role": "milpa_fleet"})
        event.listen(lookups.sync_engine, "checkout", self._replace_unfit)
        self._lookups = lookups
        self._seal = Seal.from_settings(settings)
        self._hash_key = _derive(settings.signing_key.reveal(), b"milpa input hash")
        self._waiting: Callable[[], None] | None = None
        self._rung: Callable[[Sequence[Ring]], None] | None = None
        self._deliveries: Callable[[], None] | None = None

    @classmethod
    async def connect(cls, settings: Settings, redis: Redis | None = None) -> Self:
        """Open the pool and check the login.

        FatalError: a login that can bypass row-level security, or a database that was not migrated.
        UsageError: no database or no seal key is set, PostgreSQL refuses the login, the signing key can be guessed.
        TransientError: PostgreSQL is away.
        """
        address = settings.database_url.reveal()
        if not address.startswith(("postgresql://", "postgres://")):
            said = "is no address of a PostgreSQL" if address else "is not set"
            raise UsageError(
                "bad_setting", f"MILPA_DATABASE_URL {said}; it looks like postgresql://milpa_app@host/milpa"
            )
        if len(settings.signing_key.reveal()) < _SIGNING_KEY_LENGTH:
            raise UsageError(
                "bad_setting",
                f"MILPA_SIGNING_KEY has less than {_SIGNING_KEY_LENGTH} characters; try: openssl rand -base64 48",
            )
        database = cls(settings, Signals(redis) if redis is not None else None)
        try:
            with told_apart(OSError), login_told_apart():
                await database._check_login()
        except BaseException:
            await database.close()
            raise
        return database

    async def _check_login(self) -> None:
        async with self._engine.connect() as connection:
            login = (await connection.execute(_LOGIN)).mappings().one()
        if login["bypasses"] or login["owns"]:
            raise FatalError(
                "login_bypasses_security",
                f"The database login {login['name']!r} can bypass row-level security. Put the role milpa_app (made by "
                "`milpa migrate`) into MILPA_DATABASE_URL, and the owner into MILPA_DATABASE_OWNER_URL.",
            )
        if not login["migrated"]:
            raise FatalError("database_not_migrated", "The database has no tables of Milpa; run `milpa migrate`.")

    @asynccontextmanager
    async def transaction(self, tenant: UUID, trail: Trail | None = None) -> AsyncIterator[Transaction]:
        """Open a transaction that sees and writes the tenant's rows only; commits at exit, then tells.

        trail: the request that it is for; it is kept in the audit with the first transaction that writes.
        TransientError (`database_unavailable`): PostgreSQL is away; whether a commit in flight was kept is unknown.
        """
        async with self._session(_begin(tenant)) as session:
            session.trail = trail
            session.rings = self._rung is not None
            transaction = Transaction(session, tenant)
            yield transaction
            if trail is not None and not trail.kept and not session.audited:
                session.audited = await transaction.audit.keep_if_written(trail)
        if trail is not None:
            trail.kept |= session.audited

    @asynccontextmanager
    async def fleet(self) -> AsyncIterator[FleetTransaction]:
        """Open a transaction over the job core of all tenants, for admission, rescue, upkeep and key lookup."""
        async with self._session(_BEGIN_FLEET) as session:
            yield FleetTransaction(session)

    @asynccontextmanager
    async def lookups(self) -> AsyncIterator[TenantStore]:
        """Look up keys and tenants, each statement on its own: each request does, and a transaction would cost twice.

        TransientError (`database_unavailable`): PostgreSQL is away.
        """
        async with AsyncExitStack() as stack:
            with told_apart(OSError):
                connection = await stack.enter_async_context(self._lookups.connect())
            with told_apart():
                yield TenantStore(Session(connection, self.settings, self._seal, self._hash_key))

    @asynccontextmanager
    async def _session(self, begin: str) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            with told_apart(OSError):
                connection = await stack.enter_async_context(self._engine.connect())
            session = Session(connection, self.settings, self._seal, self._hash_key)
            try:
                with told_apart(OSError):
                    await session.driver.execute(begin)
                with told_apart():
                    yield session
                with told_apart(OSError):
                    _kept(await session.driver.execute("COMMIT"))
            except BaseException as error:
                await session.undo(error)
                raise
        self._tell(session.outbox)

    def on_waiting(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit that leaves a job to admit, instead of asking another process by signal."""
        self._waiting = wake

    def on_rung(self, ring: Callable[[Sequence[Ring]], None]) -> None:
        """Call `ring` after each commit that has rung for a job by itself; where nobody does, none will."""
        self._rung = ring

    def on_deliveries(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each commit that may leave webhooks to deliver, instead of asking by signal."""
        self._deliveries = wake

    def _tell(self, outbox: Outbox) -> None:
        if outbox.rings and self._rung is not None:
            self._rung(outbox.rings)
        if self.signals is not None:
            for (tenant_id, job_id), seq in outbox.events.items():
                closed = int((tenant_id, job_id) in outbox.closed)
                self.signals.publish(EVENTS, f"{tenant_id}:{job_id}:{seq}:{closed}")
            for job_id in outbox.controls:
                self.signals.publish(CONTROL, str(job_id))
            if outbox.waiting and self._waiting is None:
                self.signals.publish(ADMIT, "")
            if outbox.deliveries and self._deliveries is None:
                self.signals.publish(DELIVER, "")
        if outbox.waiting and self._waiting is not None:
            self._waiting()
        if outbox.deliveries and self._deliveries is not None:
            self._deliveries()

    def doubt_connections(self) -> None:
        """Have every connection that is open now replaced before it is used again: one of them has fallen silent."""
        self._doubted_at = time.monotonic()

    def _replace_unfit(self, connection: Any, record: Any, _proxy: Any) -> None:
        """Have the pool open anew what is doubted, what the server has closed, or is in somebody's transaction still.

        It costs no round trip to know. `Session.undo` leaves no transaction behind; this is the second wall.
        """
        driver = connection.driver_connection
        if record.info["opened_at"] <= self._doubted_at:
            driver.terminate()  # the pool would say good-bye, and wait for an answer
        if driver.is_closed() or driver.is_in_transaction():
            raise DisconnectionError

    def pseudonym(self, subject: Subject) -> str:
        """Return what a person is called where the id must not stand: always the same, and nobody's without our key."""
        return digest("subject", self._hash_key, subject.kind.encode(), b"\0", subject.id.encode()).hex()[:32]

    async def ping(self) -> None:
        """Ask PostgreSQL for a sign of life. TransientError: none."""
        with told_apart(OSError):
            async with self._engine.connect() as connection:
                await connection.execute(_PING)

    async def close(self) -> None:
        """Send the signals that wait and close every connection."""
        if self.signals is not None:
            await self.signals.close()
        await self._engine.dispose()
        await self._lookups.dispose()


def _engine(settings: Settings, pool: int, server_settings: Mapping[str, str] | None = None) -> AsyncEngine:
    # A process that stalls inside a transaction must not hold its locks for longer than it may hold a job. A limit on
    # idle sessions is not enough: one whose process stalls between preparing a statement and running it is no idle one.
    stalled = str(round(settings.lease_seconds * 1000))

    async def connect(*_args: Any, **_kwargs: Any) -> asyncpg.Connection:
        return await asyncpg.connect(
            settings.database_url.reveal(),
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings={
                **_SERVER_SETTINGS,
                "transaction_timeout": stalled,
                **(server_settings or {}),
            },
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=pool,
        max_overflow=0,
        pool_timeout=_POOL_WAIT_SECONDS,
        pool_recycle=_RENEWED_SECONDS,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",  # transactions are begun and ended by us, at half the price
        hide_parameters=True,  # errors are logged, and the caller's data is not
    )
    event.listen(engine.sync_engine, "connect", _note_age)
    return engine


def _begin(tenant: UUID) -> str:
    """Return what begins a transaction and binds it in one round trip, which is why the id stands in the text."""
    return f"BEGIN; SELECT set_config('milpa.tenant', '{UUID(int=tenant.int)}', true)"  # whatever it was, digits now


def _kept(answer: str) -> None:
    """Refuse any other answer to COMMIT: by it alone PostgreSQL tells that an error was swallowed on the way."""
    if answer != "COMMIT":
        raise FatalError("transaction_aborted", "A transaction went on after an error; nothing was kept.")


def _note_age(_connection: Any, record: Any) -> None:
    record.info["opened_at"] = time.monotonic()


def _derive(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())
