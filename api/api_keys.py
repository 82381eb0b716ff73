"""API keys: made, listed and ended by administrators."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath

from api.bodies import AnyRequest, answer, decode_asked, read_json
from api.operations import Answer, Operation
from api.pages import PageQuery, page_of, page_start
from api.principal import GRANTS, Permission, Principal, PrincipalKind, Scope, granted
from api.problem_details import ProblemError, invalid, not_found
from api.queries import read_query
from api.services import settings_for
from api.submissions import Line
from api.times import Time
from api.trails import note_made, transaction_of
from solvers.issues import Issue, pointer
from storage.rows import ApiKeyRow, Role


class ApiKeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make. scopes: permissions that narrow the role; none narrow nothing. expires_at: left out, never."""

    name: Annotated[Line, msgspec.Meta(min_length=1)]
    role: Role
    scopes: Annotated[list[Scope], msgspec.Meta(max_length=4)] = []
    expires_at: Time | None = None


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key. prefix: how it begins, after `mlp_`. last_used_at: to the minute."""

    id: UUID
    name: str
    prefix: str
    role: Role
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class ApiKeyMade(ApiKey, frozen=True, kw_only=True):
    """A key just made. secret: what to send as `Authorization: Bearer …`, shown this once."""

    secret: str


class ApiKeyPage(msgspec.Struct, frozen=True):
    """Keys, newest first; next: the address of the page after this one."""

    items: list[ApiKey]
    next: str | None


@post(
    "/v1/api-keys",
    requires=Permission.ADMINISTER,
    operation=Operation(
        tag="API keys",
        body=ApiKeyRequest,
        answers={201: Answer("The key, with its secret.", ApiKeyMade)},
        problems=(409,),
    ),
)
async def create_api_key(request: AnyRequest) -> Response[bytes]:
    """Make an API key.

    Nobody hands out more than they have: no permission beyond their own and, with an API key that expires, no key that
    outlives it.
    """
    asked = await _read_asked(request)
    if _exceeds(asked, request.user):
        raise ProblemError(403, "forbidden", "A key may do no more, and live no longer, than the one that makes it.")
    async with transaction_of(request) as transaction:
        made = await transaction.api_keys.create(asked.name, asked.role, asked.scopes, asked.expires_at)
        note_made(request, made.row.id)
    return answer(ApiKeyMade(**msgspec.structs.asdict(_show(made.row)), secret=made.secret), 201)


@get(
    "/v1/api-keys",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="API keys", query=PageQuery, answers={200: Answer("A page of keys.", ApiKeyPage)}),
)
async def list_api_keys(request: AnyRequest) -> Response[bytes]:
    """List the API keys, newest first, those that have ended included."""
    query = read_query(request, PageQuery)
    after = page_start(request, query)
    async with transaction_of(request) as transaction:
        rows = await transaction.api_keys.list(query.limit + 1, after)
    page, following = page_of(request, query, rows)
    return answer(ApiKeyPage([_show(row) for row in page], following))


@delete(
    "/v1/api-keys/{key_id:uuid}",
    requires=Permission.ADMINISTER,
    operation=Operation(tag="API keys", answers={204: Answer("It is good for nothing any more.")}, problems=(409,)),
    status_code=204,
)
async def revoke_api_key(request: AnyRequest, key_id: FromPath[UUID]) -> None:
    """End an API key at once; the list keeps it.

    The last key that may administer is not ended by a key, which would lock everyone out.
    """
    async with transaction_of(request) as transaction:
        if await transaction.api_keys.revoke(key_id) is None:
            raise not_found("API key")
        left = await transaction.api_keys.good()
        if request.user.kind is PrincipalKind.API_KEY and not any(_administers(row) for row in left):
            detail = "This is the last key that may make keys; make another one first."
            raise ProblemError(409, "last-admin-key", detail)


async def _read_asked(request: AnyRequest) -> ApiKeyRequest:
    asked = await decode_asked(await read_json(request), ApiKeyRequest, settings_for(request))
    issues = _issues(asked)
    if issues:
        raise invalid(issues)
    return asked


def _issues(asked: ApiKeyRequest) -> list[Issue]:
    """Return what is wrong beyond the types: a scope that the role does not have, a time that is over."""
    message = f"The role {asked.role.value} does not have this permission."
    issues = [
        Issue(code="not_of_this_role", pointer=pointer("scopes", index), message=message)
        for index, scope in enumerate(asked.scopes)
        if scope not in GRANTS[asked.role]
    ]
    if asked.expires_at is not None and asked.expires_at <= datetime.now(UTC):
        issues.append(Issue(code="in_the_past", pointer="/expires_at", message="This time is over already."))
    return issues


def _exceeds(asked: ApiKeyRequest, principal: Principal) -> bool:
    outlives = principal.expires_at is not None and (
        asked.expires_at is None or asked.expires_at > principal.expires_at
    )
    return outlives or not granted(asked.role, asked.scopes) <= principal.permissions


def _administers(row: ApiKeyRow) -> bool:
    return Permission.ADMINISTER in granted(row.role, row.scopes)


def _show(row: ApiKeyRow) -> ApiKey:
    return ApiKey(**{field: getattr(row, field) for field in ApiKey.__struct_fields__})


ROUTES = [create_api_key, list_api_keys, revoke_api_key]
