"""OpenAPI 3.1, made from what the routes declare. `python -m api.openapi` writes `api/openapi.json`."""

from functools import cache
from importlib import resources
from inspect import getdoc
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from api.limits import LIMITED
from api.operations import Answer, KindPart, Operation
from api.principal import Permission
from api.problem_details import MEDIA_TYPE, ProblemDetails
from api.schemas import PREFIX, Schemas, force_names
from api.submissions import batch_item_type, pascal, request_type
from milpa.jobs import JobOptions, Priority
from solvers.registry import AnyKind, all_kinds

FILE = "openapi.json"
_DESCRIPTION = """Optimization, placement, scheduling and report requests as jobs: submit a problem, follow its
events, fetch result, report and files.

```sh
curl -s -H "Authorization: Bearer $MILPA_API_KEY" $MILPA_URL/v1/kinds/deal-picker/example |
curl -s -H "Authorization: Bearer $MILPA_API_KEY" -H "Content-Type: application/json" -H "Prefer: wait=20" \\
     --data @- $MILPA_URL/v1/deal-picker/jobs
```

The key comes from whoever runs Milpa (`milpa keys create`); `milpa up` writes the first one into `.milpa/admin.key`.

Times are RFC 3339 in UTC, ids UUIDv7. Fields that are null may be left out; an unknown field is an error. Errors are
`application/problem+json` (RFC 9457), with all that is wrong at once. Bodies may come packed with gzip or zstd. HEAD is
answered wherever GET is."""
_TAGS = {
    "Jobs": "Submit a problem of any kind, look at the job, wait for it, end it, ask again, erase it.",
    "Events": "What happens to jobs as it happens: server-sent events that resume where they were cut, or JSON.",
    "Files": "XLSX, CSV, PDF and PNG of a job's report.",
    "Batches": "Many jobs in one transaction.",
    "Schedules": "Batches that start by the clocks of a place.",
    "Questions": "After the first answer: what if, why not, compare, frontier.",
    "Webhooks": "Be told of the ends of jobs and batches, signed after Standard Webhooks 1.0, at least once.",
    "API keys": "Who may ask for what, and until when.",
    "Kinds": "What can be asked for: schemas, examples and tables to fill in.",
    "Privacy": "Who did what to the tenant's data, all of it to take along, and the erasure of one person.",
    "Service": "Who is asking, and how the service does.",
}
_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Idempotency-Key": (
        "Same key and body: the same job again. Same key, other body: 422. Kept for 24 hours.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    "Prefer": ("`wait=20`: wait up to that many seconds (30 at most) for the end.", {"type": "string"}),
    "If-None-Match": ("The ETag of what the caller has.", {"type": "string"}),
    "Last-Event-ID": ("Resume after this event.", {"type": "string"}),
    "Location": ("Where the job is.", {"type": "string"}),
    "Retry-After": ("Seconds to wait before asking again.", {"type": "integer"}),
    "RateLimit-Policy": (
        "The limits this was counted against: `q` in any `w` seconds, or at once.",
        {"type": "string"},
    ),
    "RateLimit": ("What is left of them: `r`, for the next `t` seconds.", {"type": "string"}),
    "ETag": ("Names this very state.", {"type": "string"}),
    "Link": ('The next page, as `rel="next"`.', {"type": "string"}),
    "Idempotency-Replayed": ("`true` when the key was used before with the same body.", {"type": "string"}),
    "Preference-Applied": ("The wait that was honoured.", {"type": "string"}),
    "X-Request-ID": ("Names this request in logs; the caller's own when it sent one.", {"type": "string"}),
    "Allow": ("The methods this address takes.", {"type": "string"}),
    "WWW-Authenticate": ("How to say who is asking.", {"type": "string"}),
}
_REFUSABLE = {"Idempotency-Key", "Last-Event-ID"}
"""Headers that have a form; of others, what cannot be read is passed over."""
_PROBLEMS: dict[int, tuple[str, tuple[str, ...]]] = {
    400: ("The body cannot be read: malformed JSON, a broken form or a broken packing.", ()),
    401: ("No key or token that is good.", ("WWW-Authenticate",)),
    403: ("The permission is missing.", ()),
    404: ("There is no such thing, or it is another tenant's.", ()),
    409: ("Legal, but not in this state.", ()),
    413: ("The body is too large, unpacked.", ()),
    415: ("Another Content-Type or Content-Encoding is needed.", ()),
    422: ("Understood and wrong: all issues at once, with pointers.", ()),
    429: ("More than a limit allows; without Retry-After, more than it ever will.", ("Retry-After", *LIMITED)),
    500: ("A fault of Milpa's; it was logged with the request's id.", ()),
    503: ("A part that Milpa needs is away, or busy; nothing was accepted.", ("Retry-After",)),
    504: ("Milpa took too long; ask again with the same Idempotency-Key.", ()),
}


