"""The end of a job fits on its record, whatever its caller has put there."""

from datetime import timedelta
from decimal import Decimal

from tests.contract.moto_stores import JOBS_TABLE, LEDGER_TABLE, LocalAws
from tests.fakes.async_road import AsyncRoad
from tests.fakes.completer import job_completer
from tests.fakes.examples import make_job
from tollgate.adapters.dynamodb.jobs.jobs import DynamoDBJobStore
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.domain.budgets.ledger import Hold, Reservation, reserve, shared_slot
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import JobState
from tollgate.services.jobs.complete_job import INLINE_OUTPUT_BYTES
from tollgate.services.jobs.price_job import Work
from tollgate.services.requests.accept_job import MOST_PARAMETER_BYTES

_START = make_job().created_at
_COUNTER = "gateway#day#2026-03-01"


def test_large_parameters_and_a_large_answer_end_their_job_and_are_charged(aws: LocalAws) -> None:
    """Also where more was accepted than is today: the answer lies in the bucket, and what was held becomes spend."""
    ledger = DynamoDBLedger(aws.dynamodb, LEDGER_TABLE)
    store = DynamoDBJobStore(aws.dynamodb, JOBS_TABLE, ledger)
    held = Reservation(shared_slot(_START + timedelta(days=8)), Decimal("0.01"), (Hold(_COUNTER, Decimal(1)),))
    job = make_job(
        inference_type=InferenceType.ASYNC,
        parameters={"stop": "x" * 3 * MOST_PARAMETER_BYTES},
        metadata={f"{number:064d}": "\u20ac" * 512 for number in range(16)},
        webhook_url="https://example.com/" + "p" * 2_000,
        reservation=held,
    )
    store.add(job, [reserve(held, hold) for hold in held.holds])
    road = AsyncRoad()
    completer = job_completer(
        jobs=store,
        objects=road.objects,
        catalogues=road.catalogues,
        durations=road.measurements,
        telemetry=road.telemetry,
        clock=road.clock,
    )
    answer = b'"' + b"y" * (INLINE_OUTPUT_BYTES - 2) + b'"'
    assert completer.complete(job, answer, Work(held_seconds=Decimal(2), finished_at=road.clock.now()))
    ended = store.get(job.job_id)
    assert ended is not None
    assert ended.state is JobState.COMPLETED
    assert ended.output.key == f"results/{job.job_id}.json"
    counter = ledger.read([_COUNTER], consistent=True)[_COUNTER]
    assert counter.spent == counter.committed == ended.effective_cost
