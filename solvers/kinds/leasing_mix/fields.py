"""The constraints of a plan as the problem fields that they name: what may be priced, tried and relaxed."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf
from typing import NamedTuple

from solvers.field_paths import FieldAt
from solvers.kinds.leasing_mix.cash import incentives_of
from solvers.kinds.leasing_mix.problem import MOST_LEASES, Package, Problem
from solvers.report import Unit


class _Sort(NamedTuple):
    """What is common to a sort of field.

    relax: whether a larger (+1) or a smaller (−1) value allows more. end: the last value on that side that a problem
    may have. step: that people would talk about.
    """

    relax: int
    end: float
    step: float
    unit: Unit


_SORTS = {
    "total_area": _Sort(1, inf, 100.0, Unit.AREA),
    "max_occupancy": _Sort(1, 1.0, 0.05, Unit.SHARE),
    "min_occupancy": _Sort(-1, 0.0, 0.05, Unit.SHARE),
    "incentive_budget": _Sort(1, inf, 0.1, Unit.MONEY),
    "min_wault_years": _Sort(-1, 0.0, 0.5, Unit.YEARS),
    "use_caps": _Sort(1, 1.0, 0.05, Unit.SHARE),
    "max_leases": _Sort(1, inf, 1, Unit.WHOLE),
    "min_leases": _Sort(-1, 0.0, 1, Unit.WHOLE),
}
_SOME = 0.01
"""Of the most that an amount could do: a typical size where the limit is less, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Field(FieldAt):
    """A constraint and the problem field behind it.

    name: of the constraint. sort: the field's name in the problem. path: names (and a package's id) from the problem's
    root to the field. limit: its value. enough: a value from which on it allows no more.
    """

    name: str
    label: str
    sort: str
    limit: float
    enough: float

    @property
    def relax(self) -> int:
        """The side that allows more: +1 as the field grows, −1 as it shrinks."""
        return _SORTS[self.sort].relax

    @property
    def end(self) -> float:
        """The last value that the field may have on the side that allows more; ∞ where there is none."""
        return _SORTS[self.sort].end

    @property
    def priced_side(self) -> int:
        """The side on which a price is the derivative: the one that allows more, as far as that can go on."""
        return -self.relax if self.limit == self.end else self.relax

    @property
    def unit(self) -> Unit:
        """The field's unit."""
        return _SORTS[self.sort].unit

    @property
    def is_coefficient(self) -> bool:
        """Whether it multiplies a variable: then its price is a first derivative only, without a range."""
        return self.sort == "min_wault_years"

    @property
    def size(self) -> float:
        """A typical size of the field, > 0."""
        if self.unit in {Unit.SHARE, Unit.YEARS}:
            return 1.0
        return max(1.0, self.limit, _SOME * self.enough if self.unit is Unit.MONEY else 0.0)

    @property
    def looser(self) -> float:
        """The value after a step that people would talk about: a tenth of an amount, 5 points of a share, a lease."""
        step = _SORTS[self.sort].step * (self.limit if self.unit is Unit.MONEY else 1)
        stepped = self.limit + self.relax * step
        return self.tidy(min(stepped, self.end) if self.relax > 0 else max(stepped, self.end))

    def tidy(self, value: float) -> float:
        """Return a value of the field without the rounding of floating point: whole where it must be."""
        return round(value) if self.unit is Unit.WHOLE else round(value, 6)


def fields_of(problem: Problem) -> list[Field]:
    """Return every constraint of the problem, in the order in which people read them; the building is first."""
    return [
        *_of_building(problem),
        *(_of_use(use, cap) for use, cap in problem.use_caps.items()),
        *(field for package in problem.packages for field in _of_package(problem, package)),
    ]


def _of_building(problem: Problem) -> Iterator[Field]:
    incentives = sum(incentives_of(package, _enough(problem, package)) for package in problem.packages)
    for name, label, sort, limit, enough in (
        ("total_area", "Area of the building", "total_area", problem.total_area, problem.total_area),
        ("area_max", "Highest occupancy", "max_occupancy", problem.max_occupancy, 1.0),
        ("occupancy_min", "Lowest occupancy", "min_occupancy", problem.min_occupancy, 0.0),
        ("incentive_budget", "Incentive budget", "incentive_budget", problem.incentive_budget, ceil(incentives)),
        ("wault", "Least mean lease term", "min_wault_years", problem.min_wault_years, 0.0),
    ):
        yield Field(name=name, label=label, sort=sort, path=(sort,), limit=limit, enough=enough)


def _of_use(use: str, cap: float) -> Field:
    label = f"Cap on {use or '(no use)'}"
    return Field(name=f"use:{use}", label=label, sort="use_caps", path=("use_caps", use), limit=cap, enough=1.0)


def _of_package(problem: Problem, package: Package) -> Iterator[Field]:
    for sort, label, limit, enough in (
        ("max_leases", "Most leases of", package.max_leases, _enough(problem, package)),
        ("min_leases", "Fewest leases of", package.min_leases, 0),
    ):
        if sort == "max_leases" or limit > 0:
            path = ("packages", package.id, sort)
            full = f"{label} {package.label}"
            yield Field(name=f"{sort}:{package.id}", label=full, sort=sort, path=path, limit=limit, enough=enough)


def _enough(problem: Problem, package: Package) -> int:
    """Return a number of leases beyond which more of a package changes nothing: they would not fit."""
    return max(package.max_leases, min(MOST_LEASES, ceil(problem.total_area / package.area_per_lease)))