def document(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of the app's routes."""
    kinds = list(all_kinds().values())
    operations = [(route, handler, found) for route, handler in _handlers(app) if (found := handler.opt["operation"])]
    shared: list[Any] = [ProblemDetails, JobOptions, Priority]
    for _, _, operation in operations:
        types = [
            operation.body,
            operation.query,
            *(type_ for answer in operation.answers.values() for type_ in _types(answer)),
        ]
        shared += [type_ for type_ in types if _describable(type_) and type_ not in shared]
    schemas = Schemas([type_ for type_ in shared if not _is_request(type_, kinds)], kinds)
    _name_solutions(schemas, kinds)
    paths: dict[str, Any] = {}
    for route, handler, operation in operations:
        entry = _entry(route, handler, operation, schemas)
        paths.setdefault(route.path_format, {})[next(iter(handler.http_methods)).lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {"title": "Milpa", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": tag, "description": text} for tag, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, `mlp_…`, or a JWT."}
            },
            "responses": {f"Problem{status}": _problem(status) for status in _PROBLEMS},
            "schemas": dict(sorted(_without_query_types(schemas, operations).items())),
        },
    }


def _handlers(app: Litestar) -> list[tuple[HTTPRoute, HTTPRouteHandler]]:
    """Return what is described; the methods of an address, which come in any order, in the alphabet's."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    found = [(route, handler) for route in routes for handler in route.route_handlers if "operation" in handler.opt]
    return sorted(found, key=lambda one: (routes.index(one[0]), min(one[1].http_methods)))


def _types(answer: Answer) -> tuple[Any, ...]:
    return answer.body if isinstance(answer.body, tuple) else (answer.body,)


def _describable(type_: Any) -> bool:
    return type_ is not None and not isinstance(type_, KindPart)


def _is_request(type_: Any, kinds: list[AnyKind]) -> bool:
    return any(type_ is request_type(kind) for kind in kinds)


def _name_solutions(schemas: Schemas, kinds: list[AnyKind]) -> None:
    """Say what is one of the kinds' own types where the code holds it as bytes."""
    solution = {"anyOf": [*_of_kinds(KindPart.SOLUTION, kinds)["anyOf"], {"type": "null"}]}
    schemas.components["JobResult"]["properties"]["solution"] = solution
    schemas.components["JobWithResult"]["properties"]["result"] = {"$ref": PREFIX + "JobResult"}
    items = [{"$ref": PREFIX + batch_item_type(kind).__name__} for kind in kinds]
    for name in ("BatchRequest", "ScheduleRequest", "SchedulePatch"):
        schemas.components[name]["properties"]["jobs"]["items"] = {"anyOf": items}
    forces = [{"$ref": PREFIX + name} for name in force_names(kinds)]
    schemas.components["WhyNotRequest"]["properties"]["force"] = {"anyOf": forces}
    for name in ("WhatIfRequest", "WhyNotRequest", "FrontierRequest"):
        schemas.components[name]["properties"]["options"] = {"$ref": PREFIX + "JobOptions"}


def _of_kinds(part: KindPart, kinds: list[AnyKind]) -> dict[str, Any]:
    names = [pascal(kind.name) + getattr(kind, part.value).__name__ for kind in kinds]
    return {"anyOf": [{"$ref": PREFIX + name} for name in names]}


def _without_query_types(schemas: Schemas, operations: list[Any]) -> dict[str, Any]:
    queries = {operation.query.__name__ for _, _, operation in operations if operation.query}
    return {name: schema for name, schema in schemas.components.items() if name not in queries}


