"""A bucket made of files in a folder, in constant memory."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tollgate.adapters.s3.objects import split_lines


class FolderObjects:
    """The `ObjectStore` of benchmarks."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def _path(self, key: str) -> Path:
        return self._home / key

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        assert content_type
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def put_lines(self, key: str, lines: Iterable[bytes], *, content_type: str = "application/jsonl") -> None:
        assert content_type
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for line in lines:
                file.write(line + b"\n")

    def get(self, key: str) -> bytes | None:
        path = self._path(key)
        return path.read_bytes() if path.is_file() else None

    def lines(self, key: str) -> Iterator[bytes] | None:
        path = self._path(key)
        return split_lines(_chunks(path)) if path.is_file() else None

    def stored_at(self, key: str) -> datetime | None:
        path = self._path(key)
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.is_file() else None

    def list_keys(self, prefix: str) -> Iterator[str]:
        folder = self._path(prefix)
        return iter(sorted(f"{prefix}{path.name}" for path in folder.iterdir())) if folder.is_dir() else iter(())

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        return f"file:{key}?{expires_seconds}"

    def location_of(self, key: str) -> str:
        return f"s3://folder/{key}"

    def key_of(self, location: str) -> str | None:
        return location.removeprefix("s3://folder/")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(256 * 1024):
            yield chunk
