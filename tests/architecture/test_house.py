"""The shape of the house: import contracts, settings that are read, documents that are true."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from storage_server import config

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "storage_server"
DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def test_imports_obey_the_contracts() -> None:
    """Layers, siblings and forbidden libraries, as pyproject.toml says."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_configuration_md_is_what_the_program_renders() -> None:
    """The document is made, never written."""
    assert (ROOT / "CONFIGURATION.md").read_text() == config.render()


def test_every_option_is_read_somewhere() -> None:
    """A setting that nothing reads is a promise that nobody keeps."""
    used = {
        node.attr
        for path in MODULES
        if path.name != "config.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    unread = [row.name for row in config.SETTINGS if row.target.partition(".")[2] not in used]
    assert unread == []


def test_no_module_is_a_drawer() -> None:
    """A module has the name of its one idea."""
    assert [path for path in MODULES if path.stem in DRAWERS] == []


def test_alembic_is_no_package() -> None:
    """With an __init__.py the folder would hide the library."""
    assert not (ROOT / "alembic" / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_hides_in_an_import(path: Path) -> None:
    """No import inside a function and no block for types only: both hide circles."""
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    hidden = [
        f"{path}:{inner.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, functions)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []
    assert "TYPE_CHECKING" not in path.read_text()


def test_one_module_imports_on_demand() -> None:
    """The command line's: what else is needed is said at the top of a module."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if re.search(r"\b(importlib|__import__|runpy|pkgutil)\b", path.read_text())
    }
    assert found == {"cli/loading.py"}


def test_only_config_and_the_command_line_read_the_environment() -> None:
    """Everything else is told by its options."""
    allowed = {"cli/arguments.py", "cli/serving.py", "config.py", "processes/supervisor.py"}
    readers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= allowed


def libraries() -> set[str]:
    """Return what the program needs, by the names of the packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[<>=\[]", need)[0] for need in project["dependencies"]}


def test_every_library_is_imported() -> None:
    """What only tests need is not installed with the program."""
    providers = metadata.packages_distributions()
    imported = {
        name.partition(".")[0]
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [one.name for one in node.names]
        )
    }
    used = {package.lower() for name in imported for package in providers.get(name, [])}
    by_url = {"psycopg"}  # SQLAlchemy loads it for postgresql://
    assert libraries() - used == by_url


def test_every_library_is_in_the_architecture() -> None:
    """With what it is for, and no other one."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text[text.index("## Dependencies") : text.index("## Tests")]
    rows = re.findall(r"^\| ([a-z0-9, -]+) \|", table, re.MULTILINE)
    named = {name for row in rows for name in row.split(", ")} - {"library"}
    assert named == libraries()


def test_the_lock_names_no_index() -> None:
    """The lock is hashes; where packages come from is the installer's business."""
    for path in ROOT.glob("requirements*.lock"):
        lines = path.read_text().splitlines()
        assert not [line for line in lines if line.startswith(("--index", "--extra", "--find"))]
        assert not [line for line in lines if "http://" in line or "https://" in line]


def test_the_runtime_lock_is_made_from_the_whole_one() -> None:
    """What a container installs is what was tested."""
    made = subprocess.run(
        [sys.executable, "scripts/runtime-lock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (ROOT / "requirements-runtime.lock").read_text()
