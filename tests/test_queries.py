"""SQL is never built from input: whatever is said to PostgreSQL is a constant of the code, with values beside it.

Ruff's S608 and bandit look for SQL in strings; this looks at every place where a text can become a statement.
SQLAlchemy takes no bare string as a statement, so its doors are few.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("api", "deploy", "milpa", "storage", "workers")
SQLALCHEMY = {"text", "literal_column", "exec_driver_sql", "TextClause"}
ASYNCPG = {"execute", "executemany", "fetch", "fetchrow", "fetchval", "prepare", "cursor", "copy_from_query"}
PATHS = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def imports(module: ast.Module) -> set[str]:
    """Names that a module takes from libraries, and the libraries."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").partition(".")[0], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
    return found


def constants(module: ast.Module) -> set[str]:
    """Names that a module binds at its top to what is made of literals alone."""
    found: set[str] = set()
    for statement in module.body:
        if isinstance(statement, ast.Assign) and is_constant(statement.value, found):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        if isinstance(statement, ast.AnnAssign) and statement.value and is_constant(statement.value, found):
            found |= {statement.target.id} if isinstance(statement.target, ast.Name) else set()
    return found


def is_constant(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression is made of literals, and of names that are, alone."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in names
        case ast.JoinedStr(values=values):
            return all(is_constant(value, names) for value in values)
        case ast.FormattedValue(value=value):
            return is_constant(value, names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return is_constant(left, names) and is_constant(right, names)
        case _:
            return False


def built(module: ast.Module, shared: set[str]) -> list[int]:
    """Lines where a statement is made of something else."""
    imported = imports(module)
    doors = SQLALCHEMY if "sqlalchemy" in imported else ASYNCPG | SQLALCHEMY if "asyncpg" in imported else set()
    names = constants(module) | (shared & imported)
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and node.args:
            attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if (attribute in doors - {"text"} or name in doors & imported) and not is_constant(node.args[0], names):
                found.append(node.lineno)
    return found


MODULES = {path: ast.parse(path.read_text()) for path in PATHS}
SHARED = set().union(*(constants(module) for module in MODULES.values()))


@pytest.mark.parametrize("path", PATHS, ids=[str(path.relative_to(ROOT)) for path in PATHS])
def test_every_statement_is_a_constant(path: Path) -> None:
    assert built(MODULES[path], SHARED) == []


@pytest.mark.parametrize(
    "planted",
    [
        "from sqlalchemy import text\ndef find(name):\n    return text(f'SELECT {name}')",
        "from sqlalchemy import text\ndef find(name):\n    return text('SELECT ' + name)",
        "from sqlalchemy import text\ndef find(name):\n    return text('SELECT %s' % name)",
        "from sqlalchemy import text\ndef find(sql):\n    return text(sql)",
        "import sqlalchemy\ndef find(sql):\n    return connection.exec_driver_sql(sql)",
        "import asyncpg\nasync def find(sql):\n    return await connection.fetch(f'SELECT {sql}')",
    ],
)
def test_a_planted_one_is_found(planted: str) -> None:
    assert len(built(ast.parse(planted), SHARED)) == 1


def test_statements_are_found_at_all() -> None:
    assert sum(ast.dump(module).count("id='text'") for module in MODULES.values()) > 100
