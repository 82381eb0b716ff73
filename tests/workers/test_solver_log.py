"""The solver's log: everything when it is short, head and tail when it is long, and always small."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.solver_log import SolverLog


@given(st.lists(st.binary(max_size=120), max_size=20), st.lists(st.integers(0, 20), max_size=5))
def test_it_keeps_head_and_tail_and_counts_what_it_left_out(chunks: list[bytes], trims: list[int]) -> None:
    log = SolverLog(limit=200)
    try:
        for number, chunk in enumerate(chunks):
            os.write(log.fileno(), chunk)
            if number in trims:
                log.trim()
                assert os.fstat(log.fileno()).st_size <= 200
        everything = b"".join(chunks)
        kept = log.read()
        if len(everything) <= 200:
            assert kept == everything
        else:
            left_out = len(everything) - 200
            assert kept == everything[:100] + b"\n[... %d bytes left out ...]\n" % left_out + everything[-100:]
    finally:
        log.close()


@pytest.mark.parametrize("size", [0, 10, 1000])
def test_clearing_forgets_everything(size: int) -> None:
    log = SolverLog(limit=200)
    try:
        os.write(log.fileno(), b"x" * size)
        log.trim()
        log.clear()
        os.write(log.fileno(), b"new")
        assert log.read() == b"new"
    finally:
        log.close()
