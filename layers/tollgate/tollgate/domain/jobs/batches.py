"""One transform job of ours, and the rule for when the requests that wait for one may leave.

A run goes preparing -> running -> ended. Every step before the last can be repeated after a crash: what a run contains
is recorded before anything else happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from tollgate.domain.budgets.ledger import Reservation
from tollgate.domain.catalogue import BatchPolicy, Road
from tollgate.domain.jobs.job import Bill
from tollgate.domain.money import ZERO

_NANOSECOND = Decimal("1E-9")

RESPONSE_MARGIN_SECONDS = 60.0
"""Time reserved before a deadline for finding the results of a job and storing them."""


class BatchState(StrEnum):
    """States of a run."""

    PREPARING = "preparing"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class FileCount:
    """The counts of a dropped file, or of a part of a batch, that has ended.

    Attributes:
        bill: see `Bill`.
        requests: lines that were run; `errors` of them have no answer.
        unknown_tokens: answered lines whose token counts are not all known.
        effective: dollars of them all, None if unknown.
        held_seconds: instance seconds of them all, None if unknown.
    """

    bill: Bill
    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    effective: Decimal | None = ZERO
    held_seconds: Decimal | None = ZERO
    unknown_tokens: int = 0


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One transform job.

    Attributes:
        batch_id: also the transform job's name, at most 63 characters of [a-zA-Z0-9-].
        resource: ``model/deployment`` that does the work.
        records: number of records in it.
        attempt: 1 for files of many records, 2 for the records that came back without an answer, one a file.
        source: key of the dropped file when it came through the bucket, or name of the batch whose lines it runs
            (`tollgate.domain.jobs.file_batches`), else None.
        job_ids_key: key of the JSON list of job ids when it was made of jobs, else None.
        parent: the run whose unanswered records this one repeats.
        prior_seconds: instance seconds that each of its records already used in `parent`.
        per_file: records in an input file, kept so that a repetition cuts the same; 0 means as the catalogue says.
        reservation: what is held for a dropped file, until the last of its runs ends.
        count: of a dropped file, once the last of its runs has ended.
        largest: bytes of the longest record, where it was known before; 0 otherwise.
    """

    batch_id: str
    resource: str
    records: int
    attempt: int
    created_at: datetime
    state: BatchState
    source: str | None = None
    job_ids_key: str | None = None
    parent: str | None = None
    prior_seconds: Decimal = ZERO
    per_file: int = 0
    largest: int = 0
    traceparent: str = ""
    reservation: Reservation | None = None
    count: FileCount | None = None

    @property
    def input_prefix(self) -> str:
        """Prefix of its input files."""
        return f"transform-input/{self.batch_id}/"

    @property
    def output_prefix(self) -> str:
        """Where SageMaker puts the output files, named after the input files with ``.out`` appended."""
        return f"transform-output/{self.batch_id}/"

    @property
    def retry_id(self) -> str:
        """Name of the run that repeats what this one left unanswered; always the same."""
        return f"{self.batch_id}-r{self.attempt + 1}"


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """What the pool needs to know of a request that waits."""

    created_at: datetime
    deadline_at: datetime | None


def due_at(waiting: Sequence[WaitingJob], policy: BatchPolicy, road: Road, held_seconds: float) -> datetime | None:
    """When the waiting requests must leave; None for an empty pool.

    A full pool is due from the moment its oldest request came. Otherwise the pool is due at the earlier of two moments:
    when its oldest request reaches the greatest allowed age, and the last moment at which every deadline can still be
    met, allowing for start-up, the work of the records that would go along, and a margin for storing the answers.

    Args:
        waiting: oldest first, at most `policy.max_records` of them.
        policy: of the model.
        road: batch road of the deployment.
        held_seconds: expected seconds of one record.
    """
    if not waiting:
        return None
    oldest = waiting[0].created_at
    if len(waiting) >= policy.max_records:
        return oldest
    places = max(1, road.instance_count * road.concurrency)
    run_seconds = road.startup_seconds + len(waiting) * held_seconds / places + RESPONSE_MARGIN_SECONDS
    moments = [oldest + timedelta(seconds=policy.max_age_seconds)]
    moments += [w.deadline_at - timedelta(seconds=run_seconds) for w in waiting if w.deadline_at is not None]
    return min(moments)


def seconds_per_record(started: datetime | None, ended: datetime | None, road: Road, records: int) -> Decimal | None:
    """Instance seconds of a transform job per record, failed ones included.

    SageMaker bills a transform job from TransformStartTime to TransformEndTime for every instance. None when SageMaker
    did not report both; zero when no instance was started, which it reports as an end without a start.
    """
    if started is None:
        return ZERO if ended is not None else None
    if ended is None or records <= 0:
        return None
    total = Decimal(max(0, (ended - started) // timedelta(microseconds=1))).scaleb(-6)
    return (total * road.instance_count / records).quantize(_NANOSECOND)
