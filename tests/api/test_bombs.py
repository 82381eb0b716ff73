"""Bodies that are small on the wire and large, many or false inside: each costs no more than a body may."""

import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest
import zstandard

from api.bodies import unpack
from api.problem_details import ProblemError
from tests.api.deals import SUBMIT, body

LIMIT = 1_000_000
WHOLE = gzip.compress(b"{}")
ZSTD_FRAME = zstandard.ZstdCompressor(write_content_size=False).compress(b"")


def gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    piece = b"\0" * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


def zstd_bomb(size: int) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    piece = b"\0" * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


def zstd_that_claims(size: int, window: int = 0x50) -> bytes:
    """A frame of two bytes that says it has `size`."""
    return b"\x28\xb5\x2f\xfd\xc0" + bytes([window]) + size.to_bytes(8, "little") + b"\x11\x00\x00{}"


BOMBS = {
    "gzip": ("gzip", lambda: gzip_bomb(200_000_000), 413),
    "zstd": ("zstd", lambda: zstd_bomb(200_000_000), 413),
    "zstd in many frames": ("zstd", lambda: zstd_bomb(10_000_000) * 50, 413),
    "gzip in gzip": ("gzip", lambda: gzip.compress(gzip_bomb(200_000_000)), None),
    "empty gzip members": ("gzip", lambda: gzip.compress(b"") * 40_000, 400),
    "small gzip members": ("gzip", lambda: WHOLE * 40_000, 400),
    "gzip in some members": ("gzip", lambda: WHOLE * 1000, None),
    "large gzip members": ("gzip", lambda: gzip_bomb(10_000_000) * 50, 413),
    "padding after gzip": ("gzip", lambda: WHOLE + b"\0" * 900_000, 400),
    "empty zstd frames": ("zstd", lambda: ZSTD_FRAME * 100_000, None),
    "skippable zstd frames": ("zstd", lambda: b"\x50\x2a\x4d\x18\x00\x00\x00\x00" * 100_000, None),
    "gzip that lies about its size": ("gzip", lambda: WHOLE[:-4] + (5).to_bytes(4, "little"), 400),
    "zstd that claims too much": ("zstd", lambda: zstd_that_claims(2**60), 400),
    "zstd with a huge window": ("zstd", lambda: zstd_that_claims(2, window=0xF8), 400),
}


@pytest.mark.parametrize(("coding", "make", "status"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_costs_no_more_than_a_body(coding: str, make: Callable[[], bytes], status: int | None) -> None:
    packed = make()
    assert len(packed) <= LIMIT
    tracemalloc.start()
    began = time.process_time()
    assert outcome(packed, coding) == status
    assert time.process_time() - began < 5.0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * LIMIT


def outcome(packed: bytes, coding: str) -> int | None:
    """The status that refuses it, or None where it is unpacked."""
    try:
        unpack(packed, coding, LIMIT)
    except ProblemError as refused:
        return refused.status
    return None


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_nested_bomb_is_unpacked_once_and_is_no_json(http: httpx.AsyncClient, coding: str) -> None:
    inner = gzip_bomb(50_000_000) if coding == "gzip" else zstd_bomb(50_000_000)
    outer = gzip.compress(inner) if coding == "gzip" else zstandard.compress(inner)
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await http.post(SUBMIT, content=outer, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-json")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_an_honest_packed_body_is_taken(
    http: httpx.AsyncClient, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await http.post(SUBMIT, content=pack(json.dumps(body()).encode()), headers=headers)
    assert answer.status_code == 202
