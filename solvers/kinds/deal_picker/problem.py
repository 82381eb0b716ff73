"""The question and the answer of the deal picker.

    maximize   Σ w_i x_i (yield_i - risk_penalty · risk_i)        w_i = 1 (amount) or price_i (rate)
    subject to Σ price_i x_i ≤ budget
               Σ m_i x_i ≤ cap of each capped sector and city     m_i by cap_basis
               Σ w_i risk_i x_i ≤ max_risk
               0 ≤ x_i ≤ max_allocation_i,  x_i = 0 or x_i ≥ min_allocation_i

The bounds of the fields are documented in their schema and held by `check`, so that all issues come at once.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from solvers.amounts import MOST

PositiveMoney = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MOST})]
Fraction = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 1})]
NotNegative = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": MOST})]
Yield = Annotated[float, Meta(extra_json_schema={"maximum": MOST})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]


class Deal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One deal on offer.

    price: of the whole deal, in the problem's currency. yield, risk: by `yield_basis` either money a year of the whole
    deal, or per unit of price (0.065 is 6.5 %). sector, city: names that caps refer to, "" for none. min_allocation:
    the least share that can be bought if any is; max_allocation: the most (fractions of the deal).
    """

    id: str
    name: str = ""
    price: PositiveMoney
    yield_: Yield = field(name="yield")
    risk: NotNegative = 0.0
    sector: str = ""
    city: str = ""
    min_allocation: Fraction = 0.0
    max_allocation: Fraction = 1.0


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deals to choose from, and the limits to choose within.

    budget: money. risk_penalty: how much yield one unit of risk is worth. max_risk: the most risk that all bought
    shares may have together (null: no limit). yield_basis: whether yields and risks are amounts of the whole deal or
    rates per unit of price. mode: `fractional` shares or `whole` deals. sector_caps, city_caps: limit by name, measured
    by cap_basis: the sum of allocations, money, or a share of the budget; a name without a cap is uncapped. max_deals:
    how many deals can be bought. must_include, exclude: deal ids. exclusive_groups: of each list of ids one deal at
    most. currency: a label.
    """

    budget: PositiveMoney
    deals: Annotated[list[Deal], Meta(extra_json_schema={"minItems": 1, "maxItems": 1_000_000})]
    risk_penalty: NotNegative = 0.0
    max_risk: NotNegative | None = None
    yield_basis: Literal["amount", "rate"] = "amount"
    mode: Literal["fractional", "whole"] = "fractional"
    sector_caps: dict[str, NotNegative] = {}
    city_caps: dict[str, NotNegative] = {}
    cap_basis: Literal["allocations", "amount", "share_of_budget"] = "allocations"
    max_deals: Count | None = None
    must_include: list[str] = []
    exclude: list[str] = []
    exclusive_groups: list[list[str]] = []
    currency: str = "EUR"


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """A share of a deal that is bought: allocation 0 … 1, amount = price · x (money), yield and risk of that share."""

    deal_id: str
    allocation: float
    amount: float
    yield_: float = field(name="yield")
    risk: float


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """What was bought of one sector or city: money, its fraction of all that was allocated, and the sum of shares."""

    amount: float
    share: float
    allocations: float


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """What to buy: allocations above 1e-9, by amount.

    objective_value: yield less the risk penalty; total_yield: without the penalty; total_allocated, unspent: money;
    total_risk: Σ w·risk·x.
    """

    allocations: list[Allocation]
    objective_value: float
    total_allocated: float
    total_yield: float
    total_risk: float
    deal_count: int
    by_sector: dict[str, Slice]
    by_city: dict[str, Slice]
    unspent: float
