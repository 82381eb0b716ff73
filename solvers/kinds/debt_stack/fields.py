"""The constraints of a funding as the problem fields that they name: what may be priced, tried and relaxed."""

from collections.abc import Iterator
from dataclasses import dataclass

from solvers.field_paths import FieldAt
from solvers.kinds.debt_stack.problem import EXPECTED, DscrScope, Problem, Tranche
from solvers.kinds.debt_stack.terms import scenarios_of
from solvers.report import Unit

_KINDS = {
    "purchase_price": (-1, Unit.MONEY),
    "max_ltv": (1, Unit.SHARE),
    "min_dscr": (-1, Unit.RATIO),
    "available": (1, Unit.MONEY),
    "min_share": (-1, Unit.SHARE),
    "max_amount": (1, Unit.MONEY),
    "min_amount": (-1, Unit.MONEY),
    "max_share": (1, Unit.SHARE),
}
"""Field → whether a larger (+1) or a smaller (−1) value allows more, and its unit."""
_SHARED_TITLES = {"min_dscr": "Debt service cover", "max_share": "Hedged share"}
_COEFFICIENTS = {"min_dscr", "min_share", "max_share"}


@dataclass(frozen=True, kw_only=True)
class Field(FieldAt):
    """A constraint and the problem field behind it.

    name: of the constraint; several may share a path, and their prices are parts that add up to the field's. path:
    names (and a tranche's id) from the problem's root to the field. limit: its value. loosest: how far it may relax.
    """

    name: str
    label: str
    limit: float
    loosest: float

    @property
    def relax(self) -> int:
        """The side that allows more: +1 as the field grows, −1 as it shrinks."""
        return _KINDS[self.path[-1]][0]

    @property
    def priced_side(self) -> int:
        """The side on which a price is the derivative: the one that allows more, as far as that can go on."""
        return -self.relax if self.limit == self.loosest else self.relax

    @property
    def unit(self) -> Unit:
        """The field's unit: MONEY, SHARE or RATIO."""
        return _KINDS[self.path[-1]][1]

    @property
    def title(self) -> str:
        """What the field is called for people, whichever of its constraints is at hand."""
        return _SHARED_TITLES.get(self.path[-1], self.label)

    @property
    def is_coefficient(self) -> bool:
        """Whether it multiplies a variable: then its price is a first derivative only, without a range."""
        return self.path[-1] in _COEFFICIENTS


def fields_of(problem: Problem) -> list[Field]:
    """Return every constraint of the problem, in the order in which people read them; the purchase price is first."""
    price = problem.purchase_price
    return [
        Field(
            name="purchase_price", label="Purchase price", path=("purchase_price",), limit=price, loosest=price / 100
        ),
        Field(name="ltv", label="Loan to value", path=("max_ltv",), limit=problem.max_ltv, loosest=1.5),
        *_covers(problem),
        *_of_equity(problem),
        *(field for tranche in problem.tranches for field in _of_tranche(problem, tranche)),
    ]


def _covers(problem: Problem) -> Iterator[Field]:
    names = [scenario.name for scenario in scenarios_of(problem)]
    for name in [EXPECTED] if problem.dscr_scope is DscrScope.EXPECTED else names:
        label = f"Debt service cover, {name}"
        yield Field(name=f"dscr:{name}", label=label, path=("min_dscr",), limit=problem.min_dscr, loosest=0.0)


def _of_equity(problem: Problem) -> Iterator[Field]:
    equity, enough = problem.equity, 10 * problem.cost
    if equity.available is not None:
        path, label = ("equity", "available"), "Equity available"
        yield Field(name="equity_available", label=label, path=path, limit=equity.available, loosest=enough)
    if equity.min_share > 0:
        path, label = ("equity", "min_share"), "Minimum share of equity"
        yield Field(name="equity_min_share", label=label, path=path, limit=equity.min_share, loosest=0.0)


def _of_tranche(problem: Problem, tranche: Tranche) -> Iterator[Field]:
    def of(name: str, label: str, limit: float, *, loosest: float, field: str) -> Field:
        path = ("tranches", tranche.id, field)
        full = f"{name}:{tranche.id}"
        return Field(name=full, label=f"{label} {tranche.label}", path=path, limit=limit, loosest=loosest)

    enough = 10 * problem.cost
    yield of("max_amount", "Maximum of", tranche.max_amount, loosest=enough, field="max_amount")
    if tranche.min_amount > 0:
        yield of("min_amount", "Minimum of", tranche.min_amount, loosest=0.0, field="min_amount")
    if tranche.max_ltv is not None:
        yield of("ltv", "Loan to value up to", tranche.max_ltv, loosest=1.5, field="max_ltv")
    if tranche.floating and problem.hedge:
        name, label = f"hedge:{tranche.id}", f"Hedged share of {tranche.label}"
        path, limit = ("hedge", "max_share"), problem.hedge.max_share
        yield Field(name=name, label=label, path=path, limit=limit, loosest=1.0)
