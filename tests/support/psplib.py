"""Instances of PSPLIB (Kolisch & Sprecher 1996) as bodies of capex-phasing, and the answers known for them.

The data is looked for where MILPA_BENCHMARK_DATA points, else in `shared/data` beside the project.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BESIDE = Path(__file__).parents[3] / "shared/data"


class Known(NamedTuple):
    """What is known of an instance's makespan: lower, upper bound; they meet where the optimum is known."""

    lower: int | None
    upper: int

    @property
    def text(self) -> str:
        return str(self.upper) if self.lower == self.upper else f"{self.lower or ''}..{self.upper}"


def folder(name: str) -> Path | None:
    """The folder of a set such as `j30`; None: the data is not here."""
    found = Path(os.environ.get("MILPA_BENCHMARK_DATA") or BESIDE) / "psplib" / name
    return found if found.is_dir() else None


def instances(name: str) -> list[Path]:
    """The instance files of a set, in the order of their numbers; none where the data is not here."""
    found = folder(name)
    return sorted(found.glob("*.sm"), key=lambda path: (len(path.stem), path.stem)) if found else []


def known(path: Path) -> Known:
    """What the set's table says of an instance: an optimum, or `lower..upper` where it is open."""
    with (path.parent / "optimum.csv").open() as lines:
        answers = {row["problem"]: row["optimum"] for row in csv.DictReader(lines)}
    lower, _, upper = answers[path.name].partition("..")
    return Known(int(lower) if lower else None, int(upper or lower))


def problem(path: Path) -> dict[str, Any]:
    """An instance as a makespan problem whose projects cost nothing; the dummies at both ends are left out."""
    sections = dict(_sections(path))
    rows = [list(map(int, line.split())) for line in sections["REQUESTS/DURATIONS"][2:]]
    successors = {
        row[0]: row[3:] for line in sections["PRECEDENCE RELATIONS"][1:] if (row := list(map(int, line.split())))
    }
    resources = [f"r{number}" for number in range(1, len(rows[0]) - 2)]
    capacities = list(map(int, sections["RESOURCEAVAILABILITIES"][1].split()))
    jobs = {row[0]: row for row in rows if row[2] > 0}
    return {
        "horizon_months": min(240, sum(row[2] for row in jobs.values())),
        "objective": "makespan",
        "monthly_cash": 0,
        "resources": [{"id": name, "capacity": c} for name, c in zip(resources, capacities, strict=True)],
        "projects": [
            {
                "id": str(number),
                "cost": 0,
                "duration_months": row[2],
                "uses": {name: used for name, used in zip(resources, row[3:], strict=True) if used},
                "after": [str(other) for other in jobs if number in successors[other]],
                "required": True,
            }
            for number, row in jobs.items()
        ],
    }


def _sections(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The parts of a file between lines of stars, each under the title that begins it."""
    lines: list[str] = []
    for line in [*path.read_text().splitlines(), "***"]:
        if not line.startswith("***"):
            if not line.startswith("---"):
                lines.append(line)
            continue
        if lines:
            yield lines[0].strip().rstrip(":"), lines[1:] if lines[0].strip().endswith(":") else lines
        lines = []
