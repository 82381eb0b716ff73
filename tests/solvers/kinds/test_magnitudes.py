"""Numbers of very different size: a problem that `check` accepts is answered, and the answer holds."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from solvers.issues import has_errors
from solvers.limits import SolveLimits
from solvers.progress import Silent
from tests.solvers.kinds.numbers import KINDS, Bounds, with_numbers

LIMITS = SolveLimits(seconds=30, relative_gap=0.0, threads=1)
ALMOST = [1e-12, 1e-9, 1e-3]
"""Above a bound that a number may not have."""

Change = Callable[[float, Bounds], float]


def spread(rng: random.Random) -> Change:
    """Numbers up to eight orders of magnitude smaller or larger."""
    share = rng.choice([0.1, 0.3, 1])

    def change(number: float, bounds: Bounds) -> float:
        return within(number * 10 ** rng.uniform(-8, 8), bounds) if rng.random() < share else number

    return change


def ends(rng: random.Random) -> Change:
    """Numbers at one end of what they may be."""
    share = rng.choice([0.05, 0.2, 0.5])

    def change(number: float, bounds: Bounds) -> float:
        if rng.random() >= share:
            return number
        choices = [] if bounds.least is None else [bounds.least]
        choices += [] if bounds.above is None else [bounds.above + rng.choice(ALMOST)]
        return rng.choice([*choices, *([within(number * 1e15, bounds)] if bounds.most is None else [bounds.most] * 2)])

    return change


def tops(rng: random.Random) -> Change:
    """Numbers as large as they may be."""
    share = rng.choice([0.05, 0.2, 0.6])

    def change(number: float, bounds: Bounds) -> float:
        return number if rng.random() >= share or bounds.most is None else bounds.most

    return change


WAYS = {"wild8": spread, "edges": ends, "top": tops}
SEEN = {
    "deal-picker": {"wild8": [100], "edges": [150, 361], "top": [183, 270, 288]},
    "leasing-mix": {"wild8": [28, 115, 146, 158, 179, 258, 352, 390, 393], "edges": [42, 115], "top": []},
    "debt-stack": {"wild8": [270], "edges": [12, 259, 340], "top": []},
    "capex-phasing": {"wild8": [112], "edges": [84], "top": [73]},
}
"""Seeds of problems that once ended with no answer, or with one that did not hold."""


def within(number: float, bounds: Bounds) -> float:
    number = number if bounds.most is None else min(number, bounds.most)
    number = number if bounds.least is None else max(number, bounds.least)
    number = bounds.above + 1e-9 if bounds.above is not None and number <= bounds.above else number
    return int(number) if bounds.whole else number


def problem_of(name: str, way: str, seed: int) -> Any:
    """A random problem of very different numbers."""
    kind, make = KINDS[name]
    rng = random.Random(f"{name} {way} {seed}")
    base = msgspec.to_builtins(make(rng))
    return msgspec.convert(with_numbers(base, inspect.type_info(kind.problem), WAYS[way](rng)), kind.problem)


def assert_answered(name: str, way: str, seed: int) -> bool:
    """Tell whether the problem is accepted; where it is, it has an answer that holds."""
    kind, problem = KINDS[name][0], problem_of(name, way, seed)
    if has_errors(kind.check(problem)):
        return False
    result = kind.solve(problem, LIMITS, Silent())
    assert kind.describe(problem, result).title
    assert result.solution is None or kind.verify(problem, result.solution) == []
    return True


@pytest.mark.parametrize(
    ("name", "way", "seed"),
    [(name, way, seed) for name, ways in SEEN.items() for way, seeds in ways.items() for seed in seeds],
)
def test_what_once_had_no_answer_that_holds_has_one(name: str, way: str, seed: int) -> None:
    assert assert_answered(name, way, seed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", KINDS)
def test_numbers_of_very_different_size_lead_to_an_answer_that_holds(name: str, way: str) -> None:
    assert sum(assert_answered(name, way, seed) for seed in range(1000, 1012)) >= 3


def test_a_sliver_of_a_lease_that_the_mean_term_hangs_on_is_no_rounding() -> None:
    dear = {"id": "dear", "area_per_lease": 1e9, "max_leases": 67, "rent_per_sqm_year": 350_000.0, "term_years": 1000.0}
    short = {"id": "short", "area_per_lease": 137.2, "max_leases": 8, "rent_per_sqm_year": 300.0, "term_years": 0.25}
    body = {
        "total_area": 4e7, "min_wault_years": 4.0, "incentive_budget": 29_772.0, "min_occupancy": 4e-7,
        "opex_per_sqm_year": 1e9, "void_cost_per_sqm_year": 1e9,
        "packages": [dear | {"rent_free_months": 12_000, "start_month": 11}, short | {"fitout_per_sqm": 20.0}],
    }  # fmt: skip
    kind = KINDS["leasing-mix"][0]
    problem = msgspec.convert(body, kind.problem)
    result = kind.solve(problem, LIMITS, Silent())
    assert {offer.package_id for offer in result.solution.offers} == {"dear", "short"}
    assert kind.verify(problem, result.solution) == []
