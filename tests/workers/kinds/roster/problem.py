import msgspec

from solvers.issues import Issue, Severity


class Student(msgspec.Struct, frozen=True):
    id: str
    name: str


class Roster(msgspec.Struct, frozen=True):
    students: list[Student]


class Seats(msgspec.Struct, frozen=True):
    classes: dict[str, str]


def check(problem: Roster) -> list[Issue]:
    return [
        Issue(code="alone", pointer=f"/students/{index}", message=f"{one.name} is alone.", severity=Severity.WARNING)
        for index, one in enumerate(problem.students)
    ]
