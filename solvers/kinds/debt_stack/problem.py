"""How to fund a purchase at the least expected cost: what is asked, what is answered, what makes no sense to ask."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from solvers.amounts import Money, PositiveMoney
from solvers.checking import duplicates, not_finite
from solvers.issues import Issue, Severity, pointer

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Rate = Annotated[float, Meta(ge=-0.05, le=1)]
Fee = Annotated[float, Meta(ge=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
LoanToValue = Annotated[float, Meta(ge=0, le=1.5)]
Cover = Annotated[float, Meta(ge=0, le=1e6)]
Years = Annotated[float, Meta(gt=0, le=100)]

EXPECTED = "expected"
"""The name under which the mean over the scenarios stands beside them: no scenario may bear it."""


class RateType(StrEnum):
    """Whether a tranche's rate is agreed once or follows the index."""

    FIXED = "fixed"
    FLOATING = "floating"


class DscrScope(StrEnum):
    """Where debt service must be covered: in each scenario, or in the mean over them."""

    EVERY_SCENARIO = "every_scenario"
    EXPECTED = "expected"


class Equity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner's own money.

    cost_rate: what it must earn, a fraction a year. available: the most there is, in money (null: no limit).
    min_share: the least share of all sources, a fraction.
    """

    cost_rate: Share
    available: Money | None = None
    min_share: Share = 0.0


class Tranche(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One offer of debt.

    seniority: 1 is paid first. rate: of a fixed tranche; spread: over the index, of a floating one; fractions a year.
    max_amount, min_amount: money; drawn at all means at least min_amount. max_ltv: the most debt of this tranche and of
    all that rank with it or before it, as a fraction of property value, once it is drawn. amortization_years: over
    which level monthly payments repay it (null: interest only). term_years: until it falls due. fee_rate: of the
    amount, paid once. required: whether it must be drawn, with min_amount at least: for asking what that would cost.
    """

    id: Id
    name: str = ""
    seniority: Annotated[int, Meta(ge=1, le=1_000_000)]
    rate_type: RateType
    rate: Rate | None = None
    spread: Rate | None = None
    max_amount: Money
    min_amount: Money = 0.0
    max_ltv: LoanToValue | None = None
    amortization_years: Years | None = None
    term_years: Years
    fee_rate: Fee = 0.0
    required: bool = False

    @property
    def floating(self) -> bool:
        """Whether its rate follows the index."""
        return self.rate_type is RateType.FLOATING

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name or self.id


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One possible future.

    weight: relative probability, normalized over the scenarios. index_rate: what floating rates follow, a fraction a
    year. noi_factor: net operating income in it as a multiple of `noi_annual`.
    """

    name: Id
    weight: Annotated[float, Meta(gt=0, le=1e12)]
    index_rate: Rate
    noi_factor: Annotated[float, Meta(ge=0, le=1e6)] = 1.0


class Hedge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An interest-rate cap on floating notional: on the hedged part the index paid is min(index, strike_rate).

    strike_rate: a fraction a year. premium_rate: of the hedged notional, paid once. max_share: the most of each
    tranche's amount that may be hedged, a fraction.
    """

    strike_rate: Rate
    premium_rate: Fee
    max_share: Share = 1.0


class Problem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A purchase to be funded.

    purchase_price, closing_costs: money. property_value: what lenders measure against (null: the purchase price).
    noi_annual: net operating income, money a year. max_ltv: the most debt as a fraction of property value. min_dscr:
    the least net operating income per unit of debt service. analysis_years: how far the amortization tables go.
    scenarios: none means one called "base". currency: a label only.
    """

    purchase_price: PositiveMoney
    closing_costs: Money = 0.0
    property_value: PositiveMoney | None = None
    noi_annual: PositiveMoney
    max_ltv: LoanToValue
    min_dscr: Cover
    dscr_scope: DscrScope = DscrScope.EVERY_SCENARIO
    analysis_years: Years = 5.0
    equity: Equity
    tranches: list[Tranche]
    scenarios: list[Scenario] = []
    hedge: Hedge | None = None
    currency: str = "EUR"

    @property
    def value(self) -> float:
        """The property value that lenders measure against, in money."""
        return self.purchase_price if self.property_value is None else self.property_value

    @property
    def cost(self) -> float:
        """What must be paid before fees and premiums, in money."""
        return self.purchase_price + self.closing_costs


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A drawn tranche.

    amount: money. share: of all sources, a fraction. rate_expected: mean interest rate over the scenarios after the
    cap, a fraction a year. cumulative_ltv: debt of this tranche and of all that rank with it or before it ÷ property
    value. hedged: notional under the cap, money.
    """

    id: str
    amount: float
    share: float
    rate_expected: float
    cumulative_ltv: float
    hedged: float


