"""Settings are read strictly, and what is secret comes from the environment or a file and goes nowhere by itself."""

from pathlib import Path

import msgspec
import pytest

from milpa.errors import UsageError
from milpa.settings import Secret, Settings

HUSH = "Zwetschgenkuchen-77"
SECRETS = sorted(field.name for field in msgspec.structs.fields(Settings) if field.type in (Secret, dict[str, Secret]))


def with_secrets() -> Settings:
    environ = {
        f"MILPA_{name.upper()}": f'{{"key": "{HUSH}"}}' if name == "object_store_options" else HUSH for name in SECRETS
    }
    return Settings.from_env(environ)


def test_what_names_itself_a_secret_is_one() -> None:
    telling = ("secret", "key", "password", "token", "database", "redis", "options")
    named = {field for field in Settings.__struct_fields__ if any(word in field for word in telling)}
    no_secrets = {name for name in named if isinstance(getattr(Settings(), name), int | tuple)}
    assert named - no_secrets <= {*SECRETS, "seal_keys_file"}  # which says where


def test_no_way_of_showing_settings_shows_a_secret() -> None:
    settings = with_secrets()
    shown = [repr(settings), str(settings), f"{settings}", f"{settings!r}", repr(msgspec.structs.asdict(settings))]
    for name in SECRETS:
        value = getattr(settings, name)
        shown += [repr(value), str(value), f"{value}", "%s %r" % (value, value), "{}".format(value)]  # noqa: UP031, UP032
    assert not [text for text in shown if HUSH in text]


@pytest.mark.parametrize("show", [lambda s: f"{s:>20}", lambda s: "a" + s, "".join, msgspec.json.encode])
def test_a_secret_is_no_text(show: object) -> None:
    with pytest.raises(TypeError):
        show([Secret(HUSH)] if show == "".join else Secret(HUSH))  # type: ignore[operator]


def test_secrets_are_equal_by_what_they_hold_and_true_when_there_is_one() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert (bool(Secret("")), bool(Secret("a")), Secret("a").reveal()) == (False, True, "a")


@pytest.mark.parametrize("name", [name for name in SECRETS if name != "seal_keys"])  # it has a setting for its file
def test_every_secret_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text('{"key": "v"}\n' if name == "object_store_options" else f"{HUSH}\n")
    settings = Settings.from_env({f"MILPA_{name.upper()}_FILE": str(file)})
    expected = {"key": Secret("v")} if name == "object_store_options" else Secret(HUSH)
    assert getattr(settings, name) == expected
    with pytest.raises(UsageError, match="not both"):
        Settings.from_env({f"MILPA_{name.upper()}": "{}", f"MILPA_{name.upper()}_FILE": str(file)})


def test_a_file_that_cannot_be_read_is_named_and_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + HUSH.encode())
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary"):
        with pytest.raises(UsageError, match="MILPA_SIGNING_KEY_FILE") as refused:
            Settings.from_env({"MILPA_SIGNING_KEY_FILE": str(path)})
        assert HUSH not in refused.value.message


@pytest.mark.parametrize("name", ["MILPA_HOST_FILE", "MILPA_PORT_FILE", "MILPA_NOTHING", "MILPA_NOTHING_FILE"])
def test_what_is_no_setting_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Settings.from_env({name: "/dev/null"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILPA_LEASE_SECONDS", "nan"),
        ("MILPA_LEASE_SECONDS", "inf"),
        ("MILPA_LEASE_SECONDS", "0"),
        ("MILPA_RETENTION_DAYS", "-1"),
        ("MILPA_BATCH_SLOTS", "-1"),
        ("MILPA_DATABASE_POOL", "0"),
        ("MILPA_BODY_BYTES_PER_SECOND", "0"),
        ("MILPA_WEBHOOK_RETRY_SECONDS", "5,-5"),
        ("MILPA_LOG_FORMAT", "jsno"),
        ("MILPA_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        Settings.from_env({name: value})


def test_milpa_comes_with_what_its_documents_promise() -> None:
    """Figures of README, docs and openapi.json; those of webhooks stand on their page, see test_webhooks_page."""
    ours = Settings()
    assert (ours.max_body_bytes, ours.max_upload_bytes) == (32_000_000, 10_000_000)
    assert (ours.link_seconds, ours.idempotency_hours, ours.export_days) == (15 * 60, 24, 7)
    assert (ours.retention_days, ours.audit_retention_days) == (30, 365)
    assert (ours.lease_seconds, ours.heartbeat_seconds, ours.sweep_seconds) == (30, 5, 5)
    assert (ours.max_errors, ours.max_crashes, ours.child_max_jobs) == (3, 3, 200)
    assert (ours.default_time_limit_seconds, ours.max_time_limit_seconds, ours.stop_grace_seconds) == (30, 3600, 1.5)


def test_a_bad_option_does_not_quote_the_secret() -> None:
    with pytest.raises(UsageError) as refused:
        Settings.from_env({"MILPA_OBJECT_STORE_OPTIONS": f'{{"key": {HUSH}'})
    assert HUSH not in refused.value.message
