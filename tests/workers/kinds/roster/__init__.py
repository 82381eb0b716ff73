"""A kind whose problems name persons: students, put into classes."""

from solvers.kind import Family, JobKind, Sense
from solvers.persons import SubjectField
from tests.workers.kinds.roster.problem import Roster, Seats, check
from tests.workers.kinds.roster.report import describe

KIND = JobKind(
    name="roster",
    family=Family.PLACEMENT,
    version=1,
    title="Roster",
    summary="Puts everyone into the same class.",
    package=__name__,
    sense=Sense.MAXIMIZE,
    problem=Roster,
    solution=Seats,
    check=check,
    describe=describe,
    subjects=(SubjectField(kind="student", each="students/*", id="id", names=("name",)),),
)
