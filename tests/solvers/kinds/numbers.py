"""Random problems of every kind, and other numbers in their place, within what their types allow."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import inspect

from solvers.kind import JobKind
from solvers.kinds import capex_phasing, deal_picker, debt_stack, leasing_mix
from tests.solvers.kinds import test_capex_phasing_oracle, test_debt_stack_oracle
from tests.solvers.kinds.deal_picker.problems import random_problem
from tests.solvers.kinds.leasing_mix.problems import a_problem as a_building

Make = Callable[[random.Random], Any]
KINDS: dict[str, tuple[JobKind[Any, Any], Make]] = {
    "deal-picker": (
        deal_picker.KIND,
        lambda rng: random_problem(rng.randrange(10**6), switches=rng.random() < 0.5),
    ),
    "leasing-mix": (leasing_mix.KIND, lambda rng: a_building(rng, mode=rng.choice(["fractional", "whole"]))),
    "debt-stack": (
        debt_stack.KIND,
        lambda rng: test_debt_stack_oracle.a_problem(rng, conditions=rng.random() < 0.5),
    ),
    "capex-phasing": (
        capex_phasing.KIND,
        lambda rng: test_capex_phasing_oracle.a_problem(rng, rng.choice(["npv", "uplift", "makespan"])),
    ),
}


class Bounds(NamedTuple):
    """What the type of a number says: it is at least `least`, above `above`, at most `most`; None: nothing."""

    least: float | None
    above: float | None
    most: float | None
    whole: bool


def with_numbers(value: Any, declared: inspect.Type, change: Callable[[float, Bounds], float]) -> Any:
    """The value with every number of it changed."""
    type_ = _bare(declared)
    if isinstance(value, dict) and isinstance(type_, inspect.StructType):
        return {field.encode_name: with_numbers(value[field.encode_name], field.type, change) for field in type_.fields}
    if isinstance(value, dict) and isinstance(type_, inspect.DictType):
        return {key: with_numbers(entry, type_.value_type, change) for key, entry in value.items()}
    if isinstance(type_, inspect.UnionType):
        sorts = inspect.ListType if isinstance(value, list) else inspect.FloatType | inspect.IntType
        fitting = [option for option in type_.types if isinstance(_bare(option), sorts)]
        return value if value is None or not fitting else with_numbers(value, fitting[0], change)
    if isinstance(value, list) and isinstance(type_, inspect.ListType):
        return [with_numbers(entry, type_.item_type, change) for entry in value]
    if isinstance(type_, inspect.FloatType | inspect.IntType):
        return change(value, _bounds(type_, declared))
    return value


def _bare(declared: inspect.Type) -> inspect.Type:
    return declared.type if isinstance(declared, inspect.Metadata) else declared


def _bounds(type_: Any, declared: inspect.Type) -> Bounds:
    schema = (declared.extra_json_schema or {}) if isinstance(declared, inspect.Metadata) else {}
    return Bounds(
        least=type_.ge if type_.ge is not None else schema.get("minimum"),
        above=type_.gt if type_.gt is not None else schema.get("exclusiveMinimum"),
        most=type_.le if type_.le is not None else schema.get("maximum"),
        whole=isinstance(type_, inspect.IntType),
    )
