"""Outcomes of a model's deployments in the registry table.

Items: pk ``outcomes#MODEL``, sk ``2026-W47#DEPLOYMENT#TOPIC`` (the sums of a week) and sk ``spent#2026-11-22#explore``
(dollars of a day); pk ``feedback#TENANT#INFERENCE``, sk ``feedback``, so that an inference is judged once.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws.errors import AwsError, TransactionCancelledError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient, Item
from tollgate.adapters.dynamodb.transaction import TransactPut, TransactUpdate
from tollgate.domain.choice.outcomes import NOTHING, TALLY_FIELDS, Tally
from tollgate.ports.outcomes import Extra

REFRESH_SECONDS = 60.0
FLUSH_SECONDS = 60.0
_WEEKS = 4
_KEPT = timedelta(weeks=_WEEKS + 2)
_FEEDBACK_KEPT = timedelta(days=60)
_SPENT = "spent#"

UNKNOWN_SPENT = Decimal(10**9)
"""Where nobody can say what is spent already: more than any day's limit."""


def _partition(model: str) -> str:
    return f"outcomes#{model}"


def _week(moment: datetime) -> str:
    return f"{moment:%G-W%V}"


def _spent_key(moment: datetime, extra: Extra) -> str:
    return f"{_SPENT}{moment:%Y-%m-%d}#{extra.value}"


