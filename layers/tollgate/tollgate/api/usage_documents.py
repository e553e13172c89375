"""GET /v1/usage: its question and its answer."""

from datetime import UTC, date, datetime
from typing import Any

from tollgate.api.http import Call
from tollgate.domain.cache.entry import CacheOutcome
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.money import money_text, usd_text
from tollgate.domain.roads.latency import quantile
from tollgate.services.usage.queries import UsageLine, UsageQueries, UsageReport

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_KNOWN = frozenset({"group_by", "from", "to"})


def usage_answer(queries: UsageQueries, call: Call) -> dict[str, Any]:
    """The answer to a call.

    Raises:
        InvalidRequestError, StorageError
    """
    strangers = sorted(call.query.keys() - _KNOWN)
    if strangers:
        raise InvalidRequestError(f"Unknown parameter '{strangers[0][:50]}'.", param=strangers[0][:50])
    names = call.query.get("group_by", "model")
    report = queries.usage(
        call.owner,
        group_by=[name.strip() for name in names.split(",") if name.strip()],
        start=_moment(call, "from"),
        end=_moment(call, "to"),
    )
    return usage_document(report)


def _moment(call: Call, name: str) -> datetime | None:
    text = call.query.get(name)
    if text is None:
        return None
    # A plus sign that was not encoded arrives as a space.
    text = text.strip().replace(" ", "+")
    try:
        if "T" not in text:
            day = date.fromisoformat(text)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"'{name}' is not a time like 2026-11-22T09:00Z or a day like 2026-11-22.", param=name
        ) from error


def usage_document(report: UsageReport) -> dict[str, Any]:
    """The report as JSON; dollars as decimal text."""
    return {
        "object": "usage",
        "from": _time(report.start),
        "to": _time(report.end),
        "loaded_until": None if report.loaded_until is None else _time(report.loaded_until),
        "group_by": list(report.group_by),
        "data": [_line(line) for line in report.lines],
        "total": _line(report.total),
    }


def _line(line: UsageLine) -> dict[str, Any]:
    totals = line.totals
    latencies = {name: quantile(totals.latencies, share) for name, share in _QUANTILES.items()}
    return {
        "group": dict(line.group),
        "requests": totals.requests,
        "errors": totals.errors,
        "rejected": totals.rejected,
        "cache_hits": totals.cache_hits,
        "cache": {state.value: totals.cache.get(state, 0) for state in CacheOutcome},
        "latency_ms": {name: None if value is None else round(value, 1) for name, value in latencies.items()},
        "input_tokens": totals.input_tokens,
        "cached_input_tokens": totals.cached_input_tokens,
        "output_tokens": totals.output_tokens,
        "requests_of_unknown_tokens": totals.unknown_tokens,
        "requests_of_unknown_cost": totals.unknown_costs,
        "effective_cost_usd": usd_text(totals.effective),
        "charged_cost_usd": usd_text(totals.charged),
        "loaded_cost_usd": money_text(line.loaded),
        "avoided_cost_usd": usd_text(totals.avoided_total),
        "avoided_usd": {reason.value: usd_text(amount) for reason, amount in totals.avoided.items()},
        "cost_per_thousand_requests_usd": money_text(line.cost_per_thousand_requests),
        "cost_per_million_tokens_usd": money_text(line.cost_per_million_tokens),
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
