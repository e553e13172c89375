"""`tollgate export focus`, from the table of jobs to the object in the bucket."""

import csv
import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cli.main import main
from cli.stack import Stack
from tests.contract.moto_stores import JOBS_TABLE, LEDGER_TABLE, REGISTRY_TABLE, LocalAws
from tests.fakes.examples import make_catalogue, make_job
from tests.fakes.messages import BUCKET
from tests.fakes.usage import make_record
from tollgate.adapters.dynamodb.jobs.items import to_item
from tollgate.adapters.dynamodb.registry.catalogue import RegistryCatalogueWriter
from tollgate.adapters.dynamodb.usage import DynamoDBUsage
from tollgate.domain.costs.usage import roll_up
from tollgate.domain.jobs.job import Bill, Job, JobState, Payload, Usage
from tollgate.ports.usage import Span

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
BEFORE = "2026-03-01"


@pytest.fixture
def jobs(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """A day with a real-time request, 40 priced jobs, one of unknown cost, one of another day, and an open one."""
    tables = {"JobsTableName": JOBS_TABLE, "LedgerTableName": LEDGER_TABLE, "RegistryTableName": REGISTRY_TABLE}
    outputs = tables | {"BucketName": BUCKET}
    writer = RegistryCatalogueWriter(aws.dynamodb, REGISTRY_TABLE)
    writer.store(make_catalogue(), now=NOON)
    writer.point_to(1, expected=0)
    monkeypatch.setattr(Stack, "find", lambda name: Stack(name, "us-east-1", outputs, "arm64"))
    bill = Bill(NOON, Decimal(0))
    done = make_job(
        state=JobState.COMPLETED, finished_at=NOON, bill=bill, usage=Usage(3, 0), output=Payload(inline="x" * 50_000)
    )
    priced = [
        done._replace(job_id=f"inf_{number}", effective_cost=Decimal(number).scaleb(-12), held_seconds=Decimal("0.5"))
        for number in range(1, 41)
    ]
    others = [
        done._replace(job_id="inf_unknown"),
        done._replace(job_id="inf_later", bill=Bill(NOON.replace(day=2), Decimal(0)), effective_cost=Decimal(1)),
        make_job("inf_open"),
    ]
    usage = DynamoDBUsage(aws.dynamodb, LEDGER_TABLE)
    hour = NOON.replace(minute=0)
    usage.put(Span.HOUR, roll_up([make_record(effective=Decimal("0.5"), charged=Decimal("0.5"))], hour))
    usage.close(Span.DAY, datetime(2026, 3, 2, tzinfo=UTC))
    for job in (*priced, *others):
        aws.dynamodb.put_item(JOBS_TABLE, to_item(job))
    return priced


def test_the_day_lands_in_the_bucket(aws: LocalAws, jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs by the index and real-time requests by the hour; the sum is exact, the unknown cost is said, not zero."""
    assert main(["export", "focus", "--date", BEFORE]) == 0
    printed = capsys.readouterr().out
    assert "41 rows, 0.50000000082 USD" in printed
    assert "inf_unknown" in printed
    stored = aws.boto3_client("s3").get_object(Bucket=BUCKET, Key="exports/focus/date=2026-03-01/part.csv.gz")
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(stored["Body"].read()).decode())))
    assert sum(Decimal(row["EffectiveCost"]) for row in rows) == Decimal("0.5") + sum(
        job.effective_cost or 0 for job in jobs
    )
    assert {row["x_OutputTokens"] for row in rows} == {"0"}
    assert {row["x_RequestId"] for row in rows} == {"", *(job.job_id for job in jobs)}


def test_a_local_file_has_the_same_bytes(aws: LocalAws, jobs: list[Job], tmp_path: Path) -> None:
    """And in the place of a file that was there."""
    assert jobs
    target = tmp_path / "day.csv.gz"
    target.write_bytes(b"of an earlier export, and longer" * 1_000)
    assert main(["export", "focus", "--date", BEFORE, "--output", str(target)]) == 0
    assert main(["export", "focus", "--date", BEFORE]) == 0
    stored = aws.boto3_client("s3").get_object(Bucket=BUCKET, Key="exports/focus/date=2026-03-01/part.csv.gz")
    assert target.read_bytes() == stored["Body"].read()


@pytest.mark.usefixtures("jobs")
def test_a_day_that_has_not_ended_is_not_exported(capsys: pytest.CaptureFixture[str]) -> None:
    """Its file would be taken for the whole day."""
    assert main(["export", "focus", "--date", "2999-01-01"]) == 2
    assert "not ended" in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
def test_a_day_whose_usage_is_not_complete_is_not_exported(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    """The next day is known to nobody yet, although it is long over."""
    assert jobs
    assert main(["export", "focus", "--date", "2026-03-02"]) == 2
    assert "not complete" in capsys.readouterr().err
