"""Zeros: a problem that `check` accepts is answered, whichever of its numbers are the least that they may be."""

import random
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from solvers.issues import has_errors
from solvers.kinds import debt_stack
from solvers.progress import Silent
from tests.solvers.kinds.deal_picker.problems import problem_of, solved
from tests.solvers.kinds.leasing_mix.problems import EXACT
from tests.solvers.kinds.numbers import KINDS, Bounds, with_numbers

_ALMOST_NOTHING = 1e-3
"""Of a number that must be above 0."""


def lowered(value: Any, declared: inspect.Type, rng: random.Random, share: float) -> Any:
    """The value with a share of its numbers at the least that their type allows."""

    def least(number: float, bounds: Bounds) -> float:
        if rng.random() >= share:
            return number
        if bounds.least is not None:
            return bounds.least
        return number if bounds.above is None else bounds.above + _ALMOST_NOTHING

    return with_numbers(value, declared, least)


@pytest.mark.parametrize("name", KINDS)
def test_numbers_at_their_least_lead_to_an_answer_that_holds(name: str) -> None:
    kind, make = KINDS[name]
    declared, answered = inspect.type_info(kind.problem), 0
    for seed in range(80):
        rng = random.Random(f"{name} {seed}")
        body = lowered(msgspec.to_builtins(make(rng)), declared, rng, rng.choice([0.05, 0.15, 0.4]))
        problem = msgspec.convert(body, kind.problem)
        if has_errors(kind.check(problem)):
            continue
        result = kind.solve(problem, EXACT, Silent())
        assert kind.describe(problem, result).title
        assert result.solution is None or kind.verify(problem, result.solution) == [], body
        answered += 1
    assert answered >= 30


def test_a_deal_that_must_be_in_but_can_not_be_bought_at_all_is_priced_by_its_first_share() -> None:
    deals = [
        {"id": "A", "price": 100.0, "yield": 4.0, "max_allocation": 0.0},
        {"id": "B", "price": 100.0, "yield": 9.0},
    ]
    result = solved(problem_of({"budget": 50.0, "deals": deals, "must_include": ["A"]}))
    assert result.objective == pytest.approx(4.5)
    _, forced = result.explanation.constraints
    assert (forced.name, forced.activity, forced.limit, forced.binding) == ("must_include:A", 0.0, 0.0, True)
    assert forced.shadow_price == pytest.approx(4.0 - 9.0)
    assert (forced.valid_from, forced.valid_to) == (0.0, pytest.approx(0.5))


def test_where_income_pays_for_next_to_no_debt_a_tranche_with_a_minimum_is_not_drawn_by_a_few_cents() -> None:
    terms = {"seniority": 1, "rate_type": "fixed", "rate": 0.03}
    bank = terms | {"id": "bank", "min_amount": 3155368.02, "max_amount": 12621472.06, "term_years": 1}
    fund = terms | {"id": "fund", "max_amount": 12300083.42, "amortization_years": 25, "term_years": 10}
    body = {
        "purchase_price": 25e6, "noi_annual": 0.0011, "max_ltv": 0.9, "min_dscr": 1.2,
        "equity": {"cost_rate": 0.12, "min_share": 0.35}, "tranches": [bank, fund],
    }  # fmt: skip
    problem = msgspec.convert(body, debt_stack.KIND.problem)
    result = debt_stack.KIND.solve(problem, EXACT, Silent())
    assert result.solution is not None
    assert "bank" not in {source.id for source in result.solution.sources}
    assert debt_stack.KIND.verify(problem, result.solution) == []
