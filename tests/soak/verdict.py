"""Whether something grows: the slope of each figure over the run, and how sure that is.

The first third of the run, and its first five minutes, are left out: caches fill, processes warm up, and what is kept
for a while is not dropped yet. Over the rest the Theil-Sen estimate (the median of the slopes between all pairs of
samples) gives the growth per hour with its 95 % interval; one sample that is off, or the sawtooth of recycled processes
and pruned tables, moves it little. Where the whole interval lies above a hundredth of the figure's median per hour it
grows; where the second half then grows less than half as fast as the first, it levels off. What keeps something of every
job on purpose is told by what a job costs instead; the logs and PostgreSQL's shared buffers have a cap of their own.
"""

import statistics
from collections.abc import Sequence

import msgspec
from scipy.stats import theilslopes

from tests.soak.samples import BUFFERS, KEPT, Sample

WARM_UP, WARM_UP_SECONDS = 1 / 3, 300.0
TOLERANCE = 0.01
SLOWER = 0.5
CAPPED = ("logs", BUFFERS)


class Verdict(msgspec.Struct, frozen=True):
    """One figure: at the start and the end of what counts, growth per hour with its interval, and the word for it."""

    name: str
    first: float
    last: float
    per_hour: float
    low: float
    high: float
    word: str


def verdicts(samples: Sequence[Sample]) -> list[Verdict]:
    """Judge every figure that all samples have."""
    warm = max(samples[-1].seconds * WARM_UP, min(WARM_UP_SECONDS, samples[-1].seconds / 2))
    counted = [sample for sample in samples if sample.seconds >= warm]
    names = [name for name in counted[-1].figures if all(name in sample.figures for sample in counted)]
    return [_judge(name, counted) for name in names]


def _judge(name: str, samples: Sequence[Sample]) -> Verdict:
    first, last = samples[0].figures[name], samples[-1].figures[name]
    slope, low, high = _growth(name, samples)
    if _kept(name):
        each = (last - first) / max(1, samples[-1].ended - samples[0].ended)
        word = f"kept: {each * 2**20:.0f} bytes a job" if name.startswith("size") else f"kept: {each:.2f} a job"
    elif name.startswith(CAPPED):
        word = "capped"
    elif low <= TOLERANCE * max(1.0, statistics.median(sample.figures[name] for sample in samples)):
        word = "level"
    else:
        half = len(samples) // 2
        slower = _growth(name, samples[half:])[0] < SLOWER * _growth(name, samples[:half])[0]
        word = "levels off" if slower else "GROWS"
    return Verdict(name, first, last, slope, low, high, word)


def _growth(name: str, samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Return the growth per hour, and the ends of its 95 % interval."""
    values, hours = [sample.figures[name] for sample in samples], [sample.seconds / 3600 for sample in samples]
    slope, _, low, high = theilslopes(values, hours)
    return float(slope), float(low), float(high)


def _kept(name: str) -> bool:
    return any(name in {f"rows of {table}", f"size of {table}, MiB"} for table in KEPT)