def _addition(tally: Tally) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Update expression, names and values that add what is not zero."""
    parts = {name: getattr(tally, name) for name in TALLY_FIELDS}
    found = {name: Decimal(repr(value)) for name, value in parts.items() if value}
    update = "SET #ttl = :ttl"
    if found:
        update += " ADD " + ", ".join(f"#{name} :{name}" for name in found)
    return update, {f"#{name}": name for name in found} | {"#ttl": "ttl"}, {f":{n}": v for n, v in found.items()}


class RegistryOutcomes:
    """Sums kept for a minute, and written every minute. Routing can do without them, so failures keep what there is.

    What an execution environment had not yet written when it ends is lost; means can do without it. Functions that see
    few requests write at once (`flush_seconds` 0).
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._monotonic = monotonic
        self._copies: dict[str, tuple[float, dict[tuple[str, str], Tally], dict[str, Decimal] | None]] = {}
        self._sums: dict[tuple[str, str, str], Tally] = {}
        self._spending: dict[tuple[str, str], Decimal] = {}
        self._flush_seconds = flush_seconds
        self._written_at = monotonic()

    def of(self, model: str) -> Mapping[tuple[str, str], Tally]:
        """Sums of the last four weeks, this environment's own kept-back ones included."""
        found = dict(self._copy(model)[1])
        for (name, deployment, topic), tally in self._sums.items():
            if name == model:
                found[deployment, topic] = found.get((deployment, topic), NOTHING).plus(tally)
        return found

    def add(self, model: str, deployment: str, topic: str, tally: Tally) -> None:
        """Add to what is kept back."""
        key = (model, deployment, topic)
        self._sums[key] = self._sums.get(key, NOTHING).plus(tally)
        self._flush_when_due()

    def spent(self, model: str, extra: Extra) -> Decimal:
        """What was read, and what could not be written yet; `UNKNOWN_SPENT` where nothing could ever be read."""
        key, known = _spent_key(self._now(), extra), self._copy(model)[2]
        if known is None:
            return UNKNOWN_SPENT
        return known.get(key, Decimal(0)) + self._spending.get((model, key), Decimal(0))

    def spend(self, model: str, extra: Extra, usd: Decimal) -> None:
        """Written at once: few requests do, and an environment that ends must not take with it what it spent."""
        key = (model, _spent_key(self._now(), extra))
        self._spending[key] = self._spending.get(key, Decimal(0)) + usd
        self._write_spending()

    def judge(self, model: str, deployment: str, topic: str, tally: Tally, *, tenant: str, inference_id: str) -> bool:
        """Written at once, together with the note that it was.

        Raises:
            StorageError
        """
        now = self._now()
        update, names, values = _addition(tally)
        note = {
            "pk": f"feedback#{tenant}#{inference_id}",
            "sk": "feedback",
            "ttl": int((now + _FEEDBACK_KEPT).timestamp()),
        }
        with storage_errors("registry"):
            try:
                self._client.transact_write_items(
                    [
                        TransactPut(self._table, note, condition="attribute_not_exists(pk)"),
                        TransactUpdate(
                            self._table,
                            {"pk": _partition(model), "sk": f"{_week(now)}#{deployment}#{topic}"},
                            update,
                            names=names,
                            values=values | {":ttl": int((now + _KEPT).timestamp())},
                        ),
                    ]
                )
            except TransactionCancelledError as error:
                if error.reasons and error.reasons[0].code == "ConditionalCheckFailed":
                    return False
                raise
        return True

    def flush(self) -> None:
        """Write what is kept back."""
        now = self._now()
        self._written_at = self._monotonic()
        expires = int((now + _KEPT).timestamp())
        sums, self._sums = self._sums, {}
        for (model, deployment, topic), tally in sums.items():
            update, names, values = _addition(tally)
            self._write(model, f"{_week(now)}#{deployment}#{topic}", update, names, values | {":ttl": expires})
        self._write_spending()

    def _write_spending(self) -> None:
        expires = int((self._now() + _KEPT).timestamp())
        for (model, key), usd in list(self._spending.items()):
            values = {":usd": usd, ":ttl": expires}
            if self._write(model, key, "SET #ttl = :ttl ADD #usd :usd", {"#ttl": "ttl", "#usd": "usd"}, values):
                # What could not be written is money all the same, and is tried again.
                del self._spending[model, key]

    def _flush_when_due(self) -> None:
        if self._monotonic() - self._written_at >= self._flush_seconds:
            self.flush()

    def _write(
        self, model: str, sort_key: str, update: str, names: Mapping[str, str], values: Mapping[str, Any]
    ) -> bool:
        try:
            key = {"pk": _partition(model), "sk": sort_key}
            self._client.update_item(self._table, key, update=update, names=names, values=values)
        except AwsError:
            return False  # A mean that misses a few samples is still a mean.
        # What was written is not in the copy yet, and must not vanish until it is read again.
        self._copies.pop(model, None)
        return True

    def _copy(self, model: str) -> tuple[float, dict[tuple[str, str], Tally], dict[str, Decimal] | None]:
        moment = self._monotonic()
        copy = self._copies.get(model)
        if copy is not None and moment - copy[0] < REFRESH_SECONDS:
            return copy
        try:
            items = self._read(model)
        except AwsError:
            _, tallies, spent = copy or (moment, {}, None)
        else:
            tallies, spent = _tallies(items), {i["sk"]: i["usd"] for i in items if i["sk"].startswith(_SPENT)}
        fresh = self._copies[model] = (moment, tallies, spent)
        return fresh

    def _read(self, model: str) -> tuple[Item, ...]:
        since = _week(self._now() - timedelta(weeks=_WEEKS - 1))
        # Weeks begin with a digit and days of spending with a letter, so one range holds both.
        page = self._client.query(
            self._table,
            key_condition="pk = :pk AND sk >= :since",
            values={":pk": _partition(model), ":since": since},
        )
        return page.items


def _tallies(items: tuple[Item, ...]) -> dict[tuple[str, str], Tally]:
    found: dict[tuple[str, str], Tally] = {}
    for item in items:
        if item["sk"].startswith(_SPENT):
            continue
        _, deployment, topic = item["sk"].split("#", 2)
        tally = Tally(**{name: float(item[name]) for name in TALLY_FIELDS if name in item})
        found[deployment, topic] = found.get((deployment, topic), NOTHING).plus(tally)
    return found
