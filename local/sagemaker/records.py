"""Records of a batch transform: cutting objects into them, filling payloads, joining answers to them.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from local.sagemaker.jsonpath import Path, PathLookupError, PathSyntaxError, compile_path
from local.sagemaker.wire import Json

MEGABYTE = 1024 * 1024


class BadRecordError(Exception):
    """A record cannot be sent, answered or joined; its whole object gets no output."""


def split_lines(chunks: Iterable[bytes], limit_bytes: int = 0) -> Iterator[bytes]:
    """Yield a stream's lines without their ends, holding one at a time; a limit of 0 is none.

    Raises:
        BadRecordError: a line is longer than the limit.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
        _check(len(rest), limit_bytes)
    if rest:
        yield rest.removesuffix(b"\r")


def whole_object(chunks: Iterable[bytes], limit_bytes: int) -> Iterator[bytes]:
    """Yield an object as its only record; a limit of 0 is none.

    Raises:
        BadRecordError: it is larger than the limit.
    """
    held = bytearray()
    for chunk in chunks:
        held += chunk
        _check(len(held), limit_bytes)
    yield bytes(held)


def payloads(records: Iterable[bytes], *, multi: bool, limit_bytes: int) -> Iterator[list[bytes]]:
    """Group records into payloads: one each, or as many as fit the limit with a line end after each.

    Raises:
        BadRecordError: one record alone is larger than the limit.
    """
    held: list[bytes] = []
    size = 0
    for record in records:
        _check(len(record), limit_bytes)
        if not multi:
            yield [record]
            continue
        if held and limit_bytes and size + len(record) + 1 > limit_bytes:
            yield held
            held, size = [], 0
        held.append(record)
        size += len(record) + 1
    if held:
        yield held


def _check(size: int, limit_bytes: int) -> None:
    if limit_bytes and size > limit_bytes:
        raise BadRecordError(f"A record of {size} bytes or more exceeds MaxPayloadInMB ({limit_bytes} bytes)")


@dataclass(frozen=True, slots=True)
class Processing:
    """The `DataProcessing` of a job, for JSON records."""

    input_filter: Path
    output_filter: Path
    join: bool

    @classmethod
    def read(cls, document: Json) -> Self:
        """Compile the filters.

        Raises:
            PathSyntaxError: a filter is outside the JSONPath subset, or JoinSource is unknown.
        """
        if document.get("JoinSource", "None") not in ("None", "Input"):
            raise PathSyntaxError(f"JoinSource {document['JoinSource']!r} is neither None nor Input")
        return cls(
            compile_path(document.get("InputFilter", "$")),
            compile_path(document.get("OutputFilter", "$")),
            document.get("JoinSource") == "Input",
        )

    def before(self, record: bytes) -> bytes:
        """Return what of a record the model sees.

        Raises:
            BadRecordError: the record is not JSON or lacks what the filter names.
        """
        if self.input_filter.is_identity:
            return record
        try:
            return json.dumps(self.input_filter.select(_parse(record, "input"))).encode()
        except PathLookupError as error:
            raise BadRecordError(f"InputFilter {self.input_filter.expression}: {error}") from error

    def after(self, sent: list[bytes], answer: bytes, *, lines: bool) -> list[bytes]:
        """Return what of a payload's answer is stored, one piece a record when joining or filtering.

        Args:
            sent: the records of the payload, as they were in the input.
            answer: the container's body.
            lines: whether the answer holds one line a record.

        Raises:
            BadRecordError: the answer is not JSON, has another number of records, or lacks what is filtered.
        """
        if not self.join and self.output_filter.is_identity:
            return [answer]
        outputs = list(split_lines([answer])) if lines else [answer]
        if len(outputs) != len(sent):
            raise BadRecordError(f"{len(sent)} records were sent and {len(outputs)} came back: cannot be joined")
        return [self._joined(record, output) for record, output in zip(sent, outputs, strict=True)]

    def _joined(self, record: bytes, output: bytes) -> bytes:
        document = _parse(output, "output")
        if self.join:
            document = join(_parse(record, "input"), document)
        try:
            return json.dumps(self.output_filter.select(document)).encode()
        except PathLookupError as error:
            raise BadRecordError(f"OutputFilter {self.output_filter.expression}: {error}") from error


def join(record: Any, output: Any) -> Json:
    """Join an answer to its input: into an object's members, or beside `SageMakerInput`."""
    if isinstance(record, dict):
        return record | {"SageMakerOutput": output}
    return {"SageMakerInput": record, "SageMakerOutput": output}


def _parse(text: bytes, which: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRecordError(f"The {which} record is not JSON: {error}") from error


def output_name(prefix: str, key: str) -> str:
    """Return the name of an object's output below the job's output path.

    The input prefix is taken off where it ends at a folder; else the prefix's last, unfinished part stays in
    the name, which is how AWS's own example comes to `input-name-prefix/data.csv.out`.
    """
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    if key == prefix or not key.startswith(folder):
        folder = f"{prefix.rpartition('/')[0]}/" if "/" in prefix else ""
    return f"{key[len(folder) :]}.out"
