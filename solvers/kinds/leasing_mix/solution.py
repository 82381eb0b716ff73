"""From the numbers of leases to a plan that people can read."""

import numpy as np

from solvers.backends.model import Floats
from solvers.kinds.leasing_mix.cash import MONTHS, existing_spans, incentives_of, monthly_cash, span_of
from solvers.kinds.leasing_mix.formulation import Building
from solvers.kinds.leasing_mix.problem import Mode, Offer, Package, RentRollEntry, Solution

_DUST = 1e-9
"""Of one lease, or of as many as there can be if that is less: fewer are a solver's rounding, no offer."""


def solution_from(parts: Building, x: Floats) -> Solution:
    """Return the plan that the numbers of leases x, shape (n,), describe."""
    problem = parts.problem
    leases = cleaned(parts, x)
    signed = [(package, n) for package, n in zip(problem.packages, leases.tolist(), strict=True) if n > 0]
    offers = [_offer(package, n) for package, n in signed]
    spans = existing_spans(problem) + [span_of(package, n) for package, n in signed]
    monthly = monthly_cash(problem, spans)
    years = float(parts.existing_weights @ parts.existing_terms + (parts.weights * parts.terms) @ leases)
    weight = parts.weight(leases)
    return Solution(
        offers=offers,
        wault_years=years / weight if weight > 0 else None,
        occupancy=sum(span.area for span in spans) / problem.total_area,
        ncf_12m=sum(month.net for month in monthly),
        incentives_spent=sum(offer.incentives for offer in offers),
        monthly=monthly,
        rent_roll=_rent_roll(parts, signed),
    )


def cleaned(parts: Building, x: Floats) -> Floats:
    """Return numbers of leases without a solver's rounding: within their bounds, and whole where they must be."""
    packages = parts.problem.packages
    low = np.array([package.min_leases for package in packages], dtype=np.float64)
    high = np.array([package.max_leases for package in packages], dtype=np.float64)
    within = np.clip(x, low, high)
    if parts.problem.mode is Mode.WHOLE:
        return np.round(within)
    return np.where(within > _DUST * np.minimum(1.0, parts.most), within, 0.0)


def _offer(package: Package, leases: float) -> Offer:
    span = span_of(package, leases)
    return Offer(
        package_id=package.id,
        leases=leases,
        area=span.area,
        annual_rent=span.annual_rent,
        incentives=incentives_of(package, leases),
        ncf_12m=span.cash,
    )


def _rent_roll(parts: Building, signed: list[tuple[Package, float]]) -> list[RentRollEntry]:
    there = [
        RentRollEntry(
            id=lease.id,
            area=lease.area,
            annual_rent=lease.rent_per_sqm_year * lease.area,
            start_month=0,
            end_month=MONTHS * lease.remaining_years,
        )
        for lease in parts.problem.existing
    ]
    new = [
        RentRollEntry(
            id=package.id,
            area=package.area_per_lease * leases,
            annual_rent=package.rent_per_sqm_year * package.area_per_lease * leases,
            start_month=package.start_month,
            end_month=package.start_month + MONTHS * package.term_years,
        )
        for package, leases in signed
    ]
    return there + new
