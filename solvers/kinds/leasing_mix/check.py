"""Everything that makes no sense about a problem, at once, and what is only odd about it."""

from collections.abc import Iterator

from solvers.checking import duplicates, not_finite
from solvers.issues import Issue, error, warning
from solvers.kinds.leasing_mix.problem import Package, Problem

_ROUNDING = 1e-9
"""Of an area: what adding up areas may be off."""


def check(problem: Problem) -> list[Issue]:
    """Return all that makes no sense about a problem, at once; pointers start at the problem's root."""
    return [
        *not_finite(problem),
        *duplicates("packages", "id", (package.id for package in problem.packages)),
        *duplicates("existing", "id", (lease.id for lease in problem.existing)),
        *_occupancy_issues(problem),
        *_package_issues(problem),
        *_cap_warnings(problem),
    ]


def _occupancy_issues(problem: Problem) -> Iterator[Issue]:
    if problem.min_occupancy > problem.max_occupancy:
        message = f"min_occupancy {problem.min_occupancy:g} is more than max_occupancy {problem.max_occupancy:g}."
        yield error("impossible_minimum", message, "min_occupancy")
    let, most = problem.existing_area, problem.max_occupancy * problem.total_area
    if let > most * (1 + _ROUNDING):
        message = f"Existing leases take {let:,.2f} sqm, more than the {most:,.2f} sqm that may be let."
        yield error("existing_too_large", message, "existing")


def _package_issues(problem: Problem) -> Iterator[Issue]:
    if not problem.packages:
        yield error("too_few", "There is no package to choose from.", "packages")
    for index, package in enumerate(problem.packages):
        if package.min_leases > package.max_leases:
            message = f"min_leases {package.min_leases} is more than max_leases {package.max_leases}."
            yield error("impossible_minimum", message, "packages", index, "min_leases")
        yield from _package_warnings(problem, index, package)


def _package_warnings(problem: Problem, index: int, package: Package) -> Iterator[Issue]:
    if package.area_per_lease > problem.total_area:
        message = f"A lease of {package.area_per_lease:,.2f} sqm is larger than the building."
        yield warning("too_large", message, "packages", index, "area_per_lease")
    if package.rent_free_months > 12 * package.term_years:
        message = f"{package.rent_free_months} rent-free months are longer than the term."
        yield warning("never_pays", message, "packages", index, "rent_free_months")


def _cap_warnings(problem: Problem) -> Iterator[Issue]:
    uses = {package.use for package in problem.packages}
    for use in problem.use_caps:
        if use not in uses:
            message = f"No package is for {use!r}; the cap binds nothing."
            yield warning("unused_cap", message, "use_caps", use)
