"""The tables of an explanation, as the reports of several kinds show them."""

from solvers.explain import Explanation
from solvers.report import Column, Table, Unit


def limit_columns(unit: Unit, *prices: Column) -> list[Column]:
    """Return the columns of a table of limits, all in one unit; prices: what stands before the range of exactness."""
    return [
        Column(name="label", label="Limit"),
        Column(name="activity", label="Used", unit=unit),
        Column(name="limit", label="Limit", unit=unit),
        Column(name="slack", label="Left", unit=unit),
        *prices,
        Column(name="valid_from", label="Exact from", unit=unit),
        Column(name="valid_to", label="Exact to", unit=unit),
    ]


def what_if_table(explanation: Explanation, change: str) -> Table:
    """Return the table of the changes that would pay; change: the label of what each changes, in money."""
    return Table(
        name="what_if",
        title="What would pay",
        columns=[
            Column(name="label", label="Change"),
            Column(name="expected_change", label=change, unit=Unit.MONEY),
        ],
        rows=[(what_if.label, what_if.expected_change) for what_if in explanation.what_if],
        note="Each was solved.",
    )
