"""What a lease brings and costs in the first twelve months, per unit of area and month by month."""

from typing import NamedTuple

from solvers.kinds.leasing_mix.problem import MonthCash, Package, Problem

MONTHS = 12
"""Of a year, and of the horizon."""


class Span(NamedTuple):
    """Space that is let from start to end and pays rent from rent_start on, in months from now.

    area: sqm. annual_rent: money a year. fitout, commission: money, paid once in the month of the start.
    """

    area: float
    annual_rent: float
    start: float
    rent_start: float
    end: float
    fitout: float
    commission: float

    @property
    def let_months(self) -> float:
        """How many of the twelve months the space is let."""
        return months_within(self.start, self.end, 0, MONTHS)

    @property
    def rent_months(self) -> float:
        """How many of the twelve months pay rent."""
        return months_within(self.rent_start, self.end, 0, MONTHS)

    @property
    def cash(self) -> float:
        """Its cash in the twelve months before opex and void, in money."""
        return self.annual_rent / MONTHS * self.rent_months - self.fitout - self.commission

    @property
    def paid_in(self) -> int:
        """The month, counted from 0, in which fit-out and commission are paid."""
        return min(int(self.start), MONTHS - 1)


def months_within(start: float, end: float, first: float, last: float) -> float:
    """Return how much of start … end lies within first … last, in months."""
    return max(0.0, min(last, end) - max(first, start))


def span_of(package: Package, leases: float = 1.0) -> Span:
    """Return the space and the cash of so many leases of a package."""
    area = package.area_per_lease * leases
    annual_rent = package.rent_per_sqm_year * area
    return Span(
        area=area,
        annual_rent=annual_rent,
        start=package.start_month,
        rent_start=package.start_month + package.rent_free_months,
        end=package.start_month + MONTHS * package.term_years,
        fitout=package.fitout_per_sqm * area,
        commission=package.commission_rate * annual_rent,
    )


def existing_spans(problem: Problem) -> list[Span]:
    """Return the space and the cash of the existing leases."""
    return [
        Span(lease.area, lease.rent_per_sqm_year * lease.area, 0, 0, MONTHS * lease.remaining_years, 0.0, 0.0)
        for lease in problem.existing
    ]


def incentives_of(package: Package, leases: float = 1.0) -> float:
    """Return what rent-free months and fit-out of so many leases come to, in money, whenever they fall due."""
    span = span_of(package, leases)
    return span.annual_rent / MONTHS * package.rent_free_months + span.fitout


def monthly_cash(problem: Problem, spans: list[Span]) -> list[MonthCash]:
    """Return the cash of the twelve months of all the space that is let."""
    months = []
    for month in range(MONTHS):
        let = sum(span.area * months_within(span.start, span.end, month, month + 1) for span in spans)
        rent = sum(
            span.annual_rent / MONTHS * months_within(span.rent_start, span.end, month, month + 1) for span in spans
        )
        fitout = sum(span.fitout for span in spans if span.paid_in == month)
        commission = sum(span.commission for span in spans if span.paid_in == month)
        opex = problem.opex_per_sqm_year / MONTHS * let
        void = problem.void_cost_per_sqm_year / MONTHS * (problem.total_area - let)
        months.append(
            MonthCash(
                rent=rent,
                fitout=fitout,
                commission=commission,
                opex=opex,
                void=void,
                net=rent - fitout - commission - opex - void,
            )
        )
    return months
