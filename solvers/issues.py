"""All that is wrong with a problem, at once."""

from milpa.issues import Issue, Severity

__all__ = ["Issue", "Severity", "error", "has_errors", "pointer", "warning"]


def has_errors(issues: list[Issue]) -> bool:
    """Tell whether any issue refuses the problem."""
    return any(issue.severity is Severity.ERROR for issue in issues)


def error(code: str, message: str, *path: str | int) -> Issue:
    """Return what refuses a problem, at a path from its root."""
    return Issue(code=code, pointer=pointer(*path), message=message)


def warning(code: str, message: str, *path: str | int) -> Issue:
    """Return what is only odd about a problem, at a path from its root."""
    return Issue(code=code, pointer=pointer(*path), message=message, severity=Severity.WARNING)


def pointer(*parts: str | int) -> str:
    """Join path parts to a JSON pointer, escaping `~` and `/` (RFC 6901).

    >>> pointer("sector_caps", "a/b", 3)
    '/sector_caps/a~1b/3'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
