"""The leasing plan as a linear or mixed-integer program: variables, objective and rows, each reading like its formula.

Variables: x_p, how many leases of package p. Every constraint is a row of its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from solvers.backends.model import INFINITY, Floats, Model, Row, model_from_rows
from solvers.backends.scaling import reach
from solvers.kinds.leasing_mix.cash import existing_spans, incentives_of, span_of
from solvers.kinds.leasing_mix.problem import Mode, Problem, WaultWeight

_ROUNDING = 1e-12
_SAME_CASH = 1e-9
"""Of the cash that all leases could bring: what two equally good plans may differ by."""


@dataclass(frozen=True, kw_only=True)
class Building:
    """What the program is made of, computed once from the problem. n packages; shape (n,) each, per lease.

    areas: sqm. incentives: money. cash: money in the first twelve months, opex and saved void cost included. weights:
    what a lease counts by in the mean term (money a year, or sqm). terms: years. existing_cash: money without any new
    lease. existing_weights, existing_terms: the same of the existing leases, shape (number of them,).
    """

    problem: Problem
    areas: Floats
    incentives: Floats
    cash: Floats
    weights: Floats
    terms: Floats
    existing_cash: float
    existing_weights: Floats
    existing_terms: Floats

    @cached_property
    def most(self) -> Floats:
        """About how many leases of each package there can be at most, shape (n,)."""
        return reach(program(self))

    def weight(self, x: Floats) -> float:
        """Return what all leases together count by in the mean term."""
        return float(self.existing_weights.sum() + self.weights @ x)


def building(problem: Problem) -> Building:
    """Compute the program's coefficients."""
    packages, spans = problem.packages, [span_of(package) for package in problem.packages]
    existing = existing_spans(problem)
    by_rent = problem.wault_weight is WaultWeight.RENT
    letting = (problem.opex_per_sqm_year - problem.void_cost_per_sqm_year) / 12
    net = [[span.cash - letting * span.area * span.let_months for span in part] for part in (spans, existing)]
    return Building(
        problem=problem,
        areas=np.array([span.area for span in spans]),
        incentives=np.array([incentives_of(package) for package in packages]),
        cash=np.array(net[0]),
        weights=np.array([span.annual_rent if by_rent else span.area for span in spans]),
        terms=np.array([package.term_years for package in packages]),
        existing_cash=sum(net[1]) - problem.void_cost_per_sqm_year * problem.total_area,
        existing_weights=np.array([span.annual_rent if by_rent else span.area for span in existing]),
        existing_terms=np.array([lease.remaining_years for lease in problem.existing]),
    )


def program(parts: Building) -> Model:
    """Return the whole program."""
    whole = parts.problem.mode is Mode.WHOLE
    return model_from_rows(
        costs=parts.cash,
        lower=np.zeros(len(parts.cash)),
        upper=np.full(len(parts.cash), INFINITY),
        rows=list(_rows(parts)),
        integer=np.ones(len(parts.cash), dtype=bool) if whole else None,
        maximize=True,
        offset=parts.existing_cash,
    )


def by_weight(parts: Building, x: Floats, *, most: bool) -> Model:
    """Return the program of the plans as good as x that weigh most (or least) in the mean term; leases not whole."""
    same = _SAME_CASH * abs(parts.cash) @ parts.most
    worth = Row("cash", _all(parts), parts.cash, lower=float(parts.cash @ x - same))
    return model_from_rows(
        costs=parts.weights,
        lower=np.zeros(len(x)),
        upper=np.full(len(x), INFINITY),
        rows=[*_rows(parts), worth],
        maximize=most,
    )


def row_names(parts: Building) -> list[str]:
    """Return the names of the program's rows, in their order."""
    return [row.name for row in _rows(parts)]


def _rows(parts: Building) -> Iterator[Row]:
    """Yield the rows; in a conflict those are named that come last, so the most particular come first."""
    yield from _maximums(parts)
    yield from _minimums(parts)
    yield from _use_caps(parts)
    yield _incentive_budget(parts)
    yield _wault(parts)
    yield _occupancy_min(parts)
    yield _area_max(parts)


def _maximums(parts: Building) -> Iterator[Row]:
    """x_p ≤ max_leases."""
    for p, package in enumerate(parts.problem.packages):
        yield Row(f"max_leases:{package.id}", [p], [1.0], upper=package.max_leases)


def _minimums(parts: Building) -> Iterator[Row]:
    """x_p ≥ min_leases."""
    for p, package in enumerate(parts.problem.packages):
        if package.min_leases > 0:
            yield Row(f"min_leases:{package.id}", [p], [1.0], lower=package.min_leases)


def _use_caps(parts: Building) -> Iterator[Row]:
    """Σ area_p x_p of a use ≤ cap × total_area: new leases only."""
    for use, cap in parts.problem.use_caps.items():
        members = [p for p, package in enumerate(parts.problem.packages) if package.use == use]
        yield Row(f"use:{use}", members, parts.areas[members], upper=cap * parts.problem.total_area)


def _incentive_budget(parts: Building) -> Row:
    """Σ incentives_p x_p ≤ incentive_budget."""
    return Row("incentive_budget", _all(parts), parts.incentives, upper=parts.problem.incentive_budget)


def _wault(parts: Building) -> Row:
    """Σ existing w (remaining − target) + Σ w_p (term_p − target) x_p ≥ 0: the mean without a ratio."""
    target = parts.problem.min_wault_years
    needed = float(parts.existing_weights @ (target - parts.existing_terms))
    return Row("wault", _all(parts), parts.weights * (parts.terms - target), lower=needed)


def _occupancy_min(parts: Building) -> Row:
    """Σ area_p x_p ≥ min_occupancy × total_area − existing area."""
    return Row("occupancy_min", _all(parts), parts.areas, lower=_room(parts, parts.problem.min_occupancy))


def _area_max(parts: Building) -> Row:
    """Σ area_p x_p ≤ max_occupancy × total_area − existing area."""
    return Row("area_max", _all(parts), parts.areas, upper=_room(parts, parts.problem.max_occupancy))


def _room(parts: Building, occupancy: float) -> float:
    """Return the area of new leases at an occupancy, in sqm; what only rounding makes of nothing is nothing."""
    total = parts.problem.total_area
    room = occupancy * total - parts.problem.existing_area
    return 0.0 if abs(room) <= _ROUNDING * total else room


def _all(parts: Building) -> range:
    return range(len(parts.areas))
