"""The API to read: `/openapi.json`, and `/docs` without any network (the viewer is Redoc, beside this file)."""

from importlib import resources

from litestar import Response, get
from litestar.response import Redirect

from api import openapi
from api.operations import Answer, Operation
from api.principal import Permission

_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; font-src 'self'; worker-src blob:; frame-ancestors 'none'; base-uri 'none'"
)
"""Redoc writes its styles at run time and searches in a worker made from a blob; nothing may come from elsewhere."""


@get("/", requires=Permission.PUBLIC, operation=None, sync_to_thread=False)
def lead_to_docs() -> Redirect:
    """Lead who opens the bare address in a browser to the documentation."""
    return Redirect("docs")


@get("/docs", requires=Permission.PUBLIC, operation=None, sync_to_thread=False)
def read_docs() -> Response[bytes]:
    """Show the API to a person."""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(_file("page.html"), media_type="text/html", headers=headers)


@get("/docs/redoc.min.js", requires=Permission.PUBLIC, operation=None, sync_to_thread=False)
def read_viewer() -> Response[bytes]:
    """Return the viewer's code."""
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(_file("redoc.min.js"), media_type="text/javascript", headers=headers)


@get(
    "/openapi.json",
    requires=Permission.PUBLIC,
    operation=Operation(tag="Service", answers={200: Answer("This document.", dict)}),
    sync_to_thread=False,
)
def read_openapi() -> Response[bytes]:
    """Describe this API in OpenAPI 3.1."""
    return Response(openapi.committed(), media_type="application/json", headers={"Cache-Control": "no-cache"})


def _file(name: str) -> bytes:
    return resources.files(__name__).joinpath(name).read_bytes()


ROUTES = [lead_to_docs, read_docs, read_viewer, read_openapi]
