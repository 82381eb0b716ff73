"""What limits are worth, beside finite differences; conflicts and repairs, beside the other formulation."""

import random
from collections import defaultdict
from importlib import resources

import msgspec
import pytest

from solvers.explain import DualKind
from solvers.kinds.debt_stack import KIND
from solvers.kinds.debt_stack.fields import Field, fields_of
from solvers.kinds.debt_stack.problem import Problem, Solution
from solvers.kinds.debt_stack.search import cheapest
from solvers.progress import Silent
from solvers.report import Unit
from solvers.result import SolveResult, SolveStatus
from tests.solvers.kinds.test_debt_stack_oracle import EXACT, a_problem, can_hold


def solved(problem: Problem) -> SolveResult[Solution]:
    result: SolveResult[Solution] = KIND.solve(problem, EXACT, Silent())
    return result


def step_of(problem: Problem, field: Field) -> float:
    return 1e-6 * problem.cost if field.unit is Unit.MONEY else 1e-6


def slope_by_difference(problem: Problem, field: Field, cost: float) -> float:
    """The derivative on the side that relaxes, where there is one, by solving again."""
    step = field.priced_side * step_of(problem, field)
    changed = cheapest(field.change(problem, field.limit + step), EXACT)
    assert changed is not None
    return (changed - cost) / step


@pytest.mark.parametrize("seed", range(6))
def test_a_price_is_the_derivative_of_the_cost_by_its_field(seed: int) -> None:
    rng = random.Random(f"prices {seed}")
    for _ in range(12):
        problem = a_problem(rng, conditions=False)
        result = solved(problem)
        if result.solution is None:
            continue
        assert result.explanation.dual_kind is DualKind.LP
        by_path: dict[tuple[str, ...], float] = defaultdict(float)
        fields = {field.path: field for field in fields_of(problem)}
        for field, constraint in zip(fields_of(problem), result.explanation.constraints, strict=True):
            assert constraint.name == field.name
            by_path[field.path] += constraint.shadow_price or 0.0
        for path, price in by_path.items():
            expected = slope_by_difference(problem, fields[path], result.solution.annual_cost)
            size = problem.cost if fields[path].unit is not Unit.MONEY else 1.0
            assert price == pytest.approx(expected, rel=1e-4, abs=1e-5 * size), (path, msgspec.json.encode(problem))


@pytest.mark.parametrize("seed", range(6))
def test_a_price_is_exact_from_end_to_end_of_its_range(seed: int) -> None:
    rng = random.Random(f"ranges {seed}")
    for _ in range(12):
        problem = a_problem(rng, conditions=seed % 2 == 1)
        result = solved(problem)
        if result.solution is None or result.explanation.dual_kind is not DualKind.LP:
            continue
        cost = result.solution.annual_cost
        for field, constraint in zip(fields_of(problem), result.explanation.constraints, strict=True):
            for end in (constraint.valid_from, constraint.valid_to):
                if end is None or end <= 0:
                    continue
                inside = field.limit + (end - field.limit) * (1 - 1e-9)
                expected = cost + (constraint.shadow_price or 0.0) * (inside - field.limit)
                there = cheapest(field.change(problem, inside), EXACT)
                assert there == pytest.approx(expected, rel=1e-6), (field.name, end, msgspec.json.encode(problem))


@pytest.mark.parametrize("seed", range(4))
def test_with_drawn_tranches_fixed_a_price_never_promises_more_than_solving_again_gives(seed: int) -> None:
    rng = random.Random(f"integer {seed}")
    seen = 0
    while seen < 6:
        problem = a_problem(rng, conditions=True)
        result = solved(problem)
        if result.explanation.dual_kind is not DualKind.FIXED_INTEGER or result.solution is None:
            continue
        seen += 1
        cost = result.solution.annual_cost
        for field, constraint in zip(fields_of(problem), result.explanation.constraints, strict=True):
            if field.is_coefficient or constraint.shadow_price is None:
                continue
            step = field.relax * step_of(problem, field)
            room = constraint.valid_to if step > 0 else constraint.valid_from
            if room is None or abs(room - field.limit) > abs(step):
                changed = cheapest(field.change(problem, field.limit + step), EXACT)
                assert changed is not None
                assert changed <= cost + constraint.shadow_price * step + 1e-9 * cost


