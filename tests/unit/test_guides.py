"""The guides lead to what is there: links, anchors, files, the map of the code, the list of decisions."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.launch.layout import ROOT

LAYER = ROOT / "layers" / "tollgate" / "tollgate"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _text(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def _anchors(page: Path) -> set[str]:
    """Of its headings, as repository hosts make them."""
    headings = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _links(page: Path) -> Iterator[tuple[str, str]]:
    """Links to other pages and to anchors, as path and anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            yield path, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each names a file that is there, and a heading that it has."""
    for path, anchor in _links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_sources_that_a_page_names_are_there(page: Path) -> None:
    """A path to a module starts at the root or in the layer's package; stars and dots stand for more than one."""
    for name in re.findall(r"`([\w./*-]+/[\w.*-]+\.py)`", _text(page)):
        pattern = name.replace("...", "*")
        assert any(any(folder.glob(pattern)) for folder in (ROOT, LAYER.parent, LAYER)), name


def _map_column(floor: str, column: int) -> set[str]:
    """The names in a column of that map in `docs/develop.md` which is headed by the floor there."""
    text = (ROOT / "docs" / "develop.md").read_text("utf-8")
    _, rows = re.split(rf"^\|(?:[^|\n]*\|){{{column}}} `{floor}/` \|.*\n.*\n", text, flags=re.MULTILINE)
    table = rows.partition("\n\n")[0]
    return {name.strip() for row in table.splitlines() for name in row.split("|")[column + 1].split(",")} - {""}


@pytest.mark.parametrize(("floor", "column"), [("domain", 1), ("services", 2), ("adapters", 0)])
def test_every_package_has_its_place_in_the_map(floor: str, column: int) -> None:
    """And every module beside them: `docs/develop.md` says what is decided there; what is gone is gone there too."""
    assert _map_column(floor, column) == {path.stem for path in (LAYER / floor).iterdir()} - {"__init__", "__pycache__"}


@pytest.mark.parametrize("floor", ["domain", "services", "adapters"])
def test_every_package_and_module_says_what_it_is_for(floor: str) -> None:
    """In its first line, for the map leads no further than the package."""
    for path in (LAYER / floor).rglob("*.py"):
        if path.parent.name != floor or path.stem != "__init__":
            assert path.read_text("utf-8").startswith('"""'), path


def test_every_decision_is_in_the_list() -> None:
    """Under its own number, once."""
    listed = re.findall(r"\[(\d+)\]\((\d{4})-[\w-]+\.md\)", (DECISIONS / "README.md").read_text("utf-8"))
    assert all(int(number) == int(file) for number, file in listed)
    assert sorted(file for _, file in listed) == sorted(path.name[:4] for path in DECISIONS.glob("0*.md"))
