"""When to start which value-add project: what is asked and what is answered."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from solvers.amounts import Money

MOST_PROJECTS = 500

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Share = Annotated[float, Meta(ge=0, le=1)]
Month = Annotated[int, Meta(ge=0, le=100_000)]
YearMonth = Annotated[str, Meta(pattern=r"^[12]\d{3}-(0[1-9]|1[0-2])$")]


class Objective(StrEnum):
    """What makes one plan better than another."""

    NPV = "npv"
    UPLIFT = "uplift"
    MAKESPAN = "makespan"


class LeftOutReason(StrEnum):
    """Why a project is not in the plan."""

    NOT_WORTH = "not_worth"
    NO_CASH = "no_cash"
    NO_CAPACITY = "no_capacity"
    PREDECESSOR = "predecessor"
    NO_TIME = "no_time"


class Resource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that running projects use, such as crews.

    capacity: how much of it there is in each month.
    """

    id: Id
    capacity: Amount


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that may be done; started, it runs without a break.

    cost: money. duration_months: whole months. cost_profile: when the cost is paid: even, upfront (in the first month),
    completion (in the last), or a share for each month, summing to 1. monthly_uplift: money a month from the month
    after its last to the horizon. earliest_start: month, 0 is the first. latest_finish: month (null: the horizon).
    after: ids of projects that must be finished before it starts. uses: how much of each resource it needs in each
    month that it runs. required: whether it must be done.
    """

    id: Id
    name: str = ""
    cost: Money
    duration_months: Annotated[int, Meta(ge=1, le=1200)]
    cost_profile: Literal["even", "upfront", "completion"] | list[Share] = "even"
    monthly_uplift: Money = 0.0
    earliest_start: Month = 0
    latest_finish: Month | None = None
    after: list[Id] = []
    uses: dict[Id, Amount] = {}
    required: bool = False

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name or self.id


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Projects, and the cash and capacity to do them with. Months count from 0, the month of `start`.

    start: year and month of month 0; only dates depend on it. horizon_months: how many months there are.
    discount_rate_annual: a fraction a year. monthly_cash: money a month, or one amount for each month. carry_over:
    whether unspent cash can be spent later. reinvest_uplift: whether uplift is cash too. max_parallel: how many
    projects may run at once (null: no limit). currency: a label only.
    """

    start: YearMonth = "2026-01"
    horizon_months: Annotated[int, Meta(ge=1, le=240)]
    discount_rate_annual: Annotated[float, Meta(gt=-1, le=1)] = 0.08
    objective: Objective = Objective.NPV
    monthly_cash: Money | list[Money]
    carry_over: bool = True
    reinvest_uplift: bool = False
    max_parallel: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    resources: Annotated[list[Resource], Meta(max_length=1000)] = []
    projects: Annotated[list[Project], Meta(min_length=1, max_length=MOST_PROJECTS)]
    currency: str = "EUR"


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A project of the plan.

    start_month, finish_month: its first and last month. start_date, finish_date: first day of the one, last day of the
    other. cost, uplift_total (within the horizon, not discounted), npv: money.
    """

    project_id: str
    start_month: int
    finish_month: int
    start_date: date
    finish_date: date
    cost: float
    uplift_total: float
    npv: float


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A project that is not in the plan, and why, given those that are.

    `predecessor`: one that it needs is left out; `no_time`: its months do not suffice; `not_worth`: it would add
    nothing at any start; `no_cash`, `no_capacity`: it would add something, and this is what it lacks.
    """

    project_id: str
    reason: LeftOutReason


class CashMonth(msgspec.Struct, frozen=True, kw_only=True):
    """One month's money.

    available: cash of the month with what was carried in (and the uplift, if that is reinvested). carried: unspent, to
    the next month (0 without carry-over). uplift: received in the month.
    """

    month: int
    available: float
    spent: float
    carried: float
    uplift: float


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """A plan.

    schedule: by start month. npv, total_uplift: money within the horizon. makespan: months until the last project of
    the plan is finished. payback_month: first month from which uplift less spending, added up undiscounted, stays ≥ 0;
    null if it never does.
    """

    schedule: list[Scheduled]
    left_out: list[LeftOut]
    cash: list[CashMonth]
    npv: float
    total_uplift: float
    makespan: int
    payback_month: int | None
