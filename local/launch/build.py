"""`sam build` for this machine, left out when nothing that goes into a function has changed."""

import asyncio
import fcntl
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from local.launch import layer, sam_local
from local.launch.environments import STAMP
from local.launch.layout import Layout, architecture, tool_environment
from local.launch.processes import Children

SOURCES = ("template.yaml", "functions", "layers")
SKIPPED_FOLDERS = {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
LOCK_PAUSE_SECONDS = 0.2


def build_folder(root: Path) -> Path:
    """Where the local build lies; `make build`, for AWS, keeps to SAM's own folder."""
    return root / ".local" / "sam" / "build"


def source_files(root: Path) -> Iterator[Path]:
    """Every file that goes into the build, in a stable order."""
    for name in SOURCES:
        start = root / name
        found = [start] if start.is_file() else sorted(start.rglob("*"))
        for path in found:
            if path.is_file() and not SKIPPED_FOLDERS.intersection(path.parts):
                yield path


def fingerprint(root: Path) -> str:
    """The SHA-256 of the sources' names and bytes, the environments that build them, and the processor."""
    digest = hashlib.sha256(architecture().encode())
    for path in source_files(root):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for builder in (root / ".venv" / "sam" / STAMP, Path(layer.__file__), Path(sam_local.__file__)):
        if builder.exists():
            digest.update(hashlib.sha256(builder.read_bytes()).digest())
    return digest.hexdigest()


@asynccontextmanager
async def built(layout: Layout, children: Children) -> AsyncIterator[Path]:
    """Builds if needed; the build stays as it is for as long as the context lasts.

    Yields:
        The built template's path.

    Raises:
        StepFailedError: `sam build` failed.
    """
    folder = build_folder(layout.root)
    stamp = layout.root / ".local" / "sam" / "stamp"
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock_path = layout.root / ".local" / "sam" / "lock"
    with lock_path.open("w") as lock:
        await _take(lock.fileno(), fcntl.LOCK_EX)
        wanted = fingerprint(layout.root)
        if not (folder.joinpath("template.yaml").exists() and stamp.exists() and stamp.read_text() == wanted):
            stamp.unlink(missing_ok=True)
            await _sam_build(layout, children, folder)
            await asyncio.to_thread(layer.finish, folder)
            sam_local.declare(folder)
            stamp.write_text(wanted)
        # Others may now deploy the same build at the same time, but not replace it.
        await _take(lock.fileno(), fcntl.LOCK_SH)
        yield folder / "template.yaml"


async def _take(descriptor: int, kind: int) -> None:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


async def _sam_build(layout: Layout, children: Children, folder: Path) -> None:
    command = [str(layout.root / ".venv" / "sam" / "bin" / "sam"), "build", "--cached", "--parallel"]
    command += ["--template-file", str(layout.root / "template.yaml"), "--build-dir", str(folder)]
    command += ["--cache-dir", str(layout.root / ".local" / "sam" / "cache")]
    command += ["--parameter-overrides", f"Architecture={architecture()}"]
    await children.run(
        "sam-build",
        command,
        tool_environment(layout),
        failure="`sam build` could not build the functions",
        advice="mend what the log names (a package index must be reachable), then run make run again.",
    )