def test_the_price_of_cover_is_shared_out_among_the_scenarios_that_bind() -> None:
    problem = msgspec.convert(
        {
            "purchase_price": 1e6,
            "noi_annual": 60_000,
            "max_ltv": 0.9,
            "min_dscr": 1.5,
            "equity": {"cost_rate": 0.12},
            "tranches": [
                {
                    "id": "a",
                    "seniority": 1,
                    "rate_type": "floating",
                    "spread": 0.03,
                    "max_amount": 9e5,
                    "term_years": 5,
                },
                {"id": "b", "seniority": 1, "rate_type": "fixed", "rate": 0.07, "max_amount": 9e5, "term_years": 5},
            ],
            "scenarios": [
                {"name": "low", "weight": 1, "index_rate": 0.01, "noi_factor": 0.8},
                {"name": "high", "weight": 1, "index_rate": 0.07},
            ],
        },
        Problem,
    )
    result = solved(problem)
    assert result.solution is not None
    parts = {c.name: c.shadow_price or 0.0 for c in result.explanation.constraints if c.name.startswith("dscr:")}
    assert min(parts["dscr:low"], parts["dscr:high"]) > 0
    field = next(field for field in fields_of(problem) if field.name == "dscr:low")
    expected = slope_by_difference(problem, field, result.solution.annual_cost)
    assert sum(parts.values()) == pytest.approx(expected, rel=1e-4)
    assert all(c.valid_from is None and c.valid_to is None for c in result.explanation.constraints if c.name in parts)


def test_the_purchase_price_moves_the_loan_to_value_only_where_it_stands_in_for_the_property_value() -> None:
    base = msgspec.json.decode(msgspec.json.encode(KIND.example["problem"]), type=Problem)
    for value in (None, base.purchase_price):
        problem = msgspec.structs.replace(base, property_value=value)
        result = solved(problem)
        assert result.solution is not None
        expected = slope_by_difference(problem, fields_of(problem)[0], result.solution.annual_cost)
        assert result.explanation.constraints[0].shadow_price == pytest.approx(expected, rel=1e-4)


def test_a_tie_between_limits_is_priced_on_the_side_that_relaxes() -> None:
    problem = msgspec.convert(
        {
            "purchase_price": 1e6,
            "noi_annual": 1e5,
            "max_ltv": 0.6,
            "min_dscr": 1,
            "equity": {"cost_rate": 0.12},
            "tranches": [
                {"id": "a", "seniority": 1, "rate_type": "fixed", "rate": 0.05, "max_amount": 6e5, "term_years": 5},
                {
                    "id": "b", "seniority": 2, "rate_type": "fixed", "rate": 0.04,
                    "max_amount": 2e5, "max_ltv": 0.6, "term_years": 5,
                },
            ],
        },
        Problem,
    )  # fmt: skip
    result = solved(problem)
    prices = {c.name: c for c in result.explanation.constraints}
    assert result.solution is not None
    for field in fields_of(problem):
        if not field.is_coefficient:
            expected = slope_by_difference(problem, field, result.solution.annual_cost)
            assert prices[field.name].shadow_price == pytest.approx(expected, rel=1e-4, abs=1e-6), field.name


@pytest.mark.parametrize("seed", range(4))
def test_a_conflict_can_not_hold_together_and_can_without_any_one_of_it(seed: int) -> None:
    rng = random.Random(f"conflict {seed}")
    seen = 0
    while seen < 10:
        problem = a_problem(rng, conditions=True)
        result = solved(problem)
        if result.status is not SolveStatus.INFEASIBLE:
            continue
        seen += 1
        names = set(result.explanation.conflicts)
        assert "equity_available" in names or any(tranche.required for tranche in problem.tranches)
        assert not can_hold(problem, names)
        assert all(can_hold(problem, names - {name}) for name in names)