class Uses(msgspec.Struct, frozen=True, kw_only=True):
    """What the money is for, in money; `total` equals the sources."""

    purchase_price: float
    closing_costs: float
    fees: float
    hedge_premium: float
    total: float


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One month of a tranche, in money; month: 1 is the first. closing = opening − principal."""

    month: int
    opening: float
    interest: float
    principal: float
    closing: float


class Amortization(msgspec.Struct, frozen=True, kw_only=True):
    """How a tranche is repaid, month by month, illustrative: at its mean rate throughout.

    rate: a fraction a year. months: up to the end of the analysis or of the term, whichever comes first. balloon: what
    is still owed at the end of the term, money.
    """

    tranche_id: str
    rate: float
    months: list[Payment]
    balloon: float


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """A way to fund the purchase.

    sources: drawn tranches, senior first. equity: money. annual_cost: expected, money a year.
    weighted_cost_of_capital: annual_cost ÷ total uses. ltv: debt ÷ property value. dscr: net operating income ÷ debt
    service by scenario name, and under "expected" mean income ÷ mean service; null where no service is due.
    debt_yield: net operating income ÷ debt (null: no debt).
    """

    sources: list[Source]
    equity: float
    uses: Uses
    annual_cost: float
    weighted_cost_of_capital: float
    ltv: float
    dscr: dict[str, float | None]
    debt_yield: float | None
    amortization: list[Amortization]


def check(problem: Problem) -> list[Issue]:
    """Return all that makes no sense about a problem, at once; pointers start at the problem's root."""
    return [
        *not_finite(problem),
        *duplicates("tranches", "id", [tranche.id for tranche in problem.tranches]),
        *duplicates("scenarios", "name", [scenario.name for scenario in problem.scenarios]),
        *_scenario_issues(problem),
        *(issue for index, tranche in enumerate(problem.tranches) for issue in _tranche_issues(index, tranche)),
        *_warnings(problem),
    ]


def _scenario_issues(problem: Problem) -> Iterator[Issue]:
    if not problem.scenarios and any(tranche.floating for tranche in problem.tranches):
        message = "A floating tranche needs at least one scenario that says where its index goes."
        yield Issue(code="missing_scenarios", pointer=pointer("scenarios"), message=message)
    for index, scenario in enumerate(problem.scenarios):
        if scenario.name == EXPECTED:
            message = f"{EXPECTED!r} names the mean over the scenarios; call this one something else."
            yield Issue(code="reserved_name", pointer=pointer("scenarios", index, "name"), message=message)


def _tranche_issues(index: int, tranche: Tranche) -> Iterator[Issue]:
    needed, unused = ("spread", "rate") if tranche.floating else ("rate", "spread")
    if getattr(tranche, needed) is None:
        message = f"A {tranche.rate_type} tranche needs its {needed}."
        yield Issue(code="missing_field", pointer=pointer("tranches", index, needed), message=message)
    if getattr(tranche, unused) is not None:
        message = f"A {tranche.rate_type} tranche has no {unused}; it is ignored."
        where = pointer("tranches", index, unused)
        yield Issue(code="ignored_field", pointer=where, message=message, severity=Severity.WARNING)
    if tranche.min_amount > tranche.max_amount:
        message = f"min_amount {tranche.min_amount:,.2f} is more than max_amount {tranche.max_amount:,.2f}."
        yield Issue(code="impossible_minimum", pointer=pointer("tranches", index, "min_amount"), message=message)


def _warnings(problem: Problem) -> Iterator[Issue]:
    if not problem.tranches:
        message = "There is no debt on offer: equity will pay for everything."
        yield Issue(code="no_tranches", pointer=pointer("tranches"), message=message, severity=Severity.WARNING)
    if problem.hedge and not any(tranche.floating for tranche in problem.tranches):
        message = "There is no floating tranche to hedge; the hedge is ignored."
        yield Issue(code="unused_hedge", pointer=pointer("hedge"), message=message, severity=Severity.WARNING)
    for index, tranche in enumerate(problem.tranches):
        cap = problem.max_ltv if tranche.max_ltv is None else min(problem.max_ltv, tranche.max_ltv)
        if tranche.max_amount >= tranche.min_amount > cap * problem.value:
            message = f"min_amount {tranche.min_amount:,.2f} is above its loan-to-value limit: it can never be drawn."
            where = pointer("tranches", index, "min_amount")
            yield Issue(code="never_drawn", pointer=where, message=message, severity=Severity.WARNING)
