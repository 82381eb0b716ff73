"""Every knob, with its unit and default. Read once from `MILPA_*` environment variables, then frozen."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import msgspec
from msgspec import UNSET, UnsetType

from milpa.errors import UsageError


class Secret:
    """A text that shows itself by `reveal()` alone: no string, so that no format, join or encoder lets it out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value


Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Size = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Span = Annotated[float, msgspec.Meta(gt=0)]
"""A time of which there must be some, in the unit that the name ends with."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. `MILPA_DATABASE_URL` sets `database_url`, and so on; unknown `MILPA_*` names are refused.

    What is secret may stand in a file instead: `MILPA_DATABASE_URL_FILE=/run/secrets/database_url`.
    """

    # Where things are
    data_dir: str = ".milpa"
    database_url: Secret = Secret("")
    """Application login, e.g. postgresql://milpa_app@host/milpa. It must not be able to bypass row-level security."""
    database_owner_url: Secret = Secret("")
    """Owner login, used by `milpa migrate` only; the application login when left out."""
    redis_url: Secret = Secret("")
    object_store_url: str = ""
    """file:///path, s3://bucket/prefix, gs://…, az://… or memory:///; default: a folder under data_dir."""
    object_store_options: dict[str, Secret] = {}
    """obstore options such as endpoint, region, access_key_id (as JSON)."""

    # Secrets
    seal_keys: Secret = Secret("")
    """Key ring for payloads at rest: `id:base64key,id:base64key`; the first seals, all open. Keys are 32 bytes."""
    seal_keys_file: str = ""
    """A file with such a key ring instead, one key a line; read again when it changes, so that keys rotate at once."""
    signing_key: Secret = Secret("")
    """Signs cursors and links, and keys the hashes of API keys, idempotency keys, problems and persons (at least 32
    characters). Under another one no link, no cursor and no API key of before is good."""

    # Who may ask, beside the holders of API keys
    jwt_secret: Secret = Secret("")
    """Checks tokens signed by HS256 (at least 32 bytes)."""
    jwt_jwks_url: str = ""
    """Address of the keys that check tokens signed by RS256 or ES256; https, except on this machine."""
    jwt_issuer: str = ""
    """The `iss` that tokens must have; any, when left out."""
    jwt_audience: str = ""
    """The `aud` that tokens must have; none, when left out."""
    jwt_leeway_seconds: float = 30.0
    """How far the issuer's clock may be off."""

    # The API
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    """Address that links start with; left out, what the request's `Host` says. To be set wherever strangers may ask."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks (10.0.0.0/8) whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    max_body_bytes: Size = 32_000_000
    max_upload_bytes: Size = 10_000_000
    max_bytes_in_flight: Size = 512_000_000
    """Bodies that one process holds at once, unpacked; the next large ones are answered 503."""
    max_json_depth: Size = 64
    max_number_length: Size = 400
    """Characters of one number in JSON; the longest that a float can be written with in full has some 330."""
    cors_origins: tuple[str, ...] = ()
    """Origins (https://app.example) whose pages may ask; none: only pages of our own."""
    hsts_seconds: int = 31_536_000
    """How long a browser that came by TLS is to come by TLS only; 0 leaves it to the proxy."""
    metrics: bool = True
    link_seconds: Size = 900
    idempotency_hours: Span = 24.0
    max_streams: Size = 4000
    """Event streams of one process."""
    max_connections: Size = 8000
    """Connections of one process; the next ones are answered 503."""
    max_head_bytes: Size = 32_768
    """Request line and headers together."""
    head_seconds: Span = 10.0
    """From a connection's beginning, or a request's first byte, until its headers are there."""
    body_seconds: Span = 30.0
    """For a body to arrive, and as much longer as it takes at `body_bytes_per_second`."""
    body_bytes_per_second: Size = 10_000
    request_seconds: Span = 120.0
    """From a request's body until its answer begins; well above what `Prefer: wait` and a table may take, 30 each."""
    keep_alive_seconds: int = 5
    """How long an idle connection is kept."""
    stalled_seconds: Span = 60.0
    """A client that takes nothing of its answer for so long is cut off."""
    database_pool: Size = 10
    """Connections of one process to PostgreSQL."""

    # Limits (0: none). A tenant may have its own, see `TenantLimits`
    jobs_per_hour: int = 10
    """Jobs that one user may make in any hour; a batch of N counts N."""
    tenant_jobs_per_hour: int = 0
    downloads_per_day: int = 100
    """Links to files that one user may ask for in any 24 hours."""
    tenant_downloads_per_day: int = 0
    streams_per_user: int = 20
    """Event streams open at once, over all API processes."""
    streams_per_tenant: int = 500
    max_open_jobs: int = 10_000
    """Jobs of one tenant that have not ended."""

    # Workers
    interactive_slots: int = 2
    batch_slots: int = 1
    solve_threads: Size = 2
    default_time_limit_seconds: Span = 30.0
    max_time_limit_seconds: Span = 3600.0
    stop_grace_seconds: float = 1.5
    """From the cooperative stop to SIGKILL."""
    render_seconds: Span = 300.0
    """Wall time for what comes after a solve (explaining, verifying, rendering) before its process is killed."""
    child_memory_bytes: Size = 4_000_000_000
    """Resident memory at which a solver process is ended with `memory_limit`."""
    child_max_jobs: Size = 200
    lease_seconds: Span = 30.0
    heartbeat_seconds: Span = 5.0
    sweep_seconds: Span = 5.0
    max_errors: Size = 3
    """Transient failures before a job fails for good."""
    max_crashes: Size = 3
    """Crashes (lost leases, dead children) before a job is poison."""
    retention_days: float = 30.0
    """How long payloads, files and the log of webhooks are kept after their end; a job's row stays with its figures."""
    audit_retention_days: float = 365.0
    """How long rows of the audit are kept; at least one day. `milpa migrate` tells it to the database."""
    export_days: float = 7.0
    """How long an export can be fetched."""

    # Webhooks
    webhook_retry_seconds: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    """Pauses after failed attempts at a delivery. The first attempt is made at once; after the last it is given up."""
    webhook_jitter: float = 0.2
    """Pauses are longer by up to this share, at random, so that what failed together does not come back together."""
    webhook_timeout_seconds: Span = 15.0
    webhook_failing_days: Span = 5.0
    """An endpoint that has only failed for so long is disabled."""
    webhook_rotation_hours: float = 24.0
    """How long an old secret signs beside the new one."""
    webhook_slots: int = 200
    """Deliveries under way at once in one worker process. One tenant may have half as many in the whole fleet."""
    webhook_slots_each: Size = 4
    """Of them, how many to one address."""
    webhook_ports: tuple[int, ...] = (80, 443, 8080, 8443)
    """Ports that webhooks may go to; none: any."""
    webhook_private_targets: bool = False
    """Whether webhooks may go to this machine and its private networks."""

    # Logs
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **overrides: Any) -> "Settings":
        """Read `MILPA_*` from the environment; keyword arguments win. UsageError names the first bad variable."""
        return cls(**{**_read(cls, environ), **overrides})

    def with_limits(self, limits: "TenantLimits") -> "Settings":
        """Return the settings as they are for a tenant with these limits."""
        own = {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not UNSET}
        return msgspec.structs.replace(self, **own) if own else self


class TenantLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings that one tenant has otherwise; what is unset is as for all."""

    jobs_per_hour: Count | UnsetType = UNSET
    tenant_jobs_per_hour: Count | UnsetType = UNSET
    downloads_per_day: Count | UnsetType = UNSET
    tenant_downloads_per_day: Count | UnsetType = UNSET
    streams_per_user: Count | UnsetType = UNSET
    streams_per_tenant: Count | UnsetType = UNSET
    max_open_jobs: Count | UnsetType = UNSET
    max_body_bytes: Size | UnsetType = UNSET
    max_upload_bytes: Size | UnsetType = UNSET
    max_json_depth: Size | UnsetType = UNSET
    max_number_length: Size | UnsetType = UNSET
    max_time_limit_seconds: Size | UnsetType = UNSET


NO_LIMITS: Mapping[str, int] = {
    "jobs_per_hour": 0,
    "tenant_jobs_per_hour": 0,
    "downloads_per_day": 0,
    "tenant_downloads_per_day": 0,
    "streams_per_user": 0,
    "streams_per_tenant": 0,
    "max_open_jobs": 0,
}
"""For those who share their machine with nobody."""


def _read(cls: type[Settings], environ: Mapping[str, str]) -> dict[str, Any]:
    fields = {f"MILPA_{field.name.upper()}": field for field in msgspec.structs.fields(cls)}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith("MILPA_") or name in _NOT_SETTINGS:
            continue
        secret = fields.get(name.removesuffix(_FILE))
        in_file = name not in fields and secret is not None and secret.type in _SECRETS
        field = secret if in_file else fields.get(name)
        if field is None:
            raise UsageError(
                "unknown_setting", f"{name} is not a setting of Milpa; see milpa/settings.py for all of them."
            )
        if field.name in values:
            raise UsageError("bad_setting", f"Either {name} is set or the same without {_FILE}, not both.")
        values[field.name] = _convert(name, _content(name, text) if in_file else text, field.type)
    return values


def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("bad_setting", f"{name}: {path} can't be read ({type(error).__name__}).") from None


_FILE = "_FILE"
_SECRETS = (Secret, dict[str, Secret])


_NOT_SETTINGS = frozenset(
    {"MILPA_URL", "MILPA_API_KEY", "MILPA_BENCHMARK_DATA", "MILPA_FAULT_FORM", "MILPA_FAULT_SEED"}
)
"""Variables of the client, the command line, the benchmarks and the fault suite, which share the prefix."""


def _convert(name: str, text: str, type_: Any) -> Any:
    if type_ is Secret:
        return Secret(text)
    if type_ is str:
        return text
    try:
        if get_origin(type_) is tuple:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            return tuple(map(_sensible, msgspec.convert(parts, type_, strict=False)))
        if type_ == dict[str, Secret]:
            return {name: Secret(value) for name, value in msgspec.json.decode(text, type=dict[str, str]).items()}
        return _sensible(msgspec.convert(text.strip().lower(), type_, strict=False))
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UsageError("bad_setting", f"{name}: {error}") from None


def _sensible(value: Any) -> Any:
    if isinstance(value, int | float) and not 0 <= value < math.inf:
        raise msgspec.ValidationError("Expected a number of at least 0")
    return value
