"""Which shares of which deals to buy within a budget, with caps on sectors, cities and risk."""

from solvers.kind import Family, JobKind, Sense
from solvers.kinds.deal_picker.check import check
from solvers.kinds.deal_picker.problem import Problem, Solution
from solvers.kinds.deal_picker.questions import FRONTIER, WHY_NOT
from solvers.kinds.deal_picker.report import describe

KIND = JobKind(
    name="deal-picker",
    family=Family.OPTIMIZATION,
    version=1,
    title="Deal picker",
    summary="Which shares of which deals to buy within a budget, with caps on sectors, cities and risk.",
    package=__name__,
    sense=Sense.MAXIMIZE,
    problem=Problem,
    solution=Solution,
    check=check,
    describe=describe,
    main_table="deals",
    why_not=WHY_NOT,
    frontier=FRONTIER,
)