def _entry(route: HTTPRoute, handler: HTTPRouteHandler, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    summary, _, description = (getdoc(handler.fn) or "").partition("\n")
    requires: Permission = handler.opt["requires"]
    entry: dict[str, Any] = {
        "operationId": handler.name or handler.handler_name,
        "tags": [operation.tag],
        "summary": operation.summary or summary,
        "description": " ".join(description.split()),
        "parameters": _parameters(route, operation, schemas),
        "responses": {
            **{str(status): _success(answer, operation, schemas) for status, answer in operation.answers.items()},
            **{
                str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in _statuses(route, handler)
            },
        },
    }
    if operation.body is not None:
        entry["requestBody"] = _request_body(operation, schemas)
    if requires is Permission.PUBLIC:
        entry["security"] = []
    return {key: value for key, value in entry.items() if value not in ("", []) or key == "security"}


def _statuses(route: HTTPRoute, handler: HTTPRouteHandler) -> list[int]:
    operation: Operation = handler.opt["operation"]
    found = {500, 504, *operation.problems}
    if handler.opt["requires"] is not Permission.PUBLIC:
        found |= {401, 403, 503}
    if operation.limited:
        found.add(429)
    if route.path_parameters:
        found.add(404)
    if operation.query or _REFUSABLE & set(operation.headers):
        found.add(422)
    if operation.body is not None:
        found |= {400, 413, 415, 422}
    return sorted(found)


def _parameters(route: HTTPRoute, operation: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    parameters = [
        {
            "name": parameter.name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"} if parameter.type is UUID else {"type": "string"},
        }
        for parameter in route.path_parameters.values()
    ]
    if operation.query is not None:
        query = schemas.components[operation.query.__name__]
        parameters += [_query_parameter(name, schema) for name, schema in query["properties"].items()]
    for name in operation.headers:
        text, schema = _HEADERS[name]
        parameters.append({"name": name, "in": "header", "description": text, "schema": schema})
    return parameters


def _query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    schema = {key: value for key, value in schema.items() if value not in (None, [])}
    options = schema.pop("anyOf", [{}])
    schema |= next(option for option in options if option.get("type") != "null")  # leaving it out is its null
    parameter: dict[str, Any] = {
        "name": name,
        "in": "query",
        "description": schema.pop("description"),
        "schema": schema,
    }
    if schema.get("type") == "array":
        parameter |= {"style": "form", "explode": False}
    return parameter


def _success(answer: Answer, operation: Operation, schemas: Schemas) -> dict[str, Any]:
    headers = (*answer.headers, *(LIMITED if operation.limited else ()))
    response: dict[str, Any] = {"description": answer.description, "headers": _headers(headers)}
    if answer.media_type and (answer.body is not None or answer.media_type != "application/json"):
        response["content"] = {answer.media_type: _content(answer, schemas)}
        if answer.or_media_type:
            response["content"][answer.or_media_type] = {"schema": {"type": "string"}}
    return response


def _content(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    if isinstance(answer.body, KindPart):
        return {"schema": _of_kinds(answer.body, list(all_kinds().values()))}
    if isinstance(answer.body, tuple):
        return {"schema": {"anyOf": [schemas.reference(type_) for type_ in answer.body]}}
    if answer.body is not None:
        return {"schema": schemas.reference(answer.body)}
    return {"schema": {"type": "string"}} if answer.media_type.startswith("text/") else {}


def _request_body(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    kind = next((kind for kind in all_kinds().values() if request_type(kind) is operation.body), None)
    if kind is None:
        return {"required": True, "content": {"application/json": {"schema": schemas.reference(operation.body)}}}
    schema = {"$ref": PREFIX + operation.body.__name__}
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": kind.example}}
    if kind.main_table:
        content["multipart/form-data"] = {
            "schema": _form(kind),
            "encoding": {"job": {"contentType": "application/json"}},
        }
    return {"required": True, "content": content}


def _form(kind: AnyKind) -> dict[str, Any]:
    job = f"The JSON above as a string, with `problem.{kind.main_table}` left out."
    rows = f"The rows of `problem.{kind.main_table}` as CSV, XLSX or Parquet, with a file name."
    return {
        "type": "object",
        "required": ["job", "rows"],
        "properties": {
            "job": {"type": "string", "contentMediaType": "application/json", "description": job},
            "rows": {"type": "string", "contentMediaType": "application/octet-stream", "description": rows},
        },
    }


def _problem(status: int) -> dict[str, Any]:
    description, headers = _PROBLEMS[status]
    content = {MEDIA_TYPE: {"schema": {"$ref": PREFIX + ProblemDetails.__name__}}}
    return {"description": description, "headers": _headers(headers), "content": content}


def _headers(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: {"description": _HEADERS[name][0], "schema": _HEADERS[name][1]} for name in (*names, "X-Request-ID")}


def encoded(app: Litestar) -> bytes:
    """Return the document as the committed file holds it."""
    return msgspec.json.format(msgspec.json.encode(document(app)), indent=1) + b"\n"


@cache
def committed() -> bytes:
    """Return the committed document, which the service shows."""
    return resources.files("api").joinpath(FILE).read_bytes()


def main() -> None:
    """Write the committed document anew."""
    from api.main import create_app
    from milpa.settings import Settings

    Path(__file__).with_name(FILE).write_bytes(encoded(create_app(Settings())))


if __name__ == "__main__":
    main()
