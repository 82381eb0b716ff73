"""Leasing mix: which lease packages to offer in a building, within incentives, occupancy and a lease expiry target."""

from solvers.kind import Family, JobKind, Sense
from solvers.kinds.leasing_mix.check import check
from solvers.kinds.leasing_mix.problem import Problem, Solution
from solvers.kinds.leasing_mix.questions import FRONTIER, WHY_NOT
from solvers.kinds.leasing_mix.report import describe

KIND = JobKind(
    name="leasing-mix",
    family=Family.OPTIMIZATION,
    version=1,
    title="Leasing mix",
    summary="Choose the lease packages that bring the most cash in the first year, with leases long enough.",
    package=__name__,
    sense=Sense.MAXIMIZE,
    problem=Problem,
    solution=Solution,
    check=check,
    describe=describe,
    main_table="packages",
    why_not=WHY_NOT,
    frontier=FRONTIER,
)
