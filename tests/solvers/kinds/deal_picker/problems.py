"""Small random portfolios: whole numbers, so that ties and degenerate optima are the rule."""

from itertools import product
from typing import Any

import msgspec
import numpy as np

from solvers.kinds.deal_picker import KIND
from solvers.kinds.deal_picker.problem import Deal, Problem, Solution
from solvers.limits import SolveLimits
from solvers.patches import apply_patch
from solvers.progress import Silent
from solvers.result import SolveResult

EXACT = SolveLimits(seconds=60, relative_gap=0.0)


def case(name: str) -> dict[str, Any]:
    from importlib import resources

    body = resources.files("solvers.kinds.deal_picker").joinpath("cases", f"{name}.json").read_bytes()
    return msgspec.json.decode(body)["problem"]


def problem_of(body: dict[str, Any], **changes: Any) -> Problem:
    return msgspec.convert(body | changes, Problem)


def solved(problem: Problem, limits: SolveLimits = EXACT) -> SolveResult[Solution]:
    return KIND.solve(problem, limits, Silent())


def with_patch(problem: Problem, patch: dict[str, Any]) -> Problem:
    """The problem under a patch, through the code that serves callers' what-ifs."""
    return msgspec.convert(apply_patch(msgspec.to_builtins(problem), patch).value, Problem)


def random_problem(seed: int, *, switches: bool = False, mode: str = "fractional") -> Problem:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 8))
    rate = bool(generator.random() < 0.5)
    deals = []
    for i in range(n):
        most = float(generator.choice([1.0, 1.0, 0.5, 0.0])) if mode == "fractional" else 1.0
        least = float(generator.choice([0.0, 0.25, 0.5])) if switches else 0.0
        deals.append(
            Deal(
                id=f"D{i}",
                price=float(generator.integers(1, 6) * 10),
                yield_=float(generator.integers(-1, 8)) / 100 if rate else float(generator.integers(0, 8)),
                risk=float(generator.integers(0, 5)) / (100 if rate else 1),
                sector=str(generator.choice(["a", "b", ""])),
                city=str(generator.choice(["x", "y", "z"])),
                min_allocation=min(least, most),
                max_allocation=most,
            )
        )
    basis = str(generator.choice(["allocations", "amount", "share_of_budget"]))
    unit = {"allocations": 0.5, "amount": 20.0, "share_of_budget": 0.2}[basis]
    chosen = [f"D{i}" for i in range(n)]
    generator.shuffle(chosen)
    some = switches or mode == "whole"
    return Problem(
        budget=float(generator.integers(2, 14) * 10),
        deals=deals,
        risk_penalty=float(generator.choice([0.0, 0.0, 0.5])),
        max_risk=float(generator.integers(0, 6)) if generator.random() < 0.4 else None,
        yield_basis="rate" if rate else "amount",
        mode=mode,  # type: ignore[arg-type]
        sector_caps={name: float(generator.integers(0, 5)) * unit for name in ("a", "b") if generator.random() < 0.7},
        city_caps={name: float(generator.integers(0, 5)) * unit for name in ("x", "y") if generator.random() < 0.5},
        cap_basis=basis,  # type: ignore[arg-type]
        max_deals=int(generator.integers(0, n + 1)) if some and generator.random() < 0.5 else None,
        must_include=chosen[:1] if generator.random() < 0.3 else [],
        exclude=chosen[1:2] if generator.random() < 0.3 else [],
        exclusive_groups=[chosen[2:5]] if some and generator.random() < 0.5 else [],
    )


class Oracle:
    """The problem written down a second time, densely and for scipy; `choices` are what brute force goes through."""

    def __init__(self, problem: Problem) -> None:
        deals = problem.deals
        self.problem = problem
        self.prices = np.array([deal.price for deal in deals])
        weights = self.prices if problem.yield_basis == "rate" else np.ones(len(deals))
        self.risks = weights * [deal.risk for deal in deals]
        self.worth = weights * [deal.yield_ for deal in deals] - problem.risk_penalty * self.risks
        excluded = set(problem.exclude)
        self.most = np.array([0.0 if deal.id in excluded else deal.max_allocation for deal in deals])
        self.least = np.array([deal.min_allocation for deal in deals])
        self.must = np.array([deal.id in set(problem.must_include) for deal in deals])
        self.rows, self.limits = self._rows()

    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        problem = self.problem
        rows, limits = [self.prices], [problem.budget]
        if problem.max_risk is not None:
            rows.append(self.risks)
            limits.append(problem.max_risk)
        measure = np.ones(len(self.prices)) if problem.cap_basis == "allocations" else self.prices
        unit = problem.budget if problem.cap_basis == "share_of_budget" else 1.0
        for field, caps in (("sector", problem.sector_caps), ("city", problem.city_caps)):
            for name, cap in caps.items():
                rows.append(measure * [getattr(deal, field) == name for deal in problem.deals])
                limits.append(cap * unit)
        return np.array(rows), np.array(limits)

    def bounds(self, bought: tuple[bool, ...] | None) -> list[tuple[float, float]]:
        """Bounds of the shares when it is settled which deals are bought (None: not a question)."""
        lower = np.where(self.must, np.where(self.least > 0, self.least, self.most), 0.0)
        upper = self.most.copy()
        if bought is not None:
            on = np.array(bought)
            lower, upper = np.where(on, np.maximum(lower, self.least), lower), np.where(on, upper, 0.0)
        return list(zip(lower, upper, strict=True))

    def choices(self) -> list[tuple[bool, ...]]:
        """Every set of deals that obeys max_deals and the groups, and has what must be in."""
        problem, ids = self.problem, [deal.id for deal in self.problem.deals]
        found = []
        for bought in product([False, True], repeat=len(ids)):
            chosen = {deal_id for deal_id, on in zip(ids, bought, strict=True) if on}
            if any(
                needed and most > 0 and not on for needed, most, on in zip(self.must, self.most, bought, strict=True)
            ):
                continue
            if problem.max_deals is not None and len(chosen) > problem.max_deals:
                continue
            if any(len(chosen & set(group)) > 1 for group in problem.exclusive_groups):
                continue
            found.append(bought)
        return found
