"""The ledger, and what the cache table holds."""

import dataclasses
from copy import replace
from datetime import timedelta
from decimal import Decimal

from tests.contract.moto_stores import CACHE_TABLE, LEDGER_TABLE, LocalAws
from tests.contract.stored.kind import StoredKind
from tests.contract.stored.work import RESERVATION
from tests.fakes.examples import OWNER, make_job
from tests.fakes.messages import BUCKET
from tests.fakes.usage import make_record
from tollgate.adapters.dynamodb.cache.answers import DynamoDBAnswers
from tollgate.adapters.dynamodb.cache.idempotency import DynamoDBIdempotency
from tollgate.adapters.dynamodb.cache.near import DynamoDBNear
from tollgate.adapters.dynamodb.cache.retrieval import DynamoDBRetrieval
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.adapters.s3.direct_objects import S3DirectObjects
from tollgate.domain.budgets.ledger import reserve
from tollgate.domain.budgets.notices import OpenNotice
from tollgate.domain.cache.entry import CachedAnswer, CacheSlot, Refusal
from tollgate.domain.cache.retrieval import KeptValue
from tollgate.domain.cache.ticket import CacheTicket
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.usage import RollUp, totals_of
from tollgate.domain.jobs.job import Usage
from tollgate.domain.near.guard import guard_of
from tollgate.domain.near.index import NearEntry
from tollgate.domain.near.policy import NearPolicy
from tollgate.domain.near.reading import read as near_reading
from tollgate.domain.near.record import FiledPrompt
from tollgate.domain.near.signature import NearSignature, bucket_keys
from tollgate.ports.idempotency import StoredAnswer
from tollgate.ports.usage import Span

_NOW = make_job().created_at
_LATER = _NOW + timedelta(hours=1, microseconds=1)
_MS = 1_800_000_000_000
_KEY, _SCOPE = "k" * 64, "private#acme"


_NOTICE = OpenNotice({"id": "gateway#day#2026-03-01@80", "counter": "gateway#day#2026-03-01", "at_percent": "80"}, _NOW)


def _write_ledger(aws: LocalAws) -> None:
    ledger = DynamoDBLedger(aws.dynamodb, LEDGER_TABLE)
    assert RESERVATION.call is not None
    ledger.write([*(reserve(RESERVATION, hold) for hold in RESERVATION.holds), RESERVATION.call])
    ledger.tell_once("gateway#day#2026-03-01", Decimal("92.5"))
    ledger.open_notice(_NOTICE)


def _read_ledger(aws: LocalAws) -> object:
    ledger = DynamoDBLedger(aws.dynamodb, LEDGER_TABLE)
    counters = ledger.read([hold.counter for hold in RESERVATION.holds])
    return counters, ledger.calls_of("t", "w", limit=9), ledger.open_notices(limit=9)


def _write_usage(aws: LocalAws) -> None:
    store = DynamoDBUsage(aws.dynamodb, LEDGER_TABLE)
    record = make_record(usage=Usage(3, 5, 2), avoided={AvoidedReason.ROAD: Decimal("-0.1")}, cache="miss")
    totals = dataclasses.replace(totals_of(record), loaded=Decimal("0.5"))
    store.put(Span.HOUR, [RollUp(record.ended_at, record.dimensions, totals)])
    store.close(Span.HOUR, record.ended_at)


def _read_usage(aws: LocalAws) -> object:
    store = DynamoDBUsage(aws.dynamodb, LEDGER_TABLE)
    return list(store.read(Span.HOUR, make_record().ended_at)), store.closed_until(Span.HOUR)


def _answers(aws: LocalAws) -> DynamoDBAnswers:
    return DynamoDBAnswers(aws.dynamodb, CACHE_TABLE, S3DirectObjects(aws.s3, BUCKET))


def _write_answers(aws: LocalAws) -> None:
    answer = CachedAnswer(
        output={"text": "hé\ud83d lo", "scores": [0.5, 1]},
        usage=Usage(3, None),
        resource="echo/small",
        worth=Decimal("0.000012"),
        began_ms=_MS - 50,
        made_ms=_MS,
        fresh_ms=_MS + 600_000,
        kept_ms=_MS + 660_000,
    )
    store = _answers(aws)
    for key, found in ((_KEY, answer), ("r" * 64, replace(answer, output=None, refusal=Refusal("too long", 413)))):
        store.lead(key, CacheSlot(), scope=_SCOPE, now_ms=_MS, until_ms=_MS + 10_000)
        store.store(CacheTicket(key, 1, 600, 60, _MS - 50, _SCOPE), found)
    store.lead("l" * 64, CacheSlot(), scope=_SCOPE, now_ms=_MS, until_ms=_MS + 10_000, job_id="inf_1")
    store.forget_all(_SCOPE, "echo", _MS)


def _read_answers(aws: LocalAws) -> object:
    return [_answers(aws).read(letter * 64, _SCOPE) for letter in "krl"]


_FILED = FiledPrompt(
    "e" * 64, "c" * 64, "How do I renew my passport in Zürich? \ud83d", _MS, _MS // 1000 + 600, b"\x00\x01"
)
_BUCKETS = bucket_keys("c" * 64, near_reading(_FILED.prompt))


def _write_near(aws: LocalAws) -> None:
    store = DynamoDBNear(aws.dynamodb, CACHE_TABLE)
    entry = NearEntry(_FILED.entry_id, NearSignature.of(near_reading(_FILED.prompt)), _FILED.expires_s)
    store.file(_FILED, entry, _BUCKETS[:2], _MS // 1000)
    guard = guard_of(NearPolicy(), None).observe("one", agrees=True)
    assert guard is not None
    store.put_guard("echo", guard)


def _read_near(aws: LocalAws) -> object:
    store = DynamoDBNear(aws.dynamodb, CACHE_TABLE)
    return (
        store.shelf(_BUCKETS[:2], "echo"),
        store.prompts([_FILED.entry_id]),
        guard_of(NearPolicy(), store.guard("echo")),
    )


_VALUE = KeptValue(["é", 0.1], 1, 2)


def _idempotency(aws: LocalAws) -> DynamoDBIdempotency:
    return DynamoDBIdempotency(aws.dynamodb, CACHE_TABLE, S3DirectObjects(aws.s3, BUCKET))


KINDS = {
    "ledger": StoredKind(_write_ledger, _read_ledger),
    "usage": StoredKind(_write_usage, _read_usage),
    "answers": StoredKind(_write_answers, _read_answers),
    "near": StoredKind(_write_near, _read_near),
    "retrieval": StoredKind(
        lambda aws: DynamoDBRetrieval(aws.dynamodb, CACHE_TABLE).put("acme", "chunks", "q", _VALUE),
        lambda aws: DynamoDBRetrieval(aws.dynamodb, CACHE_TABLE).get("acme", "chunks", "q"),
    ),
    "idempotency": StoredKind(
        lambda aws: _idempotency(aws).complete(OWNER, "k", "print", StoredAnswer(200, {"x-a": "1"}, '"ü"'), now=_NOW),
        lambda aws: _idempotency(aws).claim(OWNER, "k", "print", now=_NOW, lease_seconds=9),
    ),
}