@pytest.mark.parametrize("seed", range(4))
def test_a_repair_works_and_a_little_less_does_not(seed: int) -> None:
    rng = random.Random(f"repair {seed}")
    seen = 0
    while seen < 8:
        problem = a_problem(rng, conditions=True)
        result = solved(problem)
        if result.status is not SolveStatus.INFEASIBLE:
            continue
        seen += 1
        fields = {tuple(field.path): field for field in fields_of(problem)}
        offers_equity = any(repair.patch.keys() == {"equity"} for repair in result.explanation.repairs)
        assert offers_equity or any(tranche.required for tranche in problem.tranches)
        for repair in result.explanation.repairs:
            path, value = path_and_value(repair.patch)
            field = fields[path]
            assert repair.cost == pytest.approx(abs(value - field.limit))
            repaired = solved(field.change(problem, value))
            assert repaired.status is SolveStatus.OPTIMAL
            if path != ("purchase_price",):
                less = value - field.relax * (1e-6 * problem.cost if field.unit is Unit.MONEY else 1e-5)
                if field.relax * (less - field.limit) > 0:
                    assert solved(field.change(problem, less)).status is SolveStatus.INFEASIBLE


def path_and_value(patch: dict[str, object]) -> tuple[tuple[str, ...], float]:
    path: list[str] = []
    inner: object = patch
    while isinstance(inner, dict):
        ((name, inner),) = inner.items()
        path.append(name)
    assert isinstance(inner, float)
    return tuple(path), inner


def test_suggestions_are_solved_again_and_sorted_by_what_they_save() -> None:
    problem = msgspec.convert(KIND.example["problem"], Problem)
    result = solved(problem)
    assert result.objective is not None
    changes = [one.expected_change for one in result.explanation.what_if]
    assert changes == sorted(changes)
    assert len(changes) >= 3
    fields = {field.path: field for field in fields_of(problem)}
    for one in result.explanation.what_if:
        path, value = path_and_value(one.patch)
        changed = solved(fields[path].change(problem, value))
        assert changed.objective == pytest.approx(result.objective + one.expected_change, rel=1e-9)


def test_a_tranche_that_is_not_drawn_says_what_drawing_it_would_add() -> None:
    def offered(rate: float) -> SolveResult[Solution]:
        tranche = {"id": "dear", "seniority": 3, "rate_type": "fixed", "rate": rate, "max_amount": 1e5, "term_years": 5}
        data = msgspec.json.decode(resources.files(KIND.package).joinpath("cases/worked_example.json").read_bytes())
        data["problem"]["tranches"].append(tranche)
        return solved(msgspec.convert(data["problem"], Problem))

    dear = offered(0.1)
    (cost,) = dear.explanation.reduced_costs
    assert (cost.id, cost.value) == ("dear", pytest.approx(0.01))
    assert dear.objective == pytest.approx(77_820)
    assert offered(0.1 - cost.value + 1e-6).objective == pytest.approx(77_820)
    assert offered(0.1 - cost.value - 1e-6).objective < 77_820 - 0.05


class StoppedLater(Silent):
    """Asks to stop as soon as the answer is being explained."""

    explaining = False

    def phase(self, name: str, fraction: float | None = None) -> None:  # noqa: ARG002 (the protocol's signature)
        self.explaining = name == "explain"

    def stop_requested(self) -> bool:
        return self.explaining


def test_advice_ends_when_somebody_asks_to_stop_and_the_answer_stays() -> None:
    problem = msgspec.convert(KIND.example["problem"], Problem)
    result = KIND.solve(problem, EXACT, StoppedLater())
    assert result.status is SolveStatus.OPTIMAL
    assert result.objective == solved(problem).objective
    assert result.explanation.what_if == []
    assert result.explanation.constraints
