"""When a virtual environment is made again."""

from pathlib import Path

import pytest

from local.launch import environments
from local.launch.environments import ENVIRONMENTS, STAMP, Environment, fingerprint, is_current
from local.launch.layout import ROOT

BOTH = Environment("both", ("requirements/a.txt",), without_dependencies=("requirements/b.txt",))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one environment that was made from its two requirement files."""
    (tmp_path / "requirements").mkdir()
    for name in BOTH.files:
        (tmp_path / name).write_text(name)
    interpreter = tmp_path / ".venv" / "both" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch()
    (tmp_path / ".venv" / "both" / STAMP).write_text(fingerprint(BOTH, tmp_path, "python"))
    return tmp_path


def test_an_unchanged_environment_is_current(checkout: Path) -> None:
    """Same files, same Python: nothing to do."""
    assert is_current(BOTH, checkout, "python")


@pytest.mark.parametrize("changed", BOTH.files)
def test_a_changed_requirement_file_asks_for_a_new_one(checkout: Path, changed: str) -> None:
    """Each file counts, also the one installed without dependencies."""
    (checkout / changed).write_text("another")
    assert not is_current(BOTH, checkout, "python")


def test_another_python_asks_for_a_new_one(checkout: Path) -> None:
    """An environment points at the interpreter that made it."""
    assert not is_current(BOTH, checkout, "another python")


def test_a_half_made_environment_asks_for_a_new_one(checkout: Path) -> None:
    """The stamp is written last: an interrupted installation has none."""
    (checkout / ".venv" / "both" / STAMP).unlink()
    assert not is_current(BOTH, checkout, "python")


def test_current_environments_cost_nothing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is locked, started or printed when all is there."""
    monkeypatch.setitem(ENVIRONMENTS, "both", BOTH)
    monkeypatch.setattr(environments, "base_python", lambda: "python")
    environments.ensure(["both"], checkout)
    assert not (checkout / ".venv" / "lock").exists()


def test_a_failed_installation_says_where_and_what_to_do(tmp_path: Path) -> None:
    """The message carries the end of the log, its path from the root, and the next step."""
    log = tmp_path / "x.log"
    with pytest.raises(
        environments.InstallFailedError, match=r"(?s)`x`.*exit code 3.*no such index.*x\.log.*What to do"
    ):
        environments._run(["sh", "-c", "echo no such index; exit 3"], "x", log, tmp_path)


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_every_environment_is_pinned_and_hashed(name: str) -> None:
    """Each requirement has one version and at least one hash, and no file names an index."""
    for file in ENVIRONMENTS[name].files:
        lines = (ROOT / file).read_text().splitlines()
        pinned = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert pinned, file
        assert all("==" in line and line.endswith("\\") for line in pinned), file
        assert not [line for line in lines if "index" in line], file
