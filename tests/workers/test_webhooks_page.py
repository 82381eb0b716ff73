"""What docs/webhooks.md tells receivers is what they get."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from milpa.settings import Settings
from storage.webhook_rows import WebhookEvent
from tests.workers.test_webhooks import parcel
from workers import deliver_webhook
from workers.webhook_message import Message, ThinBatch, ThinJob, body_of, headers_of

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
DEFAULTS = Settings()
SECRET = "whsec_" + "c2VjcmV0" * 4
UNITS = {"s": 1, "min": 60, "h": 3600}


def test_the_example_of_a_receiver_takes_what_is_sent_once_and_refuses_what_was_changed() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102  our own page
    sent = parcel(secrets=[SECRET])
    body = body_of(sent, "")
    headers, seen = dict(headers_of(sent, body)), set[str]()
    assert names["receive"](body, headers, SECRET, seen) == json.loads(body)
    assert names["receive"](body, headers, SECRET, seen) is None
    with pytest.raises(WebhookVerificationError):
        names["receive"](body + b" ", headers, SECRET, set())


def test_the_example_of_a_body_has_the_fields_that_a_body_has() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    told = json.loads(example)
    assert tuple(told) == Message.__struct_fields__
    assert tuple(told["data"]) == ThinJob.__struct_fields__
    batch = next(line for line in PAGE.splitlines() if line.startswith("| `batch.finished`"))
    assert tuple(re.findall(r"`(\w+)`", batch)) == ThinBatch.__struct_fields__


def test_every_event_and_every_header_is_on_the_page() -> None:
    sent = parcel(secrets=[SECRET])
    headers = headers_of(sent, body_of(sent, "")).keys() - {"accept-encoding"}
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))
    assert set(re.findall(r"`([^`]+)`", first_cells)) == {*WebhookEvent, *headers}


def test_times_and_counts_on_the_page_are_those_milpa_comes_with() -> None:
    (pauses,) = re.findall(r"the next ones (.*?) after the last one failed", PAGE)
    told = [int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (\w+)", pauses)]
    assert told == list(DEFAULTS.webhook_retry_seconds)
    assert len(told) + 1 == 10, "ten attempts"
    assert 3 * 86_400 < sum(told) < sum(told) * (1 + DEFAULTS.webhook_jitter) < 4 * 86_400
    assert (DEFAULTS.webhook_jitter, deliver_webhook.LONGEST_PAUSE_SECONDS) == (1 / 5, 86_400)
    assert DEFAULTS.webhook_slots_each == 4
    for text in (
        f"within {DEFAULTS.webhook_timeout_seconds:g} s,",
        f"for {DEFAULTS.webhook_rotation_hours:g} hours",
        f"the first {deliver_webhook._KEPT_BYTES:,} bytes",
        "port {}, {}, {} or {}".format(*DEFAULTS.webhook_ports),
    ):
        assert text in PAGE
    assert DEFAULTS.webhook_failing_days == 5
    assert "failed for five days" in PAGE


def test_the_library_looks_at_all_signatures() -> None:
    sent = parcel(secrets=["whsec_" + "bmV3" * 8, SECRET])
    body = body_of(sent, "")
    for secret in sent.secrets:
        Webhook(secret).verify(body, dict(headers_of(sent, body)))
