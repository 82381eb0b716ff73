"""How long Milpa took to recover, gathered from all tests of a run and printed at its end."""

import statistics
from collections import defaultdict

_seconds: defaultdict[str, list[float]] = defaultdict(list)


def took(what: str, seconds: float) -> None:
    """Note one recovery."""
    _seconds[what].append(seconds)
    print(f"    {what}: {seconds:.2f} s")


def table() -> list[str]:
    """Return a line for each figure: how often it was measured, median, 99th percentile and the worst, in seconds."""
    if not _seconds:
        return []
    lines = [f"{'seconds':<58}{'times':>7}{'p50':>9}{'p99':>9}{'worst':>9}"]
    for what, found in sorted(_seconds.items()):
        p99 = statistics.quantiles(found, n=100, method="inclusive")[98] if len(found) > 1 else found[0]
        lines.append(f"{what:<58}{len(found):>7}{statistics.median(found):>9.2f}{p99:>9.2f}{max(found):>9.2f}")
    return lines
