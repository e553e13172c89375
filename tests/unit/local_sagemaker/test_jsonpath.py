"""The JSONPath subset of batch transform's filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.sagemaker.jsonpath import PathLookupError, PathSyntaxError, compile_path

DOCUMENT = {"id": 7, "a": {"b": [10, 20, 30, 40], "c d": "x"}, "rows": [{"n": 1}, {"n": 2}]}


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("$", DOCUMENT),
        ("$.id", 7),
        ("$.a.b", [10, 20, 30, 40]),
        ("$['id']", 7),
        ('$["id"]', 7),
        ("$.a['c d']", "x"),
        ("$['id','rows']", {"id": 7, "rows": [{"n": 1}, {"n": 2}]}),
        ("$.a.b[0]", 10),
        ("$.a.b[-1]", 40),
        ("$.a.b[1:3]", [20, 30]),
        ("$.a.b[2:]", [30, 40]),
        ("$.a.b[:2]", [10, 20]),
        ("$.a.b[0,2:]", [10, 30, 40]),
        ("$.a.b[0,3]", [10, 40]),
        ("$.rows[1].n", 2),
        ("$.rows[*]", [{"n": 1}, {"n": 2}]),
        ("$.a.*", [[10, 20, 30, 40], "x"]),
    ],
)
def test_each_form_selects_what_it_names(expression: str, selected: object) -> None:
    """Every documented form gives the documented part of the document."""
    assert compile_path(expression).select(DOCUMENT) == selected


@pytest.mark.parametrize("expression", ["", "id", "$..id", "$.a[?(@.b)]", "$[", "$.a.", "$[]", "$[1:2:3]", "$['a',1]"])
def test_what_is_outside_the_subset_is_refused(expression: str) -> None:
    """An expression that AWS would not take fails when it is compiled, not in the middle of a job."""
    with pytest.raises(PathSyntaxError):
        compile_path(expression)


@pytest.mark.parametrize("expression", ["$.nothing", "$['id','nothing']", "$.id.b", "$.a.b[4]", "$.a[0]", "$.id[*]"])
def test_what_is_not_there_is_an_error(expression: str) -> None:
    """A filter that names what a record does not have is an error, as AWS documents, never a silent null."""
    with pytest.raises(PathLookupError):
        compile_path(expression).select(DOCUMENT)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), st.integers(), min_size=1))
def test_dots_and_brackets_agree(document: dict[str, int]) -> None:
    """`$.name` and `$['name']` select the same for any name."""
    for name, value in document.items():
        assert compile_path(f"$.{name}").select(document) == value
        assert compile_path(f"$['{name}']").select(document) == value


@given(st.lists(st.integers()), st.integers(-5, 5), st.integers(-5, 5))
def test_slices_are_pythons(items: list[int], low: int, high: int) -> None:
    """A slice selects exactly what Python's does, empty or not."""
    assert compile_path(f"$[{low}:{high}]").select(items) == items[low:high]
