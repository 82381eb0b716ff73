"""Event streams without a network: cut anywhere, lost at any time, each event told once."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milpa.client.events import BatchFollower, JobFollower, Parser, TenantFollower
from milpa.client.exchange import Answer
from milpa.errors import TransientError, UsageError

JOB_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def frame(seq: int, type_: str = "phase", **data: object) -> bytes:
    body = msgspec.json.encode({"job_id": JOB_ID, "seq": seq, "at": "2026-01-01T00:00:00Z", **data})
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, type_.encode(), body)


STREAM = b"retry: 3000\n\n" + b"".join(
    [frame(1, "queued"), b": \n\n", frame(2, "started"), frame(3, phase="solve é"), frame(4, "succeeded")]
)
END = b"event: end\ndata: {}\n\n"


@given(st.lists(st.integers(0, len(STREAM)), max_size=40), st.booleans())
def test_a_stream_reads_the_same_however_it_is_cut(cuts: list[int], windows: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if windows else STREAM
    edges = sorted({0, len(stream), *cuts})
    parser = Parser()
    found = [m for start, end in pairwise(edges) for m in parser.feed(stream[start:end])]
    assert [message.event for message in found] == ["queued", "started", "phase", "succeeded"]


def test_a_lost_stream_resumes_after_the_last_event_told() -> None:
    follower = JobFollower(JOB_ID, 0, retries=3)
    assert "Last-Event-ID" not in follower.request().headers
    first = list(follower.feed(frame(1, "queued") + frame(2, "started") + frame(3)[:20]))
    assert [event.seq for event in first] == [1, 2]
    assert follower.request().headers["Last-Event-ID"] == "2"
    second = list(follower.feed(frame(2, "started") + frame(3, phase="solve") + frame(4, "succeeded") + END))
    assert [(event.seq, event.type) for event in second] == [(3, "phase"), (4, "succeeded")]
    assert second[0].data == {"phase": "solve"}
    assert follower.ended


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_each_event_is_told_once_over_any_number_of_lost_connections(losses: list[int]) -> None:
    follower = JobFollower(JOB_ID, 0, retries=100)
    told: list[int] = []
    for length in [*losses, len(STREAM)]:
        after = int(follower.request().headers.get("Last-Event-ID", 0))
        replay = b"".join(frame(seq, "phase") for seq in range(after + 1, 5))
        told += [event.seq for event in follower.feed(replay[:length])]
        follower.pause()
    assert told == [1, 2, 3, 4]


def test_the_stream_of_all_jobs_resumes_where_it_was_even_before_its_first_event() -> None:
    follower = TenantFollower("deal-picker", retries=1)
    assert follower.request().query == {"kind": "deal-picker"}
    assert "Last-Event-ID" not in follower.request().headers
    assert list(follower.feed(b"retry: 3000\n\nid: 7.0.0\n\n")) == []
    assert follower.request().headers["Last-Event-ID"] == "7.0.0"
    change = frame(2, "started", kind="deal-picker").replace(b"id: 2", b"id: 9.a.2")
    assert [event.data for event in follower.feed(change + b"id: 10.b.1\nevent: que")] == [{"kind": "deal-picker"}]
    assert follower.request().headers["Last-Event-ID"] == "9.a.2", "what was not told in full is told again"


def test_a_batch_tells_its_counts_once_over_lost_connections() -> None:
    def counts(event: str, **counts: int) -> bytes:
        body = msgspec.json.encode({"batch_id": JOB_ID, "size": 2, "counts": counts})
        return b"event: %b\ndata: %b\n\n" % (event.encode(), body)

    follower = BatchFollower(JOB_ID, retries=1)
    first = list(follower.feed(counts("progress", queued=2)))
    follower.request()
    second = list(follower.feed(counts("progress", queued=2) + counts("finished", succeeded=2) + END))
    assert [told.counts for told in first + second] == [{"queued": 2}, {"succeeded": 2}]
    assert follower.ended


def test_types_of_tomorrow_are_passed_over() -> None:
    follower = JobFollower(JOB_ID, 0, retries=1)
    assert [event.seq for event in follower.feed(frame(1, "teleported") + frame(2, "started"))] == [2]


def test_a_stream_that_never_comes_back_is_given_up() -> None:
    follower = JobFollower(JOB_ID, 0, retries=2)
    follower.pause()
    follower.pause()
    with pytest.raises(TransientError):
        follower.pause()


def test_a_stream_that_says_something_is_never_given_up() -> None:
    follower = JobFollower(JOB_ID, 0, retries=1)
    for _ in range(10):
        list(follower.feed(b": \n\n"))
        follower.pause()


def test_a_refused_stream_raises_what_it_means() -> None:
    follower = JobFollower(JOB_ID, 0, retries=2)
    follower.refused(Answer(503, {}, b"{}"))
    with pytest.raises(UsageError):
        follower.refused(Answer(404, {}, b'{"type": "/problems/not-found", "detail": "There is no such job."}'))
