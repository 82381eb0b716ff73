"""Sealing: what goes in comes out, only under the right key and only in its own place."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milpa.errors import FatalError
from storage.seal import Seal

KEYS = {"new": os.urandom(32), "old": os.urandom(32)}


@given(st.binary(max_size=5000), st.text(max_size=50))
def test_what_is_sealed_opens_again(data: bytes, context: str) -> None:
    seal = Seal(KEYS)
    assert seal.open(seal.seal(data, context), context) == data


async def test_large_payloads_are_sealed_off_the_event_loop_to_the_same_effect() -> None:
    data = os.urandom(300_000) * 4
    seal = Seal(KEYS)
    envelope = await seal.seal_async(data, "context")
    assert len(envelope) < len(data)
    assert await seal.open_async(envelope, "context") == data


@given(st.data())
def test_a_changed_envelope_does_not_open(data: bytes) -> None:
    seal = Seal(KEYS)
    envelope = bytearray(seal.seal(b"some problem", "context"))
    place = data.draw(st.integers(0, len(envelope) - 1))
    envelope[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FatalError):
        seal.open(bytes(envelope), "context")


@given(st.binary(max_size=30))
def test_what_is_no_envelope_does_not_open(data: bytes) -> None:
    with pytest.raises(FatalError):
        Seal(KEYS).open(data, "context")


def test_a_payload_does_not_open_in_another_place() -> None:
    seal = Seal(KEYS)
    with pytest.raises(FatalError) as refused:
        seal.open(seal.seal(b"data", "tenant/job/input"), "other/job/input")
    assert refused.value.code == "seal_broken"


def test_the_first_key_seals_and_all_open() -> None:
    before, after = Seal({"old": KEYS["old"]}), Seal(KEYS)
    assert after.open(before.seal(b"data", "c"), "c") == b"data"
    with pytest.raises(FatalError) as refused:
        before.open(after.seal(b"data", "c"), "c")
    assert refused.value.code == "seal_key_unknown"


def test_the_same_content_never_looks_the_same() -> None:
    seal = Seal(KEYS)
    assert seal.seal(b"data", "c") != seal.seal(b"data", "c")


def test_the_ring_is_read_from_its_setting() -> None:
    text = ", ".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in KEYS.items())
    seal = Seal.from_text(text)
    assert seal.key_id == "new"
    assert Seal(KEYS).open(seal.seal(b"data", "c"), "c") == b"data"


@pytest.mark.parametrize(
    "text", ["", " , ", "id:", "id:AAAA", "id:not base64!", "nokey", f":{'A' * 43}=", f"{'x' * 256}:{'A' * 43}="]
)
def test_a_bad_ring_says_so_without_showing_a_key(text: str) -> None:
    with pytest.raises(FatalError) as refused:
        Seal.from_text(text)
    assert "AAAA" not in refused.value.message
