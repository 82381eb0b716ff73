"""The run as one picture: memory by part, rows by table, objects and Redis over time."""

from collections.abc import Sequence
from pathlib import Path

import altair as alt

from tests.soak.samples import KEPT, Sample

PANELS = {
    "Memory, MiB": ("memory of ", "shared memory of ", "Redis, MiB"),
    "Descriptors": ("descriptors of ",),
    "Rows that end": ("rows of ",),
    "Objects and Redis keys": ("objects", "Redis keys"),
}
WIDTH, HEIGHT, SCALE = 420, 200, 2
FEW = 10
"""What never reaches so many is left out."""


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Write the picture as PNG."""
    panels = [_panel(title, prefixes, samples) for title, prefixes in PANELS.items()]
    rows = [alt.hconcat(*panels[at : at + 2]).resolve_scale(color="independent") for at in range(0, len(panels), 2)]
    hours, jobs = samples[-1].seconds / 3600, samples[-1].ended
    whole = alt.vconcat(*rows, title=f"{hours:.2f} hours, {jobs:,} jobs").resolve_scale(color="independent")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, format="png", scale_factor=SCALE)


def _panel(title: str, prefixes: tuple[str, ...], samples: Sequence[Sample]) -> alt.Chart:
    kept = {f"rows of {table}" for table in KEPT}
    few = {name for name in samples[-1].figures if max(s.figures.get(name, 0.0) for s in samples) < FEW}
    values = [
        {"minutes": sample.seconds / 60, "value": value, "what": _short(name)}
        for sample in samples
        for name, value in sample.figures.items()
        if name.startswith(prefixes) and name not in kept | few
    ]
    return (
        alt.Chart(alt.Data(values=values), title=title, width=WIDTH, height=HEIGHT)
        .mark_line()
        .encode(
            x=alt.X("minutes:Q", title="minutes"),
            y=alt.Y("value:Q", title=None),
            color=alt.Color("what:N", title=None),
        )
    )


def _short(name: str) -> str:
    kind, _, part = name.removesuffix(", MiB").partition(" of ")
    return f"{part}, shared" if kind.startswith("shared") else part or name
