"""Allocations as the answer that people read."""

import numpy as np

from solvers.backends.model import Floats
from solvers.kinds.deal_picker.formulation import ON, Deals, objective
from solvers.kinds.deal_picker.problem import Allocation, Problem, Slice, Solution


def solution_of(problem: Problem, deals: Deals, x: Floats) -> Solution:
    """Write down a plan x, shape (n,)."""
    bought = np.flatnonzero(x > ON)
    bought = bought[np.argsort(-deals.prices[bought] * x[bought], kind="stable")]
    shares, amounts = x[bought], deals.prices[bought] * x[bought]
    allocated = float(amounts.sum())
    return Solution(
        allocations=[
            Allocation(
                deal_id=problem.deals[at].id,
                allocation=float(x[at]),
                amount=float(deals.prices[at] * x[at]),
                yield_=float(deals.yields[at] * x[at]),
                risk=float(deals.risks[at] * x[at]),
            )
            for at in bought
        ],
        objective_value=float(objective(problem, deals)[bought] @ shares),
        total_allocated=allocated,
        total_yield=float(deals.yields[bought] @ shares),
        total_risk=float(deals.risks[bought] @ shares),
        deal_count=len(bought),
        by_sector=_slices([deals.sectors[at] for at in bought], amounts, shares, allocated),
        by_city=_slices([deals.cities[at] for at in bought], amounts, shares, allocated),
        unspent=problem.budget - allocated,
    )


def _slices(names: list[str], amounts: Floats, shares: Floats, allocated: float) -> dict[str, Slice]:
    """Sum up by name, the largest amount first."""
    sums: dict[str, tuple[float, float]] = {}
    for name, amount, share in zip(names, amounts.tolist(), shares.tolist(), strict=True):
        so_far = sums.get(name, (0.0, 0.0))
        sums[name] = (so_far[0] + amount, so_far[1] + share)
    return {
        name: Slice(amount=amount, share=amount / allocated, allocations=share)
        for name, (amount, share) in sorted(sums.items(), key=lambda entry: (-entry[1][0], entry[0]))
    }
