"""The stack's temporary folder: in memory where there is room, because each Lambda worker unpacks 40 MB into it."""

import os
import shutil
import tempfile
from pathlib import Path

from local.launch.layout import Layout

# Only a private folder with a random name is made below it.
MEMORY = Path("/dev/shm")  # noqa: S108  # nosec B108
# A stack under test with all its workers takes about 1 GB.
ROOM_BYTES = 4 * 1024**3


def make(layout: Layout) -> None:
    """Creates `layout.temporary`: a link to a private folder in memory, or a plain folder where that cannot be."""
    layout.temporary.parent.mkdir(parents=True, exist_ok=True)
    if has_room(MEMORY):
        layout.temporary.symlink_to(tempfile.mkdtemp(prefix=f"tollgate-{layout.port}-", dir=MEMORY))
    else:
        layout.temporary.mkdir()


def remove(layout: Layout) -> None:
    """Removes the folder with all that is in it. The link goes last, so that an interrupted removal can be resumed."""
    if layout.temporary.is_symlink():
        shutil.rmtree(layout.temporary.readlink(), ignore_errors=True)
        layout.temporary.unlink()
    else:
        shutil.rmtree(layout.temporary, ignore_errors=True)


def has_room(folder: Path) -> bool:
    """Whether the folder is there, has room for a stack, and lets shared libraries be loaded from it."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return False
    executable = not facts.f_flag & getattr(os, "ST_NOEXEC", 0)
    return executable and facts.f_bavail * facts.f_frsize >= ROOM_BYTES and os.access(folder, os.W_OK)
