"""A kind that does what its problem says: print, sleep, crash, fail."""

from solvers.kind import Family, JobKind, Sense
from tests.workers.kinds.probe.problem import Problem, Solution, check
from tests.workers.kinds.probe.report import describe

KIND = JobKind(
    name="probe",
    family=Family.OPTIMIZATION,
    version=1,
    title="Probe",
    summary="Does what it is told.",
    package=__name__,
    sense=Sense.MAXIMIZE,
    problem=Problem,
    solution=Solution,
    check=check,
    describe=describe,
)
