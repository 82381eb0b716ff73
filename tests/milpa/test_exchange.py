"""The client without a network: what is sent again, what is not, and what an answer means."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from milpa.client import RefusedError, calls
from milpa.client.exchange import Answer, Call, LostError, Pause, Request, persistent
from milpa.errors import FatalError, TransientError

JOB = msgspec.json.encode(
    {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "kind": "deal-picker",
        "kind_version": 1,
        "state": "queued",
        "created_at": "2026-01-01T00:00:00Z",
        "a_field_of_tomorrow": 1,
    }
)
ACCEPTED = Answer(202, {}, JOB)
AWAY = Answer(503, {"retry-after": "2"}, b'{"type":"/problems/unavailable","detail":"PostgreSQL is away."}')
LOST = LostError("connection reset", maybe_done=True)
UNREACHED = LostError("connection refused", maybe_done=False)


def drive(
    call: Call[Any], answers: Sequence[Answer | LostError], retries: int = 5
) -> tuple[Any, list[Request | Pause]]:
    """Answer the call's requests in turn, and return its value with all that it asked for."""
    steps = persistent(call, retries)
    asked: list[Request | Pause] = []
    waiting = iter(answers)
    advance: Callable[[], Request | Pause] = lambda: next(steps)  # noqa: E731
    while True:
        try:
            step = advance()
        except StopIteration as stop:
            return stop.value, asked
        asked.append(step)
        if isinstance(step, Pause):
            advance = lambda: next(steps)  # noqa: E731
            continue
        answer = next(waiting)
        if isinstance(answer, LostError):
            advance = lambda answer=answer: steps.throw(answer)  # noqa: E731
        else:
            advance = lambda answer=answer: steps.send(answer)  # noqa: E731


def requests(asked: list[Request | Pause]) -> list[Request]:
    return [step for step in asked if isinstance(step, Request)]


def test_a_lost_submit_is_sent_again_with_the_same_key() -> None:
    job, asked = drive(calls.submit("deal-picker", {"budget": 1}), [LOST, UNREACHED, ACCEPTED])
    sent = requests(asked)
    assert job.state == "queued"
    assert len(sent) == 3
    assert len({request.headers["Idempotency-Key"] for request in sent}) == 1
    assert sent[0].body == sent[2].body


def test_two_submits_have_two_keys() -> None:
    keys = {
        requests(drive(calls.submit("deal-picker", {}), [ACCEPTED])[1])[0].headers["Idempotency-Key"] for _ in range(2)
    }
    assert len(keys) == 2


def test_a_server_that_is_away_is_asked_again_no_sooner_than_it_said() -> None:
    _, asked = drive(calls.job("x"), [AWAY, AWAY, ACCEPTED])
    pauses = [step.seconds for step in asked if isinstance(step, Pause)]
    assert len(pauses) == 2
    assert all(seconds >= 2 for seconds in pauses)


def test_patience_ends() -> None:
    with pytest.raises(TransientError, match="PostgreSQL is away") as raised:
        drive(calls.job("x"), [AWAY] * 3, retries=2)
    assert raised.value.code == "unavailable"
    with pytest.raises(TransientError, match="connection refused"):
        drive(calls.job("x"), [UNREACHED] * 3, retries=2)


def test_a_resubmission_that_may_have_arrived_is_not_sent_twice() -> None:
    with pytest.raises(TransientError):
        drive(calls.retry("x"), [LOST, ACCEPTED])
    job, _ = drive(calls.retry("x"), [UNREACHED, ACCEPTED])
    assert job.kind == "deal-picker"


def test_a_refusal_carries_every_issue_and_reads_well() -> None:
    body = {
        "type": "/problems/validation",
        "title": "Unprocessable Entity",
        "detail": "2 things are wrong; see issues.",
        "status": 422,
        "issues_total": 2,
        "issues": [
            {"code": "duplicate_id", "pointer": "/problem/deals/7/id", "message": "A is there twice."},
            {
                "code": "wrong_type",
                "pointer": "/problem/deals/3/price",
                "message": "no number",
                "row": 5,
                "column": "price",
            },
        ],
    }
    with pytest.raises(RefusedError) as raised:
        drive(calls.submit("deal-picker", {}), [Answer(422, {}, msgspec.json.encode(body))])
    error = raised.value
    assert (error.code, error.status, error.issues_total) == ("validation", 422, 2)
    assert [issue.code for issue in error.issues] == ["duplicate_id", "wrong_type"]
    assert "/problem/deals/7/id: A is there twice." in str(error)
    assert "row 5, column price: no number" in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type": 3}'])
def test_an_error_that_is_no_problem_document_still_reads(body: bytes) -> None:
    with pytest.raises(FatalError, match="500"):
        drive(calls.job("x"), [Answer(500, {}, body)])


def test_a_mistake_of_the_server_names_the_request() -> None:
    body = b'{"type":"/problems/internal","detail":"Milpa made a mistake.","request_id":"abc"}'
    with pytest.raises(FatalError, match="request abc"):
        drive(calls.job("x"), [Answer(500, {}, body)])


def test_waiting_holds_on_until_the_end() -> None:
    done = JOB.replace(b'"queued"', b'"succeeded"')
    job, asked = drive(calls.wait("x"), [ACCEPTED, ACCEPTED, Answer(200, {}, done)])
    assert job.state == "succeeded"
    assert all(request.query == {"wait": "20"} for request in requests(asked))


def test_waiting_ends_when_the_time_is_over() -> None:
    with pytest.raises(TransientError) as raised:
        drive(calls.wait("x", timeout=0), [ACCEPTED])
    assert raised.value.code == "not_ended"


def test_lists_follow_their_pages_up_to_the_limit() -> None:
    page = b'{"items": [%b, %b], "next": "http://elsewhere/v1/jobs?limit=2&cursor=abc%%3D"}' % (JOB, JOB)
    found, asked = drive(calls.jobs(3), [Answer(200, {}, page), Answer(200, {}, page)])
    assert len(found) == 3
    assert requests(asked)[1].path == "/v1/jobs"
    assert requests(asked)[1].query == {"limit": "2", "cursor": "abc="}


def test_a_list_ends_where_the_pages_end() -> None:
    found, asked = drive(calls.jobs(100), [Answer(200, {}, b'{"items": [%b], "next": null}' % JOB)])
    assert len(found) == 1
    assert len(asked) == 1


def test_ids_cannot_lead_out_of_their_path() -> None:
    _, asked = drive(calls.job("../../v1/kinds?x=#"), [ACCEPTED])
    assert requests(asked)[0].path == "/v1/jobs/..%2F..%2Fv1%2Fkinds%3Fx%3D%23"
