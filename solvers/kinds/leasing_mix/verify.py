"""Recomputes every constraint, the objective and every figure of a plan from the problem as posted; no solver.

It adds up its own months, lease by lease, and shares no formula with the program that found the plan.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from solvers.kinds.leasing_mix.problem import Mode, MonthCash, Package, Problem, RentRollEntry, Solution, WaultWeight
from solvers.result import Violation
from solvers.violations import at_least, at_most, broken, reported

_FLOWS = ("rent", "fitout", "commission", "opex", "void", "net")


def verify(problem: Problem, solution: Solution) -> list[Violation]:
    """Return what the solution breaks; an empty list says that it holds."""
    unreadable = list(_readable(problem, solution))
    if unreadable:
        return unreadable
    leases = {offer.package_id: offer.leases for offer in solution.offers}
    signed = [(package, leases.get(package.id, 0.0)) for package in problem.packages]
    return [
        *_numbers(problem, signed),
        *_area(problem, solution, signed),
        *_incentives(problem, solution, signed),
        *_mean_term(problem, solution, signed),
        *_offers(problem, solution),
        *_cash(problem, solution, signed),
        *_rent_roll(problem, solution),
    ]


Signed = list[tuple[Package, float]]


@dataclass(slots=True)
class _Lease:
    """A lease as the months see it: months from now; area in sqm; rent in money a month."""

    area: float
    rent: float
    start: float
    pays_from: float
    end: float
    costs: dict[str, float]


def _readable(problem: Problem, solution: Solution) -> Iterator[Violation]:
    known = {package.id for package in problem.packages}
    for name, times in Counter(offer.package_id for offer in solution.offers).items():
        if name not in known or times > 1:
            message = "It is listed twice." if name in known else "There is no such package."
            yield Violation(constraint=f"offers:{name}", amount=1.0, message=message)
    if not all(isfinite(offer.leases) for offer in solution.offers):
        yield Violation(constraint="offers", amount=1.0, message="A number of leases is not finite.")


def _numbers(problem: Problem, signed: Signed) -> Iterator[Violation]:
    for package, n in signed:
        yield from at_most(f"max_leases:{package.id}", n, package.max_leases)
        yield from at_least(f"min_leases:{package.id}", n, package.min_leases)
        if problem.mode is Mode.WHOLE:
            yield from broken(f"whole:{package.id}", abs(n - round(n)), 1.0, f"{n} leases are not whole.")


def _area(problem: Problem, solution: Solution, signed: Signed) -> Iterator[Violation]:
    total = problem.total_area
    let = sum(lease.area for lease in problem.existing) + sum(package.area_per_lease * n for package, n in signed)
    yield from at_most("area_max", let / total, problem.max_occupancy)
    yield from at_least("occupancy_min", let / total, problem.min_occupancy)
    yield from reported("occupancy", solution.occupancy, let / total)
    for use, cap in problem.use_caps.items():
        taken = sum(package.area_per_lease * n for package, n in signed if package.use == use)
        yield from at_most(f"use:{use}", taken / total, cap)


def _incentives(problem: Problem, solution: Solution, signed: Signed) -> Iterator[Violation]:
    spent = sum(_incentive(package) * n for package, n in signed)
    yield from at_most("incentive_budget", spent, problem.incentive_budget)
    yield from reported("incentives_spent", solution.incentives_spent, spent)


def _incentive(package: Package) -> float:
    """Return what one lease of a package costs in rent-free months and fit-out, in money."""
    free = package.rent_per_sqm_year * package.rent_free_months / 12
    return package.area_per_lease * (free + package.fitout_per_sqm)


def _mean_term(problem: Problem, solution: Solution, signed: Signed) -> Iterator[Violation]:
    """Check the mean by dividing, which the program never does."""
    by_rent = problem.wault_weight is WaultWeight.RENT
    spaces = [(lease.area, lease.rent_per_sqm_year, lease.remaining_years) for lease in problem.existing]
    spaces += [(package.area_per_lease * n, package.rent_per_sqm_year, package.term_years) for package, n in signed]
    weights = [area * (rent if by_rent else 1.0) for area, rent, _ in spaces]
    weight = sum(weights)
    mean = sum(w * years for w, (_, _, years) in zip(weights, spaces, strict=True)) / weight if weight > 0 else None
    yield from reported("wault_years", solution.wault_years, mean)
    if mean is not None:
        yield from at_least("wault", mean, problem.min_wault_years)


def _offers(problem: Problem, solution: Solution) -> Iterator[Violation]:
    packages = {package.id: package for package in problem.packages}
    for offer in solution.offers:
        package, n = packages[offer.package_id], offer.leases
        lease = _new_lease(package, n)
        rent = sum(lease.rent * _overlap(lease.pays_from, lease.end, month) for month in range(12))
        paid = sum(lease.costs.values())
        for name, stated, true in (
            ("area", offer.area, package.area_per_lease * n),
            ("annual_rent", offer.annual_rent, package.rent_per_sqm_year * package.area_per_lease * n),
            ("incentives", offer.incentives, _incentive(package) * n),
        ):
            yield from reported(f"{name}:{offer.package_id}", stated, true)
        yield from reported(f"ncf_12m:{offer.package_id}", offer.ncf_12m, rent - paid, terms=rent + paid)


def _cash(problem: Problem, solution: Solution, signed: Signed) -> Iterator[Violation]:
    """Check the months one by one, and the objective as their sum."""
    leases = [_new_lease(package, n) for package, n in signed]
    for there in problem.existing:
        rent = there.area * there.rent_per_sqm_year / 12
        leases.append(_Lease(there.area, rent, 0.0, 0.0, 12 * there.remaining_years, {}))
    months = [_month(problem, leases, month) for month in range(12)]
    gross = [month.rent + month.fitout + month.commission + month.opex + month.void for month in months]
    empty = problem.total_area * problem.void_cost_per_sqm_year / 12
    terms = sum(gross) + 12 * empty
    yield from reported("ncf_12m", solution.ncf_12m, sum(month.net for month in months), terms=terms)
    if len(solution.monthly) != len(months):
        yield Violation(constraint="monthly", amount=1.0, message=f"{len(solution.monthly)} months are shown, not 12.")
        return
    for month, (stated, true) in enumerate(zip(solution.monthly, months, strict=True)):
        for flow in _FLOWS:
            terms = {"void": empty, "net": gross[month] + empty}.get(flow, 0.0)
            yield from reported(f"monthly:{month}:{flow}", getattr(stated, flow), getattr(true, flow), terms=terms)


def _new_lease(package: Package, n: float) -> _Lease:
    area, start = package.area_per_lease * n, float(package.start_month)
    headline = area * package.rent_per_sqm_year
    return _Lease(
        area=area,
        rent=headline / 12,
        start=start,
        pays_from=start + package.rent_free_months,
        end=start + 12 * package.term_years,
        costs={"fitout": area * package.fitout_per_sqm, "commission": headline * package.commission_rate},
    )


def _month(problem: Problem, leases: list[_Lease], month: int) -> MonthCash:
    flows = dict.fromkeys(_FLOWS, 0.0)
    vacant = problem.total_area
    for lease in leases:
        let = lease.area * _overlap(lease.start, lease.end, month)
        vacant -= let
        flows["rent"] += lease.rent * _overlap(lease.pays_from, lease.end, month)
        flows["opex"] += let * problem.opex_per_sqm_year / 12
        for name, cost in lease.costs.items():
            flows[name] += cost if min(lease.start, 11) == month else 0.0
    flows["void"] = vacant * problem.void_cost_per_sqm_year / 12
    flows["net"] = flows["rent"] - flows["fitout"] - flows["commission"] - flows["opex"] - flows["void"]
    return MonthCash(**flows)


def _overlap(start: float, end: float, month: int) -> float:
    """Return which part of a month, counted from 0, lies between start and end."""
    return max(0.0, min(end, month + 1.0) - max(start, float(month)))


def _rent_roll(problem: Problem, solution: Solution) -> Iterator[Violation]:
    packages = {package.id: package for package in problem.packages}
    roll = [(e.id, e.area, e.rent_per_sqm_year * e.area, 0, 12 * e.remaining_years) for e in problem.existing]
    for offer in solution.offers:
        package = packages[offer.package_id]
        area, start = package.area_per_lease * offer.leases, package.start_month
        roll.append((package.id, area, package.rent_per_sqm_year * area, start, start + 12 * package.term_years))
    if [entry.id for entry in solution.rent_roll] != [name for name, *_ in roll]:
        message = "It must list the existing leases and the offers, once each, in their order."
        yield Violation(constraint="rent_roll", amount=1.0, message=message)
        return
    for stated, (name, area, rent, start, end) in zip(solution.rent_roll, roll, strict=True):
        true = RentRollEntry(id=name, area=area, annual_rent=rent, start_month=start, end_month=end)
        for field in ("area", "annual_rent", "start_month", "end_month"):
            yield from reported(f"rent_roll:{name}:{field}", getattr(stated, field), getattr(true, field))
