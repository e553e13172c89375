"""A trace file as text, whatever it is packed in: gzip, bzip2, xz or a zip of one file; UTF-8 or UTF-16.

What it is packed in is told by its first bytes, not by its name.
"""

import bz2
import csv
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase, TextIOWrapper
from pathlib import Path
from typing import IO, TextIO, cast


class TraceError(Exception):
    """The file cannot be read as a trace at all."""


UNREADABLE = (OSError, UnicodeError, EOFError, csv.Error, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What reading a file may raise, from its place to its rows."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file"),
    (IsADirectoryError, "that is a folder, not a file"),
    (PermissionError, "this user may not read it"),
    (gzip.BadGzipFile, "it is damaged, gzip cannot unpack it"),
    (zipfile.BadZipFile, "it is damaged, zip cannot unpack it"),
    (lzma.LZMAError, "it is damaged, xz cannot unpack it"),
    (zlib.error, "it is damaged, what is packed in it cannot be unpacked"),
    (EOFError, "its end is missing"),
    (UnicodeDecodeError, "it is not text in UTF-8"),
)

_UNPACKERS: dict[bytes, Callable[[Path], BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_NOT_READ: dict[bytes, str] = {
    b"\x28\xb5\x2f\xfd": "it is packed by zstd; unpack it first (zstd -d)",
    b"PAR1": "it is Parquet; write it as CSV first",
}
_BEGINNING = 4096


def unreadable(path: Path, error: Exception) -> TraceError:
    """What a person is told of a file that cannot be read."""
    known = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
    if known is None:
        known = "the system does not let it be read" if isinstance(error, OSError) else str(error)
    return TraceError(f"{path}: {known}.")


@contextmanager
def opened(path: Path) -> Iterator[TextIO]:
    """The file as text, unpacked; a byte that is not UTF-8 becomes a replacement character.

    Raises:
        TraceError: it is packed in a way that cannot be read, or holds no text.
        OSError: the system refuses it; other errors of `UNREADABLE` while it is read.
    """
    with _unpacked(path) as stream:
        beginning = stream.read(_BEGINNING)
        stream.seek(0)
        encoding = "utf-16" if beginning.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        if encoding != "utf-16" and b"\0" in beginning:
            raise TraceError(f"{path}: it is not text in UTF-8.")
        with TextIOWrapper(stream, encoding=encoding, errors="replace", newline="") as text:
            yield text


def _unpacked(path: Path) -> IO[bytes]:
    with path.open("rb") as raw:
        magic = raw.read(6)
    for start, reason in _NOT_READ.items():
        if magic.startswith(start):
            raise TraceError(f"{path}: {reason}.")
    for start, unpack in _UNPACKERS.items():
        if magic.startswith(start):
            return cast("IO[bytes]", unpack(path))  # They differ only in what they call their modes.
    if magic.startswith(b"PK"):
        return _only_member(path)
    if path.suffix == ".gz" and magic:
        raise TraceError(f"{path}: its name ends in .gz, but gzip did not make it.")
    return path.open("rb")


def _only_member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    files = [
        one
        for one in archive.infolist()
        if not one.is_dir() and not one.filename.rpartition("/")[2].startswith((".", "["))
    ]
    if len(files) != 1 or files[0].flag_bits & 1:
        archive.close()
        raise TraceError(f"{path}: a zip has to hold one file without a password, and this one holds {len(files)}.")
    return archive.open(files[0])
