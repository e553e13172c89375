"""Which column of a trace says what: names of the public traces, of providers' and gateways' exports, and of our own.

Names are compared without case, signs and unit (`arrival_ms`, `startTime`, `Request tokens`). In nested JSON the name
is a path (`usage.prompt_tokens`), of which the end has to fit; the least deep one counts.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_TIME = (
    *("t", "ts", "arrival", "arrivaltime", "arrivaltimestamp", "arrivedat", "timestamp", "time"),
    *("requesttime", "requesttimestamp", "requestedat", "requestcreatedat", "receivedat", "submittedat"),
    *("createdat", "createdtime", "created", "starttime", "startedat", "starttimeunix", "start"),
    *("chargeperiodstart", "datetime", "eventtime", "date"),
)
_INPUT = (
    *("inputtokens", "prompttokens", "contexttokens", "requesttokens"),
    *("inputlength", "promptlength", "contextlength", "inputlen", "promptlen"),
    *("inputtokencount", "prompttokencount", "requesttokencount", "inputusage"),
    *("numinputtokens", "numprompttokens", "numprefilltokens", "ninputtokens", "ncontexttokenstotal"),
    *("tokensinput", "tokensprompt", "tokensin", "usage.input", "usagedetails.input"),
)
_OUTPUT = (
    *("outputtokens", "completiontokens", "generatedtokens", "responsetokens"),
    *("outputlength", "completionlength", "responselength", "outputlen", "completionlen"),
    *("outputtokencount", "completiontokencount", "candidatestokencount", "responsetokencount", "outputusage"),
    *("numoutputtokens", "numcompletiontokens", "numdecodetokens", "noutputtokens", "ngeneratedtokenstotal"),
    *("tokensoutput", "tokenscompletion", "tokensout", "usage.output", "usagedetails.output"),
)
_GROUP = (
    *("tenant", "tenantid", "client", "clientid", "customer", "customerid"),
    *("team", "teamid", "teamalias", "workload", "projectid", "model"),
)
_CLASS = ("class", "priority", "trafficclass", "inferencetype", "servicetier")
_DEADLINE = ("deadline",)
_PROMPT = ("prompthash", "hashids")
_DURATION = ("duration",)
_HELD = ("held", "servicetime")
_LATENCY = ("latency",)
_REQUEST = ("requestid",)

_UNITS: Mapping[str, float] = {
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "micros", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nano", "nanos", "nanoseconds"), 1e-9),
    **dict.fromkeys(("s", "sec", "secs", "seconds"), 1.0),
}
_UNIT = re.compile(
    rf"(?:[_ (]+(?i:({'|'.join(_UNITS)}))|(?<=[a-z0-9])({'|'.join(u.capitalize() for u in _UNITS if len(u) > 1)}))\)?$"
)
_NOT_A_NAME = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file.

    Attributes:
        name: as the file has it.
        unit: seconds of one of its units, where the name tells; for columns of time.
    """

    name: str
    unit: float | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column of a file says; None for what no column says.

    Attributes:
        unit: seconds of one unit of the time, where its name or the kind of the file tells.
    """

    time: Column | None
    input: Column | None
    output: Column | None
    group: Column | None
    priority: Column | None
    deadline: Column | None
    prompt: Column | None
    duration: Column | None
    request: Column | None
    unit: float | None

    @classmethod
    def of(cls, names: Collection[str]) -> "Columns":
        """Find them among a file's names, or a nested row's paths."""
        known = [(_plain(name), name) for name in names]
        time, read, written = _found(_TIME, known), _found(_INPUT, known), _found(_OUTPUT, known)
        return cls(
            time=time,
            input=read,
            output=written,
            group=_found(_GROUP, known),
            priority=_found(_CLASS, known),
            deadline=_found(_DEADLINE, known),
            prompt=_found(_PROMPT, known),
            duration=_measured(known, tokens=bool(read or written)),
            request=_found(_REQUEST, known),
            # Mooncake counts milliseconds and does not say so.
            unit=(time and time.unit) or (1e-3 if "hash_ids" in names else None),
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of what a request cannot do without, as far as they are there."""
        return tuple(one.name for one in (self.time, self.input, self.output, self.duration) if one is not None)

    @property
    def sized(self) -> bool:
        """Whether a row tells how much work it is."""
        return self.input is not None or self.output is not None or self.duration is not None

    @property
    def missing(self) -> str | None:
        """The column without which there is no trace, in words."""
        if self.time is None:
            return "no column for the arrival time, such as timestamp, t_s or created_at"
        if not self.sized:
            return "no column for tokens or a duration, such as input_tokens and output_tokens, or duration_s"
        return None


def _plain(name: str) -> tuple[str, float | None]:
    name = name.strip().removeprefix("x_")  # a column of one's own beside FOCUS's
    unit = _UNIT.search(name)
    seconds = None
    if unit is not None:
        seconds = _UNITS[(unit[1] or unit[2]).lower()]
        name = name[: unit.start()]
    return _NOT_A_NAME.sub("", name.lower()), seconds


def _found(wanted: tuple[str, ...], known: list[tuple[tuple[str, float | None], str]]) -> Column | None:
    best: tuple[int, int] | None = None
    found = None
    for (plain, unit), name in known:
        depth = plain.count(".")
        for order, candidate in enumerate(wanted):
            if (plain == candidate or plain.endswith("." + candidate)) and (best is None or (depth, order) < best):
                best, found = (depth, order), Column(name, unit)
    return found


def _measured(known: list[tuple[tuple[str, float | None], str]], *, tokens: bool) -> Column | None:
    """Time in service, or a latency that tells its unit where there is nothing better.

    Beside tokens only a duration with a unit counts: one in unknown units may be wrong by a factor of a thousand.
    """
    duration = _found(_DURATION, known)
    if tokens:
        return duration if duration is not None and duration.unit is not None else None
    held, latency = _found(_HELD, known), _found(_LATENCY, known)
    return duration or held or (latency if latency is not None and latency.unit is not None else None)
