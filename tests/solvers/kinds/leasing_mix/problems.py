"""Random buildings, and their best plans by another formulation: months added up one by one, scipy, brute force."""

import random
from importlib import resources
from itertools import product
from typing import Any

import msgspec
import numpy as np
from scipy.optimize import linprog, milp

from solvers.issues import has_errors
from solvers.kinds.leasing_mix import KIND
from solvers.kinds.leasing_mix.problem import Problem, Solution
from solvers.limits import SolveLimits
from solvers.progress import Silent
from solvers.result import SolveResult

EXACT = SolveLimits(relative_gap=0.0, threads=1)
_SLIVER = 1e-9


def solve(data: dict[str, Any] | Problem) -> SolveResult[Solution]:
    problem = data if isinstance(data, Problem) else msgspec.convert(data, Problem)
    result: SolveResult[Solution] = KIND.solve(problem, EXACT, Silent())
    return result


def worked_example(**changes: Any) -> dict[str, Any]:
    text = resources.files(KIND.package).joinpath("cases/worked_example.json").read_bytes()
    problem: dict[str, Any] = msgspec.json.decode(text)["problem"]
    return problem | changes


def with_package(data: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    packages = [package | changes if package["id"] == name else package for package in data["packages"]]
    return data | {"packages": packages}


def a_problem(rng: random.Random, *, mode: str = "fractional", small: bool = False) -> Problem:
    """A random building of up to six packages; round numbers, ties and limits that contradict each other are common."""
    rounded = rng.random() < 0.5
    total = rng.choice([1000.0, 500.0, 12_000.0]) if rounded else round(rng.uniform(300, 30_000), 1)
    data: dict[str, Any] = {
        "total_area": total,
        "mode": mode,
        "min_wault_years": rng.choice([0, 2, 3, 4, 4.5, 6]),
        "wault_weight": rng.choice(["rent", "area"]),
        "incentive_budget": rng.choice([0, 20, 60, 150, 1e6]) * total,
        "min_occupancy": rng.choice([0, 0, 0, 0.3, 0.5, 0.8]),
        "max_occupancy": rng.choice([1, 1, 0.95, 0.9]),
        "opex_per_sqm_year": rng.choice([0, 20, 35]),
        "void_cost_per_sqm_year": rng.choice([0, 30, 60]),
        "use_caps": {use: rng.choice([0.1, 0.3, 0.5]) for use in ("office", "shop") if rng.random() < 0.4},
        "existing": [
            {
                "id": f"e{index}",
                "area": round(total * rng.choice([0.05, 0.1, 0.2]), 2),
                "rent_per_sqm_year": rng.choice([0, 150, 200, 260]),
                "remaining_years": rng.choice([0, 0.3, 0.5, 1, 2, 7.25]),
            }
            for index in range(rng.choice([0, 0, 1, 2]))
        ],
        "packages": [
            _a_package(rng, index, total, rounded, small) for index in range(rng.randint(1, 3 if small else 6))
        ],
    }
    problem = msgspec.convert(data, Problem)
    assert not has_errors(KIND.check(problem))
    return problem


def _a_package(rng: random.Random, index: int, total: float, rounded: bool, small: bool) -> dict[str, Any]:
    most = rng.randint(0, 4 if small else 9)
    share = rng.choice([0.05, 0.1, 0.2])
    return {
        "id": f"p{index}",
        "use": rng.choice(["office", "shop", ""]),
        "area_per_lease": total * share if rounded else round(total * rng.uniform(0.02, 0.3), 1),
        "max_leases": most,
        "min_leases": min(most, rng.choice([0, 0, 0, 0, 1, 2])),
        "rent_per_sqm_year": rng.choice([180, 240, 240, 300]) if rounded else round(rng.uniform(50, 400), 2),
        "term_years": rng.choice([0.25, 0.45, 1, 3, 5, 5, 10]),
        "rent_free_months": rng.choice([0, 0, 3, 6, 14]),
        "fitout_per_sqm": rng.choice([0, 20, 100]),
        "commission_rate": rng.choice([0, 0.1, 0.25]),
        "start_month": rng.choice([0, 0, 2, 6, 11, 12]),
    }


def cash_of(problem: Problem, leases: list[float]) -> float:
    """The net cash of the first twelve months, by walking through tenths of months."""
    steps = 10
    net = -problem.void_cost_per_sqm_year * problem.total_area
    saved = (problem.void_cost_per_sqm_year - problem.opex_per_sqm_year) / 12 / steps
    spaces = [(e.area, e.rent_per_sqm_year, 0, 0, e.remaining_years, 0.0) for e in problem.existing]
    for package, n in zip(problem.packages, leases, strict=True):
        once = package.fitout_per_sqm + package.commission_rate * package.rent_per_sqm_year
        area = package.area_per_lease * n
        terms = (package.start_month, package.rent_free_months, package.term_years, once)
        spaces.append((area, package.rent_per_sqm_year, *terms))
    for area, rent, start, free, years, once in spaces:
        let = [step for step in range(12 * steps) if start * steps <= step < start * steps + round(12 * steps * years)]
        paying = [step for step in let if step >= (start + free) * steps]
        net += area * (rent / 12 / steps * len(paying) + saved * len(let) - once)
    return net


def mean_term(problem: Problem, leases: list[float]) -> float | None:
    """The weighted mean of the years of all leases, by dividing."""
    spaces = [(e.area, e.rent_per_sqm_year, e.remaining_years) for e in problem.existing]
    spaces += [
        (p.area_per_lease * n, p.rent_per_sqm_year, p.term_years) for p, n in zip(problem.packages, leases, strict=True)
    ]
    weights = [area * (rent if problem.wault_weight == "rent" else 1) for area, rent, _ in spaces]
    if sum(weights) <= 0:
        return None
    return sum(w * years for w, (_, _, years) in zip(weights, spaces, strict=True)) / sum(weights)


def limits_of(problem: Problem) -> list[tuple[str, list[float], float]]:
    """Every constraint as Σ coefficient × leases ≤ limit, by its name."""
    packages, total = problem.packages, problem.total_area
    areas = [package.area_per_lease for package in packages]
    there = sum(lease.area for lease in problem.existing)
    by_rent = problem.wault_weight == "rent"
    weights = [area * (p.rent_per_sqm_year if by_rent else 1) for area, p in zip(areas, packages, strict=True)]
    short = [w * (problem.min_wault_years - p.term_years) for w, p in zip(weights, packages, strict=True)]
    given = [
        lease.area * (lease.rent_per_sqm_year if by_rent else 1) * (lease.remaining_years - problem.min_wault_years)
        for lease in problem.existing
    ]
    incentives = [
        p.area_per_lease * (p.rent_per_sqm_year * p.rent_free_months / 12 + p.fitout_per_sqm) for p in packages
    ]
    limits = [
        ("area_max", areas, problem.max_occupancy * total - there),
        ("occupancy_min", [-area for area in areas], there - problem.min_occupancy * total),
        ("incentive_budget", incentives, problem.incentive_budget),
        ("wault", short, sum(given)),
    ]
    for use, cap in problem.use_caps.items():
        limits.append((f"use:{use}", [a * (p.use == use) for a, p in zip(areas, packages, strict=True)], cap * total))
    for index, package in enumerate(packages):
        unit = [float(index == other) for other in range(len(packages))]
        limits.append((f"max_leases:{package.id}", unit, package.max_leases))
        if package.min_leases:
            limits.append((f"min_leases:{package.id}", [-one for one in unit], -package.min_leases))
    return limits


def best_cash(problem: Problem, names: set[str] | None = None) -> float | None:
    """The optimum by scipy; None: infeasible. names: only these constraints have to hold (None: all)."""
    nothing = [0.0] * len(problem.packages)
    base = cash_of(problem, nothing)
    costs = []
    for index in range(len(nothing)):
        one = nothing.copy()
        one[index] = 1.0
        costs.append(base - cash_of(problem, one))
    limits = [(row, limit) for name, row, limit in limits_of(problem) if names is None or name in names]
    rows, tops = np.array([row for row, _ in limits]), np.array([limit for _, limit in limits])
    scale = np.maximum(1e-300, np.abs(rows).max(axis=1)) if len(rows) else np.ones(0)
    scale[scale < 1e-200] = 1.0
    objective = np.zeros(len(costs)) if names is not None else np.array(costs)
    if not len(rows):
        return base
    if problem.mode == "whole":
        found = milp(
            objective,
            constraints=[(rows / scale[:, None], -np.inf, tops / scale)],
            integrality=np.ones(len(costs)),
            options={"mip_rel_gap": 0},
        )
    else:
        found = linprog(objective, A_ub=rows / scale[:, None], b_ub=tops / scale)
    return base - float(found.fun) if found.status == 0 else None


def best_by_trying(problem: Problem) -> float | None:
    """The optimum of a small building by trying every number of leases of every package, with the mean as a ratio."""
    best: float | None = None
    areas = [package.area_per_lease for package in problem.packages]
    there = sum(lease.area for lease in problem.existing)
    nothing = [0.0] * len(areas)
    base = cash_of(problem, nothing)
    gains = [cash_of(problem, [float(i == j) for j in range(len(areas))]) - base for i in range(len(areas))]
    linear = [(np.array(row), limit) for name, row, limit in limits_of(problem) if name != "wault"]
    for leases in product(*(range(package.min_leases, package.max_leases + 1) for package in problem.packages)):
        x = np.array(leases, dtype=float)
        if any(row @ x > limit + _SLIVER * max(1.0, abs(limit), there) for row, limit in linear):
            continue
        mean = mean_term(problem, list(x))
        if mean is not None and mean < problem.min_wault_years - _SLIVER:
            continue
        cash = base + float(np.array(gains) @ x)
        best = cash if best is None or cash > best else best
    return best
