"""Where a stack's temporary files go, and that they go away."""

import os
from pathlib import Path

import pytest

from local.launch import scratch
from local.launch.layout import Layout


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A stack whose memory-backed folder is a plain one that always has room."""
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(scratch, "MEMORY", memory)
    monkeypatch.setattr(scratch, "ROOM_BYTES", 0)
    return Layout(tmp_path, 4666)


def test_a_folder_in_memory_is_private_and_removed_with_its_link(layout: Layout) -> None:
    """Nothing of it stays, neither the link nor what it led to."""
    scratch.make(layout)
    (layout.temporary / "file").touch()
    assert layout.temporary.is_symlink()
    assert layout.temporary.stat().st_mode & 0o077 == 0
    scratch.remove(layout)
    assert not layout.temporary.is_symlink()
    assert not list(scratch.MEMORY.iterdir())


def test_without_room_in_memory_it_is_a_plain_folder(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small containers have 64 MB there."""
    monkeypatch.setattr(scratch, "ROOM_BYTES", 2**62)
    scratch.make(layout)
    assert layout.temporary.is_dir()
    assert not layout.temporary.is_symlink()
    scratch.remove(layout)
    assert not layout.temporary.exists()


def test_a_removal_that_was_interrupted_can_be_done_again(layout: Layout) -> None:
    """The folder is gone, the link is not yet."""
    scratch.make(layout)
    layout.temporary.readlink().rmdir()
    scratch.remove(layout)
    assert not layout.temporary.is_symlink()


def test_removing_nothing_is_no_error(layout: Layout) -> None:
    """A start that failed early has made no folder."""
    scratch.remove(layout)
    assert not layout.temporary.exists()


def test_a_missing_or_noexec_folder_has_no_room(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers bring shared libraries, which such a mount refuses to load."""
    assert not scratch.has_room(layout.root / "missing")
    facts = os.statvfs(layout.root)
    values = list(facts)
    values[8] = facts.f_flag | os.ST_NOEXEC
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    assert not scratch.has_room(scratch.MEMORY)
