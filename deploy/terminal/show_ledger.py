"""What `milpa check` prints: how much was looked at, then every promise with how often it is broken."""

import click

from storage.ledger import LedgerReport

_PROMISES = {
    "lost": "accepted jobs are lost",
    "without_terminal_event": "ended jobs have no terminal event",
    "several_terminal_events": "jobs have several terminal events",
    "duplicate_results": "jobs have duplicate results",
    "stuck": "jobs are stuck for three leases",
    "seq_gaps": "event logs have a gap",
    "untold": "ends were not told to an address that listens",
    "told_twice": "ends are told to one address by two deliveries",
    "deliveries_stuck": "deliveries are stuck",
    "given_up_untried": "deliveries were given up untried",
    "batches_miscounted": "batches are closed or counted wrongly",
    "runs_doubled": "due times of a schedule have two runs",
    "schedules_late": "schedules are late by three leases",
    "orphan_objects": "stored objects have no row",
    "orphan_solvers": "solver processes have outlived their worker",
}


def show_ledger(report: LedgerReport) -> None:
    """Print the table; what is broken is marked."""
    click.echo(f"{report.jobs:>10,}  jobs\n{report.ended:>10,}  of them ended")
    for name, words in _PROMISES.items():
        count: int | None = getattr(report, name)
        if count is not None:
            click.echo(f"{count:>10,}  {words}" + (click.style("  ✗", fg="red") if count else ""))
    click.echo(
        click.style("✓", fg="green") + " Every promise was kept." if report.ok else "Not every promise was kept."
    )
