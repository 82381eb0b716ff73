"""What can be forced on an answer, and which limits can be swept, for every kind that says so."""

from typing import Any

import msgspec
import pytest

from solvers.issues import Issue, has_errors
from solvers.kind import Forced, JobKind, Sense
from solvers.kinds.capex_phasing import questions as capex
from solvers.kinds.deal_picker import questions as deals
from solvers.kinds.debt_stack import questions as debt
from solvers.kinds.leasing_mix import questions as leasing
from solvers.patches import apply_patch
from solvers.registry import all_kinds, get_kind

FORCES: dict[str, Any] = {
    "deal-picker": lambda deal: {"deal_id": deal["id"]},
    "debt-stack": lambda tranche: {"tranche_id": tranche["id"], "amount": tranche["max_amount"] / 2},
    "capex-phasing": lambda project: {"project_id": project["id"], "start_month": 0},
    "leasing-mix": lambda package: {"package_id": package["id"], "leases": 1},
}
every_kind = pytest.mark.parametrize("kind", all_kinds().values(), ids=lambda kind: kind.name)


def patched(kind: JobKind[Any, Any], patch: dict[str, Any], before: Any = None) -> Any:
    """Return the problem, the kind's example if none, under a patch that applies and makes no error."""
    after = apply_patch(msgspec.to_builtins(before) if before else kind.example["problem"], patch)
    assert after.issues == []
    problem = msgspec.convert(after.value, kind.problem)
    assert not has_errors(kind.check(problem))
    return problem


def of(kind: JobKind[Any, Any], **changes: Any) -> Any:
    return msgspec.convert({**kind.example["problem"], **changes}, kind.problem)


def codes(forced: Forced) -> list[tuple[str, str]]:
    return [(issue.code, issue.pointer) for issue in forced.issues]


@every_kind
def test_whatever_is_in_the_main_table_can_be_forced(kind: JobKind[Any, Any]) -> None:
    assert kind.why_not is not None
    problem = msgspec.convert(kind.example["problem"], kind.problem)
    for entry in kind.example["problem"][kind.main_table]:
        force = msgspec.convert(FORCES[kind.name](entry), kind.why_not.force)
        forced = kind.why_not.forced(problem, force)
        assert forced.issues == []
        once = patched(kind, forced.patch)
        again = kind.why_not.forced(once, force)
        assert patched(kind, again.patch, once) == once
        assert again.lifted == []


@every_kind
def test_what_is_not_there_can_not_be_forced(kind: JobKind[Any, Any]) -> None:
    assert kind.why_not is not None
    problem = msgspec.convert(kind.example["problem"], kind.problem)
    force = {**FORCES[kind.name]({"id": "nowhere", "max_amount": 1.0})}
    (name,) = [name for name, value in force.items() if value == "nowhere"]
    forced = kind.why_not.forced(problem, msgspec.convert(force, kind.why_not.force))
    assert codes(forced) == [("unknown_id", f"/{name}")]


@every_kind
def test_every_swept_field_can_be_set_between_its_ends(kind: JobKind[Any, Any]) -> None:
    problem = msgspec.convert(kind.example["problem"], kind.problem)
    assert kind.frontier
    for field in kind.frontier:
        low, high = field.span(problem, None) or (1.0, 2.0)
        assert low < high
        for value in (low, (low + high) / 2, high):
            given = round(value) if field.whole else value
            patch = {field.name: given} if field.patch is None else field.patch(problem, given)
            assert patched(kind, patch) is not None


def test_forcing_gives_way_to_nothing_but_the_limits_of_what_is_forced() -> None:
    picker, stack = get_kind("deal-picker"), get_kind("debt-stack")
    ids = [deal["id"] for deal in picker.example["problem"]["deals"]]
    problem = of(picker, must_include=[ids[0]], exclude=[ids[1], ids[2]], exclusive_groups=[])
    forced = deals.forced(problem, deals.Force(deal_id=ids[1]))
    assert (forced.patch["must_include"], forced.patch["exclude"]) == ([ids[0], ids[1]], [ids[2]])
    assert forced.lifted == [f"exclude:{ids[1]}"]
    tranche = stack.example["problem"]["tranches"][0]
    beyond = debt.Force(tranche_id=tranche["id"], amount=2 * tranche["max_amount"])
    assert debt.forced(of(stack), beyond).lifted == [f"max_amount:{tranche['id']}"]
    table = [{**tranche, "min_amount": tranche["max_amount"] / 2}]
    small = debt.Force(tranche_id=tranche["id"], amount=tranche["max_amount"] / 4)
    assert debt.forced(of(stack, tranches=table), small).lifted == [f"min_amount:{tranche['id']}"]
    none = debt.Force(tranche_id=tranche["id"], amount=0)
    assert debt.forced(of(stack, tranches=table), none).lifted == []
    mix = get_kind("leasing-mix")
    package = mix.example["problem"]["packages"][0]
    many = leasing.Force(package_id=package["id"], leases=package["max_leases"] + 1)
    assert leasing.forced(of(mix), many).lifted == [f"max_leases:{package['id']}"]


PROJECT = {"id": "A", "cost": 100, "duration_months": 3, "earliest_start": 2, "latest_finish": 6}


def phasing(**changes: Any) -> Any:
    plan = {"horizon_months": 12, "monthly_cash": 100, "projects": [PROJECT, {**PROJECT, "id": "B"}], **changes}
    return msgspec.convert(plan, get_kind("capex-phasing").problem)


@pytest.mark.parametrize(
    ("month", "lifted"),
    [(0, ["earliest_start:A"]), (3, []), (4, []), (5, ["latest_finish:A"]), (9, ["latest_finish:A"])],
)
def test_a_project_can_be_forced_into_any_month_it_fits_in(month: int, lifted: list[str]) -> None:
    forced = capex.forced(phasing(), capex.Force(project_id="A", start_month=month))
    assert forced.patch == {"projects": {"A": {"earliest_start": month, "latest_finish": month + 2, "required": True}}}
    assert forced.lifted == lifted


def test_a_project_can_not_be_forced_beyond_the_horizon() -> None:
    (issue,) = capex.forced(phasing(), capex.Force(project_id="A", start_month=10)).issues
    assert isinstance(issue, Issue)
    assert (issue.code, issue.pointer) == ("out_of_range", "/start_month")


def test_cash_that_differs_by_month_is_swept_in_its_shape() -> None:
    cash = next(field for field in capex.FRONTIER if field.name == "monthly_cash")
    assert cash.patch is not None
    assert cash.patch(phasing(), 50.0) == {"monthly_cash": 50.0}
    varying = phasing(monthly_cash=[0, 200] * 6)
    assert cash.span(varying, None) == (50, 150)
    assert cash.patch(varying, 50.0) == {"monthly_cash": [0, 100] * 6}


def test_less_time_is_better_where_time_is_the_objective() -> None:
    assert capex.sense_of(phasing()) is Sense.MAXIMIZE
    assert capex.sense_of(phasing(objective="makespan")) is Sense.MINIMIZE
