"""Capex phasing: when to start which value-add project, within cash, crews and precedence."""

from solvers.kind import Family, JobKind, Sense
from solvers.kinds.capex_phasing.check import check
from solvers.kinds.capex_phasing.problem import Problem, Solution
from solvers.kinds.capex_phasing.questions import FRONTIER, WHY_NOT, sense_of
from solvers.kinds.capex_phasing.report import describe

KIND = JobKind(
    name="capex-phasing",
    family=Family.OPTIMIZATION,
    version=1,
    title="Capex phasing",
    summary="When to start which value-add project, within cash, crews and precedence.",
    package=__name__,
    sense=Sense.MAXIMIZE,
    problem=Problem,
    solution=Solution,
    check=check,
    describe=describe,
    sense_of=sense_of,
    main_table="projects",
    why_not=WHY_NOT,
    frontier=FRONTIER,
)
