"""What the commands that ask about a job print: cases, prices, comparisons, curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.markup import escape

from deploy.terminal.numbers import difference, figure, number
from deploy.terminal.show import status, table
from milpa.jobs import Job

if TYPE_CHECKING:
    from milpa.client import Comparison, Frontier, WhyNot

_BAR = 24
_LONGEST = 60
_MOST_CHANGES = 20


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    return "–" if value is None else f"{'+' if value > 0 else ''}{number(value)}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.1f} %"


def what_if(parent: Job, children: Sequence[Job], console: Console) -> None:
    """Print the cases with what each brings over the job they were asked about."""
    listed = table("case", "outcome", "objective", "change", "", "job", right=("objective", "change", ""))
    asked = escape(parent.name or parent.kind)
    listed.add_row(f"[dim]{asked}[/]", status(parent), number(parent.objective), "", "", "")
    for child in children:
        change = None if child.objective is None or parent.objective is None else child.objective - parent.objective
        share = change / abs(parent.objective) if change is not None and parent.objective else None
        name = escape(child.name or "")
        listed.add_row(name, status(child), number(child.objective), signed(change), _share(share), str(child.id))
    listed.columns[-1].no_wrap = True
    console.print(listed)


def why_not(found: "WhyNot", console: Console) -> None:
    """Print what forcing it costs, or what stands against it."""
    forced = ", ".join(f"{name} = {_plain(value)}" for name, value in found.force.items())
    console.print(f"[bold]{escape(forced)}[/]: {status(found.job)}", highlight=False)
    if found.price is not None:
        before, after = number(found.parent_objective), number(found.objective)
        console.print(f"objective {before} → {after}, [bold]{signed(found.price)}[/]", highlight=False)
    for name in found.breaks:
        console.print(f"  [yellow]breaks[/] {escape(name)}", highlight=False)
    for sentence in found.sentences if found.price is None else []:
        console.print(f" • {escape(sentence)}", highlight=False)
    console.print(f"[dim]{found.job.id}[/]", highlight=False)


def comparison(found: "Comparison", console: Console) -> None:
    """Print figures side by side with their differences from the baseline, then what changed in each problem."""
    names = [escape(one.job.name or str(one.job.id)[-8:]) for one in found.jobs]
    base = next(index for index, one in enumerate(found.jobs) if one.job.id == found.baseline)
    listed = table("", *names)
    listed.add_row("outcome", *(status(one.job) for one in found.jobs))
    for fact in found.facts:
        if fact.headline:
            cells = [
                figure(value, fact.unit, found.currency)
                + ("" if index == base else _difference(change, share, fact.unit))
                for index, (value, change, share) in enumerate(
                    zip(fact.values, fact.differences, fact.relative_differences, strict=True)
                )
            ]
            listed.add_row(escape(fact.label), *cells)
    for column in listed.columns[1:]:
        column.justify = "right"
    console.print(listed)
    for name, one in zip(names, found.jobs, strict=True):
        changes = one.changes or []
        for change in changes[:_MOST_CHANGES]:
            words = f"{change['pointer']}: {_plain(change['before'])} → {_plain(change['after'])}"
            console.print(f"[bold]{name}[/] {escape(words)}", highlight=False)
        if (one.changes_total or 0) > _MOST_CHANGES:
            console.print(f"[bold]{name}[/] … {one.changes_total:,} changes in all", highlight=False)


def _difference(change: float | None, share: float | None, unit: str) -> str:
    if change is None:
        return ""
    relative = f" ({_share(share)})" if share is not None else ""
    return f"\n[dim]{difference(change, unit)}{relative}[/]"


def frontier(found: "Frontier", console: Console) -> None:
    """Print the curve, one value a line, with a bar for the objective; dominated points are dim."""
    listed = table(found.label, "objective", "", "outcome", right=(found.label, "objective"))
    objectives = [point.objective for point in found.points if point.objective is not None]
    low, high = min(objectives, default=0.0), max(objectives, default=0.0)
    for point in found.points:
        height = 0.0 if point.objective is None or high == low else (point.objective - low) / (high - low)
        bar = "" if point.objective is None else "█" * (1 + round(height * (_BAR - 1)))
        words = str(point.outcome or point.state).replace("_", " ") + (", dominated" if point.dominated else "")
        style = "dim" if point.dominated else ""
        value = figure(point.value, found.unit)
        listed.add_row(value, number(point.objective), bar, words, style=style)
    console.print(listed)


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
