"""Debt stack: fund a purchase at the least expected cost, within loan-to-value and debt service cover."""

from solvers.kind import Family, JobKind, Sense
from solvers.kinds.debt_stack.problem import Problem, Solution, check
from solvers.kinds.debt_stack.questions import FRONTIER, WHY_NOT
from solvers.kinds.debt_stack.report import describe

KIND = JobKind(
    name="debt-stack",
    family=Family.OPTIMIZATION,
    version=1,
    title="Debt stack",
    summary="Fund a purchase at the least expected annual cost, within loan-to-value and debt service cover.",
    package=__name__,
    sense=Sense.MINIMIZE,
    problem=Problem,
    solution=Solution,
    check=check,
    describe=describe,
    main_table="tranches",
    why_not=WHY_NOT,
    frontier=FRONTIER,
)
