"""Files of requests dropped into the bucket: their names and their lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.json_values import refuse_half_pairs, strict_json

INPUT_PREFIX = "batch-input/"
OUTPUT_PREFIX = "batch-output/"
_SUFFIX = ".jsonl"
_ENVELOPE = frozenset({"id", "input", "parameters"})
_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file ``batch-input/<model>/<name>.jsonl``; the name may contain slashes."""

    model: str
    name: str

    @property
    def result_key(self) -> str:
        """Key of the results."""
        return f"{OUTPUT_PREFIX}{self.model}/{self.name}.jsonl"

    @property
    def summary_key(self) -> str:
        """Key of the counts and the cost, written at the end."""
        return f"{OUTPUT_PREFIX}{self.model}/{self.name}.summary.json"

    @property
    def error_key(self) -> str:
        """Key of the explanation why the file as a whole was not run."""
        return f"{OUTPUT_PREFIX}{self.model}/{self.name}.error.json"


def dropped_file(key: str) -> DroppedFile | None:
    """The parts of a key; None for keys that are not dropped files of requests."""
    if not key.startswith(INPUT_PREFIX) or not key.endswith(_SUFFIX):
        return None
    model, slash, name = key.removeprefix(INPUT_PREFIX).removesuffix(_SUFFIX).partition("/")
    return DroppedFile(model, name) if model and slash and name else None


@dataclass(frozen=True, slots=True)
class DroppedLine:
    """One request of a dropped file; `name` is the caller's own id for it."""

    input: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None


def dropped_line(line: bytes) -> DroppedLine:
    """Read one line: either ``{"id"?, "input", "parameters"?}`` or any other JSON value, which then is the input.

    Raises:
        InvalidRequestError: not JSON, a text that cannot be written, or the parts have the wrong types.
    """
    try:
        text = line.decode("utf-8-sig")
        value = strict_json(text)
    except ValueError as error:
        raise InvalidRequestError("The line is not valid JSON.") from error
    refuse_half_pairs(value, text)
    if not isinstance(value, dict) or "input" not in value or not value.keys() <= _ENVELOPE:
        return DroppedLine(value)
    name, parameters = value.get("id"), value.get("parameters", {})
    if name is not None and (not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME):
        raise InvalidRequestError(f"'id' must be a text of 1 to {_LONGEST_NAME} characters.", param="id")
    if not isinstance(parameters, dict):
        raise InvalidRequestError("'parameters' must be an object.", param="parameters")
    return DroppedLine(value["input"], parameters, name)
