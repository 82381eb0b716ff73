"""The commands that ask about a job that has succeeded: what-if, why-not, compare, frontier."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import msgspec

from deploy.terminal.commands import connect, json_option
from deploy.terminal.console import console, print_json
from milpa.errors import UsageError

if TYPE_CHECKING:
    from milpa.client import Client

Case = dict[str, Any]


@click.command("what-if", epilog='Example: milpa what-if JOB --case "Budget +10 %" \'{"budget": 110000}\'')
@click.argument("job", type=click.UUID)
@click.option("--case", "given", multiple=True, nargs=2, metavar="NAME PATCH", help="Merge patch of the problem.")
@click.option(
    "--cases",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='A JSON file: [{"name", "patch"}].',
)
@click.option("--suggested", is_flag=True, help="What the job's explanation suggests: changes, or repairs.")
@json_option
def what_if(job: UUID, given: Sequence[tuple[str, str]], file: Path | None, *, suggested: bool, as_json: bool) -> None:
    """Solve JOB again with changes, and show what each brings."""
    from deploy.terminal import show_answers

    with connect() as client:
        cases = [{"name": name, "patch": _read(patch, f"The patch of {name!r}")} for name, patch in given]
        cases += _read(file.read_text(), str(file)) if file else []
        cases += _suggestions(client, job) if suggested else []
        if not cases:
            raise UsageError("bad_option", "There is no case: give --case NAME PATCH, --cases FILE or --suggested.")
        made = client.what_if(job, cases)
        parent, children = client.job(job), [client.wait(child) for child in made.jobs]
    if as_json:
        print_json({"batch_id": made.batch_id, "parent": parent, "jobs": children})
    else:
        show_answers.what_if(parent, children, console())


@click.command("why-not", epilog="Example: milpa why-not JOB deal_id=D · milpa kinds KIND says what can be forced.")
@click.argument("job", type=click.UUID)
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE…")
@json_option
def why_not(job: UUID, words: Sequence[str], as_json: bool) -> None:
    """Force something into the answer of JOB, and show what that costs and what breaks."""
    from deploy.terminal import show_answers

    with connect() as client:
        found = client.why_not(job, dict(map(_pair, words)))
    print_json(found) if as_json else show_answers.why_not(found, console())


@click.command()
@click.argument("jobs", nargs=-1, required=True, type=click.UUID, metavar="JOB JOB…")
@click.option("--baseline", type=click.UUID, help="The one to measure against; else the first.")
@json_option
def compare(jobs: Sequence[UUID], baseline: UUID | None, as_json: bool) -> None:
    """Put 2 to 10 jobs of one kind side by side: figures, differences, changes of the problem."""
    from deploy.terminal import show_answers

    with connect() as client:
        found = client.compare(jobs, baseline=baseline)
    print_json(found) if as_json else show_answers.comparison(found, console())


@click.command(epilog="Example: milpa frontier JOB max_risk --points 12 · milpa kinds KIND lists the fields.")
@click.argument("job", type=click.UUID)
@click.argument("against")
@click.option("--points", default=10, show_default=True, type=click.IntRange(2, 20))
@click.option("--from", "first", type=float, help="The first value; else one worth looking at.")
@click.option("--to", "last", type=float, help="The last value.")
@json_option
def frontier(job: UUID, against: str, as_json: bool, **more: Any) -> None:
    """Solve JOB at several values of the field AGAINST, and show the curve."""
    from deploy.terminal import show_answers

    with connect() as client:
        found = client.frontier(job, against, **more)
    print_json(found) if as_json else show_answers.frontier(found, console())


QUESTIONS = (what_if, why_not, compare, frontier)


def _read(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError("bad_option", f"{what} is no JSON: {error}.") from None


def _pair(word: str) -> tuple[str, Any]:
    """Return NAME=VALUE as a pair; the value is JSON, or text where it is none."""
    name, equals, text = word.partition("=")
    if not equals:
        raise UsageError("bad_option", f"What to force is said as NAME=VALUE, not {word!r}.")
    try:
        return name, msgspec.json.decode(text)
    except msgspec.DecodeError:
        return name, text


def _suggestions(client: "Client", job: UUID) -> list[Case]:
    explanation = client.result(job).explanation
    found: list[Case] = explanation.get("repairs") or explanation.get("what_if") or []
    if not found:
        raise UsageError("no_suggestions", "Its explanation suggests nothing.")
    return found
