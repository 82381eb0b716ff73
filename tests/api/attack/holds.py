"""What holds for every answer, whoever asked for whatever."""

import re

import httpx
import msgspec

from api.problem_details import MEDIA_TYPE, ProblemDetails

_INSIDES = re.compile(
    rb"Traceback|site-packages|\.py\b|/tmp/|asyncpg|sqlalchemy|psycopg|litestar|msgspec|\bSELECT\b|\bINSERT\b|0x[0-9a-f]{8}",
    re.IGNORECASE,
)


def holds_for_all(answer: httpx.Response, sent: bytes = b"") -> None:
    """Hold an answer against what is promised of all; sent: what the caller may be told again."""
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert answer.status_code != 503, f"nothing is away: {answer.text}"
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,128}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert all(value.isprintable() for value in answer.headers.values())
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == MEDIA_TYPE, answer.headers["content-type"]
        problem = msgspec.json.decode(answer.content, type=ProblemDetails)
        assert problem.status == answer.status_code
        assert problem.type.startswith("/problems/")
        assert problem.title
        assert problem.detail
        assert problem.request_id == answer.headers["x-request-id"]
        found = _INSIDES.search(answer.content)
        assert not found or found[0].lower() in sent.lower(), f"tells of the inside: {answer.text[:500]}"
