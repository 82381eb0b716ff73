"""The plan of the house, held: who may import whom, which files a kind has, how long things are, what is pinned."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from milpa.settings import _NOT_SETTINGS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
PACKAGES = PROJECT["tool"]["importlinter"]["root_packages"]
TRACKED = subprocess.run(
    [shutil.which("git") or "git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.splitlines()
FILES = [name for name in TRACKED if (ROOT / name).is_file()]
# A migration is one list of statements, however long; it is never edited again.
CODE = [name for name in FILES if name.endswith(".py") and not name.startswith(("tests/", "migrations/versions/"))]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
KINDS = sorted(path.name for path in (ROOT / "solvers/kinds").iterdir() if (path / "__init__.py").exists())

LONGEST_FILE = 400
LONGEST_FUNCTION = 60

KIND = f"solvers/kinds/{KINDS[0]}"
KIND_MODULE = f"solvers.kinds.{KINDS[0]}"
VIOLATIONS = {
    "Floors: deploy over api and workers over solvers and storage over milpa": [
        ("milpa/errors.py", "import solvers.issues"),
        ("milpa/errors.py", "import storage.rows"),
        ("solvers/limits.py", "import storage.rows"),
        ("storage/rows.py", "import solvers.limits"),
        ("api/links.py", "import workers.main"),
        ("workers/main.py", "import api.links"),
        ("api/links.py", "import deploy.cli"),
    ],
    "Inside solvers: registry, kinds, kind and backends, the shared words": [
        ("solvers/kind.py", "import solvers.registry"),
        ("solvers/kind.py", "import solvers.kinds"),
        ("solvers/backends/__init__.py", f"import {KIND_MODULE}.problem"),
        ("solvers/decode.py", "import solvers.kind"),
        ("solvers/issues.py", "import solvers.report"),
        ("solvers/registry.py", "import solvers.rows.tables"),
    ],
    "Kinds are independent of each other": [
        (f"{KIND}/problem.py", f"import solvers.kinds.{KINDS[-1]}.problem"),
    ],
    "A kind's declaration, problem and report load no solver": [
        (f"{KIND}/__init__.py", "import highspy"),
        (f"{KIND}/problem.py", "import ortools"),
        (f"{KIND}/report.py", f"import {KIND_MODULE}.model"),
        ("solvers/issues.py", "import scipy"),
    ],
    "The API loads no solver and no renderer": [
        ("api/links.py", "import polars"),
        ("solvers/decode.py", "import polars"),
        ("milpa/jobs.py", "import xlsxwriter"),
        ("solvers/kind.py", "def late():\n    import ortools"),
    ],
    "Computing does no I/O": [
        ("solvers/issues.py", "import httpx"),
        ("workers/compute.py", "import storage.rows"),
        ("workers/renderers/__init__.py", "import redis"),
    ],
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to plant violations in."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_the_contracts_of_the_house_are_kept() -> None:
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout


def test_every_contract_is_tried_with_a_planted_violation() -> None:
    assert set(VIOLATIONS) == {contract["name"] for contract in CONTRACTS}


@pytest.mark.parametrize(
    ("contract", "name", "line"),
    [(contract, name, line) for contract, plants in VIOLATIONS.items() for name, line in plants],
)
def test_a_planted_violation_breaks_its_contract(copy: Path, contract: str, name: str, line: str) -> None:
    planted = copy / name
    text = planted.read_text()
    planted.write_text(f"{text}\n{line}\n")
    try:
        linted = lint_imports(copy)
    finally:
        planted.write_text(text)
    assert linted.returncode == 1
    assert f"{contract} BROKEN" in linted.stdout


def test_the_api_loads_no_solver_and_no_renderer_at_run_time() -> None:
    forbidden = {"ortools", "highspy", "scipy", "numpy", "polars", "xlsxwriter", "reportlab", "altair", "vl_convert"}
    code = (
        "import sys\n"
        "from api.main import create_app\n"
        "from milpa.settings import Settings\n"
        "from solvers.registry import all_kinds\n"
        "create_app(Settings())\n"
        "assert all_kinds()\n"
        f"print(*sorted({forbidden} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["__init__.py", "problem.py", "model.py", "verify.py", "report.py", "cases/example.json"]
)
def test_a_kind_has_the_files_of_the_plan(kind: str, name: str) -> None:
    assert (ROOT / "solvers/kinds" / kind / name).is_file()


@pytest.mark.parametrize("name", CODE)
def test_files_and_functions_are_read_at_a_glance(name: str) -> None:
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_every_package_by_hash_and_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = re.split(r"\n(?=\S)", text.replace("\\\n", " "))
    pins = [entry for entry in entries if not entry.startswith("#")]
    assert len(pins) > 50
    assert [
        pin for pin in pins if not re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", pin)
    ] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_the_project_asks_for(name: str) -> None:
    locked: dict[str, list[str]] = {}
    for package, version in re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE
    ):
        locked.setdefault(canonicalize_name(package), []).append(version)
    asked = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    if name == "requirements-dev.lock":
        asked += [Requirement(text) for text in PROJECT["dependency-groups"]["dev"]]
    for requirement in asked:
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not locked"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_what_is_imported_is_asked_for_by_name() -> None:
    asked = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    for_development = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependency-groups"]["dev"]}
    tests = [name for name in FILES if name.endswith(".py") and name.startswith(("tests/", ".ci/"))]
    assert missing(CODE, asked) == set()
    assert missing(tests, asked | for_development) == set()


def test_every_dependency_has_its_reason() -> None:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    told = (ROOT / "docs/decisions/0001-dependencies.md").read_text().lower()
    assert [name for text in asked if not re.search(rf"\b{re.escape(name := Requirement(text).name)}\b", told)] == []


def missing(names: Iterable[str], asked: set[str]) -> set[str]:
    """Return the modules that these files import and nobody asked for."""
    ours = {*PACKAGES, "migrations", "tests", "__future__"}
    nodes = [node for name in names for node in ast.walk(ast.parse((ROOT / name).read_text()))]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    foreign = {module.split(".")[0] for module in found} - sys.stdlib_module_names - ours
    homes = packages_distributions()
    return {module for module in foreign if not asked & set(map(canonicalize_name, homes.get(module, [])))}


def test_setup_installs_by_hash_and_builds_nothing_but_ourselves() -> None:
    made = subprocess.run(
        [shutil.which("make") or "make", "--dry-run", "--always-make", "setup"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *installs, ourselves = [line for line in made.stdout.splitlines() if " install " in line]
    assert len(installs) == 2
    assert all("--require-hashes --only-binary :all:" in line for line in installs)
    assert "--no-deps --no-build-isolation --editable ." in ourselves


@pytest.mark.parametrize(
    ("package", "too_old", "too_new"), [("arq", "0.27", None), ("redis", None, "6.0"), ("highspy", None, "1.15")]
)
def test_versions_known_to_break_are_kept_out(package: str, too_old: str | None, too_new: str | None) -> None:
    (requirement,) = [
        found for text in PROJECT["project"]["dependencies"] if (found := Requirement(text)).name == package
    ]
    assert too_old is None or not requirement.specifier.contains(too_old)
    assert too_new is None or not requirement.specifier.contains(too_new)


# In pieces, so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    "|".join(
        re.escape("".join(parts))
        for parts in [
            ("py", "pi.org"),
            ("python", "hosted"),
            ("npm", "js.org"),
            ("npm", "js.com"),
            ("js", "delivr"),
            ("un", "pkg.com"),
            ("cr", "ates.io"),
            ("ana", "conda.org"),
            ("proxy.go", "lang.org"),
        ]
    ),
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.:/-])/(?:wo" + "rk|ro" + "ot|ho" + "me|Us" + "ers)/")


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINE_PATHS], ids=["registries", "machine paths"])
def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine(pattern: re.Pattern[str]) -> None:
    found = {}
    for name in FILES:
        try:
            match = pattern.search((ROOT / name).read_text())
        except UnicodeDecodeError:
            continue
        if match:
            found[name] = match[0]
    assert found == {}


@pytest.mark.parametrize("name", sorted(_NOT_SETTINGS))
def test_a_variable_that_is_no_setting_is_told_of_in_a_document(name: str) -> None:
    assert [document for document in FILES if document.endswith(".md") and name in (ROOT / document).read_text()]


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".md")])
def test_the_make_commands_in_documents_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE))
    assert commands <= targets


def test_no_route_opens_a_transaction_past_the_audit() -> None:
    """`transaction_of` keeps what a request writes; those named here only read, or are no route."""
    reading = {"api/trails.py", "api/audit.py", "api/files.py", "api/exports.py", "api/event_hub.py", "api/quotas.py"}
    opening = {name for name in CODE if name.startswith("api/") and ".transaction(" in (ROOT / name).read_text()}
    assert opening == reading
