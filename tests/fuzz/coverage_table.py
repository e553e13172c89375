"""What a run of Schemathesis has called, from the events that it wrote down."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Added by whatever carries an answer, or part of any.
_CARRIED = frozenset(
    {
        *("content-type", "content-length", "date", "server", "connection", "transfer-encoding", "content-encoding"),
        *("x-amzn-requestid", "x-amz-request-id", "x-amzn-errortype"),
    }
)


@dataclass(slots=True)
class Called:
    """The calls of one operation: by what was sent (positive or negative), and by what came back."""

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    headers: set[str] = field(default_factory=set)

    def count(self, status: int, headers: Iterable[str], mode: str = "positive") -> None:
        """One call that was answered."""
        self.sent[mode] += 1
        self.statuses[status] += 1
        self.headers |= {name.lower() for name in headers} - _CARRIED

    @property
    def succeeded(self) -> bool:
        """Whether any call did."""
        return any(200 <= status < 400 for status in self.statuses)

    @property
    def refused_as_wrong(self) -> bool:
        """Whether wrong data was sent, and any call was refused."""
        return self.sent["negative"] > 0 and any(400 <= status < 500 for status in self.statuses)


def calls_by_operation(
    events: Iterable[Path], document: Mapping[str, Any], earlier: Mapping[str, Called]
) -> Mapping[str, Called]:
    """What was called of each operation of the document, with earlier calls; one that never was has no calls."""
    paths = {path: re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))) for path in document["paths"]}
    found = {f"{method.upper()} {path}": Called() for path, methods in document["paths"].items() for method in methods}
    found |= earlier
    for mode, request, response in (found for file in events for found in _interactions(file)):
        path = urlsplit(request["uri"]).path
        # The longest that fits: /v1/x/y is no /v1/x/{id}.
        names = [name for name, pattern in paths.items() if pattern.fullmatch(path)]
        operation = found.get(f"{request['method'].upper()} {max(names, key=_plainness)}") if names else None
        if operation is not None and response is not None:
            operation.count(response["status_code"], response["headers"], mode)
    return found


def _plainness(path: str) -> int:
    return -path.count("{")


def _interactions(events: Path) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]:
    with events.open() as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
            for name, interaction in recorder.get("interactions", {}).items():
                generation = recorder["cases"][name]["value"].get("meta", {}).get("generation", {})
                yield generation.get("mode", ""), interaction["request"], interaction.get("response")


def table(calls: Mapping[str, Called]) -> str:
    """One line for each operation: calls with right and wrong data, and the statuses that came back."""
    width = max(map(len, calls))
    lines = [f"{'operation':<{width}}  right  wrong  statuses"]
    for operation, called in calls.items():
        statuses = ", ".join(f"{status} x {count}" for status, count in sorted(called.statuses.items()))
        lines.append(f"{operation:<{width}}  {called.sent['positive']:>5}  {called.sent['negative']:>5}  {statuses}")
    return "\n".join(lines)
