"""The catalogue: what can be asked for, with schema, example and table template of every kind."""

from functools import cache
from typing import Any

import msgspec
from litestar import Response, get
from litestar.params import FromPath

from api.bodies import AnyRequest, answer
from api.links import base_url
from api.operations import Answer, Operation
from api.principal import Permission
from api.problem_details import ProblemError, not_found
from api.tables import MEDIA_TYPES, Templates
from solvers.kind import Family, Sense
from solvers.registry import AnyKind, all_kinds, get_kind
from solvers.report import Unit
from solvers.rows_process import TableFormat
from solvers.type_words import did_you_mean, ticked


class KindSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job, in short."""

    name: str
    family: Family
    version: int
    title: str
    summary: str
    links: dict[str, str]


class FrontierField(msgspec.Struct, frozen=True, kw_only=True):
    """A field to draw a frontier against. better: which way the limit pleases whoever set it."""

    name: str
    label: str
    unit: Unit
    whole: bool
    better: Sense


class KindDetail(KindSummary, frozen=True, kw_only=True):
    """A kind of job with JSON Schemas of what goes in and what comes out.

    main_table: the field of the problem whose rows may come as CSV, XLSX or Parquet. force_schema: of what a why-not
    can force; null where nothing can be. frontier: fields against which one can be drawn.
    """

    sense: Sense
    main_table: str | None
    problem_schema: dict[str, Any]
    solution_schema: dict[str, Any]
    force_schema: dict[str, Any] | None
    frontier: list[FrontierField]


class KindList(msgspec.Struct, frozen=True):
    """Every kind, by name; `next` is always null."""

    items: list[KindSummary]
    next: str | None = None


def find_kind(name: str) -> AnyKind:
    """Return the kind of that name, or 404."""
    try:
        return get_kind(name)
    except KeyError:
        raise ProblemError(404, "not-found", unknown_kind(name)) from None


def unknown_kind(name: str) -> str:
    """Return what is said of a name that no kind has."""
    return f"There is no such kind of job; GET /v1/kinds lists them.{did_you_mean(name, all_kinds(), ticked)}"


@get(
    "/v1/kinds",
    requires=Permission.READ,
    operation=Operation(tag="Kinds", answers={200: Answer("Every kind.", KindList)}),
    sync_to_thread=False,
)
def list_kinds(request: AnyRequest) -> Response[bytes]:
    """List the kinds of job."""
    base = base_url(request)
    return answer(KindList([KindSummary(**_summary(kind, base)) for kind in all_kinds().values()]))


@get(
    "/v1/kinds/{kind:str}",
    requires=Permission.READ,
    operation=Operation(tag="Kinds", answers={200: Answer("The kind.", KindDetail)}),
    sync_to_thread=False,
)
def show_kind(request: AnyRequest, kind: FromPath[str]) -> Response[bytes]:
    """Show one kind, with the JSON Schemas of problem and solution."""
    found = find_kind(kind)
    problem_schema, solution_schema, force_schema = _schemas(found.name)
    detail = KindDetail(
        **_summary(found, base_url(request)),
        sense=found.sense,
        main_table=found.main_table,
        problem_schema=problem_schema,
        solution_schema=solution_schema,
        force_schema=force_schema,
        frontier=msgspec.convert(found.frontier, list[FrontierField], from_attributes=True),
    )
    return answer(detail)


@get(
    "/v1/kinds/{kind:str}/example",
    requires=Permission.READ,
    operation=Operation(tag="Kinds", answers={200: Answer('A body ready to post: `{"problem": {…}}`.', dict)}),
    sync_to_thread=False,
)
def show_example(kind: FromPath[str]) -> Response[bytes]:
    """Return a body ready to post, that solves in under two seconds."""
    return answer(find_kind(kind).example)


def _template_route(format_: TableFormat) -> Any:
    @get(
        f"/v1/kinds/{{kind:str}}/template.{format_}",
        requires=Permission.READ,
        operation=Operation(
            tag="Kinds",
            summary=f"Download a table of the kind's rows to fill in, as {format_.upper()}.",
            answers={200: Answer("The columns, with two example rows.", media_type=MEDIA_TYPES[format_])},
        ),
        name=f"download_template_{format_}",
    )
    async def download_template(request: AnyRequest, kind: FromPath[str]) -> Response[bytes]:
        """Return the columns of the kind's main table with two example rows."""
        found = find_kind(kind)
        if found.main_table is None:
            raise not_found("template: this kind has no main table")
        templates: Templates = request.app.state.templates
        return Response(
            await templates.get(found.name, format_),
            media_type=MEDIA_TYPES[format_],
            headers={"Content-Disposition": f'attachment; filename="{found.name}.{format_}"'},
        )

    return download_template


def _summary(kind: AnyKind, base: str) -> dict[str, Any]:
    links = {
        "self": f"{base}/v1/kinds/{kind.name}",
        "example": f"{base}/v1/kinds/{kind.name}/example",
        "jobs": f"{base}/v1/{kind.name}/jobs",
    }
    if kind.main_table:
        links |= {f"template_{end}": f"{base}/v1/kinds/{kind.name}/template.{end}" for end in ("csv", "xlsx")}
    return {
        "name": kind.name,
        "family": kind.family,
        "version": kind.version,
        "title": kind.title,
        "summary": kind.summary,
        "links": links,
    }


@cache
def _schemas(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    kind = get_kind(name)
    force = msgspec.json.schema(kind.why_not.force) if kind.why_not else None
    return msgspec.json.schema(kind.problem), msgspec.json.schema(kind.solution), force


ROUTES = [list_kinds, show_kind, show_example, _template_route(TableFormat.CSV), _template_route(TableFormat.XLSX)]
