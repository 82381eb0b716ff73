"""Why an answer is what it is: one vocabulary for LP, MILP and constraint programming."""

from enum import StrEnum
from typing import Any

import msgspec


class DualKind(StrEnum):
    """Where shadow prices come from: an LP, a MILP with its integers fixed, or nowhere."""

    LP = "lp"
    FIXED_INTEGER = "fixed_integer"
    NONE = "none"


class ConstraintReport(msgspec.Struct, frozen=True, kw_only=True):
    """One constraint of the answer, named after the problem field it comes from.

    activity, limit, slack: in the unit of that field; slack ≥ 0 when it holds. shadow_price: derivative of the
    objective by the field, all other fields as given, with its sign as it is; null where the model has none.
    valid_from, valid_to: values of the limit between which the price is exact (null: no such range, or unbounded).
    """

    name: str
    label: str
    activity: float | None
    limit: float | None
    slack: float | None
    binding: bool
    shadow_price: float | None = None
    valid_from: float | None = None
    valid_to: float | None = None


class ReducedCost(msgspec.Struct, frozen=True):
    """The change of the objective per unit of a variable forced away from its bound."""

    id: str
    value: float


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """A relaxation that makes an infeasible problem feasible: solved before it is offered.

    patch: JSON merge patch of the problem. cost: how much is relaxed, in the unit of the field patched.
    """

    label: str
    patch: dict[str, Any]
    cost: float


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A change worth considering: re-solved, never multiplied.

    expected_change: of the objective, in its unit. valid_from, valid_to: range of the limit in which the price holds.
    """

    label: str
    patch: dict[str, Any]
    expected_change: float
    valid_from: float | None = None
    valid_to: float | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why the answer is what it is.

    `near_misses`: what was left out and how far it is from being chosen, in the kind's own words (a deal and the yield
    that it lacks have no like elsewhere), so that no one type fits them all. `conflicts` are constraint names;
    `sentences` say the most useful of it in plain words with units.
    """

    dual_kind: DualKind = DualKind.NONE
    constraints: list[ConstraintReport] = []
    reduced_costs: list[ReducedCost] = []
    near_misses: list[dict[str, Any]] = []
    conflicts: list[str] = []
    repairs: list[Repair] = []
    what_if: list[WhatIf] = []
    sentences: list[str] = []
