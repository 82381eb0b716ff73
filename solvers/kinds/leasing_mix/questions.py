"""What can be asked of a plan: why not so many leases of a package, and what other limits would bring."""

import msgspec

from solvers.field_paths import patch_at
from solvers.issues import Issue, pointer
from solvers.kind import Forced, Sense, SweptField, WhyNot
from solvers.kinds.leasing_mix.cash import incentives_of
from solvers.kinds.leasing_mix.problem import Leases, Problem, Solution
from solvers.report import Unit


class Force(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package of which exactly so many leases are to be signed; 0: none."""

    package_id: str
    leases: Leases


def forced(problem: Problem, force: Force) -> Forced:
    """Return the patch that leaves the package no other number of leases; its own least or most gives way."""
    package = next((package for package in problem.packages if package.id == force.package_id), None)
    if package is None:
        message = f"There is no package {force.package_id!r}."
        return Forced(issues=[Issue(code="unknown_id", pointer=pointer("package_id"), message=message)])
    exactly = {"min_leases": force.leases, "max_leases": force.leases}
    broken = {
        f"max_leases:{package.id}": force.leases > package.max_leases,
        f"min_leases:{package.id}": force.leases < package.min_leases,
    }
    return Forced(
        patch=patch_at(("packages", package.id), exactly),
        lifted=[name for name, breaks in broken.items() if breaks],
    )


def _target_span(problem: Problem, _: Solution | None) -> tuple[float, float] | None:
    """Return the shortest and the longest term: the mean lies between."""
    terms = [package.term_years for package in problem.packages if package.max_leases]
    terms += [lease.remaining_years for lease in problem.existing]
    return (min(terms), max(terms)) if terms else None


def _budget_span(problem: Problem, _: Solution | None) -> tuple[float, float] | None:
    """Return the incentives of the leases that must be signed, and the most that the vacant space could take."""
    packages = problem.packages
    least = sum(incentives_of(package, package.min_leases) for package in packages)
    most = sum(incentives_of(package, package.max_leases) for package in packages)
    dearest = max((incentives_of(package) / package.area_per_lease for package in packages), default=0.0)
    vacant = problem.max_occupancy * problem.total_area - problem.existing_area
    return least, max(least, min(most, dearest * vacant))


WHY_NOT: WhyNot[Problem, Force] = WhyNot(force=Force, forced=forced)

FRONTIER: tuple[SweptField[Problem], ...] = (
    SweptField(
        name="min_wault_years",
        label="Least mean lease term",
        unit=Unit.YEARS,
        better=Sense.MAXIMIZE,
        span=_target_span,
    ),
    SweptField(
        name="incentive_budget",
        label="Incentive budget",
        unit=Unit.MONEY,
        better=Sense.MINIMIZE,
        span=_budget_span,
    ),
)
