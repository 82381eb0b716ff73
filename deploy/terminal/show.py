"""What commands print: jobs, figures, issues and files as tables."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deploy.terminal.console import program
from deploy.terminal.fields import Field, columns_of, fields_of
from deploy.terminal.numbers import figure, number, size
from milpa.jobs import Job, JobFile, JobState

if TYPE_CHECKING:
    from milpa.client import Issue, JobReport, KindDetail, KindSummary

WIDE = 120
"""Characters of a line in which there is room for all that is said of a job."""
_ALL = ("job", "kind", "name", "state", "objective", "seconds", "created")
_FEW = ("job", "name", "state", "objective")
_COLORS = {
    "optimal": "green",
    "feasible": "green",
    "done": "green",
    "infeasible": "yellow",
    "unbounded": "yellow",
    "no_solution": "yellow",
    JobState.FAILED: "red",
    JobState.CANCELLED: "dim",
    JobState.RUNNING: "cyan",
}


def table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """Return an empty table in our style; the columns in `right` hold figures."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def status(job: Job) -> str:
    """Return the state of a job, or its outcome when it succeeded, in its colour."""
    words = str(job.outcome) if job.outcome is not None else str(job.state)
    color = _COLORS.get(words, "default")
    early = f" ({job.limit_reached})" if job.limit_reached else ""
    return f"[{color}]{words.replace('_', ' ')}{early}[/]"


def ended(job: Job, console: Console) -> None:
    """Print how a job ended, in one line, and why when it failed."""
    name = escape(job.name or job.kind)
    seconds = f" in {job.solve_seconds:.2f} s" if job.solve_seconds is not None else ""
    verified = ", verified" if job.verified else ""
    objective = f", objective {number(job.objective)}" if job.objective is not None else ""
    console.print(f"[bold]{name}[/]: {status(job)}{objective}{seconds}{verified}", highlight=False)
    if job.error is not None:
        console.print(f"[red]{escape(job.error.message)}[/] [dim]{job.error.code}[/]", highlight=False)
    for warning in job.warnings:
        console.print(f"[yellow]note[/] {escape(warning.message)}", highlight=False)


def report(report: "JobReport", console: Console) -> None:
    """Print a report's figures and sentences."""
    figures = table("", "", "", right=("",))
    figures.show_header = False
    figures.columns[0].justify = figures.columns[2].justify = "left"
    for fact in report.facts:
        if fact.get("headline", True):
            value = figure(fact["value"], fact.get("unit", "number"), report.currency)
            note = escape(fact.get("note", ""))
            figures.add_row(escape(fact["label"]), f"[bold]{escape(value)}[/]", f"[dim]{note}[/]")
    if figures.row_count:
        console.print(figures)
    sentences = Table.grid(padding=(0, 1))
    for sentence in report.sentences:
        sentences.add_row(" •", escape(sentence))
    console.print(sentences)


def issues(found: "Sequence[Issue]", total: int, console: Console) -> None:
    """Print what is wrong with a request, with row and column where it came from a table."""
    in_table = any(issue.row is not None for issue in found)
    listed = table(*(["row", "column"] if in_table else []), "where", "what", "code", right=["row"])
    for issue in found:
        place = [str(issue.row or ""), escape(issue.column or "")] if in_table else []
        color = "yellow" if issue.severity == "warning" else "red"
        listed.add_row(*place, escape(issue.pointer), f"[{color}]{escape(issue.message)}[/]", f"[dim]{issue.code}[/]")
    console.print(listed)
    if total > len(found):
        console.print(f"… and {total - len(found):,} more", highlight=False)


def jobs(found: Sequence[Job], console: Console) -> None:
    """Print jobs, one a line. On a narrow terminal a job goes by its name or, without one, by its kind."""
    wide = console.width >= WIDE
    names = _ALL if wide else _FEW
    listed = table(*names, right=("objective", "seconds"))
    for column in listed.columns:
        column.no_wrap = column.header not in {"name", "state"}
    for job in found:
        cells = _cells(job) if wide else _cells(job) | {"name": _cut(escape(job.name or job.kind))}
        listed.add_row(*(cells[name] for name in names))
    console.print(listed)


def _cells(job: Job) -> dict[str, str | Text]:
    return {
        "job": str(job.id),
        "kind": job.kind,
        "name": _cut(escape(job.name or "")),
        "state": _cut(status(job)),
        "objective": "" if job.objective is None else number(job.objective),
        "seconds": "" if job.solve_seconds is None else f"{job.solve_seconds:.2f}",
        "created": _ago((datetime.now(UTC) - job.created_at).total_seconds()),
    }


def _cut(markup: str) -> Text:
    """Return text that is cut where there is no room for it, instead of going on in the next line."""
    text = Text.from_markup(markup)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def kinds(found: "Sequence[KindSummary]", console: Console) -> None:
    """Print the kinds of job."""
    listed = table("kind", "family", "title", "what it does")
    for kind in found:
        listed.add_row(f"[bold]{kind.name}[/]", kind.family, escape(kind.title), escape(kind.summary))
    console.print(listed)


def kind(kind: "KindDetail", console: Console) -> None:
    """Print one kind with the columns of its table, and the other fields of its problem as options."""
    console.print(f"[bold]{kind.name}[/]  {escape(kind.title)}\n{escape(kind.summary)}\n", highlight=False)
    if kind.main_table:
        console.print(f"Rows of [bold]{kind.main_table}[/] come from a CSV, XLSX or Parquet file, or in the JSON.")
        console.print(f"[bold]{program()} kinds {kind.name} --template FILE.csv[/] writes one to fill in.\n")
        columns = table("column", "takes", "default", "")
        for column in columns_of(kind.problem_schema, kind.main_table).values():
            columns.add_row(column.name, _takes(column, "a|b|…"), _default(column), escape(column.description))
        console.print(columns)
    listed = table("option", "takes", "default", "")
    for field in fields_of(kind.problem_schema).values():
        if field.name != kind.main_table:
            option = field.option if field.on_the_line else f"--set {field.name}=JSON"
            listed.add_row(option, _takes(field, "a,b,…"), _default(field), escape(field.description))
    console.print(listed)
    _questions(kind, console)


def _takes(field: Field, several: str) -> str:
    """Return what can be written for a field; several: how a list of words is written."""
    if field.on_the_line and field.types == {"array"}:
        return several
    return " | ".join(map(str, field.choices)) or " or ".join(sorted(field.types - {"null"}))


def _default(field: Field) -> str:
    return "[bold]required[/]" if field.required else escape(str(_plain(field.default)))


def _questions(kind: "KindDetail", console: Console) -> None:
    """Print what can be asked of an answer of the kind."""
    if kind.force_schema is not None:
        forced = " ".join(f"{name}=…" for name in fields_of(kind.force_schema))
        console.print(f"[bold]milpa why-not[/] JOB {escape(forced)}", highlight=False)
    for field in kind.frontier:
        console.print(f"[bold]milpa frontier[/] JOB {field['name']}  [dim]{escape(field['label'])}[/]", highlight=False)


def files(found: Sequence[JobFile], console: Console) -> None:
    """Print a job's files."""
    listed = table("file", "format", "size", right=("size",))
    for file in found:
        listed.add_row(escape(file.name), file.format, size(file.size))
    console.print(listed)


def paths(found: Sequence[Path], console: Console) -> None:
    """Print where files are on this machine, one path a line, never broken."""
    if found:
        console.print()
    for path in found:
        console.print(f"  [green]→[/] {escape(str(path))}", highlight=False, soft_wrap=True)


def _plain(value: object) -> object:
    return "" if value is None or value in ([], {}) else value


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"
