"""Finds the kinds by scanning `kinds/`; fails loudly when a folder is not one."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

from solvers import kinds
from solvers.kind import JobKind

AnyKind: TypeAlias = JobKind[Any, Any]


def find_kinds(package: ModuleType) -> MappingProxyType[str, AnyKind]:
    """Return every kind in a package by name. TypeError: a folder without a `KIND`; ValueError: two of one name."""
    found: dict[str, AnyKind] = {}
    for module in iter_modules(package.__path__, prefix=f"{package.__name__}."):
        kind = getattr(import_module(module.name), "KIND", None)
        if not isinstance(kind, JobKind):
            raise TypeError(f"{module.name} declares no KIND = JobKind(…)")
        if kind.name in found:
            raise ValueError(f"two kinds are called {kind.name!r}: {found[kind.name].package} and {module.name}")
        found[kind.name] = kind
    return MappingProxyType(dict(sorted(found.items())))


@cache
def all_kinds() -> MappingProxyType[str, AnyKind]:
    """Return every kind of the house by name."""
    return find_kinds(kinds)


def get_kind(name: str) -> AnyKind:
    """Return the kind of that name. KeyError: there is none."""
    return all_kinds()[name]
