"""How long and how hard the faults are: a short form within `make test`, the full one by `make faults`."""

import os
import random
from collections.abc import Iterator

FULL = os.environ.get("MILPA_FAULT_FORM", "short") == "full"

SEED = int(os.environ.get("MILPA_FAULT_SEED") or random.SystemRandom().randrange(10**9))
"""Of every random choice; `MILPA_FAULT_SEED=… make faults` makes the same choices again."""

SAID = f"fault seed {SEED}, {'full' if FULL else 'short'} form"


def times(short: int, full: int) -> int:
    """Return how often to do something, by the form."""
    return full if FULL else short


def rounds(short: int, full: int) -> Iterator[int]:
    """Go through so many rounds, by the form, and say where we are."""
    count = times(short, full)
    for number in range(1, count + 1):
        print(f"    round {number} of {count}", flush=True)
        yield number
