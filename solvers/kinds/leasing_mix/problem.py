"""Which lease packages to offer in a building: what is asked and what is answered."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from solvers.amounts import Money

MOST_LEASES = 1_000_000
Id = Annotated[str, Meta(min_length=1, max_length=200)]
MoneyPerArea = Annotated[float, Meta(ge=0, le=1e9)]
Area = Annotated[float, Meta(gt=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Years = Annotated[float, Meta(ge=0, le=1000)]
Term = Annotated[float, Meta(gt=0, le=1000)]
Leases = Annotated[int, Meta(ge=0, le=MOST_LEASES)]
Month = Annotated[int, Meta(ge=0, le=12)]
Months = Annotated[int, Meta(ge=0, le=12_000)]


class WaultWeight(StrEnum):
    """What the years of a lease count by in the mean: its annual rent, or its area."""

    RENT = "rent"
    AREA = "area"


class Mode(StrEnum):
    """Whether a number of leases may be a fraction (a plan of space) or must be whole (a plan of contracts)."""

    FRACTIONAL = "fractional"
    WHOLE = "whole"


class Existing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lease that is there already.

    area: sqm. rent_per_sqm_year: money per sqm and year. remaining_years: until it ends.
    """

    id: Id
    area: Area
    rent_per_sqm_year: MoneyPerArea
    remaining_years: Years


class Package(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lease on offer, to be signed as many times as pays.

    use: what the space is for. area_per_lease: sqm. max_leases: how many at most; min_leases: how many at least.
    rent_per_sqm_year: headline rent, money per sqm and year. term_years: from its own start. rent_free_months: from its
    start. fitout_per_sqm: what the owner pays for fitting out, money per sqm. commission_rate: of a year's headline
    rent. start_month: months from now; 12 is after the first year.
    """

    id: Id
    name: str = ""
    use: str = ""
    area_per_lease: Area
    max_leases: Leases
    min_leases: Leases = 0
    rent_per_sqm_year: MoneyPerArea
    term_years: Term
    rent_free_months: Months = 0
    fitout_per_sqm: MoneyPerArea = 0.0
    commission_rate: Share = 0.0
    start_month: Month = 0

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name or self.id


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A building to be let.

    total_area: sqm that can be let. min_wault_years: least weighted average of the years that leases, existing and new,
    run. incentive_budget: the most for rent-free months and fit-out, money. min_occupancy: the least share of
    total_area to be let; max_occupancy: the largest. opex_per_sqm_year: what the owner pays on let space;
    void_cost_per_sqm_year: on vacant space; money per sqm and year. use_caps: use → the largest share of total_area
    that new leases of it may take. currency: a label only.
    """

    total_area: Area
    min_wault_years: Years
    wault_weight: WaultWeight = WaultWeight.RENT
    incentive_budget: Money
    min_occupancy: Share = 0.0
    max_occupancy: Share = 1.0
    mode: Mode = Mode.FRACTIONAL
    opex_per_sqm_year: MoneyPerArea = 0.0
    void_cost_per_sqm_year: MoneyPerArea = 0.0
    use_caps: dict[str, Share] = {}
    existing: list[Existing] = []
    packages: list[Package]
    currency: str = "EUR"

    @property
    def existing_area(self) -> float:
        """The area that is let already, in sqm, whenever it ends."""
        return sum(lease.area for lease in self.existing)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A package to sign.

    leases: how many. area: sqm. annual_rent: headline, money a year. incentives: rent-free months and fit-out, money.
    ncf_12m: its cash in the first twelve months before opex and void, money.
    """

    package_id: str
    leases: float
    area: float
    annual_rent: float
    incentives: float
    ncf_12m: float


class MonthCash(msgspec.Struct, frozen=True, kw_only=True):
    """The cash of one month, in money: costs are positive; net = rent − fitout − commission − opex − void.

    rent: what is paid, after rent-free months.
    """

    rent: float
    fitout: float
    commission: float
    opex: float
    void: float
    net: float


class RentRollEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Space let under one lease, or under all the leases of one package.

    area: sqm. annual_rent: headline, money a year. start_month, end_month: months from now; an existing lease starts
    at 0.
    """

    id: str
    area: float
    annual_rent: float
    start_month: int
    end_month: float


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """A leasing plan.

    offers: packages to sign, in the order of the problem. wault_years: weighted average of the years that all leases
    run (null: nothing is let, or nothing has weight). occupancy: let share of total_area, existing space included.
    ncf_12m: net cash flow of the first twelve months, money. incentives_spent: money. monthly: twelve months, the first
    is now. rent_roll: existing leases first.
    """

    offers: list[Offer]
    wault_years: float | None
    occupancy: float
    ncf_12m: float
    incentives_spent: float
    monthly: list[MonthCash]
    rent_roll: list[RentRollEntry]
