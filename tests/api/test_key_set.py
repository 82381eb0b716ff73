"""The issuer's keys over real HTTP: kept, rotated, and asked for no more often than needed."""

import asyncio
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import key_set
from api.key_set import KeySet
from milpa.errors import TransientError
from tests.api.issuer import Issuer
from tests.support.waiting import wait_until


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.publish("first")
        yield issuer


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a fetch follow another at once."""
    monkeypatch.setattr(key_set, "AGAIN_SECONDS", 0.0)


async def key_ids(keys: KeySet, *wanted: str) -> list[str | None]:
    """Return the ids found of those wanted."""
    found = [await keys.find(wanted_id.rpartition("-")[2], wanted_id) for wanted_id in wanted]
    return [None if key is None else key.key_id for key in found]


async def test_keys_are_fetched_once_and_kept(issuer: Issuer) -> None:
    keys = KeySet(issuer.address)
    for _ in range(5):
        assert await key_ids(keys, "first-RS256", "first-ES256") == ["first-RS256", "first-ES256"]
    assert issuer.asked == 1


@pytest.mark.usefixtures("eager")
async def test_a_new_key_is_good_with_its_first_token_and_a_withdrawn_one_no_more(issuer: Issuer) -> None:
    keys = KeySet(issuer.address)
    await key_ids(keys, "first-RS256")
    issuer.publish("first", "second")
    assert await key_ids(keys, "second-RS256", "first-RS256") == ["second-RS256", "first-RS256"]
    issuer.publish("second", "third")
    assert await key_ids(keys, "third-RS256", "first-RS256") == ["third-RS256", None]


async def test_keys_are_refreshed_beside_the_requests(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "REFRESH_SECONDS", 0.05)
    keys = KeySet(issuer.address)
    async with keys.kept_fresh():
        assert await key_ids(keys, "first-RS256") == ["first-RS256"]
        issuer.publish("second")
        asked = issuer.asked
        # No token of the new key has asked for it; the fetch under way may still hear of the old one.
        await asyncio.to_thread(wait_until, lambda: issuer.asked >= asked + 2)
        assert await key_ids(keys, "second-RS256") == ["second-RS256"]


async def test_unknown_keys_make_no_storm_of_fetches(issuer: Issuer) -> None:
    keys = KeySet(issuer.address)
    for number in range(50):
        assert await key_ids(keys, f"unknown-{number}-RS256") == [None]
    assert issuer.asked == 1


async def test_all_who_come_at_once_wait_for_one_fetch(issuer: Issuer) -> None:
    issuer.seconds = 0.2
    keys = KeySet(issuer.address)
    found = await asyncio.gather(*(keys.find("RS256", "first-RS256") for _ in range(100)))
    assert {key.key_id for key in found if key} == {"first-RS256"}
    assert issuer.asked == 1


async def test_one_who_goes_away_does_not_take_the_fetch_with_him(issuer: Issuer) -> None:
    issuer.seconds = 0.2
    keys = KeySet(issuer.address)
    gone, waiting = (asyncio.create_task(keys.find("RS256", "first-RS256")) for _ in range(2))
    await asyncio.sleep(0.05)
    gone.cancel()
    assert await waiting is not None


BROKEN: dict[str, dict[str, Any]] = {
    "an error": {"status": 500},
    "a redirect": {"status": 302, "headers": {"Location": "https://127.0.0.1:1/keys"}},
    "no JSON": {"body": b"<html>"},
    "another JSON": {"body": b'{"keys": "none"}'},
    "too much": {"body": b'{"keys": [' + b" " * 1_000_001 + b"]}"},
    "no answer in time": {"seconds": 1.0},
}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("broken", BROKEN)
async def test_known_keys_outlive_an_address_that_fails_for_a_while(
    issuer: Issuer, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(issuer.address)
    await key_ids(keys, "first-RS256")
    if "seconds" in BROKEN[broken]:
        monkeypatch.setattr(key_set, "FETCH_SECONDS", 0.3)
    for name, value in BROKEN[broken].items():
        setattr(issuer, name, value)
    assert await key_ids(keys, "second-RS256", "first-RS256") == [None, "first-RS256"]
    wait_until(lambda: issuer.asked == 2)
    monkeypatch.setattr(key_set, "KEEP_SECONDS", 0.0)
    with pytest.raises(TransientError) as away:
        await keys.find("RS256", "first-RS256")
    assert away.value.code == "jwks_unavailable"


@pytest.mark.usefixtures("eager")
async def test_before_the_first_fetch_succeeds_nobody_is_told_that_a_token_is_bad(issuer: Issuer) -> None:
    issuer.status = 503
    keys = KeySet(issuer.address)
    with pytest.raises(TransientError):
        await keys.find("RS256", "first-RS256")
    issuer.status = 200
    assert await key_ids(keys, "first-RS256") == ["first-RS256"]


@pytest.mark.parametrize(
    "changes",
    [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "OKP"}, {"n": "AQAB", "crv": "P-384"}],
)
async def test_keys_for_something_else_check_no_token(issuer: Issuer, changes: dict[str, Any]) -> None:
    issuer.publish("first", **changes)
    assert await key_ids(KeySet(issuer.address), "first-RS256", "first-ES256") == [None, None]


async def test_of_two_keys_with_one_id_none_is_taken(issuer: Issuer) -> None:
    issuer.publish("first", "second", kid="same")
    keys = KeySet(issuer.address)
    assert await keys.find("RS256", "same") is None
    assert await keys.find("RS256", None) is None


async def test_a_key_of_another_algorithm_is_never_found(issuer: Issuer) -> None:
    keys = KeySet(issuer.address)
    assert await keys.find("ES256", "first-RS256") is None
    assert isinstance(await keys.find("ES256", None), jwt.PyJWK)


MEMBERS = ["kty", "alg", "use", "crv", "kid", "n", "e", "x", "y", "d", "k"]
VALUES = st.one_of(
    st.sampled_from(["RSA", "EC", "oct", "RS256", "ES256", "sig", "P-256", "AQAB", "", "=", "ü"]),
    st.none() | st.integers() | st.floats() | st.booleans(),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.dictionaries(st.sampled_from(MEMBERS), VALUES))
def test_no_published_key_however_odd_breaks_the_others(odd: dict[str, Any]) -> None:
    for kty in ("RSA", "EC"):
        assert key_set._usable({"crv": "P-256", **odd, "kty": kty}) is None
