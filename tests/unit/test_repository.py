"""Rules for the repository as a whole that no linter knows."""

import ast
from pathlib import Path

import pytest

from local.launch.layout import ROOT
from local.repository_checks import machine_words

FUNCTIONS = sorted((ROOT / "functions").glob("*/*.py"))
STRANGERS = ("functions", "cli", "local", "planner", "tests", "benchmarks")


def imported_modules(source: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
    return found


@pytest.mark.parametrize("source", FUNCTIONS, ids=lambda path: path.parent.name)
def test_a_function_imports_neither_another_function_nor_a_tool(source: Path) -> None:
    """Each function is deployed alone, beside the layer: nothing else of the repository is there."""
    strangers = {module for module in imported_modules(source) if module.startswith((".", *STRANGERS))}
    assert not {module for module in strangers if module.partition(".")[0] in (*STRANGERS, "")}


@pytest.mark.parametrize("folder", ["w" + "ork", "r" + "oot", "h" + "ome/ann", "U" + "sers/ann", "t" + "mp"])
def test_a_machines_path_is_found(folder: str) -> None:
    """At the beginning of a line, in quotes, and after a colon."""
    text = f'/{folder}/x\nopen("/{folder}/x")\nsee:/{folder}/x\n'
    assert len(list(machine_words("file", text))) == 3


@pytest.mark.parametrize("text", ["src/w" + "ork/x", "https://example.com/r" + "oot/x", "/opt/python/x", "/v1/models"])
def test_other_paths_are_not(text: str) -> None:
    """Relative paths, URLs and the paths of Lambda and the API are no machine's own."""
    assert not list(machine_words("file", text))
